// Plain values of a status as a node sends it.

import { clusterStrings as texts } from "../../base/cluster";
import type { GetClusterStatusResponse, NodeStatus } from "../../gen/conclave/v1/admin_pb";
import { NodeRole } from "../../gen/conclave/v1/admin_pb";
import { num } from "../../wire/values";
import type { ClusterView, NodeView } from "./watch";

const ROLES: Partial<Record<NodeRole, NodeView["role"]>> = {
  [NodeRole.LEADER]: "leader",
  [NodeRole.FOLLOWER]: "follower",
  [NodeRole.CANDIDATE]: "candidate",
  [NodeRole.LEARNER]: "learner",
  [NodeRole.STOPPED]: "stopped",
};

export function toView(status: GetClusterStatusResponse): ClusterView {
  return {
    leader: num(status.leaderId),
    asked: num(status.nodeId),
    voters: status.voters,
    reachable: status.votersReachable,
    tolerates: status.toleratesFailures,
    quorum: status.quorum,
    connections: num(status.clientPort?.connections ?? 0n),
    connectionsMax: num(status.clientPort?.connectionsMax ?? 0n),
    nodes: status.nodes.map(toNode),
  };
}

function toNode(node: NodeStatus): NodeView {
  const { commitLatency: latency } = node;
  return {
    id: num(node.nodeId),
    address: node.clientAddress,
    role: node.reachable ? (ROLES[node.role] ?? "unreachable") : "unreachable",
    term: num(node.term),
    commit: num(node.commitIndex),
    applied: num(node.appliedIndex),
    version: node.version,
    uptimeMs: num(node.uptimeMs),
    freeBytes: num(node.freeBytes),
    clockSkewMs: node.clockSkewMs === undefined ? null : num(node.clockSkewMs),
    decided: num(node.commandsDecided),
    latency: latency && latency.entries > 0
      ? { median: num(latency.medianUs) / 1000, p99: num(latency.p99Us) / 1000 }
      : null,
    events: node.events.map((event) => ({
      number: num(event.number),
      ageMs: num(event.ageMs),
      kind: event.kind,
      subject: num(event.subjectNodeId),
      term: num(event.term),
      voters: event.voterNodeIds.join(", "),
      learners: event.learnerNodeIds.join(", "),
    })),
    problems: problemsOf(node),
  };
}

function problemsOf(node: NodeStatus): string[] {
  const problems: string[] = [];
  if (node.refusal) problems.push(node.refusal);
  if (!node.reachable) return problems;
  if (node.refusesGrowth) problems.push(texts.refusesGrowth);
  else if (node.lowSpace) problems.push(texts.lowSpace);
  if (node.clockIsOff) problems.push(texts.clockIsOff);
  if (node.draining) problems.push(texts.draining);
  if (node.waits) problems.push(texts.waits);
  if (node.differsAtIndex > 0n) problems.push(texts.differs(num(node.differsAtIndex)));
  if (node.unreached) problems.push(texts.unreached);
  for (const { bytesDone, bytesTotal, direction } of node.transfers) {
    // 2: the node takes the snapshot. What it sends stands at the receiver.
    if (direction === 2 && bytesTotal > 0n) problems.push(texts.transfer(Math.floor((num(bytesDone) / num(bytesTotal)) * 100)));
  }
  return problems;
}
