// The panel of the demonstration: what it makes of answers, and how it asks.

import { describe, expect, test } from "vitest";
import { parseConfig } from "../src/app/config";
import type { DemoNode, DemoState } from "../src/ui/demo/control";
import { Control } from "../src/ui/demo/control";
import { actsOf, add, BEATS_SHOWN, heightOf, moment, NOTHING, wanted } from "../src/ui/demo/show";
import { words } from "../src/ui/demo/words";

const well: DemoNode = { node: 3, leader: false, process: "running", cut_off: false, slow: false, skewed: false };

function state(beatsFirst: number, beats: number, story: readonly number[] = []): DemoState {
  return {
    at_ms: 1000,
    nodes: [well],
    down: 0,
    majority: true,
    load: { on: true, rate: 100, rate_max: 400, full: false },
    counts: { sent: 0, acked: 0, under_way: 0, unknown: 0, refused: 0 },
    found: { verified: 0, lost: 0, twice: 0 },
    beat_ms: 200,
    beats_first: beatsFirst,
    beats: Array.from({ length: beats }, (_, index) => [beatsFirst + index, 1, 2] as const),
    pauses: [],
    story: story.map((number) => ({ number, at_ms: number, kind: "note", node: null, text: String(number) })),
  };
}

describe("one answer after another", () => {
  test("beats and events that come twice are taken once", () => {
    let shown = add(NOTHING, state(0, 3, [1, 2]));
    expect(wanted(shown)).toEqual({ story: 2, beats: 3 });
    shown = add(shown, state(2, 3, [2, 3]));
    expect(shown.beats.map(([number]) => number)).toEqual([0, 1, 2, 3, 4]);
    expect(shown.events.map(({ number }) => number)).toEqual([3, 2, 1]);
  });

  test("memory is bounded, and the numbers stay", () => {
    let shown = NOTHING;
    for (let at = 0; at < 2000; at += 10) shown = add(shown, state(at, 10, [at + 1]));
    expect(shown.beats).toHaveLength(BEATS_SHOWN);
    expect(shown.first).toBe(2000 - BEATS_SHOWN);
    expect(shown.beats[0]?.[0]).toBe(shown.first);
    expect(shown.events.length).toBeLessThanOrEqual(100);
    expect(wanted(shown).beats).toBe(2000);
  });

  test("beats that the program has forgotten leave no shifted line", () => {
    const shown = add(add(NOTHING, state(0, 5)), state(100, 5));
    expect(shown.first).toBe(100);
    expect(shown.beats.map(([number]) => number)).toEqual([100, 101, 102, 103, 104]);
    expect(wanted(shown).beats).toBe(105);
  });
});

test("a button does the opposite of the fault that is there", () => {
  const acts = (node: DemoNode) => actsOf(node).filter(({ disabled }) => !disabled).map(({ act }) => act);
  expect(acts(well)).toEqual(["kill", "pause", "cut-off", "slow", "skew"]);
  expect(acts({ ...well, process: "killed" })).toEqual(["start", "cut-off", "slow", "skew"]);
  expect(acts({ ...well, process: "paused", slow: true })).toEqual(["kill", "resume", "cut-off", "fast", "skew"]);
  expect(acts({ ...well, cut_off: true, skewed: true })).toEqual(["kill", "pause", "join", "slow", "set-right"]);
  expect(acts({ ...well, process: "starting" })).toEqual([]);
});

test("times and heights", () => {
  expect(moment(0)).toBe("00:00.0");
  expect(moment(754_321)).toBe("12:34.3");
  expect(heightOf(0)).toBe(0);
  expect(heightOf(1e9)).toBe(1);
  expect(heightOf(10_000) - heightOf(1000)).toBeCloseTo(heightOf(100_000) - heightOf(10_000));
});

test("what the panel says of a node and of the majority", () => {
  expect(words.state({ ...well, leader: true })).toBe("leader");
  expect(words.state({ ...well, leader: true, slow: true, cut_off: true })).toBe("cut off, slow disk");
  expect(words.state({ ...well, process: "killed", slow: true })).toBe("killed");
  expect(words.noMajority(3, 5)).toMatch(/^3 of 5 down: no majority/);
  expect(words.tolerates(0)).toMatch(/sending would wait/);
});

test("the panel shows its key to the program alone, and no cookie", async () => {
  const asked: [string, RequestInit][] = [];
  const send = ((url: string, init: RequestInit) => {
    asked.push([url, init]);
    const refused = url.endsWith("/kill");
    return Promise.resolve(new Response(refused ? '{"error":"node 3 does not run"}' : "{}", { status: refused ? 409 : 200 }));
  }) as typeof fetch;
  const control = new Control("http://127.0.0.1:7777", "KEY", send);
  await expect(control.act(3, "kill")).rejects.toThrow("node 3 does not run");
  await control.load(true, 50);
  await expect(control.state(1, 2)).rejects.toThrow();
  expect(asked.map(([url]) => url)).toEqual([
    "http://127.0.0.1:7777/nodes/3/kill",
    "http://127.0.0.1:7777/load",
    "http://127.0.0.1:7777/state?story=1&beats=2",
  ]);
  for (const [, { headers, credentials }] of asked) {
    expect(headers).toEqual({ authorization: "Bearer KEY" });
    expect(credentials).toBe("omit");
  }
});

test("only a cluster in a demonstration names a panel", () => {
  expect(parseConfig("{}").demo).toBe("");
  expect(parseConfig('{"demo":"javascript:alert(1)"}').demo).toBe("");
  expect(parseConfig('{"demo":"http://127.0.0.1:7777"}').demo).toBe("http://127.0.0.1:7777");
});
