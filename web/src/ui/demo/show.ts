// What the panel makes of one answer after another.
//
// Always true: memory is bounded; a beat or an event that comes twice is taken once.

import type { Act, Beat, DemoEvent, DemoNode, DemoState } from "./control";

/** Beats of the chart: ninety seconds. */
export const BEATS_SHOWN = 450;
const EVENTS_SHOWN = 100;

export interface Shown {
  readonly now: DemoState | null;
  /** The newest beats, and the number of the first of them. */
  readonly first: number;
  readonly beats: readonly Beat[];
  /** The newest event first. */
  readonly events: readonly DemoEvent[];
}

export const NOTHING: Shown = { now: null, first: 0, beats: [], events: [] };

export function add(before: Shown, now: DemoState): Shown {
  const next = before.first + before.beats.length;
  // Beats that the program has forgotten meanwhile leave a gap: what is older goes, too.
  const isNext = before.now !== null && now.beats_first <= next;
  const fresh = isNext ? now.beats.slice(next - now.beats_first) : now.beats;
  const all = isNext ? [...before.beats, ...fresh] : fresh;
  const beats = all.slice(-BEATS_SHOWN);
  const start = isNext ? before.first : now.beats_first;
  const known = before.events[0]?.number ?? 0;
  const events = now.story.filter(({ number }) => number > known);
  return {
    now,
    first: start + all.length - beats.length,
    beats,
    events: [...[...events].reverse(), ...before.events].slice(0, EVENTS_SHOWN),
  };
}

/** What to ask for next: events and beats that are not known. */
export function wanted({ now, first, beats, events }: Shown): { readonly story: number; readonly beats: number } {
  return { story: events[0]?.number ?? 0, beats: now ? first + beats.length : 0 };
}

/** The buttons of a node: what each does now, and whether its fault is there. */
export function actsOf(node: DemoNode): readonly { readonly act: Act; readonly on: boolean; readonly disabled: boolean }[] {
  const dead = node.process === "killed";
  const busy = node.process === "starting";
  const paused = node.process === "paused";
  return [
    { act: dead || busy ? "start" : "kill", on: dead, disabled: busy },
    { act: paused ? "resume" : "pause", on: paused, disabled: dead || busy },
    { act: node.cut_off ? "join" : "cut-off", on: node.cut_off, disabled: busy },
    { act: node.slow ? "fast" : "slow", on: node.slow, disabled: busy },
    { act: node.skewed ? "set-right" : "skew", on: node.skewed, disabled: busy },
  ];
}

/** Minutes, seconds and tenths. */
export function moment(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const two = (value: number) => String(value).padStart(2, "0");
  return `${two(Math.floor(seconds / 60))}:${two(seconds % 60)}.${Math.floor((ms % 1000) / 100)}`;
}

const LOWEST_US = 500;
const HIGHEST_US = 10_000_000;

/** The height of a latency between 0 and 1: every power of ten is as high. */
export function heightOf(us: number): number {
  const [low, high] = [Math.log10(LOWEST_US), Math.log10(HIGHEST_US)];
  return Math.min(1, Math.max(0, (Math.log10(Math.max(us, LOWEST_US)) - low) / (high - low)));
}
