// What was read is told to the cluster, whatever happens to nodes, rooms and pages meanwhile.

import { expect, test } from "vitest";
import { Positions } from "../src/app/positions";
import { Marks, MARKS_MAX } from "../src/keep/marks";
import type { Caller, TakesNumbers } from "../src/net/call";
import { CallError } from "../src/wire/problem";
import type { CallOptions, Services } from "../src/wire/services";
import { FakeClock, settle } from "./fakes";

const ME = 1;
const unreachable = () => new CallError("UNREACHABLE", "No node of the cluster has answered.", 0, true);
const unknown = () => new CallError("OUTCOME_UNKNOWN", "It may have been executed.", 0, true);
const forgotten = () => new CallError("UNKNOWN", "The outcome cannot be known any more.");

interface AdvanceRequest {
  readonly progress: readonly { conversationId: bigint; sequenceDelivered: bigint; sequenceRead: bigint }[];
}
type Told = readonly (readonly [conversation: number, delivered: number, read: number])[];

class FakeStorage {
  readonly kept = new Map<string, string>();
  getItem = (key: string) => this.kept.get(key) ?? null;
  setItem = (key: string, value: string) => void this.kept.set(key, value);
  removeItem = (key: string) => void this.kept.delete(key);
}

/** A page at a cluster that takes what `failure` has nothing against. */
function page(storage: FakeStorage | null = new FakeStorage()) {
  const clock = new FakeClock();
  const asked: Told[] = [];
  const taken = new Map<number, number>();
  const world = { failure: (_: Told): Error | null => null, hangs: false };
  const advancePositions = async ({ progress }: AdvanceRequest) => {
    const told = progress.map(
      (each) => [Number(each.conversationId), Number(each.sequenceDelivered), Number(each.sequenceRead)] as const,
    );
    asked.push(told);
    if (world.hangs) await new Promise(() => {});
    const failure = world.failure(told);
    if (failure) throw failure;
    for (const [conversation, , read] of told) taken.set(conversation, read);
  };
  const services = { chat: { advancePositions } } as unknown as Services;
  const caller = {
    change: (_: TakesNumbers, attempt: (...all: unknown[]) => Promise<unknown>) =>
      attempt(services, {} as CallOptions, { number: 1n, nonce: 9n }),
  } as unknown as Caller;
  const numbers = {} as TakesNumbers;
  const positions = new Positions(caller, numbers, clock, new Marks(storage, ME));
  return { clock, asked, taken, world, positions, storage };
}

test("positions are told together, and each only as far as it has come", async () => {
  const { clock, asked, positions } = page();
  positions.advance(7, 3, 0);
  positions.advance(7, 5, 5);
  positions.advance(7, 4, 4);
  positions.advance(8, 2, 2);
  await clock.pass(300);
  expect(asked).toEqual([[[7, 5, 5], [8, 2, 2]]]);
  await clock.pass(5000);
  expect(asked).toHaveLength(1);
});

test.each([
  ["no node answers", unreachable],
  ["the outcome is unknown", unknown],
  ["the outcome is forgotten", forgotten],
  ["the browser's database fails", () => new Error("the browser stored nothing")],
])("what was read while %s is told again", async (_, failure) => {
  const { clock, asked, taken, world, positions } = page();
  world.failure = failure;
  positions.advance(7, 5, 5);
  await clock.pass(3000);
  expect(asked.length).toBeGreaterThan(1);
  expect(taken.size).toBe(0);
  positions.advance(7, 9, 9);
  world.failure = () => null;
  await clock.pass(3000);
  expect([...taken]).toEqual([[7, 9]]);
  const times = asked.length;
  await clock.pass(10_000);
  expect(asked).toHaveLength(times);
});

test("a room that was left takes no other position with it", async () => {
  const { clock, asked, taken, world, positions } = page();
  world.failure = (told) =>
    told.some(([conversation]) => conversation === 8) ? new CallError("NO_SUCH_CONVERSATION", "there is no such room") : null;
  for (const conversation of [7, 8, 9]) positions.advance(conversation, 2, 2);
  await clock.pass(5000);
  expect([...taken]).toEqual([[7, 2], [9, 2]]);
  // All in one, then one by one, and never again.
  expect(asked).toHaveLength(4);
});

test("a node that dies between the single calls loses none", async () => {
  const { clock, asked, taken, world, positions } = page();
  world.failure = (told) => {
    if (told.length > 1) return new CallError("NO_SUCH_CONVERSATION", "there is no such room");
    return asked.length === 3 ? unreachable() : null;
  };
  for (const conversation of [7, 8, 9]) positions.advance(conversation, 2, 2);
  await clock.pass(5000);
  expect([...taken].sort()).toEqual([[7, 2], [8, 2], [9, 2]]);
});

test("a page that is hidden tells at once", async () => {
  const { asked, positions } = page();
  positions.advance(7, 5, 5);
  positions.flush();
  await settle();
  expect(asked).toEqual([[[7, 5, 5]]]);
});

test("the next page tells what a closed one has not told", async () => {
  const storage = new FakeStorage();
  const closed = page(storage);
  closed.world.hangs = true;
  closed.positions.advance(6, 4, 4);
  await closed.clock.pass(300);
  closed.positions.advance(7, 5, 5);
  closed.positions.advance(8, 3, 0);
  closed.positions.flush();
  const next = page(storage);
  next.positions.start();
  await next.clock.pass(300);
  expect(next.asked).toEqual([[[6, 4, 4], [7, 5, 5]]]);
  expect(storage.kept.size).toBe(0);
});

test("what a page has read without a majority outlives it", async () => {
  const storage = new FakeStorage();
  const alone = page(storage);
  alone.world.failure = unreachable;
  alone.positions.advance(7, 5, 5);
  await alone.clock.pass(300);
  const next = page(storage);
  next.positions.start();
  await next.clock.pass(300);
  expect([...next.taken]).toEqual([[7, 5]]);
});

test("what the session's end cuts off is told when the account comes back", async () => {
  const storage = new FakeStorage();
  const before = page(storage);
  before.world.failure = () => {
    before.positions.stop();
    return new CallError("SESSION_EXPIRED", "the session has ended");
  };
  before.positions.advance(7, 5, 5);
  await before.clock.pass(5000);
  expect(before.asked).toHaveLength(1);
  const after = page(storage);
  after.positions.start();
  await after.clock.pass(300);
  expect([...after.taken]).toEqual([[7, 5]]);
});

test("an account that signs out leaves no marks", async () => {
  const storage = new FakeStorage();
  const { clock, asked, positions } = page(storage);
  positions.advance(7, 5, 5);
  positions.stop();
  expect(storage.kept.size).toBe(1);
  positions.forget();
  await clock.pass(5000);
  expect(storage.kept.size).toBe(0);
  expect(asked).toEqual([]);
});

test("marks are bounded, only grow, and what is damaged is left out", () => {
  const storage = new FakeStorage();
  const marks = new Marks(storage, ME);
  marks.add([[7, 5]]);
  marks.add([[7, 3]]);
  marks.remove([[7, 4]]);
  expect([...marks.all()]).toEqual([[7, 5]]);
  marks.add(Array.from({ length: MARKS_MAX }, (_, n) => [1000 + n, 1] as const));
  expect(marks.all().size).toBe(MARKS_MAX);
  expect(marks.all().has(7)).toBe(false);
  storage.kept.set("conclave.read.1", '[[7,"x"],[8,2,3],"y",[9,4]]');
  expect([...marks.all()]).toEqual([[9, 4]]);
  storage.kept.set("conclave.read.1", "not json");
  expect(marks.all().size).toBe(0);
  const none = page(null);
  none.positions.advance(7, 5, 5);
  none.positions.flush();
  expect(new Marks(null, ME).all().size).toBe(0);
});
