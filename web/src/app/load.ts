// Reads lists that the store begins with: conversations, rooms, accounts, blocks, presence.
//
// Always true: every list is read in pages up to a maximum. What is not in a list that was cut there
// may exist all the same.

import type { Caller } from "../net/call";
import type { Store } from "../state/store";
import { PresenceState } from "../gen/conclave/v1/live_pb";
import type { PresenceName } from "../wire/events";
import { num, toAccount, toConversation, toMember, toPreview, toRoom } from "../wire/values";
import type { Account, Conversation, Member, Message, Room } from "../wire/values";

/** Pages of a list that are read; each has up to 1000 items. */
const PAGES_MAX = 10;
const PAGE = 1000;
/** Names of one question for presence, and questions. */
const PRESENCE_NAMES = 100;
const PRESENCE_MAX = 300;

export interface Reader {
  readonly caller: Caller;
  readonly store: Store;
}

export async function readEverything(reader: Reader): Promise<void> {
  await Promise.all([
    readConversations(reader),
    readRooms(reader),
    readAccounts(reader),
    readBlocks(reader),
  ]);
  await readPresence(reader);
}

export async function readConversations({ caller, store }: Reader): Promise<void> {
  const reading = store.begin();
  try {
    const { items, cut } = await pages<Conversation & { readonly newest: Message | null }>(async (pageToken) => {
      const page = await caller.read((services, options) =>
        services.chat.listConversations({ pageSize: 500, pageToken, withLastMessage: true }, options),
      );
      const items = page.conversations.map((each) => ({
        ...toConversation(each),
        newest: each.lastMessage ? toPreview(num(each.id), each.lastMessage) : null,
      }));
      return { items, next: page.nextPageToken };
    });
    store.setConversations(items, reading, cut);
  } finally {
    store.end(reading);
  }
}

export async function readRooms({ caller, store }: Reader): Promise<void> {
  const { items } = await pages<Room>(async (pageToken) => {
    const page = await caller.read((services, options) =>
      services.rooms.listRooms({ pageSize: PAGE, pageToken, onlyOwn: true }, options),
    );
    return { items: page.rooms.map(toRoom), next: page.nextPageToken };
  });
  store.rooms.value = new Map(items.map((room) => [room.id, room]));
}

/** Lists rooms whose names match a pattern. */
export async function listRooms({ caller }: Reader, pattern: string): Promise<readonly Room[]> {
  const { items } = await pages<Room>(async (pageToken) => {
    const page = await caller.read((services, options) =>
      services.rooms.listRooms({ pageSize: 200, pageToken, pattern }, options),
    );
    return { items: page.rooms.map(toRoom), next: page.nextPageToken };
  });
  return items;
}

/** Lists the members of a room, and sets their number. */
export async function readMembers({ caller, store }: Reader, id: number, name: string): Promise<readonly Member[]> {
  const { items, cut } = await pages<Member>(async (pageToken) => {
    const page = await caller.read((services, options) =>
      services.rooms.listMembers({ name, pageSize: PAGE, pageToken }, options),
    );
    return { items: page.members.map(toMember), next: page.nextPageToken };
  });
  if (!cut) store.setMemberCount(id, items.length);
  return items;
}

export async function readAccounts({ caller, store }: Reader): Promise<void> {
  const { items, cut } = await pages<Account>(async (pageToken) => {
    const page = await caller.read((services, options) =>
      services.accounts.listAccounts({ pageSize: PAGE, pageToken }, options),
    );
    return { items: page.accounts.map(toAccount), next: page.nextPageToken };
  });
  const accounts = new Map(cut ? store.accounts.peek() : []);
  for (const account of items) accounts.set(account.name.toLowerCase(), account);
  store.accounts.value = accounts;
}

export async function readBlocks({ caller, store }: Reader): Promise<void> {
  const page = await caller.read((services, options) => services.accounts.listBlocks({}, options));
  store.blocked.value = new Set(page.accounts.map(({ name }) => name.toLowerCase()));
}

export async function readPresence({ caller, store }: Reader): Promise<void> {
  const names = store.ids
    .peek()
    .flatMap((id) => store.head(id)?.peek().peerName || [])
    .slice(0, PRESENCE_MAX);
  const states: Partial<Record<PresenceState, PresenceName>> = {
    [PresenceState.ONLINE]: "online",
    [PresenceState.AWAY]: "away",
  };
  for (let at = 0; at < names.length; at += PRESENCE_NAMES) {
    const part = names.slice(at, at + PRESENCE_NAMES);
    const page = await caller.read((services, options) =>
      services.live.getPresence({ names: part }, options),
    );
    const presence = new Map(store.presence.peek());
    for (const { accountName, state } of page.presences) {
      presence.set(accountName.toLowerCase(), states[state] ?? "offline");
    }
    store.presence.value = presence;
  }
}

/** Reads pages up to their maximum; `cut` says that there are more. */
async function pages<T>(
  read: (token: string) => Promise<{ items: T[]; next: string }>,
): Promise<{ items: T[]; cut: boolean }> {
  const all: T[] = [];
  let token = "";
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const { items, next } = await read(token);
    all.push(...items);
    if (next === "") return { items: all, cut: false };
    token = next;
  }
  return { items: all, cut: true };
}
