// The latency of the last ninety seconds, on which every fail-over is a peak.

import { BEATS_SHOWN, heightOf } from "./show";
import type { Shown } from "./show";
import { words } from "./words";

const WIDTH = 900;
const HEIGHT = 220;
const LEFT = 52;
const BOTTOM = 22;
const TOP = 32;
/** Names of marks that would lie on each other are left out. */
const MARK_APART = 44;

const LINES = [
  [1000, "1 ms"],
  [10_000, "10 ms"],
  [100_000, "100 ms"],
  [1_000_000, "1 s"],
  [10_000_000, "10 s"],
] as const;

const MARKS: Readonly<Record<string, string>> = {
  killed: "kill",
  ended: "ended",
  paused: "pause",
  cut_off: "cut off",
  slow: "slow",
  started: "start",
  leader: "leads",
  no_majority: "no majority",
};

const MENDS: ReadonlySet<string> = new Set(["started", "leader"]);

export function showMs(us: number): string {
  const ms = us / 1000;
  return ms >= 1000 ? `${(ms / 1000).toFixed(1)} s` : ms >= 10 ? `${Math.round(ms)} ms` : `${ms.toFixed(1)} ms`;
}

export function Latency({ shown }: { shown: Shown }) {
  const { now, beats, first, events } = shown;
  const beatMs = now?.beat_ms ?? 200;
  const end = first + beats.length;
  const x = (beat: number) => WIDTH - 6 - (end - beat) * ((WIDTH - LEFT - 6) / BEATS_SHOWN);
  const y = (us: number) => HEIGHT - BOTTOM - heightOf(us) * (HEIGHT - BOTTOM - TOP);
  const at = (ms: number) => x(ms / beatMs);
  const floor = HEIGHT - BOTTOM;
  const worst = beats.map(([, , us], index) => `${x(first + index).toFixed(1)},${y(us).toFixed(1)}`);
  // Where nothing was acknowledged there is no median: the line has a hole.
  const median: string[][] = [[]];
  beats.forEach(([acked, us], index) => {
    if (acked > 0) median.at(-1)?.push(`${x(first + index).toFixed(1)},${y(us).toFixed(1)}`);
    else if (median.at(-1)?.length) median.push([]);
  });
  const start = x(first);
  const last = beats.slice(-5);
  const peak = Math.max(0, ...last.map(([, , us]) => us));
  const perSecond = Math.round(last.reduce((sum, [acked]) => sum + acked, 0) * (1000 / (beatMs * Math.max(1, last.length))));
  // What breaks stands above what mends, so that a fault and the next leader can both be read.
  const free = [Infinity, Infinity];
  const marks = events.flatMap((event) => {
    const [name, place] = [MARKS[event.kind], at(event.at_ms)];
    if (!name || place < LEFT) return [];
    const row = MENDS.has(event.kind) ? 1 : 0;
    const label = (free[row] ?? 0) - place >= MARK_APART;
    if (label) free[row] = place;
    return [{ event, name: event.node ? `${name} ${event.node}` : name, place, label, row }];
  });
  return (
    <figure class="demo-latency">
      <figcaption>
        <span>{words.latency}</span>
        <b>{words.latencyNow(showMs(peak), perSecond)}</b>
        <span class="demo-keys">
          <i class="demo-key demo-key-worst" />
          {words.keys.worst}
          <i class="demo-key demo-key-median" />
          {words.keys.median}
          <i class="demo-key demo-key-pause" />
          {words.keys.pause}
        </span>
      </figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={words.latencyLabel(showMs(peak))}>
        {LINES.map(([us, name]) => (
          <g key={us} class="demo-grid">
            <line x1={LEFT} x2={WIDTH} y1={y(us)} y2={y(us)} />
            <text x={LEFT - 8} y={y(us) + 4}>
              {name}
            </text>
          </g>
        ))}
        {(now?.pauses ?? []).map(({ from_ms, to_ms }) => {
          const left = Math.max(LEFT, at(from_ms));
          const width = Math.min(WIDTH - 6, at(to_ms)) - left;
          return width > 0 && <rect key={from_ms} class="demo-pause" x={left} y={TOP} width={width} height={floor - TOP} />;
        })}
        {worst.length > 0 && (
          <>
            <polygon class="demo-area" points={`${start},${floor} ${worst.join(" ")} ${x(end - 1)},${floor}`} />
            <polyline class="demo-worst" points={worst.join(" ")} />
            {median.map((part, index) => (
              <polyline key={index} class="demo-median" points={part.join(" ")} />
            ))}
          </>
        )}
        {marks.map(({ event, name, place, label, row }) => (
          <g key={event.number} class={`demo-mark demo-mark-${event.kind}`}>
            <line x1={place} x2={place} y1={TOP} y2={floor} />
            {label && (
              <text x={Math.min(place + 3, WIDTH - MARK_APART)} y={TOP - 20 + row * 13}>
                {name}
              </text>
            )}
          </g>
        ))}
        {[0, 15, 30, 45, 60, 75].map((ago) => {
          const place = x(end - (ago * 1000) / beatMs);
          return (
            <text key={ago} class="demo-time" x={place} y={HEIGHT - 5}>
              {ago === 0 ? "" : `−${ago} s`}
            </text>
          );
        })}
      </svg>
    </figure>
  );
}
