// The cluster, alive: every node as the node behind this page sees it, once a second.

import { lazy, Suspense } from "preact/compat";
import { useEffect, useState } from "preact/hooks";
import type { GetClusterStatusResponse } from "../../gen/conclave/v1/admin_pb";
import { NodeRole } from "../../gen/conclave/v1/admin_pb";
import { Administration } from "../../app/administration";
import type { Session } from "../../app/session";
import { config } from "../../app/session";
import { strings } from "../../base/strings";
import { clock } from "../../base/time";
import { num } from "../../wire/values";
import { demoKey } from "../demo/key";
import { bytes, duration, timeOf } from "../parts/dates";
import { Icon } from "../parts/Icon";
import { copyText } from "../parts/notices";
import { Chart } from "./Chart";
import { Page } from "./Page";
import type { ClusterView, NodeView, Watch } from "./watch";
import { NOTHING, watch } from "./watch";

const EVERY_MS = 1000;
const Demo = lazy(() => import("../demo/Panel"));

export default function Cluster({ session }: { session: Session }) {
  const [seen, setSeen] = useState<Watch>(NOTHING);
  useEffect(() => {
    const abort = new AbortController();
    const administration = new Administration(session.actions);
    void (async () => {
      while (!abort.signal.aborted) {
        const asked = clock.now();
        try {
          const status = await administration.clusterStatus();
          const now = clock.now();
          setSeen((before) => watch(before, toView(status), now, now - asked));
        } catch {
          // The banner says that no node answers.
        }
        await clock.sleep(EVERY_MS, abort.signal);
      }
    })();
    return () => abort.abort();
  }, []);
  const { now, rates, answers, events } = seen;
  if (session.store.me.value?.role !== "admin") {
    return (
      <Page title={strings.cluster}>
        <p class="page-lead">{strings.notAllowed}</p>
      </Page>
    );
  }
  return (
    <Page title={strings.cluster} lead={strings.clusterLead} wide>
      {demoKey.value && config.value.demo && <Suspense fallback={null}><Demo /></Suspense>}
      {now ? (
        <>
          <Summary view={now} />
          <ul class="nodes">
            {now.nodes.map((node) => (
              <NodeCard key={node.id} node={node} view={now} />
            ))}
          </ul>
          <div class="charts">
            <Chart title={strings.commits} values={rates} />
            <Chart title={strings.answer} values={answers} />
          </div>
          <div class="charts">
            <section class="card">
              <h2>{strings.events}</h2>
              {events.length === 0 && <p class="hint">{strings.noEvents}</p>}
              <ol class="events">
                {events.map((event) => (
                  <li key={event.key}>
                    <time>{timeOf(event.atMs)}</time> {event.text}
                  </li>
                ))}
              </ol>
            </section>
            <Operate view={now} />
          </div>
        </>
      ) : (
        <p class="page-lead">{strings.loading}</p>
      )}
    </Page>
  );
}

function Summary({ view }: { view: ClusterView }) {
  const down = view.nodes.filter(({ role }) => role === "unreachable").length;
  const kind = !view.quorum ? "bad" : down > 0 || view.tolerates === 0 ? "warn" : "good";
  return (
    <section class={`summary summary-${kind}`} role="status">
      <Constellation view={view} />
      <div>
        <h2>{!view.quorum ? strings.noQuorum : down > 0 ? strings.degraded(down) : strings.healthy}</h2>
        <p>
          {strings.tolerates(view.tolerates)} {strings.connections}: {view.connections}
          {view.connectionsMax > 0 && ` / ${view.connectionsMax}`}
        </p>
      </div>
    </section>
  );
}

/** The nodes in a circle, with lines from the leader to those that follow it. */
function Constellation({ view }: { view: ClusterView }) {
  const places = view.nodes.map((node, index) => {
    const angle = (index / view.nodes.length) * 2 * Math.PI - Math.PI / 2;
    return { node, x: 60 + 42 * Math.cos(angle), y: 60 + 42 * Math.sin(angle) };
  });
  const leader = places.find(({ node }) => node.id === view.leader);
  return (
    <svg class="constellation" viewBox="0 0 120 120" aria-hidden="true" focusable="false">
      {leader &&
        places
          .filter(({ node }) => node.role !== "unreachable" && node !== leader.node)
          .map(({ node, x, y }) => <line key={node.id} x1={leader.x} y1={leader.y} x2={x} y2={y} />)}
      {places.map(({ node, x, y }) => (
        <g key={node.id} class={`star star-${node.role}`}>
          <circle cx={x} cy={y} r={node.id === view.leader ? 13 : 11} />
          <text x={x} y={y + 4}>
            {node.id}
          </text>
        </g>
      ))}
    </svg>
  );
}

function NodeCard({ node, view }: { node: NodeView; view: ClusterView }) {
  const commit = Math.max(0, ...view.nodes.map((each) => each.commit));
  const lag = Math.max(0, commit - node.applied);
  const skew = node.clockSkewMs;
  const facts: [string, string][] = [
    [strings.term, String(node.term)],
    [strings.lag, node.role === "unreachable" ? "–" : String(lag)],
    [strings.disk, node.freeBytes ? bytes(node.freeBytes) : "–"],
    [strings.clock, skew === null ? "–" : `${skew > 0 ? "+" : ""}${skew} ms`],
    [strings.uptime, node.uptimeMs ? duration(node.uptimeMs) : "–"],
    [strings.version, node.version || "–"],
  ];
  return (
    <li class={`node node-${node.role}`}>
      <header>
        <h3>{strings.node(node.id)}</h3>
        <span class="node-role">{strings.roles[node.role]}</span>
      </header>
      <p class="node-address">{node.address || "–"}</p>
      <dl>
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {node.problem && (
        <p class="node-problem">
          <Icon name="alert" small /> {node.problem}
        </p>
      )}
    </li>
  );
}

function Operate({ view }: { view: ClusterView }) {
  const other = view.nodes.find(({ id, role }) => id !== view.leader && role === "follower");
  const commands = [
    "conclave cluster status",
    "conclave cluster check",
    `conclave cluster transfer-leader ${other?.id ?? ""}`.trim(),
    "conclave token create",
  ];
  return (
    <section class="card">
      <h2>{strings.operate}</h2>
      <p class="hint">{strings.operateLead}</p>
      <ul class="rows">
        {commands.map((command) => (
          <li key={command}>
            <code class="rows-main">{command}</code>
            <button type="button" class="button-icon" aria-label={`${strings.copy}: ${command}`} onClick={() => void copyText(command)}>
              <Icon name="copy" />
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

const ROLES: Partial<Record<NodeRole, NodeView["role"]>> = {
  [NodeRole.LEADER]: "leader",
  [NodeRole.FOLLOWER]: "follower",
  [NodeRole.CANDIDATE]: "candidate",
  [NodeRole.LEARNER]: "learner",
  [NodeRole.STOPPED]: "stopped",
};

function toView(status: GetClusterStatusResponse): ClusterView {
  return {
    leader: num(status.leaderId),
    asked: num(status.nodeId),
    voters: status.voters,
    reachable: status.votersReachable,
    tolerates: status.toleratesFailures,
    quorum: status.quorum,
    connections: num(status.clientPort?.connections ?? 0n),
    connectionsMax: num(status.clientPort?.connectionsMax ?? 0n),
    nodes: status.nodes.map((node) => ({
      id: num(node.nodeId),
      address: node.clientAddress,
      role: node.reachable ? (ROLES[node.role] ?? "unreachable") : "unreachable",
      term: num(node.term),
      commit: num(node.commitIndex),
      applied: num(node.appliedIndex),
      version: node.version,
      uptimeMs: num(node.uptimeMs),
      freeBytes: num(node.freeBytes),
      lowSpace: node.lowSpace,
      clockSkewMs: node.clockSkewMs === undefined ? null : Number(node.clockSkewMs),
      problem: node.refusal,
    })),
  };
}
