// Follows the stream of events: from one node at a time, resumed by token wherever it ends.
//
// A node that is silent for longer than SILENCE_MS, or does not begin in time, is left for the next
// one. What was delivered is never delivered again: a batch whose events are at or before the last
// position is cut down to what is new.
//
// Always true: batches are handed on in the order of the log, each event of the log once, and the
// token is kept only after its batch was handed on.

import type { Clock } from "../base/time";
import { toFailure } from "../wire/problem";
import type { Batch } from "../wire/events";
import { decide } from "./decide";
import type { NodeAddress, Nodes } from "./nodes";

/** Longest silence before a node sends a heartbeat. */
export const HEARTBEAT_MS = 700;
/** Silence after which a node is taken for dead. */
const SILENCE_MS = 1750;
/** Wait for the first event of a stream: grows with every round over all nodes. */
const BEGIN_MS_MIN = 800;
const BEGIN_MS_MAX = 6000;
const PAUSE_MS_MIN = 40;
const PAUSE_MS_MAX = 1000;

export type Link =
  | { readonly state: "connecting"; readonly attempt: number; readonly node: number; readonly sinceMs: number }
  | {
      readonly state: "live";
      readonly node: number;
      /** How long no stream worked before this one, in milliseconds; 0 for the first. */
      readonly outageMs: number;
      /** Whether this stream continues an earlier one. */
      readonly resumed: boolean;
    };

export interface Subscription {
  /** Opens a stream at a node; an empty token begins now. */
  readonly open: (node: NodeAddress, token: Uint8Array, signal: AbortSignal) => AsyncIterable<Batch>;
  readonly nodes: Nodes;
  readonly clock: Clock;
  /** `from` is the position before the batch; `fresh` says that the stream began without a token. */
  readonly onBatch: (batch: Batch, from: number, fresh: boolean) => void;
  readonly onLink: (link: Link) => void;
  readonly onSignedOut: (sentence: string) => void;
  readonly chance?: () => number;
  /** Where an earlier stream of this page, or of another tab, has ended. */
  readonly resumeAt?: { readonly token: Uint8Array; readonly position: number };
}

/** Follows the stream until the signal is aborted or the session has ended. */
export async function follow(subscription: Subscription, signal: AbortSignal): Promise<void> {
  const { nodes, clock, onLink, chance = Math.random } = subscription;
  let token = subscription.resumeAt?.token ?? new Uint8Array();
  let position = subscription.resumeAt?.position ?? 0;
  let resumed = token.length > 0;
  let downAt = clock.now();
  let attempt = 0;
  while (!signal.aborted) {
    const node = nodes.current;
    onLink({ state: "connecting", attempt, node: node.id, sinceMs: downAt });
    const round = Math.floor(attempt / nodes.list.length);
    const beginMs = Math.min(BEGIN_MS_MIN * 2 ** round, BEGIN_MS_MAX);
    const end = await once(subscription, node, token, position, beginMs, signal, (started) => {
      onLink({ state: "live", node: started, outageMs: resumed ? clock.now() - downAt : 0, resumed });
      attempt = 0;
      resumed = true;
    }, (batch) => {
      token = batch.token;
      position = Math.max(position, batch.position);
    });
    if (signal.aborted) return;
    if (end.worked) downAt = end.lastHeardMs;
    switch (end.next) {
      case "signIn":
        subscription.onSignedOut(end.sentence);
        return;
      case "begin":
        token = new Uint8Array();
        position = 0;
        break;
      case "elsewhere":
        nodes.leave(node);
        attempt += 1;
        if (attempt % nodes.list.length === 0) {
          const pause = Math.min(PAUSE_MS_MIN * 2 ** (attempt / nodes.list.length), PAUSE_MS_MAX);
          await clock.sleep(pause * (0.5 + chance() / 2), signal);
        }
    }
  }
}

type End = { readonly worked: boolean; readonly lastHeardMs: number } & (
  | { readonly next: "elsewhere" | "begin" }
  | { readonly next: "signIn"; readonly sentence: string }
);

async function once(
  subscription: Subscription,
  node: NodeAddress,
  token: Uint8Array,
  positionBefore: number,
  beginMs: number,
  signal: AbortSignal,
  onStarted: (node: number) => void,
  onDone: (batch: Batch) => void,
): Promise<End> {
  const { clock } = subscription;
  const abort = new AbortController();
  const stop = () => abort.abort();
  signal.addEventListener("abort", stop);
  let position = positionBefore;
  let worked = false;
  let heardMs = clock.now();
  let silent = false;
  const iterator = subscription.open(node, token, abort.signal)[Symbol.asyncIterator]();
  try {
    for (;;) {
      const waitMs = worked ? SILENCE_MS : beginMs;
      const next = await within(clock, waitMs, iterator.next());
      if (next === "late") {
        silent = true;
        return { next: "elsewhere", worked, lastHeardMs: heardMs };
      }
      if (next.done) return { next: "elsewhere", worked, lastHeardMs: clock.now() };
      heardMs = clock.now();
      const batch = next.value;
      const started = batch.events.find(({ kind }) => kind === "started");
      if (started?.kind === "started") {
        worked = true;
        subscription.nodes.use(node);
        onStarted(started.node);
      }
      const events = batch.events.filter((event) => event.position === 0 || event.position > position);
      subscription.onBatch({ ...batch, events }, position, started !== undefined && token.length === 0);
      position = Math.max(position, batch.position);
      onDone(batch);
      if (events.some(({ kind }) => kind === "goingAway")) {
        return { next: "elsewhere", worked, lastHeardMs: clock.now() };
      }
    }
  } catch (error) {
    const failure = toFailure(error);
    const lastHeardMs = clock.now();
    if (failure.kind === "problem" && failure.reason === "RESUME_TOKEN_INVALID") {
      return { next: "begin", worked, lastHeardMs };
    }
    const decision = decide(failure, "read", false);
    if (decision.next === "signIn") return { ...decision, worked, lastHeardMs };
    if (decision.next === "wait") await clock.sleep(Math.min(decision.waitMs, PAUSE_MS_MAX), signal);
    return { next: "elsewhere", worked, lastHeardMs };
  } finally {
    signal.removeEventListener("abort", stop);
    abort.abort();
    // A stream that hangs is not waited for.
    if (!silent) void iterator.return?.()?.then(undefined, () => {});
  }
}

/** Waits for a promise, at most `ms`; a promise that is left does not become an unhandled one. */
async function within<T>(clock: Clock, ms: number, promise: Promise<T>): Promise<T | "late"> {
  const timer = new AbortController();
  promise.then(undefined, () => {});
  try {
    return await Promise.race([
      promise,
      clock.sleep(ms, timer.signal).then(() => "late" as const),
    ]);
  } finally {
    timer.abort();
  }
}
