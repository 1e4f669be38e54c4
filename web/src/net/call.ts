// Makes one call: asks the node in use, then the others, until there is an answer or the time is up.
//
// Every attempt has a deadline, so a node that hangs is left like one that is dead. A change keeps
// its request number through all attempts, so it is executed once. A caller belongs to one session,
// whose name is in its services: when the session ends, its calls end and are not tried again, so
// that none of them is made in the name of the next account.
//
// Always true: a call ends with an answer or with a CallError that says whether it may have been
// done, and for what the call has waited.

import type { Clock } from "../base/time";
import type { Failure } from "../wire/problem";
import { CallError, toFailure } from "../wire/problem";
import type { CallOptions, Services } from "../wire/services";
import type { Kind } from "./decide";
import { decide } from "./decide";
import type { NodeAddress, Nodes } from "./nodes";

/** A request number with the nonce of the program that took it. */
export interface RequestKey {
  readonly number: bigint;
  readonly nonce: bigint;
}

/** A number that was taken for one request. */
export interface TakenNumber {
  readonly key: RequestKey;
  /** Continues above `last`, even below numbers that were taken and not used. */
  restart(last: bigint): Promise<void>;
}

export interface TakesNumbers {
  take(above?: bigint): Promise<TakenNumber>;
}

/** Time of one attempt. A commit takes milliseconds, a fail-over a second. */
const ATTEMPT_MS = 4000;
/** Time of a whole call that a person waits for. */
export const CALL_MS = 20_000;
/** First pause after all nodes failed, and the greatest. */
const PAUSE_MS_MIN = 30;
const PAUSE_MS_MAX = 1000;
/** Greatest wait before a busy node is asked again, unless it asks for a longer one. */
const BUSY_MS_MAX = 800;

type Problem = Extract<Failure, { kind: "problem" }>;
type Attempt<T> = (services: Services, options: CallOptions, key: RequestKey) => Promise<T>;

const NO_KEY: RequestKey = { number: 0n, nonce: 0n };

export interface CallerOptions {
  readonly nodes: Nodes;
  /** Makes the services of the caller's session at a node. */
  readonly connect: (url: string) => Services;
  readonly clock: Clock;
  /** Aborted when the session ends; absent for calls without a session. */
  readonly signal?: AbortSignal;
  /** Told when a node says that the session has ended, unless it has ended here before. */
  readonly onSignedOut: (sentence: string) => void;
  /** 0 to 1, for pauses that differ between pages. */
  readonly chance?: () => number;
}

export class Caller {
  readonly #services = new Map<string, Services>();

  constructor(private readonly options: CallerOptions) {}

  /** Returns the services of the session at a node. */
  services({ url }: NodeAddress): Services {
    let services = this.#services.get(url);
    if (!services) {
      services = this.options.connect(url);
      this.#services.set(url, services);
    }
    return services;
  }

  /** Reads something. */
  read<T>(attempt: Attempt<T>, callMs = CALL_MS): Promise<T> {
    return this.#run("read", attempt, null, callMs);
  }

  /** Changes something that carries an identity of its own, such as signing in. */
  once<T>(attempt: Attempt<T>, callMs = CALL_MS): Promise<T> {
    return this.#run("once", attempt, null, callMs);
  }

  /** Changes something under a request number. */
  async change<T>(numbers: TakesNumbers, attempt: Attempt<T>, callMs = CALL_MS): Promise<T> {
    let taken = await numbers.take();
    for (;;) {
      const result = await this.#attempts("numbered", attempt, taken.key, callMs, false);
      if ("value" in result) return result.value;
      if (result.restart) await taken.restart(result.last);
      taken = await numbers.take(result.last);
    }
  }

  /** Makes a change under a number that was taken before, perhaps by an earlier run of the page. */
  resume<T>(
    key: RequestKey,
    attempt: Attempt<T>,
    callMs: number,
    maybeDone: boolean,
  ): Promise<{ value: T } | { last: bigint; restart: boolean }> {
    return this.#attempts("numbered", attempt, key, callMs, maybeDone);
  }

  async #run<T>(kind: Kind, attempt: Attempt<T>, key: RequestKey | null, callMs: number): Promise<T> {
    const result = await this.#attempts(kind, attempt, key ?? NO_KEY, callMs, false);
    if ("value" in result) return result.value;
    throw new CallError("UNKNOWN", "The request number was refused.");
  }

  async #attempts<T>(
    kind: Kind,
    attempt: Attempt<T>,
    key: RequestKey,
    callMs: number,
    maybeDoneBefore: boolean,
  ): Promise<{ value: T } | { last: bigint; restart: boolean }> {
    const { nodes, clock, signal, chance = Math.random } = this.options;
    const end = clock.now() + callMs;
    let maybeDone = maybeDoneBefore;
    let failed = 0;
    let busy = 0;
    // What a node last gave as its reason.
    let waitedFor: Problem | null = null;
    const sleep = (ms: number) => clock.sleep(Math.min(ms, Math.max(end - clock.now(), 0)), signal);
    for (;;) {
      if (signal?.aborted) throw ended();
      const node = nodes.current;
      const left = end - clock.now();
      if (left <= 0) throw timeIsUp(maybeDone && kind !== "read", waitedFor);
      try {
        return { value: await this.#attempt(attempt, this.services(node), Math.min(left, ATTEMPT_MS), key) };
      } catch (error) {
        if (error instanceof CallError) throw error;
        // What failed because the session has ended says nothing about the node.
        if (signal?.aborted) throw ended();
        const failure = toFailure(error);
        if (failure.kind === "problem") waitedFor = failure;
        const decision = decide(failure, kind, maybeDone);
        switch (decision.next) {
          case "refused":
            throw new CallError(decision.reason, decision.sentence, decision.waitMs);
          case "signIn":
            this.options.onSignedOut(decision.sentence);
            throw new CallError("SESSION_EXPIRED", decision.sentence);
          case "unknown":
            throw new CallError("UNKNOWN", "The outcome of the request cannot be known any more.");
          case "newNumber":
            return decision;
          case "wait":
            await sleep(decision.waitMs);
            break;
          case "backOff": {
            const wait = Math.min(decision.waitMs * 2 ** busy, Math.max(decision.waitMs, BUSY_MS_MAX));
            busy += 1;
            // Pages that were refused together do not come back together.
            await sleep(wait * (1 + chance() / 2));
            break;
          }
          case "elsewhere":
            maybeDone ||= decision.maybeDone;
            nodes.leave(node);
            failed += 1;
            // The other nodes are asked at once; a pause follows when all were asked.
            if (failed % nodes.list.length === 0) {
              const round = failed / nodes.list.length;
              const pause = Math.min(PAUSE_MS_MIN * 2 ** round, PAUSE_MS_MAX);
              await sleep(decision.pause ? pause * (0.5 + chance() / 2) : PAUSE_MS_MIN);
            }
        }
      }
    }
  }

  async #attempt<T>(attempt: Attempt<T>, services: Services, ms: number, key: RequestKey): Promise<T> {
    const { signal } = this.options;
    const abort = new AbortController();
    const timer = new AbortController();
    const stop = () => abort.abort();
    signal?.addEventListener("abort", stop);
    const late = this.options.clock.sleep(ms, timer.signal).then(() => {
      if (!timer.signal.aborted) abort.abort();
    });
    try {
      return await attempt(services, { signal: abort.signal, timeoutMs: Math.ceil(ms) }, key);
    } finally {
      signal?.removeEventListener("abort", stop);
      timer.abort();
      await late;
    }
  }
}

function timeIsUp(maybeDone: boolean, waitedFor: Problem | null): CallError {
  if (maybeDone) {
    const sentence = "No node has answered; the request may have been executed.";
    return new CallError("OUTCOME_UNKNOWN", sentence, 0, true);
  }
  if (waitedFor) return new CallError(waitedFor.reason, waitedFor.sentence, waitedFor.waitMs, true);
  return new CallError("UNREACHABLE", "No node of the cluster has answered.", 0, true);
}

function ended(): CallError {
  return new CallError("SESSION_EXPIRED", "The session has ended.");
}
