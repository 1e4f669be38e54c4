// Decides what follows from a failed attempt, and is the only place that does.
//
// Always true: a failure counts as "certainly not done" only if a node says that it refused the
// request before executing it. The browser does not tell a refused connection from one that broke
// later, so every lost request may have been done.

import type { Failure } from "../wire/problem";

/** What a call does: reads, changes under a request number, or changes once by an id of its own. */
export type Kind = "read" | "numbered" | "once";

export type Decision =
  | { readonly next: "refused"; readonly reason: string; readonly sentence: string; readonly waitMs: number }
  | { readonly next: "signIn"; readonly sentence: string }
  /** Take another number above `last`; with `restart`, even below the page's next one. */
  | { readonly next: "newNumber"; readonly last: bigint; readonly restart: boolean }
  /** Not executed: ask again with the same number after the wait. */
  | { readonly next: "wait"; readonly waitMs: number }
  /**
   * Not executed, because the cluster has too much to do: ask the same node again with the same number, after a wait
   * that grows. Another node would pass a change on to the same leader, which makes more work of it.
   */
  | { readonly next: "backOff"; readonly waitMs: number }
  /** The outcome cannot be known any more. */
  | { readonly next: "unknown" }
  | { readonly next: "elsewhere"; readonly maybeDone: boolean; readonly pause: boolean };

/** Wait before a cluster without space is asked again. */
const NO_SPACE_WAIT_MS = 1000;
/** First wait before a busy node is asked again, if it names none. */
const BUSY_WAIT_MS = 50;

/** `maybeDone` says that an earlier attempt with the same number may have been executed. */
export function decide(failure: Failure, kind: Kind, maybeDone: boolean): Decision {
  if (failure.kind !== "problem") return { next: "elsewhere", maybeDone: true, pause: true };
  const { reason, sentence, waitMs, requestLast } = failure;
  switch (reason) {
    case "SESSION_EXPIRED":
      return { next: "signIn", sentence };
    case "BUSY":
      // What is not passed on to the leader another node may have room for.
      if (kind !== "numbered") return { next: "elsewhere", maybeDone: false, pause: true };
      return { next: "backOff", waitMs: Math.max(waitMs, BUSY_WAIT_MS) };
    case "WRONG_CLUSTER":
    case "WRONG_NODE":
    case "WRONG_PORT":
      return { next: "elsewhere", maybeDone: false, pause: true };
    case "RATE_LIMITED":
      return { next: "wait", waitMs: Math.max(waitMs, 10) };
    case "NO_SPACE":
      return { next: "wait", waitMs: Math.max(waitMs, NO_SPACE_WAIT_MS) };
    case "GOING_AWAY":
    case "CUT_OFF":
    case "BEHIND":
      return { next: "elsewhere", maybeDone: false, pause: false };
    case "NO_LEADER":
    case "OUTCOME_UNKNOWN":
    case "NODE_BROKEN":
      return { next: "elsewhere", maybeDone: true, pause: true };
    case "LOGIN_THROTTLED":
      return maybeDone ? { next: "unknown" } : { next: "refused", reason, sentence, waitMs };
  }
  if (kind === "numbered" && requestLast !== null) {
    const last = requestLast;
    // Another request has this number, so this one was never executed under it.
    if (reason === "REQUEST_REUSED") return { next: "newNumber", last, restart: false };
    if (reason === "REQUEST_TOO_OLD") {
      return maybeDone ? { next: "unknown" } : { next: "newNumber", last, restart: false };
    }
    if (reason === "REQUEST_OUT_OF_RANGE") {
      return maybeDone
        ? { next: "elsewhere", maybeDone: true, pause: true }
        : { next: "newNumber", last, restart: true };
    }
  }
  return { next: "refused", reason, sentence, waitMs };
}
