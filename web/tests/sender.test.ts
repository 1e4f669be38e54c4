// The outbox reaches the cluster: every message once and in order, over deaths of nodes and tabs.

import { IDBFactory } from "fake-indexeddb";
import { expect, test } from "vitest";
import { Sender } from "../src/app/sender";
import { clock } from "../src/base/time";
import { openKeep } from "../src/keep/database";
import type { Keep, NewOutgoing } from "../src/keep/keep";
import { Caller } from "../src/net/call";
import { Nodes } from "../src/net/nodes";
import type { Services } from "../src/wire/services";
import { Code, ConnectError } from "@connectrpc/connect";
import { random } from "./fakes";

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

  constructor(private readonly chance: () => number, public trouble = 0.5) {}

  services(): Services {
    const sendMessage = async ({ request, to, text }: SendRequest) => {
      this.attempts += 1;
      await new Promise((resolve) => setTimeout(resolve, this.chance() * 3));
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

function tab(keep: Keep, cluster: FakeCluster, session = 5) {
  const nodes = new Nodes([1, 2, 3].map((id) => ({ id, url: `http://n${id}` })), () => cluster.services());
  const caller = new Caller({ nodes, clock, onSignedOut: () => {}, chance: () => 0 });
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
