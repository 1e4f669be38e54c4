// What an operator does with the machines, and the command that does the same.

import { clusterStrings as texts } from "../../base/cluster";
import type { ClusterView, NodeView } from "./watch";

export type Operation =
  /** 0: to the voter that has most of the log. */
  | { readonly kind: "transfer"; readonly node: number }
  | { readonly kind: "promote" | "demote" | "remove"; readonly node: number }
  | { readonly kind: "token"; readonly learner: boolean }
  | { readonly kind: "check" };

/** Returns what the command line does for an operation. */
export function commandOf(operation: Operation): string {
  switch (operation.kind) {
    case "transfer":
      return `conclave cluster transfer-leader${operation.node ? ` --to ${operation.node}` : ""}`;
    case "promote":
    case "demote":
    case "remove":
      return `conclave cluster ${operation.kind} ${operation.node}`;
    case "token":
      return `conclave token create${operation.learner ? " --role learner" : ""}`;
    case "check":
      return "conclave cluster check";
  }
}

export function titleOf(operation: Operation): string {
  switch (operation.kind) {
    case "transfer":
      return operation.node ? texts.transferTo(operation.node) : texts.transferAway;
    case "promote":
    case "demote":
    case "remove":
      return texts[operation.kind](operation.node);
    case "token":
      return texts.token;
    case "check":
      return texts.check;
  }
}

/** Lists what makes sense for a node as it is now; the cluster has the last word. */
export function operationsOf(node: NodeView, view: ClusterView): Operation[] {
  const { id, role } = node;
  const alone = view.nodes.length < 2;
  switch (role) {
    case "leader":
      return alone ? [] : [{ kind: "transfer", node: 0 }];
    case "follower":
      return [
        { kind: "transfer", node: id },
        { kind: "demote", node: id },
        { kind: "remove", node: id },
      ];
    case "learner":
      return [
        { kind: "promote", node: id },
        { kind: "remove", node: id },
      ];
    case "candidate":
    case "stopped":
    case "unreachable":
      return alone ? [] : [{ kind: "remove", node: id }];
  }
}
