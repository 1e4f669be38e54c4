// A small live chart: one line, its greatest value, and its newest one.

import { SAMPLES_MAX } from "./watch";

const WIDTH = 480;
const HEIGHT = 110;

export function Chart({ title, values }: { title: string; values: readonly number[] }) {
  const newest = values.at(-1) ?? 0;
  const top = Math.max(1, ...values) * 1.1;
  const x = (index: number) => WIDTH - (values.length - 1 - index) * (WIDTH / (SAMPLES_MAX - 1));
  const y = (value: number) => HEIGHT - (value / top) * (HEIGHT - 6) - 2;
  const points = values.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  const first = values.length > 0 ? x(0) : WIDTH;
  return (
    <figure class="card chart">
      <figcaption>
        <span>{title}</span>
        <b>{newest < 10 ? newest.toFixed(1) : Math.round(newest)}</b>
      </figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={`${title}: ${newest.toFixed(1)}`}>
        <polygon class="chart-area" points={`${first},${HEIGHT} ${points} ${WIDTH},${HEIGHT}`} />
        <polyline class="chart-line" points={points} />
      </svg>
    </figure>
  );
}
