// Lists that the page reads: what happens meanwhile stays, and a list that was cut takes nothing away.

import { expect, test } from "vitest";
import { readAccounts, readConversations, readMembers } from "../src/app/load";
import type { Caller } from "../src/net/call";
import { Store } from "../src/state/store";
import type { Services } from "../src/wire/services";
import type { Account, Room } from "../src/wire/values";

/** Pages that are read of a list. */
const PAGES_MAX = 10;

const wireConversation = (id: number) => ({
  id: BigInt(id),
  roomName: `room ${id}`,
  peerName: "",
  topic: "",
  sequenceLast: 0n,
  sequenceDelivered: 0n,
  sequenceRead: 0n,
  unread: 0n,
  unreadMentions: 0n,
  peerDelivered: 0n,
  peerRead: 0n,
});
const wireAccount = (id: number) => ({ id: BigInt(id), name: `Account${id}`, displayName: "", role: 1, suspended: false, createdAtMs: 0n });
const account = (id: number): Account => ({ id, name: `Account${id}`, displayName: "", role: "user", suspended: false, createdAtMs: 0 });
const ROOM: Room = { id: 7, name: "lobby", topic: "", public: true, members: 1, role: 1, invited: false, kept: null, keptOwn: { ageMs: null, messages: null } };

/** A node whose lists have `count` items, one on a page. */
function reader(count: number, onPage: (page: number) => void = () => {}) {
  const store = new Store();
  const page = (request: { pageToken: string }) => {
    const id = Number(request.pageToken) + 1;
    onPage(id);
    return { id, nextPageToken: id < count ? String(id) : "" };
  };
  const services = {
    chat: {
      listConversations: async (request: { pageToken: string }) => {
        const { id, nextPageToken } = page(request);
        return { conversations: [wireConversation(id)], nextPageToken };
      },
    },
    accounts: {
      listAccounts: async (request: { pageToken: string }) => {
        const { id, nextPageToken } = page(request);
        return { accounts: [wireAccount(id)], nextPageToken };
      },
    },
    rooms: {
      listMembers: async (request: { pageToken: string }) => {
        const { id, nextPageToken } = page(request);
        return { members: [{ account: wireAccount(id), role: 1 }], nextPageToken };
      },
    },
  } as unknown as Services;
  const caller = { read: (attempt: (...all: unknown[]) => unknown) => attempt(services, {}) } as unknown as Caller;
  return { store, caller };
}

test("conversations beyond the last page that is read stay", async () => {
  const long = reader(PAGES_MAX + 1);
  long.store.set(500, { roomName: "newest" });
  await readConversations(long);
  expect(long.store.ids.value).toHaveLength(PAGES_MAX + 1);
  const whole = reader(PAGES_MAX);
  whole.store.set(500, { roomName: "left elsewhere" });
  await readConversations(whole);
  expect(whole.store.ids.value).toHaveLength(PAGES_MAX);
});

test("what the stream brings between the pages stays", async () => {
  const reading = reader(3, (page) => {
    if (page === 2) reading.store.set(500, { roomName: "just joined" });
    if (page === 3) reading.store.remove(1);
  });
  reading.store.set(1, { roomName: "just left" });
  await readConversations(reading);
  expect([...reading.store.ids.value].sort()).toEqual([2, 3, 500]);
});

test("a reading that fails changes nothing", async () => {
  const failing = reader(3, (page) => {
    if (page === 2) throw new Error("no node");
  });
  failing.store.set(500, { roomName: "known" });
  await expect(readConversations(failing)).rejects.toThrow("no node");
  expect(failing.store.ids.value).toEqual([500]);
  expect(failing.store.loaded.value).toBe(false);
});

test("a list of accounts takes one away only if it is whole", async () => {
  for (const [count, met] of [[PAGES_MAX + 1, true], [PAGES_MAX, false]] as const) {
    const reading = reader(count);
    reading.store.accounts.value = new Map([["account99", account(99)]]);
    await readAccounts(reading);
    expect(reading.store.accounts.value.has("account99")).toBe(met);
    expect(reading.store.accounts.value.get("account1")).toEqual(account(1));
  }
});

test("the members of a room set its count if their list is whole", async () => {
  for (const [count, members] of [[PAGES_MAX + 1, 1], [4, 4]] as const) {
    const reading = reader(count);
    reading.store.rooms.value = new Map([[ROOM.id, ROOM]]);
    await readMembers(reading, ROOM.id, ROOM.name);
    expect(reading.store.rooms.value.get(ROOM.id)?.members).toBe(members);
  }
});
