// The panel of `conclave demo`: buttons that break nodes while messages are sent, and the figures
// that must stay at zero.

import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { config } from "../../app/session";
import { clock } from "../../base/time";
import { notice } from "../parts/notices";
import { Icon } from "../parts/Icon";
import type { Act, DemoNode, DemoState } from "./control";
import { Control } from "./control";
import "./demo.css";
import { demoKey } from "./key";
import { Latency } from "./Latency";
import type { Shown } from "./show";
import { actsOf, add, moment, NOTHING, wanted } from "./show";
import { words } from "./words";

const EVERY_MS = 250;
/** Answers that fail before the panel says that the demo is gone. */
const PATIENCE = 8;

export default function Panel() {
  const control = useMemo(() => new Control(config.peek().demo, demoKey.peek()), []);
  const [shown, setShown] = useState<Shown>(NOTHING);
  const [gone, setGone] = useState(false);
  useEffect(() => {
    const abort = new AbortController();
    void (async () => {
      let latest = NOTHING;
      let failed = 0;
      while (!abort.signal.aborted) {
        try {
          const { story, beats } = wanted(latest);
          latest = add(latest, await control.state(story, beats));
          failed = 0;
          setShown(latest);
        } catch {
          failed += 1;
        }
        setGone(failed >= PATIENCE);
        await clock.sleep(EVERY_MS, abort.signal);
      }
    })();
    return () => abort.abort();
  }, []);
  const tell = (asked: Promise<void>) => {
    asked.catch((error: unknown) => notice(error instanceof Error ? error.message : String(error), true));
  };
  const { now } = shown;
  if (gone || !now) {
    return <section class="card demo">{gone ? <p class="hint">{words.gone}</p> : <p class="hint">{words.signing}</p>}</section>;
  }
  return (
    <section class="card demo" aria-label={words.title}>
      <header class="demo-head">
        <div>
          <h2>{words.title}</h2>
          <p class="hint">{words.lead}</p>
        </div>
        <Load now={now} set={(on, rate) => tell(control.load(on, rate))} />
        <button type="button" class="button button-main" onClick={() => tell(control.heal())}>
          <Icon name="check" small /> {words.heal}
        </button>
      </header>
      <Figures now={now} />
      <Majority now={now} />
      <Latency shown={shown} />
      <ul class="demo-nodes">
        {now.nodes.map((node) => (
          <NodeOf key={node.node} node={node} act={(act) => tell(control.act(node.node, act))} />
        ))}
      </ul>
      <div>
        <h3>{words.events}</h3>
        <ol class="demo-events" tabIndex={0} aria-label={words.events}>
          {shown.events.length === 0 && <li class="hint">{words.noEvents}</li>}
          {shown.events.map((event) => (
            <li key={event.number} class={`demo-event-${event.kind}`}>
              <time>{moment(event.at_ms)}</time> {event.text}
            </li>
          ))}
        </ol>
      </div>
    </section>
  );
}

function Figures({ now }: { now: DemoState }) {
  const { counts, found } = now;
  return (
    <dl class="demo-figures">
      <Figure name={words.sent}>{counts.sent}</Figure>
      <Figure name={words.acked}>{counts.acked}</Figure>
      <Figure name={words.waiting} kind={now.majority ? "" : "warn"}>
        {counts.under_way}
      </Figure>
      <Figure name={words.lost} kind={found.lost > 0 ? "bad" : "good"}>
        {found.lost}
      </Figure>
      <Figure name={words.twice} kind={found.twice > 0 ? "bad" : "good"}>
        {found.twice}
      </Figure>
    </dl>
  );
}

function Figure({ name, kind = "", children }: { name: string; kind?: string; children: ComponentChildren }) {
  return (
    <div class={kind && `demo-${kind}`}>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Majority({ now }: { now: DemoState }) {
  const more = Math.floor((now.nodes.length - 1) / 2) - now.down;
  return (
    <p class={`demo-majority ${now.majority ? "" : "demo-majority-gone"}`} role="status">
      {now.load.full ? words.full : now.majority ? words.tolerates(more) : words.noMajority(now.down, now.nodes.length)}
    </p>
  );
}

function Load({ now, set }: { now: DemoState; set: (on: boolean, rate: number) => void }) {
  const { on, rate, rate_max } = now.load;
  return (
    <div class="demo-load">
      <label class="choice-one">
        <input type="checkbox" role="switch" checked={on} onChange={({ currentTarget }) => set(currentTarget.checked, Math.max(1, rate))} />
        {words.load}
      </label>
      <input
        type="range"
        min={10}
        max={rate_max}
        step={10}
        value={rate}
        disabled={!on}
        aria-label={words.rateLabel}
        onChange={({ currentTarget }) => set(true, Number(currentTarget.value))}
      />
      <output>{words.rate(rate)}</output>
    </div>
  );
}

function NodeOf({ node, act }: { node: DemoNode; act: (act: Act) => void }) {
  const well = node.process === "running" && !node.cut_off;
  const kind = !well ? "down" : node.slow || node.skewed ? "ill" : node.leader ? "leader" : "well";
  return (
    <li class={`demo-node demo-node-${kind}`}>
      <header>
        <h3>{words.node(node.node)}</h3>
        <span>{words.state(node)}</span>
      </header>
      <div class="demo-acts">
        {actsOf(node).map(({ act: each, on, disabled }) => (
          <button
            key={each}
            type="button"
            class={`demo-act ${on ? "demo-act-on" : ""}`}
            disabled={disabled}
            aria-label={`${words.acts[each]}: ${words.node(node.node)}`}
            onClick={() => act(each)}
          >
            {words.acts[each]}
          </button>
        ))}
      </div>
    </li>
  );
}
