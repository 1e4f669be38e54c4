// The stream goes on at another node, and hands each event on once and in order.

import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { Nodes } from "../src/net/nodes";
import type { Link } from "../src/net/stream";
import { follow } from "../src/net/stream";
import type { Batch, ChatEvent } from "../src/wire/events";
import { FakeClock, message, random, sent } from "./fakes";

const encode = (position: number) => new TextEncoder().encode(String(position));
const decode = (token: Uint8Array) => Number(new TextDecoder().decode(token) || "0");

/** A log that nodes stream from; each node dies and lies as a test says. */
class Log {
  readonly events: ChatEvent[] = [];
  #wake = new Set<() => void>();

  add(): void {
    const position = this.events.length + 1;
    this.events.push(sent(position, message(1, position)));
    for (const wake of this.#wake) wake();
  }

  async *stream(node: number, token: Uint8Array, signal: AbortSignal, behaviour: Behaviour): AsyncIterable<Batch> {
    if (behaviour.refuses()) throw new ConnectError("refused", Code.Unavailable);
    let at = token.length > 0 ? decode(token) : this.events.length;
    // A node may send again what an earlier one has sent.
    at = Math.max(0, at - behaviour.repeats());
    const started: ChatEvent = { position: 0, kind: "started", node, account: 1 };
    yield { events: [started], token: encode(at), position: at };
    while (!signal.aborted) {
      if (behaviour.dies()) throw new ConnectError("reset", Code.Unavailable);
      if (at < this.events.length) {
        const events = this.events.slice(at, at + 3);
        at += events.length;
        yield { events, token: encode(at), position: at };
        continue;
      }
      await new Promise<void>((resolve) => {
        const wake = () => {
          this.#wake.delete(wake);
          signal.removeEventListener("abort", wake);
          resolve();
        };
        this.#wake.add(wake);
        signal.addEventListener("abort", wake);
        behaviour.onWait(wake);
      });
    }
  }

  wake(): void {
    for (const wake of this.#wake) wake();
  }
}

interface Behaviour {
  refuses(): boolean;
  dies(): boolean;
  repeats(): number;
  onWait(wake: () => void): void;
}

const calm: Behaviour = { refuses: () => false, dies: () => false, repeats: () => 0, onWait: () => {} };

function follower(log: Log, behaviourOf: (node: number) => Behaviour) {
  const clock = new FakeClock();
  const nodes = new Nodes([1, 2, 3].map((id) => ({ id, url: `http://node${id}` })));
  const got: number[] = [];
  const links: Link[] = [];
  const signedOut: string[] = [];
  const abort = new AbortController();
  const done = follow(
    {
      nodes,
      clock,
      chance: () => 0,
      open: (node, token, signal) => log.stream(node.id, token, signal, behaviourOf(node.id)),
      onBatch: ({ events }) => got.push(...events.flatMap((event) => (event.kind === "sent" ? [event.message.sequence] : []))),
      onLink: (link) => links.push(link),
      onSignedOut: (sentence) => signedOut.push(sentence),
    },
    abort.signal,
  );
  return { clock, nodes, got, links, signedOut, abort, done };
}

test("a stream resumes at another node where it broke", async () => {
  const log = new Log();
  let dead = false;
  const run = follower(log, (node) => ({ ...calm, refuses: () => dead && node === 1, dies: () => dead && node === 1 }));
  await run.clock.pass(10);
  log.add();
  await run.clock.pass(10);
  dead = true;
  log.add();
  log.add();
  await run.clock.pass(500);
  expect(run.got).toEqual([1, 2, 3]);
  expect(run.nodes.current.id).toBe(2);
  const live = run.links.filter(({ state }) => state === "live");
  expect(live).toMatchObject([{ node: 1, resumed: false }, { node: 2, resumed: true }]);
  run.abort.abort();
  await run.done;
});

test("a node that falls silent is left", async () => {
  const log = new Log();
  const run = follower(log, () => calm);
  await run.clock.pass(10);
  // No heartbeat comes: the node hangs.
  await run.clock.pass(1700);
  expect(run.nodes.current.id).toBe(1);
  await run.clock.pass(100);
  expect(run.nodes.current.id).toBe(2);
  const live = run.links.at(-1);
  expect(live).toMatchObject({ state: "live", node: 2 });
  // The outage began when the node was last heard.
  expect(live?.state === "live" && live.outageMs).toBeGreaterThanOrEqual(1700);
  run.abort.abort();
  await run.done;
});

test("a node that does not begin is left", async () => {
  const log = new Log();
  const hang: Behaviour = { ...calm };
  const run = follower(log, () => hang);
  run.abort.abort();
  await run.done;
  const clock = new FakeClock();
  const nodes = new Nodes([1, 2].map((id) => ({ id, url: `http://n${id}` })));
  const asked: number[] = [];
  const abort = new AbortController();
  const done = follow(
    {
      nodes,
      clock,
      open: (node) => {
        asked.push(node.id);
        return { [Symbol.asyncIterator]: () => ({ next: () => new Promise<IteratorResult<Batch>>(() => {}) }) };
      },
      onBatch: () => {},
      onLink: () => {},
      onSignedOut: () => {},
    },
    abort.signal,
  );
  await clock.pass(2000);
  expect(asked.slice(0, 2)).toEqual([1, 2]);
  abort.abort();
  await clock.pass(10_000);
  await done;
});

test("an ended session ends the stream", async () => {
  const clock = new FakeClock();
  const nodes = new Nodes([{ id: 1, url: "http://n" }]);
  const signedOut: string[] = [];
  const expired = new ConnectError("the session has ended", Code.Unauthenticated);
  const { BinaryWriter } = await import("@bufbuild/protobuf/wire");
  const value = new BinaryWriter().tag(1, 2).string("SESSION_EXPIRED").tag(2, 2).string("conclave").finish();
  expired.details.push({ type: "google.rpc.ErrorInfo", value });
  const done = follow(
    {
      nodes,
      clock,
      // eslint-disable-next-line require-yield
      open: async function* () {
        throw expired;
      },
      onBatch: () => {},
      onLink: () => {},
      onSignedOut: (sentence) => signedOut.push(sentence),
    },
    new AbortController().signal,
  );
  await clock.pass(100);
  await done;
  expect(signedOut).toEqual(["the session has ended"]);
});

test.each(Array.from({ length: 60 }, (_, seed) => [seed]))("deaths, refusals and repeats lose and double nothing (seed %i)", async (seed) => {
  const chance = random(seed);
  const log = new Log();
  let calmDown = false;
  const run = follower(log, () => ({
    refuses: () => !calmDown && chance() < 0.3,
    dies: () => !calmDown && chance() < 0.2,
    repeats: () => Math.floor(chance() * 4),
    onWait: () => {},
  }));
  await run.clock.pass(2000);
  for (let step = 0; step < 80; step += 1) {
    if (chance() < 0.6) log.add();
    else log.wake();
    if (chance() < 0.3) await run.clock.pass(Math.floor(chance() * 900));
  }
  calmDown = true;
  await run.clock.pass(20_000);
  const first = run.got[0] ?? log.events.length + 1;
  expect(run.got).toEqual(log.events.slice(first - 1).map((_, index) => first + index));
  run.abort.abort();
  await run.clock.pass(10_000);
  await run.done;
});
