// The outbox reaches the cluster: every message once and in order, over deaths of nodes and tabs.

import { IDBFactory } from "fake-indexeddb";
import { expect, test } from "vitest";
import { Sender } from "../src/app/sender";
import type { Clock } from "../src/base/time";
import { clock as realClock } from "../src/base/time";
import { openKeep } from "../src/keep/database";
import type { Keep, NewOutgoing } from "../src/keep/keep";
import { Numbers } from "../src/keep/numbers";
import { Caller } from "../src/net/call";
import { Nodes } from "../src/net/nodes";
import type { Services } from "../src/wire/services";
import { Code, ConnectError } from "@connectrpc/connect";
import { FakeClock, random, refusal } from "./fakes";

interface SendRequest {
  request: { number: bigint; nonce: bigint };
  to: { value: bigint | string };
  text: string;
}

/** A cluster that executes each number once, and loses answers. */
class FakeCluster {
  readonly stored: { conversation: string; text: string }[] = [];
  readonly answers = new Map<string, { conversationId: bigint; sequence: bigint }>();
  attempts = 0;
  /** What the cluster has against a number before it executes it. */
  refuses: (number: bigint) => ConnectError | null = () => null;

  constructor(private readonly chance: () => number, public trouble = 0.5) {}

  services(): Services {
    const sendMessage = async ({ request, to, text }: SendRequest) => {
      this.attempts += 1;
      if (this.trouble > 0) await new Promise((resolve) => setTimeout(resolve, this.chance() * 3));
      const refused = this.refuses(request.number);
      if (refused) throw refused;
      if (this.chance() < this.trouble / 2) throw new ConnectError("dead before", Code.Unavailable);
      const key = `${request.nonce}/${request.number}`;
      let answer = this.answers.get(key);
      if (!answer) {
        const conversation = String(to.value);
        this.stored.push({ conversation, text });
        const sequence = this.stored.filter((each) => each.conversation === conversation).length;
        answer = { conversationId: 7n, sequence: BigInt(sequence) };
        this.answers.set(key, answer);
      }
      if (this.chance() < this.trouble / 2) throw new ConnectError("dead after", Code.Unavailable);
      return answer;
    };
    return { chat: { sendMessage } } as unknown as Services;
  }
}

const words = (conversation: number, text: string): NewOutgoing => ({
  account: 1,
  conversation,
  recipient: "",
  text,
  replyTo: 0,
  action: false,
  createdAtMs: 0,
  after: 0,
});

function tab(keep: Keep, cluster: FakeCluster, session = 5, clock: Clock = realClock) {
  const nodes = new Nodes([1, 2, 3].map((id) => ({ id, url: `http://n${id}` })));
  const caller = new Caller({ nodes, connect: () => cluster.services(), clock, onSignedOut: () => {}, chance: () => 0 });
  const sent: string[] = [];
  const sender = new Sender({
    keep,
    caller,
    clock,
    account: 1,
    session,
    onChange: () => {},
    onSent: ({ text }) => sent.push(text),
  });
  const abort = new AbortController();
  void sender.run(abort.signal);
  return { sender, sent, abort };
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 8000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error("it did not happen in time");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test.each([1, 2, 3, 4, 5, 6])("every message once and in order, over lost answers and dead tabs (seed %i)", async (seed) => {
  const chance = random(seed);
  const keep = await openKeep(new IDBFactory());
  await keep.learn(5, 0n);
  const cluster = new FakeCluster(chance);
  const expected: Record<string, string[]> = { "7": [], "8": [] };
  for (let n = 0; n < 12; n += 1) {
    const conversation = chance() < 0.5 ? 7 : 8;
    expected[String(conversation)]?.push(`message ${n}`);
    await keep.addOutgoing(words(conversation, `message ${n}`));
  }
  // Tabs die in the middle; the next one goes on.
  for (let death = 0; death < 3; death += 1) {
    const { abort } = tab(keep, cluster);
    await new Promise((resolve) => setTimeout(resolve, 20 + chance() * 60));
    abort.abort();
  }
  cluster.trouble = 0.2;
  const last = tab(keep, cluster);
  await until(async () => (await keep.listOutgoing(1)).length === 0);
  last.abort.abort();
  for (const [conversation, texts] of Object.entries(expected)) {
    const stored = cluster.stored.filter((each) => each.conversation === conversation).map(({ text }) => text);
    expect(stored).toEqual(texts);
  }
});

test("a message of an ended session is not sent again by itself", async () => {
  const keep = await openKeep(new IDBFactory());
  await keep.learn(4, 0n);
  await keep.learn(5, 0n);
  const message = await keep.addOutgoing(words(7, "perhaps sent"));
  await keep.numberOutgoing(message?.id ?? 0, 4, 0n);
  const cluster = new FakeCluster(() => 0.9, 0);
  const { abort } = tab(keep, cluster, 5);
  await until(async () => (await keep.listOutgoing(1))[0]?.state === "unknown");
  expect(cluster.stored).toEqual([]);
  abort.abort();
});

test("a message that comes while others are sent is sent, too", async () => {
  const keep = await openKeep(new IDBFactory());
  await keep.learn(5, 0n);
  const cluster = new FakeCluster(() => 0.9, 0);
  const { sender, sent, abort } = tab(keep, cluster);
  await keep.addOutgoing(words(7, "one"));
  sender.wake();
  await keep.addOutgoing(words(7, "two"));
  sender.wake();
  await until(() => sent.length === 2);
  expect(sent).toEqual(["one", "two"]);
  abort.abort();
});

const noSpace = () => refusal(Code.ResourceExhausted, "NO_SPACE");

/** A tab with a message for a cluster, and `count` further numbers that are taken one after the other. */
async function withNumbers(cluster: FakeCluster, count: number) {
  const keep = await openKeep(undefined);
  await keep.learn(5, 0n);
  await keep.addOutgoing(words(7, "waits"));
  const clock = new FakeClock();
  const { abort } = tab(keep, cluster, 5, clock);
  await clock.pass(100);
  const numbers = new Numbers(keep, 5, clock);
  const result = { taken: 0, failure: null as unknown };
  const take = async () => {
    for (; result.taken < count; result.taken += 1) await numbers.take();
  };
  void take().catch((error: unknown) => (result.failure = error));
  return { clock, keep, abort, result };
}

test("a message that waits for room holds nothing back, and is sent once when there is room", async () => {
  const cluster = new FakeCluster(() => 0.9, 0);
  cluster.refuses = noSpace;
  const { clock, keep, abort, result } = await withNumbers(cluster, 700);
  await clock.pass(90_000);
  expect(result).toEqual({ taken: 700, failure: null });
  expect((await keep.listOutgoing(1))[0]).toMatchObject({ state: "waiting" });
  cluster.refuses = () => null;
  await clock.pass(3000);
  expect(cluster.stored).toEqual([{ conversation: "7", text: "waits" }]);
  expect(await keep.listOutgoing(1)).toEqual([]);
  abort.abort();
});

test("a message that may have been sent keeps its number, and what waits for it is told so", async () => {
  const cluster = new FakeCluster(() => 0.9, 0);
  const asked = new Set<bigint>();
  cluster.refuses = (number) => {
    const first = asked.size === 0;
    asked.add(number);
    return first ? new ConnectError("reset", Code.Unavailable) : noSpace();
  };
  const { clock, keep, abort, result } = await withNumbers(cluster, 300);
  await clock.pass(60_000);
  expect(result).toMatchObject({ taken: 199, failure: { reason: "MESSAGE_WAITS", undecided: true } });
  expect([...asked]).toEqual([1n]);
  expect((await keep.listOutgoing(1))[0]).toMatchObject({ state: "waiting", key: { number: 1n } });
  abort.abort();
});

test("a number beyond what the session takes is replaced by a smaller one", async () => {
  const keep = await openKeep(new IDBFactory());
  await keep.learn(5, 900n);
  const cluster = new FakeCluster(() => 0.9, 0);
  const asked: bigint[] = [];
  cluster.refuses = (number) => {
    asked.push(number);
    return number > 259n ? refusal(Code.InvalidArgument, "REQUEST_OUT_OF_RANGE", "3") : null;
  };
  await keep.addOutgoing(words(7, "far ahead"));
  const { sent, abort } = tab(keep, cluster);
  await until(() => sent.length === 1);
  expect(asked).toEqual([901n, 4n]);
  abort.abort();
});

test.each([1, 2, 3])("first messages to a person and later ones keep their order (seed %i)", async (seed) => {
  const keep = await openKeep(new IDBFactory());
  await keep.learn(5, 0n);
  // The conversation is opened while they wait: those that follow know its number.
  const expected = Array.from({ length: 10 }, (_, n) => `message ${n}`);
  for (const [n, text] of expected.entries()) {
    await keep.addOutgoing({ ...words(n < 5 ? 0 : 7, text), recipient: n % 2 ? "Bob" : "bob" });
  }
  const cluster = new FakeCluster(random(seed), 0.3);
  const { abort } = tab(keep, cluster);
  await until(async () => (await keep.listOutgoing(1)).length === 0);
  abort.abort();
  expect(cluster.stored.map(({ text }) => text)).toEqual(expected);
});
