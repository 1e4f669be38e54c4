// A call reaches an answer over dying nodes, with one request number.

import { Code, ConnectError } from "@connectrpc/connect";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { expect, test } from "vitest";
import type { RequestKey, TakesNumbers } from "../src/net/call";
import { Caller } from "../src/net/call";
import { Nodes } from "../src/net/nodes";
import { CallError, toFailure } from "../src/wire/problem";
import type { Services } from "../src/wire/services";
import { FakeClock, refusal, settle } from "./fakes";

const urls = ["http://a", "http://b", "http://c"];

function world() {
  const clock = new FakeClock();
  const nodes = new Nodes(urls.map((url, index) => ({ id: index + 1, url })));
  const connect = (url: string) => ({ url }) as unknown as Services;
  const over = new AbortController();
  const signedOut: string[] = [];
  const caller = new Caller({
    nodes,
    connect,
    clock,
    signal: over.signal,
    onSignedOut: (sentence) => signedOut.push(sentence),
    chance: () => 0,
  });
  return { clock, nodes, caller, signedOut, over };
}

const urlOf = (services: Services) => (services as unknown as { url: string }).url;

function numbers(): TakesNumbers & { taken: RequestKey[]; restarts: bigint[] } {
  let next = 1n;
  const taken: RequestKey[] = [];
  const restarts: bigint[] = [];
  return {
    taken,
    restarts,
    async take(above = 0n) {
      if (next <= above) next = above + 1n;
      const key = { number: next, nonce: 9n };
      next += 1n;
      taken.push(key);
      return { key, restart: async (last) => void restarts.push(last) };
    },
  };
}

test("a change keeps its number over dead nodes", async () => {
  const { caller, nodes } = world();
  const asked: [string, bigint][] = [];
  const answer = await caller.change(numbers(), async (services, _, key) => {
    asked.push([urlOf(services), key.number]);
    if (asked.length < 3) throw new ConnectError("failed to fetch", Code.Unavailable);
    return "done";
  });
  expect(answer).toBe("done");
  expect(asked).toEqual([["http://a", 1n], ["http://b", 1n], ["http://c", 1n]]);
  expect(nodes.current.url).toBe("http://c");
});

test("a node that hangs is left after a deadline", async () => {
  const { caller, clock } = world();
  const asked: string[] = [];
  const done = caller.read(async (services, { signal }) => {
    asked.push(urlOf(services));
    if (asked.length > 1) return "answer";
    return new Promise<string>((_, reject) => {
      signal.addEventListener("abort", () => reject(new ConnectError("aborted", Code.Canceled)));
    });
  });
  await clock.pass(4100);
  expect(await done).toBe("answer");
  expect(asked).toEqual(["http://a", "http://b"]);
});

test("a call ends when its time is up, and says that it may have been done", async () => {
  const { caller, clock } = world();
  const fail = async () => {
    throw new ConnectError("reset", Code.Unavailable);
  };
  const change = caller.change(numbers(), fail).catch((error: unknown) => error);
  const read = caller.read(fail).catch((error: unknown) => error);
  await clock.pass(25_000);
  expect(await change).toMatchObject({ reason: "OUTCOME_UNKNOWN" });
  expect(await read).toMatchObject({ reason: "UNREACHABLE", undecided: true });
});

test("a refusal is told at once and asked once", async () => {
  const { caller } = world();
  let asked = 0;
  const refused = caller.read(async () => {
    asked += 1;
    throw refusal(Code.NotFound, "NO_SUCH_ACCOUNT");
  });
  await expect(refused).rejects.toMatchObject({ reason: "NO_SUCH_ACCOUNT", message: "the sentence" });
  await expect(refused).rejects.toBeInstanceOf(CallError);
  expect(asked).toBe(1);
});

test("a number that another program used is replaced", async () => {
  const { caller } = world();
  const own = numbers();
  const used: bigint[] = [];
  await caller.change(own, async (_, __, key) => {
    used.push(key.number);
    if (used.length === 1) throw refusal(Code.InvalidArgument, "REQUEST_REUSED", "41");
    return 0;
  });
  expect(used).toEqual([1n, 42n]);
  expect(own.restarts).toEqual([]);
});

test("numbers begin anew when the session has lost count", async () => {
  const { caller } = world();
  const own = numbers();
  let asked = 0;
  await caller.change(own, async () => {
    asked += 1;
    if (asked === 1) throw refusal(Code.InvalidArgument, "REQUEST_OUT_OF_RANGE", "3");
    return 0;
  });
  expect(own.restarts).toEqual([3n]);
});

test("an ended session signs out once", async () => {
  const { caller, signedOut } = world();
  const call = caller.read(async () => {
    throw refusal(Code.Unauthenticated, "SESSION_EXPIRED");
  });
  await expect(call).rejects.toMatchObject({ reason: "SESSION_EXPIRED" });
  expect(signedOut).toEqual(["the sentence"]);
});

test("no attempt follows when the session has ended here", async () => {
  const { caller, clock, over } = world();
  let asked = 0;
  const change = caller
    .change(numbers(), async () => {
      asked += 1;
      throw refusal(Code.ResourceExhausted, "NO_SPACE");
    })
    .catch((error: unknown) => error);
  await clock.pass(500);
  expect(asked).toBe(1);
  over.abort();
  expect(await change).toMatchObject({ reason: "SESSION_EXPIRED" });
  await clock.pass(20_000);
  await expect(caller.read(async () => (asked += 1))).rejects.toMatchObject({ reason: "SESSION_EXPIRED" });
  expect(asked).toBe(1);
});

test("an attempt under way ends with its session, and the node stays in use", async () => {
  const { caller, nodes, over, signedOut } = world();
  const read = caller
    .read(
      (_, { signal }) =>
        new Promise((_, reject) => {
          signal.addEventListener("abort", () => reject(refusal(Code.Unauthenticated, "SESSION_EXPIRED")));
        }),
    )
    .catch((error: unknown) => error);
  await settle();
  over.abort();
  expect(await read).toMatchObject({ reason: "SESSION_EXPIRED" });
  expect(nodes.current.url).toBe("http://a");
  expect(signedOut).toEqual([]);
});

test("a wait that a node asks for is kept", async () => {
  const { caller, clock } = world();
  const limited = refusal(Code.ResourceExhausted, "RATE_LIMITED");
  const delay = new BinaryWriter().tag(1, 2).fork().tag(1, 0).int64(2n).tag(2, 0).int32(500_000_000).join();
  limited.details.push({ type: "google.rpc.RetryInfo", value: delay.finish() });
  expect(toFailure(limited)).toMatchObject({ waitMs: 2500 });
  let asked = 0;
  const done = caller.read(async () => {
    asked += 1;
    if (asked === 1) throw limited;
    return "later";
  });
  await clock.pass(2400);
  expect(asked).toBe(1);
  await clock.pass(200);
  expect(await done).toBe("later");
});

test("a busy node is asked again, after waits that grow from its own", async () => {
  const { caller, clock, nodes } = world();
  const busy = refusal(Code.ResourceExhausted, "BUSY");
  const delay = new BinaryWriter().tag(1, 2).fork().tag(2, 0).int32(100_000_000).join();
  busy.details.push({ type: "google.rpc.RetryInfo", value: delay.finish() });
  const began = clock.now();
  const asked: [string, bigint, number][] = [];
  const done = caller.change(numbers(), async (services, _, key) => {
    asked.push([urlOf(services), key.number, clock.now() - began]);
    if (asked.length < 7) throw busy;
    return "done";
  });
  await clock.pass(10_000);
  expect(await done).toBe("done");
  expect(asked.map(([url, number]) => [url, number])).toEqual(Array(7).fill(["http://a", 1n]));
  expect(asked.map(([, , at]) => at)).toEqual([0, 100, 300, 700, 1500, 2300, 3100]);
  expect(nodes.current.url).toBe("http://a");
});

test("a change that meets busy nodes alone ends as certainly not done", async () => {
  const { caller, clock } = world();
  const change = caller
    .change(numbers(), async () => {
      throw refusal(Code.ResourceExhausted, "BUSY");
    })
    .catch((error: unknown) => error);
  await clock.pass(25_000);
  expect(await change).toMatchObject({ reason: "BUSY", message: "the sentence", undecided: true });
});

test.each(["NO_SPACE", "RATE_LIMITED", "BUSY"])("a change that only waits because of %s ends with that reason", async (reason) => {
  const { caller, clock } = world();
  const second = new BinaryWriter().tag(1, 2).fork().tag(1, 0).int64(1n).join().finish();
  const refused = async () => {
    const error = refusal(Code.ResourceExhausted, reason);
    error.details.push({ type: "google.rpc.RetryInfo", value: second });
    throw error;
  };
  const change = caller.change(numbers(), refused).catch((error: unknown) => error);
  const read = caller.read(refused).catch((error: unknown) => error);
  await clock.pass(25_000);
  expect(await change).toMatchObject({ reason, message: "the sentence", undecided: true });
  expect(await read).toMatchObject({ reason, message: "the sentence", undecided: true });
});

test("a change that was lost once may have been done, whatever it waits for afterwards", async () => {
  const { caller, clock } = world();
  let asked = 0;
  const change = caller
    .change(numbers(), async () => {
      asked += 1;
      throw asked === 1 ? new ConnectError("reset", Code.Unavailable) : refusal(Code.ResourceExhausted, "NO_SPACE");
    })
    .catch((error: unknown) => error);
  await clock.pass(25_000);
  expect(await change).toMatchObject({ reason: "OUTCOME_UNKNOWN", undecided: true });
});

test("a read that a busy node refuses goes to another", async () => {
  const { caller } = world();
  const asked: string[] = [];
  const answer = await caller.read(async (services) => {
    asked.push(urlOf(services));
    if (asked.length === 1) throw refusal(Code.ResourceExhausted, "BUSY");
    return "answer";
  });
  expect(answer).toBe("answer");
  expect(asked).toEqual(["http://a", "http://b"]);
});

test("a status of a proxy counts as a lost request", async () => {
  expect(toFailure(new ConnectError("bad gateway", Code.Unavailable)).kind).toBe("lost");
  expect(toFailure(new TypeError("Failed to fetch")).kind).toBe("lost");
  expect(toFailure(new ConnectError("late", Code.DeadlineExceeded)).kind).toBe("silent");
  await settle();
});
