// What the page of the cluster makes of one status after another: rates, times, events.
//
// Always true: memory is bounded; an event is told once, however many nodes know of it.

import { clusterStrings as texts } from "../../base/cluster";
import { NodeEventKind } from "../../gen/conclave/v1/admin_pb";

export interface NodeEvent {
  readonly number: number;
  readonly ageMs: number;
  readonly kind: NodeEventKind;
  readonly subject: number;
  readonly term: number;
  readonly voters: string;
  readonly learners: string;
}

export interface NodeView {
  readonly id: number;
  readonly address: string;
  readonly role: keyof typeof texts.roles;
  readonly term: number;
  readonly commit: number;
  readonly applied: number;
  readonly version: string;
  readonly uptimeMs: number;
  readonly freeBytes: number;
  readonly clockSkewMs: number | null;
  /** Commands decided since the node was started. */
  readonly decided: number;
  /** Commit latency of what the node has proposed lately, in milliseconds. */
  readonly latency: { readonly median: number; readonly p99: number } | null;
  readonly events: readonly NodeEvent[];
  readonly problems: readonly string[];
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
  /** The same for one event that several nodes tell. */
  readonly key: string;
  readonly atMs: number;
  readonly kind: "good" | "bad" | "plain";
  readonly text: string;
}

/** A value of a chart; `null` where there was none. */
export type Sample = number | null;

export interface Watch {
  readonly now: ClusterView | null;
  /** Commits per second, and times in milliseconds, the newest last. */
  readonly rates: readonly Sample[];
  readonly medians: readonly Sample[];
  readonly p99s: readonly Sample[];
  readonly answers: readonly Sample[];
  readonly events: readonly ClusterEvent[];
}

/** Samples of a chart: two minutes. */
export const SAMPLES_MAX = 120;
const EVENTS_MAX = 50;
/** Two tellings of one event are no further apart: nodes notice at different moments. */
const SAME_MS = 10_000;

export const NOTHING: Watch = { now: null, rates: [], medians: [], p99s: [], answers: [], events: [] };

/** `nowMs`: the date; `answerMs`: how long the node took to answer. */
export function watch(before: Watch, now: ClusterView, nowMs: number, answerMs: number): Watch {
  const latency = now.nodes.find(({ id }) => id === now.leader)?.latency ?? null;
  const add = (samples: readonly Sample[], value: Sample) => [...samples, value].slice(-SAMPLES_MAX);
  return {
    now,
    rates: add(before.rates, before.now ? rate(before.now, now) : null),
    medians: add(before.medians, latency?.median ?? null),
    p99s: add(before.p99s, latency?.p99 ?? null),
    answers: add(before.answers, answerMs),
    events: merge(before.events, now, nowMs),
  };
}

/** Returns the greatest growth that a node tells, by that node's own clock. */
function rate(before: ClusterView, now: ClusterView): Sample {
  let most: Sample = null;
  for (const node of now.nodes) {
    const known = before.nodes.find(({ id }) => id === node.id);
    const ms = known ? node.uptimeMs - known.uptimeMs : 0;
    if (!known || ms <= 0 || node.decided < known.decided) continue;
    most = Math.max(most ?? 0, ((node.decided - known.decided) / ms) * 1000);
  }
  return most;
}

function merge(known: readonly ClusterEvent[], now: ClusterView, nowMs: number): ClusterEvent[] {
  const all = [...known];
  for (const node of now.nodes) {
    for (const event of node.events) {
      const told = tell(node.id, event, nowMs - event.ageMs);
      if (!told) continue;
      const same = all.findIndex(
        ({ key, atMs }) => key === told.key && Math.abs(atMs - told.atMs) < SAME_MS,
      );
      if (same < 0) all.push(told);
    }
  }
  return all.sort((one, other) => other.atMs - one.atMs).slice(0, EVENTS_MAX);
}

function tell(node: number, event: NodeEvent, atMs: number): ClusterEvent | null {
  const { subject, term, number } = event;
  const own = `${node} ${number}`;
  switch (event.kind) {
    case NodeEventKind.STARTED:
      return { key: `started ${own}`, atMs, kind: "good", text: texts.started(node) };
    case NodeEventKind.LEADER_CHANGED: {
      const text = subject ? texts.leads(subject, term) : texts.noLeader(term);
      return { key: text, atMs, kind: subject ? "plain" : "bad", text };
    }
    case NodeEventKind.MEMBERS_CHANGED: {
      const text = texts.members(event.voters, event.learners);
      return { key: text, atMs, kind: "plain", text };
    }
    case NodeEventKind.SNAPSHOT_SENT:
      return { key: `sent ${own}`, atMs, kind: "plain", text: texts.snapshotSent(node, subject) };
    case NodeEventKind.SNAPSHOT_INSTALLED:
      return { key: `took ${own}`, atMs, kind: "plain", text: texts.snapshotInstalled(node, subject) };
    case NodeEventKind.REPAIRED:
      return { key: `repaired ${own}`, atMs, kind: "good", text: texts.repaired(node) };
    case NodeEventKind.PEER_UNREACHABLE:
      return { key: `lost ${subject}`, atMs, kind: "bad", text: texts.lost(subject) };
    case NodeEventKind.PEER_REACHABLE:
      return { key: `back ${subject}`, atMs, kind: "good", text: texts.back(subject) };
    case NodeEventKind.UNSPECIFIED:
      return null;
  }
  // A newer node tells of something that this page does not know.
  return null;
}
