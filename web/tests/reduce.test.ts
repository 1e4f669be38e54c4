// What events make of the store: counts are true however often events come.

import { expect, test } from "vitest";
import { create } from "@bufbuild/protobuf";
import { EventSchema, MessagesForgottenSchema, SubscribeResponseSchema } from "../src/gen/conclave/v1/live_pb";
import { asksFor } from "../src/app/notify";
import { prefer } from "../src/app/preferences";
import { applyBatch, noWishes, setRead } from "../src/state/reduce";
import { Store } from "../src/state/store";
import type { Batch, ChatEvent } from "../src/wire/events";
import { toBatch } from "../src/wire/events";
import type { Account, Conversation, Room } from "../src/wire/values";
import { message, random, sent } from "./fakes";

const ME = 1;

function conversation(change: Partial<Conversation> = {}): Conversation {
  return {
    id: 1,
    roomName: "lobby",
    peerName: "",
    topic: "",
    last: 0,
    delivered: 0,
    read: 0,
    unread: 0,
    mentions: 0,
    peerDelivered: 0,
    peerRead: 0,
    ...change,
  };
}

const ALICE: Account = { id: ME, name: "alice", displayName: "", role: "user", suspended: false, createdAtMs: 0 };

function room(change: Partial<Room> = {}): Room {
  const kept = { kept: null, keptOwn: { ageMs: null, messages: null } };
  return { id: 1, name: "lobby", topic: "", public: true, members: 1, role: 1, invited: false, ...kept, ...change };
}

function store(...conversations: Conversation[]): Store {
  const made = new Store();
  made.me.value = ALICE;
  made.position = 100;
  made.setConversations(conversations.length > 0 ? conversations : [conversation()], made.begin());
  return made;
}

const batchOf = (...events: ChatEvent[]): Batch => ({
  events,
  token: new Uint8Array(),
  position: Math.max(0, ...events.map(({ position }) => position)),
});

const head = (each: Store, id = 1) => each.head(id)?.value;

test("messages of others are unread, mentions are counted, one's own are not", () => {
  const each = store();
  applyBatch(each, batchOf(sent(101, message(1, 1)), sent(102, message(1, 2, { mentionedIds: [ME] })), sent(103, message(1, 3, { senderId: ME }))), 100, 0);
  expect(head(each)).toMatchObject({ last: 3, unread: 2, mentions: 1 });
  expect(each.attention.value).toBe(1);
});

test("an event at or before the position changes nothing", () => {
  const each = store();
  applyBatch(each, batchOf(sent(101, message(1, 1))), 100, 0);
  const wishes = applyBatch(each, batchOf(sent(101, message(1, 1))), 100, 0);
  expect(head(each)).toMatchObject({ last: 1, unread: 1 });
  expect(wishes.arrived).toEqual([]);
});

test("a message that the list has counted already is not counted again", () => {
  const each = store(conversation({ last: 5, unread: 5 }));
  applyBatch(each, batchOf(sent(101, message(1, 5))), 100, 0);
  expect(head(each)).toMatchObject({ last: 5, unread: 5 });
});

test("a tab that missed a batch reads everything again", () => {
  const each = store();
  expect(applyBatch(each, batchOf(sent(120, message(1, 1))), 110, 0).everything).toBe(true);
  expect(applyBatch(each, batchOf(sent(121, message(1, 2))), 120, 0).everything).toBe(false);
});

test("reading on another device empties the count", () => {
  const each = store();
  for (let n = 1; n <= 4; n += 1) applyBatch(each, batchOf(sent(100 + n, message(1, n))), 99 + n, 0);
  const advanced = (position: number, read: number): ChatEvent => ({ position, kind: "advanced", conversation: 1, account: ME, delivered: read, read });
  applyBatch(each, batchOf(advanced(110, 2)), 104, 0);
  expect(head(each)).toMatchObject({ read: 2, unread: 2 });
  applyBatch(each, batchOf(advanced(111, 4)), 110, 0);
  expect(head(each)).toMatchObject({ read: 4, unread: 0 });
  // A position never goes back.
  applyBatch(each, batchOf(advanced(112, 1)), 111, 0);
  expect(head(each)).toMatchObject({ read: 4, unread: 0 });
});

test("a count that the page cannot know is asked for", () => {
  const each = store(conversation({ last: 50, unread: 50 }));
  const wishes = noWishes();
  setRead(each, 1, 20, ME, wishes);
  expect(wishes.conversations).toBe(true);
});

test("a list that was read before an event does not undo it", () => {
  const each = store(conversation({ last: 2, unread: 2 }));
  applyBatch(each, batchOf(sent(101, message(1, 3)), sent(102, message(1, 4, { senderId: ME }))), 100, 0);
  each.setConversations([conversation({ last: 2, unread: 2 })], each.begin());
  expect(head(each)).toMatchObject({ last: 4, unread: 3 });
  each.setConversations([conversation({ last: 4, unread: 3, mentions: 1 })], each.begin());
  expect(head(each)).toMatchObject({ last: 4, unread: 3, mentions: 1 });
  setRead(each, 1, 4, ME, noWishes());
  each.setConversations([conversation({ last: 4, unread: 3 })], each.begin());
  expect(head(each)).toMatchObject({ read: 4, unread: 0 });
});

const forgotten = (position: number, through: number): ChatEvent => ({ position, kind: "forgotten", conversation: 1, through });

test("what is forgotten is gone from the room and from the list, and is not unread", () => {
  const each = store();
  for (let n = 1; n <= 4; n += 1) applyBatch(each, batchOf(sent(100 + n, message(1, n, { mentionedIds: n === 2 ? [ME] : [] }))), 99 + n, 0);
  expect(head(each)).toMatchObject({ unread: 4, mentions: 1, newest: { sequence: 4 } });
  const wishes = applyBatch(each, batchOf(forgotten(105, 3)), 104, 0);
  expect(head(each)).toMatchObject({ last: 4, read: 0, unread: 1, mentions: 0, newest: { sequence: 4 } });
  expect(each.timeline(1).get(3)).toBeUndefined();
  expect(each.isForgotten(1, 3)).toBe(true);
  expect(each.isForgotten(1, 4)).toBe(false);
  expect(wishes).toMatchObject({ counts: true, conversations: false, everything: false });
  applyBatch(each, batchOf(forgotten(106, 4)), 105, 0);
  expect(head(each)).toMatchObject({ last: 4, unread: 0, newest: null });
  // What comes after it counts as before.
  applyBatch(each, batchOf(sent(107, message(1, 5))), 106, 0);
  expect(head(each)).toMatchObject({ last: 5, unread: 1, newest: { sequence: 5 } });
});

test("forgotten messages that were read leave the counts alone", () => {
  const each = store(conversation({ last: 9, read: 6, unread: 3 }));
  const wishes = applyBatch(each, batchOf(forgotten(101, 6)), 100, 0);
  expect(head(each)).toMatchObject({ last: 9, read: 6, unread: 3 });
  each.setConversations([conversation({ last: 9, read: 9 })], each.begin());
  expect(applyBatch(each, batchOf(forgotten(102, 9)), 101, 0)).toMatchObject({ counts: false, conversations: false });
  expect(wishes.everything).toBe(false);
});

test("a count that the page cannot know after messages are forgotten is asked for, without haste", () => {
  const each = store(conversation({ last: 500, unread: 500 }));
  const wishes = applyBatch(each, batchOf(forgotten(101, 64)), 100, 0);
  expect(wishes).toMatchObject({ counts: true, conversations: false });
  expect(head(each)?.unread).toBe(500);
});

test("reading on counts only what is kept", () => {
  const each = store(conversation({ last: 3, unread: 3 }));
  each.timeline(1).forget(2);
  each.timeline(1).append(message(1, 3));
  setRead(each, 1, 1, ME, noWishes());
  expect(head(each)).toMatchObject({ read: 1, unread: 1 });
});

test("a list that was read before messages were forgotten brings no preview back", () => {
  const each = store(conversation({ last: 5 }));
  applyBatch(each, batchOf(forgotten(101, 5)), 100, 0);
  each.setConversations([{ ...conversation({ last: 5 }), newest: message(1, 5) }], each.begin());
  expect(head(each)?.newest).toBeNull();
});

test("the stream says what is forgotten", () => {
  const event = { case: "messagesForgotten", value: create(MessagesForgottenSchema, { conversationId: 7n, throughSequence: 40n }) } as const;
  const wire = create(SubscribeResponseSchema, { position: 12n, events: [create(EventSchema, { position: 12n, event })] });
  expect(toBatch(wire).events).toEqual([{ position: 12, kind: "forgotten", conversation: 7, through: 40 }]);
});

test("delivery follows the other member", () => {
  const each = store(conversation({ roomName: "", peerName: "bob", last: 9 }));
  applyBatch(each, batchOf({ position: 101, kind: "advanced", conversation: 1, account: 2, delivered: 9, read: 4 }), 100, 0);
  expect(head(each)).toMatchObject({ peerDelivered: 9, peerRead: 4 });
});

test("leaving removes a room; joining asks for it", () => {
  const each = store();
  const left: ChatEvent = { position: 101, kind: "left", conversation: 1, room: "lobby", account: ME, name: "alice" };
  applyBatch(each, batchOf(left), 100, 0);
  expect(each.ids.value).toEqual([]);
  const joined: ChatEvent = { position: 102, kind: "joined", conversation: 7, room: "new", account: ME, name: "alice" };
  expect(applyBatch(each, batchOf(joined), 101, 0).conversations).toBe(true);
  expect(head(each, 7)).toMatchObject({ roomName: "new" });
});

test.each(["joined", "left"] as const)("a stranger that has %s changes the count and asks for nothing", (kind) => {
  const each = store();
  each.rooms.value = new Map([[1, room({ members: 5 })]]);
  each.accounts.value = new Map([["bob", { ...ALICE, id: 2, name: "Bob" }]]);
  const stranger: ChatEvent = { position: 101, kind, conversation: 1, room: "lobby", account: 2, name: "Bob" };
  const wishes = applyBatch(each, batchOf(stranger), 100, 0);
  expect(wishes).toMatchObject({ rooms: false, accounts: false, conversations: false, everything: false });
  expect([...wishes.members]).toEqual([1]);
  expect(each.rooms.value.get(1)?.members).toBe(kind === "joined" ? 6 : 4);
  expect(head(each)).toBeDefined();
});

test("an account that the page does not know is known by its name, and asked for once", () => {
  const each = store();
  const joins = (position: number): ChatEvent => ({ position, kind: "joined", conversation: 1, room: "lobby", account: 9, name: "Carol" });
  expect(applyBatch(each, batchOf(joins(101)), 100, 0)).toMatchObject({ accounts: true, rooms: false });
  expect(each.accounts.value.get("carol")).toMatchObject({ id: 9, name: "Carol" });
  expect(applyBatch(each, batchOf(joins(102)), 101, 0)).toMatchObject({ accounts: false, rooms: false });
});

test("what happens to the reader's own membership asks for the rooms", () => {
  const each = store();
  const own = { conversation: 1, room: "lobby", account: ME, name: "alice" } as const;
  expect(applyBatch(each, batchOf({ position: 101, kind: "role", conversation: 1, account: 2, role: 3 }), 100, 0).rooms).toBe(false);
  expect(applyBatch(each, batchOf({ position: 102, kind: "role", conversation: 1, account: ME, role: 3 }), 101, 0).rooms).toBe(true);
  expect(applyBatch(each, batchOf({ position: 103, kind: "left", ...own }), 102, 0).rooms).toBe(true);
  expect(applyBatch(each, batchOf({ position: 104, kind: "joined", ...own }), 103, 0).rooms).toBe(true);
});

test("an edit asks for the counts only if it may change them", () => {
  const each = store(conversation({ last: 50, read: 40, unread: 10 }), conversation({ id: 2, last: 50, read: 40, unread: 10, mentions: 1 }));
  let position = 100;
  const asks = (sequence: number, mentionedIds: readonly number[], id = 1) => {
    position += 1;
    const event: ChatEvent = { position, kind: "edited", message: message(id, sequence, { mentionedIds }) };
    return applyBatch(each, batchOf(event), position - 1, 0).conversations;
  };
  // The page holds none of them.
  expect(asks(12, [])).toBe(false);
  expect(asks(12, [2])).toBe(false);
  expect(asks(12, [ME])).toBe(true);
  expect(asks(45, [])).toBe(false);
  expect(asks(45, [ME])).toBe(true);
  // Where a mention is counted, it may be the one that is taken away.
  expect(asks(45, [], 2)).toBe(true);
  // It holds this one, which mentions no account so far.
  each.timeline(1).append(message(1, 51));
  expect(asks(51, [2])).toBe(false);
  expect(asks(51, [2, ME])).toBe(true);
  expect(asks(51, [ME])).toBe(false);
  expect(asks(51, [])).toBe(true);
});

const membership = (position: number, kind: "joined" | "left", id: number): ChatEvent => ({ position, kind, conversation: id, room: `room ${id}`, account: ME, name: "alice" });

test("a list that was on its way removes nothing that was opened meanwhile", () => {
  const each = store(conversation({ id: 1 }), conversation({ id: 2 }));
  const reading = each.begin();
  applyBatch(each, batchOf(membership(101, "joined", 7), { position: 102, kind: "opened", conversation: 8, peer: "bob" }), 100, 0);
  applyBatch(each, batchOf(sent(103, message(9, 1))), 102, 0);
  each.setConversations([conversation({ id: 1 })], reading);
  expect([...each.ids.value].sort()).toEqual([1, 7, 8, 9]);
  expect(head(each, 8)?.peerName).toBe("bob");
  // The next list has the last word.
  each.setConversations([conversation({ id: 1 }), conversation({ id: 8 })], each.begin());
  expect([...each.ids.value].sort()).toEqual([1, 8]);
});

test("a list that was on its way brings no room back that the reader has left meanwhile", () => {
  const each = store(conversation({ id: 1 }), conversation({ id: 2 }));
  const reading = each.begin();
  applyBatch(each, batchOf(membership(101, "left", 2)), 100, 0);
  each.setConversations([conversation({ id: 1 }), conversation({ id: 2 })], reading);
  expect(each.ids.value).toEqual([1]);
  // Left and joined again is joined, and the other way round.
  const other = each.begin();
  applyBatch(each, batchOf(membership(102, "joined", 2), membership(103, "left", 1), membership(104, "joined", 1), membership(105, "left", 2)), 101, 0);
  each.setConversations([conversation({ id: 2 })], other);
  expect(each.ids.value).toEqual([1]);
});

test("of two readings that overlap, the later one counts", () => {
  const each = store(conversation({ id: 1 }), conversation({ id: 2 }));
  const slow = each.begin();
  each.setConversations([conversation({ id: 1 }), conversation({ id: 3 })], each.begin());
  each.setConversations([conversation({ id: 1 }), conversation({ id: 2 })], slow);
  expect([...each.ids.value].sort()).toEqual([1, 3]);
});

test("a list that was cut removes nothing", () => {
  const each = store(conversation({ id: 1 }), conversation({ id: 2 }));
  each.setConversations([conversation({ id: 1 }), conversation({ id: 3 })], each.begin(), true);
  expect([...each.ids.value].sort()).toEqual([1, 2, 3]);
});

test("typing ends with time and with the message", () => {
  const each = store();
  const typing: ChatEvent = { position: 0, kind: "typing", conversation: 1, name: "bob" };
  applyBatch(each, batchOf(typing), 100, 1000);
  expect(each.typing.value.get(1)).toEqual([{ name: "bob", untilMs: 7000 }]);
  applyBatch(each, batchOf(sent(101, message(1, 1))), 100, 2000);
  expect(each.typing.value.get(1)).toEqual([]);
});

test("a reaction sets how many give it, and whether the reader does", () => {
  const each = store();
  applyBatch(each, batchOf(sent(101, message(1, 1))), 100, 0);
  const reaction = (position: number, account: number, count: number, present = true): ChatEvent => ({ position, kind: "reaction", conversation: 1, sequence: 1, account, reaction: "👍", present, count });
  applyBatch(each, batchOf(reaction(102, 2, 1)), 101, 0);
  expect(each.timeline(1).get(1)?.reactions).toEqual([{ reaction: "👍", count: 1, mine: false }]);
  applyBatch(each, batchOf(reaction(103, ME, 2)), 102, 0);
  applyBatch(each, batchOf(reaction(104, 2, 1, false)), 103, 0);
  expect(each.timeline(1).get(1)?.reactions).toEqual([{ reaction: "👍", count: 1, mine: true }]);
  applyBatch(each, batchOf(reaction(105, ME, 0, false)), 104, 0);
  expect(each.timeline(1).get(1)?.reactions).toEqual([]);
});

test.each(Array.from({ length: 50 }, (_, seed) => [seed]))("batches that repeat and overlap count each message once (seed %i)", (seed) => {
  const chance = random(seed);
  const each = store(conversation({ id: 1 }), conversation({ id: 2, roomName: "other" }));
  const next = { 1: 0, 2: 0 } as Record<number, number>;
  const log: ChatEvent[] = [];
  for (let position = 101; position <= 180; position += 1) {
    const id = chance() < 0.5 ? 1 : 2;
    next[id] = (next[id] ?? 0) + 1;
    log.push(sent(position, message(id, next[id] ?? 0, { senderId: chance() < 0.3 ? ME : 2 })));
  }
  let at = 0;
  while (at < log.length) {
    const from = Math.max(0, at - Math.floor(chance() * 5));
    const to = Math.min(log.length, at + 1 + Math.floor(chance() * 6));
    const events = log.slice(from, to);
    const wishes = applyBatch(each, batchOf(...events), 100 + from, 0);
    expect(wishes.everything).toBe(false);
    at = to;
  }
  for (const id of [1, 2]) {
    const all = log.flatMap((event) => (event.kind === "sent" && event.message.conversation === id ? [event.message] : []));
    expect(head(each, id)).toMatchObject({ last: all.length, unread: all.filter(({ senderId }) => senderId !== ME).length });
    expect(each.timeline(id).ranges).toEqual([{ from: 1, to: all.length }]);
  }
});

test("nothing notifies of what another device has read", () => {
  prefer({ notify: true, muted: [3] });
  const each = store(conversation(), conversation({ id: 2, roomName: "", peerName: "bob" }), conversation({ id: 3, roomName: "", peerName: "chiara" }));
  const read: ChatEvent = { position: 105, kind: "advanced", conversation: 2, account: ME, delivered: 1, read: 1 };
  const events = [
    sent(101, message(2, 1)),
    sent(102, message(2, 2)),
    sent(103, message(1, 1, { mentionedIds: [ME] })),
    sent(104, message(1, 2)),
    sent(106, message(3, 1)),
  ];
  const { arrived } = applyBatch(each, batchOf(...events.slice(0, 4), read, ...events.slice(4)), 100, 0);
  expect(arrived.filter((one) => asksFor(each, one)).map((one) => [one.conversation, one.sequence])).toEqual([[2, 2], [1, 1]]);
  prefer({ notify: false, muted: [] });
});
