// What the cluster page makes of one status after another: rates, times, events.
//
// Always true: memory is bounded; an event is told once.

import { strings } from "../../base/strings";

export interface NodeView {
  readonly id: number;
  readonly address: string;
  readonly role: keyof typeof strings.roles;
  readonly term: number;
  readonly commit: number;
  readonly applied: number;
  readonly version: string;
  readonly uptimeMs: number;
  readonly freeBytes: number;
  readonly lowSpace: boolean;
  readonly clockSkewMs: number | null;
  readonly problem: string;
}

export interface ClusterView {
  readonly nodes: readonly NodeView[];
  readonly leader: number;
  readonly asked: number;
  readonly voters: number;
  readonly reachable: number;
  readonly tolerates: number;
  readonly quorum: boolean;
  readonly connections: number;
  readonly connectionsMax: number;
}

export interface ClusterEvent {
  readonly key: number;
  readonly atMs: number;
  readonly text: string;
}

export interface Watch {
  readonly now: ClusterView | null;
  readonly atMs: number;
  /** Commits per second, and answer times, the newest last. */
  readonly rates: readonly number[];
  readonly answers: readonly number[];
  readonly events: readonly ClusterEvent[];
}

/** Samples of a chart: two minutes. */
export const SAMPLES_MAX = 120;
const EVENTS_MAX = 50;

export const NOTHING: Watch = { now: null, atMs: 0, rates: [], answers: [], events: [] };

export function watch(before: Watch, now: ClusterView, atMs: number, answerMs: number): Watch {
  const commit = (view: ClusterView) => Math.max(0, ...view.nodes.map((node) => node.commit));
  const seconds = (atMs - before.atMs) / 1000;
  const rate = before.now && seconds > 0 ? Math.max(0, (commit(now) - commit(before.now)) / seconds) : 0;
  const texts = before.now ? changes(before.now, now) : [];
  const keyed = texts.map((text, index) => ({ key: before.events.length + atMs + index, atMs: Date.now(), text }));
  return {
    now,
    atMs,
    rates: [...before.rates, rate].slice(-SAMPLES_MAX),
    answers: [...before.answers, answerMs].slice(-SAMPLES_MAX),
    events: [...keyed.reverse(), ...before.events].slice(0, EVENTS_MAX),
  };
}

function changes(before: ClusterView, now: ClusterView): string[] {
  const texts: string[] = [];
  for (const node of now.nodes) {
    const known = before.nodes.find(({ id }) => id === node.id);
    if (!known) continue;
    const [was, is] = [known.role === "unreachable", node.role === "unreachable"];
    if (!was && is) texts.push(strings.nodeLost(node.id));
    if (was && !is) texts.push(strings.nodeBack(node.id));
  }
  if (before.leader !== now.leader) texts.push(strings.leaderChanged(before.leader, now.leader));
  const term = (view: ClusterView) => Math.max(0, ...view.nodes.map((node) => node.term));
  if (term(now) > term(before)) texts.push(strings.termChanged(term(now)));
  return texts;
}
