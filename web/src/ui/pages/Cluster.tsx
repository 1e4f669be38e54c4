// The cluster, alive: every node as the node behind this page sees it, once a second.

import { useEffect, useState } from "preact/hooks";
import { Administration } from "../../app/administration";
import { Operator } from "../../app/operator";
import type { Session } from "../../app/session";
import { config } from "../../app/session";
import { clusterStrings as texts } from "../../base/cluster";
import { strings } from "../../base/strings";
import { clock } from "../../base/time";
import { Chart } from "../cluster/Chart";
import { Credential } from "../cluster/Credential";
import { NodeCard } from "../cluster/NodeCard";
import { Operate } from "../cluster/Operate";
import type { Operation } from "../cluster/operations";
import { toView } from "../cluster/view";
import type { ClusterEvent, ClusterView, Watch } from "../cluster/watch";
import { NOTHING, watch } from "../cluster/watch";
import { demoKey } from "../demo/key";
import { timeOf } from "../parts/dates";
import { Icon } from "../parts/Icon";
import { onDemand } from "../parts/onDemand";
import "../styles/cluster.css";
import { Page } from "./Page";

const EVERY_MS = 1000;
const Demo = onDemand(() => import("../demo/Panel").then(({ default: panel }) => panel));

export default function Cluster({ session }: { session: Session }) {
  if (session.store.me.value?.role !== "admin") {
    return (
      <Page title={strings.cluster}>
        <p class="page-lead">{strings.notAllowed}</p>
      </Page>
    );
  }
  return <Watched session={session} />;
}

function Watched({ session }: { session: Session }) {
  const { now, rates, medians, p99s, answers, events } = useWatch(session);
  const operator = useOperator();
  const [operation, setOperation] = useState<Operation | null>(null);
  return (
    <Page title={strings.cluster} lead={texts.lead} wide>
      {demoKey.value && config.value.demo && <Demo />}
      {now ? (
        <>
          <Summary view={now} />
          <ul class="nodes">
            {now.nodes.map((node) => (
              <NodeCard key={node.id} node={node} view={now} onOperation={setOperation} />
            ))}
          </ul>
          <div class="charts">
            <Chart title={texts.rate} unit="/s" lines={[{ name: texts.rate, values: rates }]} />
            <Chart
              title={texts.latency}
              unit="ms"
              lines={[
                { name: texts.median, values: medians },
                { name: texts.p99, values: p99s },
              ]}
            />
            <Chart title={texts.answer} unit="ms" lines={[{ name: texts.answer, values: answers }]} />
          </div>
          <div class="charts charts-two">
            <Events events={events} />
            <section class="card operate">
              <h2>{texts.operate}</h2>
              <p class="hint">{texts.operateLead}</p>
              <div class="operate-all">
                <button type="button" class="button" onClick={() => setOperation({ kind: "token", learner: false })}>
                  <Icon name="plus" small /> {texts.token}
                </button>
                <button type="button" class="button" onClick={() => setOperation({ kind: "check" })}>
                  <Icon name="check" small /> {texts.check}
                </button>
              </div>
              <Credential operator={operator} />
            </section>
          </div>
        </>
      ) : (
        <p class="page-lead">{strings.loading}</p>
      )}
      {operation && (
        <Operate
          key={JSON.stringify(operation)}
          operation={operation}
          operator={operator}
          onClose={() => setOperation(null)}
        />
      )}
    </Page>
  );
}

/** Asks once a second, while the page is open. */
function useWatch(session: Session): Watch {
  const [seen, setSeen] = useState<Watch>(NOTHING);
  useEffect(() => {
    const abort = new AbortController();
    const administration = new Administration(session.actions);
    void (async () => {
      while (!abort.signal.aborted) {
        const asked = clock.now();
        try {
          const status = await administration.clusterStatus();
          const answerMs = clock.now() - asked;
          if (!abort.signal.aborted) setSeen((before) => watch(before, toView(status), Date.now(), answerMs));
        } catch {
          // The banner says that no node answers.
        }
        await clock.sleep(EVERY_MS, abort.signal);
      }
    })();
    return () => abort.abort();
  }, []);
  return seen;
}

/** Returns what holds the credential; it forgets it with the page. */
function useOperator(): Operator {
  const [operator] = useState(() => new Operator(location.origin));
  useEffect(() => {
    const forget = () => operator.forget();
    const look = () => operator.look();
    // Also for a document that the browser keeps to go back to.
    addEventListener("pagehide", forget);
    document.addEventListener("visibilitychange", look);
    return () => {
      removeEventListener("pagehide", forget);
      document.removeEventListener("visibilitychange", look);
      forget();
    };
  }, []);
  return operator;
}

function Summary({ view }: { view: ClusterView }) {
  const down = view.nodes.filter(({ role }) => role === "unreachable").length;
  const kind = !view.quorum ? "bad" : down > 0 || view.tolerates === 0 ? "warn" : "good";
  return (
    <section class={`summary summary-${kind}`} role="status">
      <Constellation view={view} />
      <div class="summary-main">
        <h2>{!view.quorum ? texts.noQuorum : down > 0 ? texts.degraded(down) : texts.healthy}</h2>
        <p>{texts.voters(view.reachable, view.voters)}</p>
        <p>{texts.connections(view.connections, view.connectionsMax)}</p>
      </div>
      <p class="summary-tolerates">
        <b>{view.tolerates}</b>
        <span>{texts.mayFail(view.tolerates)}</span>
      </p>
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

function Events({ events }: { events: readonly ClusterEvent[] }) {
  return (
    <section class="card">
      <h2>{texts.events}</h2>
      {events.length === 0 && <p class="hint">{texts.noEvents}</p>}
      <div class="events-scroll" tabIndex={0} role="group" aria-label={texts.events}>
        <ol class="events">
          {events.map((event) => (
            <li key={`${event.key} ${event.atMs}`} class={`event event-${event.kind}`}>
              <time dateTime={new Date(event.atMs).toISOString()}>{timeOf(event.atMs)}</time>
              <span>{event.text}</span>
            </li>
          ))}
        </ol>
      </div>
    </section>
  );
}
