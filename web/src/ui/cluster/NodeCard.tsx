// One node: what it is, how it is, and what can be done with it.

import { clusterStrings as texts } from "../../base/cluster";
import { bytes, duration } from "../parts/dates";
import { Icon } from "../parts/Icon";
import { Menu } from "../parts/Menu";
import type { Operation } from "./operations";
import { operationsOf, titleOf } from "./operations";
import type { ClusterView, NodeView } from "./watch";

export function NodeCard({
  node,
  view,
  onOperation,
}: {
  node: NodeView;
  view: ClusterView;
  onOperation: (operation: Operation) => void;
}) {
  const commit = Math.max(0, ...view.nodes.map((each) => each.commit));
  const gone = node.role === "unreachable";
  const skew = node.clockSkewMs;
  const facts: [string, string][] = [
    [texts.term, gone ? texts.unknown : String(node.term)],
    [texts.lag, gone ? texts.unknown : String(Math.max(0, commit - node.applied))],
    [texts.disk, node.freeBytes ? bytes(node.freeBytes) : texts.unknown],
    [texts.clock, skew === null ? texts.unknown : `${skew > 0 ? "+" : ""}${skew} ms`],
    [texts.uptime, node.uptimeMs ? duration(node.uptimeMs) : texts.unknown],
    [texts.version, node.version || texts.unknown],
  ];
  const operations = operationsOf(node, view);
  return (
    <li class={`node node-${node.role}`}>
      <header>
        <h3>{texts.node(node.id)}</h3>
        <span class="node-role">{texts.roles[node.role]}</span>
        {operations.length > 0 && (
          <Menu
            label={texts.actionsOf(node.id)}
            items={operations.map((operation) => ({
              label: titleOf(operation),
              danger: operation.kind === "remove",
              act: () => onOperation(operation),
            }))}
          >
            <Icon name="more" />
          </Menu>
        )}
      </header>
      <p class="node-address">
        <bdi>{node.address || texts.unknown}</bdi>
        {view.asked === node.id && <span class="node-yours">{texts.servesYou}</span>}
      </p>
      <dl>
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {node.problems.map((problem) => (
        <p class="node-problem" key={problem}>
          <Icon name="alert" small /> {problem}
        </p>
      ))}
    </li>
  );
}
