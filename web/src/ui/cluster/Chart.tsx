// A small live chart of the last two minutes: one or two lines, with the newest value in large.

import { clusterStrings as texts } from "../../base/cluster";
import type { Sample } from "./watch";
import { SAMPLES_MAX } from "./watch";

const WIDTH = 480;
const HEIGHT = 120;

export interface Line {
  readonly name: string;
  readonly values: readonly Sample[];
}

/** The first line has an area below it; a second one is drawn thin. */
export function Chart({ title, unit, lines }: { title: string; unit: string; lines: readonly Line[] }) {
  const values = lines.flatMap((line) => line.values.filter((value) => value !== null));
  const top = niceTop(Math.max(1, ...values));
  const shown = (value: Sample) => (value === null ? texts.unknown : value < 10 ? value.toFixed(1) : String(Math.round(value)));
  const newest = lines.map((line) => shown(line.values.at(-1) ?? null));
  const said = lines.map((line, index) => `${line.name} ${newest[index]} ${unit}`).join(", ");
  const length = lines[0]?.values.length ?? 0;
  const x = (index: number) => WIDTH - (length - 1 - index) * (WIDTH / (SAMPLES_MAX - 1));
  const y = (value: number) => HEIGHT - 1 - (value / top) * (HEIGHT - 8);
  return (
    <figure class="card chart">
      <figcaption>
        <span>{title}</span>
        <span class="chart-now">
          <b>{newest[0]}</b> {unit}
          {lines.length > 1 && <small>{` ${lines[1]?.name} ${newest[1]}`}</small>}
        </span>
      </figcaption>
      <div class="chart-plot">
        <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={`${title}: ${said}`}>
          {[0.25, 0.5, 0.75, 1].map((part) => (
            <line key={part} class="chart-grid" x1="0" x2={WIDTH} y1={y(top * part)} y2={y(top * part)} />
          ))}
          {lines.map((line, index) =>
            pieces(line.values).map(({ from, values: piece }) => {
              const points = piece.map((value, at) => `${x(from + at).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
              const [first, last] = [x(from), x(from + piece.length - 1)];
              return (
                <g key={`${index} ${from}`}>
                  {index === 0 && <polygon class="chart-area" points={`${first},${HEIGHT} ${points} ${last},${HEIGHT}`} />}
                  <polyline class={index === 0 ? "chart-line" : "chart-line chart-line-thin"} points={points} />
                </g>
              );
            }),
          )}
        </svg>
        <span class="chart-top" aria-hidden="true">{top}</span>
      </div>
    </figure>
  );
}

/** Returns the stretches of a line between samples that are missing. */
function pieces(values: readonly Sample[]): { from: number; values: number[] }[] {
  const found: { from: number; values: number[] }[] = [];
  let open: { from: number; values: number[] } | null = null;
  values.forEach((value, index) => {
    if (value === null) open = null;
    else if (open) open.values.push(value);
    else found.push((open = { from: index, values: [value] }));
  });
  return found;
}

/** Returns a round number at or above a value: 1, 2 or 5 times a power of ten. */
function niceTop(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= value) ?? value;
}
