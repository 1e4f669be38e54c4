// Ranges of numbers that grow together.

export interface Range {
  readonly from: number;
  readonly to: number;
}

/** Returns the ranges with another one, joined where they touch, in order. */
export function cover(ranges: readonly Range[], range: Range): Range[] {
  if (range.to < range.from) return [...ranges];
  let { from, to } = range;
  const apart: Range[] = [];
  for (const other of ranges) {
    if (other.to + 1 < from || to + 1 < other.from) apart.push(other);
    else {
      from = Math.min(from, other.from);
      to = Math.max(to, other.to);
    }
  }
  apart.push({ from, to });
  return apart.sort((one, other) => one.from - other.from);
}
