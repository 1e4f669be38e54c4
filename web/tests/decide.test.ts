// Each failure has its consequence, the same as in the client library.

import { expect, test } from "vitest";
import { decide } from "../src/net/decide";
import type { Failure } from "../src/wire/problem";

const problem = (reason: string, requestLast: bigint | null = null, waitMs = 0): Failure => ({
  kind: "problem",
  reason,
  sentence: "a sentence",
  waitMs,
  requestLast,
});

test.each([
  [problem("SESSION_EXPIRED"), "read", false, { next: "signIn", sentence: "a sentence" }],
  [problem("RATE_LIMITED", null, 70), "numbered", true, { next: "wait", waitMs: 70 }],
  [problem("NO_SPACE"), "numbered", false, { next: "wait", waitMs: 1000 }],
  [problem("BEHIND"), "read", false, { next: "elsewhere", maybeDone: false, pause: false }],
  [problem("GOING_AWAY"), "numbered", false, { next: "elsewhere", maybeDone: false, pause: false }],
  [problem("BUSY"), "numbered", false, { next: "backOff", waitMs: 50 }],
  [problem("BUSY", null, 70), "numbered", true, { next: "backOff", waitMs: 70 }],
  [problem("BUSY", null, 70), "read", false, { next: "elsewhere", maybeDone: false, pause: true }],
  [problem("BUSY", null, 70), "once", false, { next: "elsewhere", maybeDone: false, pause: true }],
  [problem("NO_LEADER"), "numbered", false, { next: "elsewhere", maybeDone: true, pause: true }],
  [problem("OUTCOME_UNKNOWN"), "numbered", false, { next: "elsewhere", maybeDone: true, pause: true }],
  [problem("LOGIN_THROTTLED", null, 5), "once", true, { next: "unknown" }],
  [problem("REQUEST_REUSED", 7n), "numbered", true, { next: "newNumber", last: 7n, restart: false }],
  [problem("REQUEST_TOO_OLD", 7n), "numbered", false, { next: "newNumber", last: 7n, restart: false }],
  [problem("REQUEST_TOO_OLD", 7n), "numbered", true, { next: "unknown" }],
  [problem("REQUEST_OUT_OF_RANGE", 7n), "numbered", false, { next: "newNumber", last: 7n, restart: true }],
  [problem("REQUEST_OUT_OF_RANGE", 7n), "numbered", true, { next: "elsewhere", maybeDone: true, pause: true }],
  [problem("TEXT_EMPTY"), "numbered", true, { next: "refused", reason: "TEXT_EMPTY", sentence: "a sentence", waitMs: 0 }],
  [{ kind: "lost", sentence: "reset" } as Failure, "numbered", false, { next: "elsewhere", maybeDone: true, pause: true }],
  [{ kind: "silent" } as Failure, "numbered", false, { next: "elsewhere", maybeDone: true, pause: true }],
] as const)("failure %# of a $1 request", (failure, kind, maybeDone, expected) => {
  expect(decide(failure, kind, maybeDone)).toEqual(expected);
});
