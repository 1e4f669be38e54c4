// Work that is asked for again and again: never twice at once, and not without end.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { soon } from "../src/base/time";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

test("calls that come together are one run", async () => {
  const runs: number[] = [];
  const read = soon(200, () => void runs.push(performance.now()));
  const began = performance.now();
  read();
  read();
  await pass(100);
  read();
  await pass(1000);
  expect(runs).toEqual([began + 200]);
  read();
  await pass(200);
  expect(runs).toHaveLength(2);
});

test("a slow action does not run twice at once, and once more for what was asked meanwhile", async () => {
  let [running, most, runs] = [0, 0, 0];
  const read = soon(200, async () => {
    runs += 1;
    running += 1;
    most = Math.max(most, running);
    await new Promise((resolve) => setTimeout(resolve, 3000));
    running -= 1;
  });
  for (let n = 0; n < 30; n += 1) {
    read();
    await pass(100);
  }
  expect({ runs, most }).toEqual({ runs: 1, most: 1 });
  await pass(20_000);
  expect({ runs, most }).toEqual({ runs: 2, most: 1 });
});

test("seconds are between runs that are asked for all the time, and quiet ends that", async () => {
  const runs: number[] = [];
  const read = soon(200, () => void runs.push(performance.now()), 5000);
  for (let n = 0; n < 600; n += 1) {
    read();
    await pass(100);
  }
  const between = runs.slice(1).map((at, index) => at - (runs[index] ?? 0));
  expect(runs.length).toBeLessThan(20);
  expect(Math.min(...between.slice(5))).toBeGreaterThanOrEqual(5000);
  await pass(20_000);
  const began = performance.now();
  read();
  await pass(1000);
  expect(runs.at(-1)).toBe(began + 200);
});
