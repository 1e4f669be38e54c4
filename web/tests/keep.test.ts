// Numbers and the outbox: shared by tabs, kept through reloads. The same tests for both stores.

import { IDBFactory } from "fake-indexeddb";
import { beforeEach, describe, expect, test } from "vitest";
import { openKeep } from "../src/keep/database";
import { Drafts, draftKey } from "../src/keep/drafts";
import type { Keep, NewOutgoing } from "../src/keep/keep";
import { claim } from "../src/keep/owner";
import { NUMBERS_AHEAD_MAX, OUTGOING_MAX } from "../src/keep/keep";

const text = (words: string, change: Partial<NewOutgoing> = {}): NewOutgoing => ({
  account: 1,
  conversation: 7,
  recipient: "",
  text: words,
  replyTo: 0,
  action: false,
  createdAtMs: 0,
  after: 0,
  ...change,
});

describe.each(["database", "memory"])("%s", (kind) => {
  let factory: IDBFactory;
  let keep: Keep;
  beforeEach(async () => {
    factory = new IDBFactory();
    keep = await openKeep(kind === "database" ? factory : undefined);
  });

  test("numbers go on above what the session has used", async () => {
    await keep.learn(5, 41n);
    expect((await keep.takeNumber(5, 0n))?.number).toBe(42n);
    await keep.learn(5, 10n);
    expect((await keep.takeNumber(5, 0n))?.number).toBe(43n);
    expect((await keep.takeNumber(5, 90n))?.number).toBe(91n);
  });

  test("numbers taken at once are all different", async () => {
    await keep.learn(5, 0n);
    const keys = await Promise.all(Array.from({ length: 50 }, () => keep.takeNumber(5, 0n)));
    expect(new Set(keys.map((key) => key?.number)).size).toBe(50);
    expect(new Set(keys.map((key) => key?.nonce)).size).toBe(1);
  });

  test("a restart goes below, with another nonce", async () => {
    await keep.learn(5, 1000n);
    const before = await keep.takeNumber(5, 0n);
    await keep.restart(5, 3n);
    const after = await keep.takeNumber(5, 0n);
    expect(after?.number).toBe(4n);
    expect(after?.nonce).not.toBe(before?.nonce);
  });

  test("messages keep their order and their number", async () => {
    await keep.learn(5, 0n);
    const one = await keep.addOutgoing(text("one"));
    const two = await keep.addOutgoing(text("two"));
    const numbered = await keep.numberOutgoing(one?.id ?? 0, 5, 0n);
    expect(numbered?.key?.number).toBe(1n);
    expect((await keep.listOutgoing(1)).map((each) => [each.text, each.key?.number ?? null])).toEqual([["one", 1n], ["two", null]]);
    await keep.changeOutgoing(two?.id ?? 0, { state: "refused", reason: "BLOCKED" });
    await keep.removeOutgoing(one?.id ?? 0);
    expect(await keep.listOutgoing(1)).toMatchObject([{ text: "two", state: "refused", reason: "BLOCKED" }]);
    expect(await keep.numberOutgoing(one?.id ?? 0, 5, 0n)).toBeNull();
  });

  test("no number gets too far ahead of a message on its way", async () => {
    await keep.learn(5, 0n);
    const one = await keep.addOutgoing(text("one"));
    await keep.numberOutgoing(one?.id ?? 0, 5, 0n);
    for (let taken = 1n; taken < NUMBERS_AHEAD_MAX; taken += 1n) expect(await keep.takeNumber(5, 0n)).not.toBeNull();
    expect(await keep.takeNumber(5, 0n)).toBeNull();
    await keep.removeOutgoing(one?.id ?? 0);
    expect(await keep.takeNumber(5, 0n)).not.toBeNull();
  });

  test("a message that was refused a number gets another one, and one that is late a newer one", async () => {
    await keep.learn(5, 500n);
    const id = (await keep.addOutgoing(text("one")))?.id ?? 0;
    const first = (await keep.numberOutgoing(id, 5, 0n))?.key ?? undefined;
    expect((await keep.numberOutgoing(id, 5, 0n))?.key).toEqual(first);
    await keep.restart(5, 3n);
    expect((await keep.numberOutgoing(id, 5, 3n, first))?.key?.number).toBe(4n);
    // Another tab has given it that one meanwhile.
    expect((await keep.numberOutgoing(id, 5, 3n, first))?.key?.number).toBe(4n);
    expect((await keep.refreshOutgoing(id, 5))?.key?.number).toBe(4n);
    // 300 further numbers are taken, as long as it is certain that it was not executed.
    for (let taken = 0; taken < 300; taken += 1) {
      if (taken % 150 === 149) await keep.refreshOutgoing(id, 5);
      expect(await keep.takeNumber(5, 0n)).not.toBeNull();
    }
    expect((await keep.listOutgoing(1))[0]?.key?.number).toBe(305n);
    await keep.removeOutgoing(id);
    expect(await keep.refreshOutgoing(id, 5)).toBeNull();
  });

  test("the outbox of an account is bounded, and an account forgets only its own", async () => {
    await keep.addOutgoing(text("of another account", { account: 2 }));
    for (let n = 1; n <= OUTGOING_MAX; n += 1) expect(await keep.addOutgoing(text(`message ${n}`))).not.toBeNull();
    expect(await keep.addOutgoing(text("one too many"))).toBeNull();
    expect(await keep.addOutgoing(text("of another account", { account: 2 }))).not.toBeNull();
    await keep.forget(1);
    expect(await keep.listOutgoing(1)).toEqual([]);
    expect(await keep.listOutgoing(2)).toHaveLength(2);
  });
});

test("a reload finds the outbox and goes on with the numbers", async () => {
  const factory = new IDBFactory();
  const before = await openKeep(factory);
  await before.learn(5, 0n);
  const one = await before.addOutgoing(text("one"));
  const numbered = await before.numberOutgoing(one?.id ?? 0, 5, 0n);
  const after = await openKeep(factory);
  expect((await after.listOutgoing(1))[0]?.key).toEqual(numbered?.key);
  expect(await after.takeNumber(5, 0n)).toEqual({ number: 2n, nonce: numbered?.key?.nonce });
});

test("two tabs never take the same number", async () => {
  const factory = new IDBFactory();
  const [one, other] = await Promise.all([openKeep(factory), openKeep(factory)]);
  await one.learn(5, 0n);
  const taken = await Promise.all(Array.from({ length: 40 }, (_, n) => (n % 2 ? one : other).takeNumber(5, 0n)));
  expect(new Set(taken.map((key) => key?.number)).size).toBe(40);
});

test("drafts survive a reload, and what is damaged is left out", () => {
  const kept = new Map<string, string>();
  const storage = {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
    removeItem: (key: string) => void kept.delete(key),
  };
  const first = new Drafts(storage, 1);
  first.set(7, { text: "half a sen", replyTo: 3 });
  first.write();
  expect(new Drafts(storage, 1).get(7)).toEqual({ text: "half a sen", replyTo: 3 });
  expect(new Drafts(storage, 2).get(7)).toEqual({ text: "", replyTo: 0 });
  kept.set("conclave.drafts.1", '[[7,{"text":5}],"x",[8,{"text":"good","replyTo":0}]]');
  const drafts = new Drafts(storage, 1);
  expect(drafts.has(7)).toBe(false);
  expect(drafts.get(8).text).toBe("good");
  kept.set("conclave.drafts.1", "not json");
  expect(new Drafts(storage, 1).has(8)).toBe(false);
});

test("two tabs keep each other's drafts", () => {
  const kept = new Map<string, string>();
  const storage = {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
    removeItem: (key: string) => void kept.delete(key),
  };
  const [one, other] = [new Drafts(storage, 1), new Drafts(storage, 1)];
  one.set(7, { text: "in one tab", replyTo: 0 });
  one.write();
  other.set(8, { text: "in the other", replyTo: 0 });
  other.write();
  expect(other.get(7).text).toBe("in one tab");
  expect(one.get(8).text).toBe("in the other");
  one.set(8, { text: "", replyTo: 0 });
  expect(one.has(8)).toBe(false);
  one.write();
  expect(other.get(8).text).toBe("");
  other.forget();
  expect(kept.size).toBe(0);
});

test("a draft to one person is none to another, and goes along when the conversation is opened", () => {
  const kept = new Map([["conclave.drafts.1", '[[0,{"text":"to anyone","replyTo":0}],[7,{"text":"kept","replyTo":0}]]']]);
  const storage = {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
    removeItem: (key: string) => void kept.delete(key),
  };
  const drafts = new Drafts(storage, 1);
  const [bob, chiara] = [draftKey(0, "Bob"), draftKey(0, "chiara")];
  // An earlier page kept the drafts to all new people under 0.
  expect([drafts.get(bob).text, drafts.get(0).text, drafts.get(7).text]).toEqual(["", "", "kept"]);
  drafts.set(bob, { text: "for Bob alone", replyTo: 0 });
  expect(drafts.get(chiara).text).toBe("");
  drafts.write();
  const after = new Drafts(storage, 1);
  expect(after.get(draftKey(0, "bob")).text).toBe("for Bob alone");
  after.move(bob, 17);
  after.write();
  const last = new Drafts(storage, 1);
  expect([last.get(bob).text, last.get(17).text, last.has(bob)]).toEqual(["", "for Bob alone", false]);
  last.set(bob, { text: "more", replyTo: 0 });
  last.move(bob, 17);
  expect(last.get(17).text).toBe("for Bob alone\nmore");
  last.move(bob, 17);
  expect(last.get(17).text).toBe("for Bob alone\nmore");
});

test("what is kept belongs to one account, and not to the next one with its number", () => {
  const kept = new Map<string, string>();
  const storage = {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
  };
  const [before, after] = [{ id: 1, createdAtMs: 1000 }, { id: 1, createdAtMs: 2000 }];
  expect([before, before, { id: 2, createdAtMs: 2000 }, after, after].map((each) => claim(storage, each))).toEqual([
    true, true, true, false, true,
  ]);
  expect(claim(null, after)).toBe(true);
  const full = { getItem: () => null, setItem: () => { throw new Error("full"); } };
  expect(claim(full, after)).toBe(true);
});
