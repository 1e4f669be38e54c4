// Applies events of the stream to the store.
//
// Pure but for the store: what needs a node is returned as a wish, and whoever follows the stream
// fulfils it. Events are set, never counted, except for unread messages, which are counted by their
// numbers, so a message counts once however often it comes, and for the members of a room. What
// another account does asks a node only if the page cannot know what follows: any account may do it
// many times a second, in front of every page of a room.
//
// Always true: an event at or before the store's position changes nothing.

import { batch } from "@preact/signals";
import type { Batch, ChatEvent } from "../wire/events";
import type { Message } from "../wire/values";
import type { Store } from "./store";

export interface Wishes {
  /** Read all conversations again: counts are not certain. */
  conversations: boolean;
  /** Counts may be too great; read them again, without haste. */
  counts: boolean;
  /** Read the rooms of the account again. */
  rooms: boolean;
  /** Read the accounts again: there is one that the page does not know. */
  accounts: boolean;
  /** Read everything again: events were missed. */
  everything: boolean;
  /** The addresses of the nodes have changed. */
  nodes: boolean;
  /** New messages of others. */
  readonly arrived: Message[];
  /** Conversations whose members have changed. */
  readonly members: Set<number>;
}

/** Time for which an account is shown as typing. */
const TYPING_MS = 6000;

export function noWishes(): Wishes {
  return {
    conversations: false,
    counts: false,
    rooms: false,
    accounts: false,
    everything: false,
    nodes: false,
    arrived: [],
    members: new Set(),
  };
}

/** Applies a batch that follows position `from`. */
export function applyBatch(store: Store, events: Batch, from: number, nowMs: number): Wishes {
  const wishes = noWishes();
  // Another tab follows the stream; what it handed on while this one did not listen is missing.
  if (from > store.position && store.position > 0) wishes.everything = true;
  batch(() => {
    for (const event of events.events) {
      if (event.position !== 0 && event.position <= store.position) continue;
      apply(store, event, wishes, nowMs);
      store.position = Math.max(store.position, event.position);
    }
    store.position = Math.max(store.position, events.position);
  });
  return wishes;
}

function apply(store: Store, event: ChatEvent, wishes: Wishes, nowMs: number): void {
  const me = store.me.peek()?.id ?? 0;
  switch (event.kind) {
    case "gap":
      wishes.everything = true;
      return;
    case "sent":
      return sent(store, event.message, wishes, me);
    case "edited":
      return edited(store, event.message, wishes, me);
    case "deleted":
    case "hidden":
      return gone(store, event, wishes, me);
    case "forgotten":
      return forgotten(store, event.conversation, event.through, wishes, me);
    case "reaction": {
      const { conversation, sequence, account, reaction, present, count } = event;
      const mine = account === me ? present : null;
      store.timeline(conversation).change({ kind: "reacted", sequence, reaction, count, mine });
      return;
    }
    case "advanced":
      return advanced(store, event, wishes, me);
    case "opened":
      store.set(event.conversation, { peerName: event.peer });
      return;
    case "joined":
      wishes.members.add(event.conversation);
      countMembers(store, event.conversation, 1);
      if (event.account !== me) return meet(store, event, wishes);
      // Its topic and its counts are not in the event.
      wishes.rooms = true;
      wishes.conversations = true;
      store.set(event.conversation, { roomName: event.room });
      return;
    case "left":
      wishes.members.add(event.conversation);
      countMembers(store, event.conversation, -1);
      if (event.account !== me) return;
      wishes.rooms = true;
      store.remove(event.conversation);
      return;
    case "role":
      wishes.members.add(event.conversation);
      if (event.account === me) wishes.rooms = true;
      return;
    case "topic":
      if (store.head(event.conversation)) store.set(event.conversation, { topic: event.topic });
      return;
    case "invited":
      wishes.rooms = true;
      return;
    case "account":
      store.me.value = event.account;
      return;
    case "presence": {
      const presence = new Map(store.presence.peek());
      store.presence.value = presence.set(event.name.toLowerCase(), event.state);
      return;
    }
    case "typing": {
      const typists = (store.typing.peek().get(event.conversation) ?? []).filter(
        ({ name, untilMs }) => name !== event.name && untilMs > nowMs,
      );
      typists.push({ name: event.name, untilMs: nowMs + TYPING_MS });
      store.typing.value = new Map(store.typing.peek()).set(event.conversation, typists);
      return;
    }
    case "nodes":
      wishes.nodes = true;
      return;
    case "started":
    case "heartbeat":
    case "goingAway":
    case "unknown":
      return;
  }
}

function sent(store: Store, message: Message, wishes: Wishes, me: number): void {
  const { conversation, sequence, senderId } = message;
  const head = store.head(conversation)?.peek();
  store.timeline(conversation).append(message);
  stopTyping(store, conversation, message.senderName);
  if (!head) wishes.conversations = true;
  const last = head?.last ?? 0;
  if (sequence <= last) return;
  const counts = senderId !== me && !message.deleted && sequence > (head?.read ?? 0);
  store.set(conversation, {
    last: sequence,
    newest: message,
    activeAtMs: message.sentAtMs,
    unread: (head?.unread ?? 0) + (counts ? 1 : 0),
    mentions: (head?.mentions ?? 0) + (counts && message.mentionedIds.includes(me) ? 1 : 0),
  });
  if (senderId !== me && !message.deleted) wishes.arrived.push(message);
}

/** Counts a member more or less. A count that is wrong meanwhile is set when members or rooms are read. */
function countMembers(store: Store, conversation: number, by: number): void {
  const room = store.rooms.peek().get(conversation);
  if (room) store.setMemberCount(conversation, Math.max(room.members + by, 0));
}

/** Takes an account that has joined a room into the list of accounts, if it is new there. */
function meet(store: Store, { account, name }: { account: number; name: string }, wishes: Wishes): void {
  const known = store.accounts.peek();
  if (name === "" || known.has(name.toLowerCase())) return;
  const met = { id: account, name, displayName: "", role: "user", suspended: false, createdAtMs: 0 } as const;
  store.accounts.value = new Map(known).set(name.toLowerCase(), met);
  // How it calls itself is not in the event.
  wishes.accounts = true;
}

function edited(store: Store, message: Message, wishes: Wishes, me: number): void {
  const { conversation, sequence, mentionedIds } = message;
  const timeline = store.timeline(conversation);
  const before = timeline.get(sequence);
  timeline.change({ kind: "edited", message });
  const head = store.head(conversation)?.peek();
  if (head?.newest?.sequence === sequence) store.set(conversation, { newest: message });
  // An edit may add or take a mention of the reader, which only a node counts: also in a message that
  // was read before. Where none is counted, none is taken.
  const mentions = mentionedIds.includes(me);
  if (before && before.mentionedIds.includes(me) === mentions) return;
  if (before || mentions || !head || head.mentions > 0) wishes.conversations = true;
}

function gone(
  store: Store,
  event: { readonly kind: "deleted" | "hidden"; readonly conversation: number; readonly sequence: number },
  wishes: Wishes,
  me: number,
): void {
  const { kind, conversation, sequence } = event;
  const timeline = store.timeline(conversation);
  const before = timeline.get(sequence);
  timeline.change({ kind, sequence });
  const head = store.head(conversation)?.peek();
  if (!head) return;
  if (head.newest?.sequence === sequence) {
    const newest = kind === "hidden" ? null : { ...head.newest, deleted: true, text: "" };
    store.set(conversation, { newest });
  }
  if (sequence > head.read && (!before || (before.senderId !== me && !before.deleted))) {
    wishes.conversations = true;
  }
}

function forgotten(store: Store, conversation: number, through: number, wishes: Wishes, me: number): void {
  store.timeline(conversation).forget(through);
  const head = store.head(conversation)?.peek();
  if (!head) return;
  if (head.newest && head.newest.sequence <= through) store.set(conversation, { newest: null });
  if (head.unread === 0 && head.mentions === 0) return;
  const rest = through > head.read ? unreadBehind(store, conversation, head.read, head.last, me) : null;
  if (rest) store.set(conversation, rest);
  // A node has the last word: a list that is on its way may still count what is gone. Thousands of
  // messages may be forgotten in a row, so it is not asked each time.
  wishes.counts = true;
}

function advanced(
  store: Store,
  event: {
    readonly conversation: number;
    readonly account: number;
    readonly delivered: number;
    readonly read: number;
  },
  wishes: Wishes,
  me: number,
): void {
  const { conversation, account, delivered, read } = event;
  const head = store.head(conversation)?.peek();
  if (!head) return;
  if (account !== me) {
    store.set(conversation, {
      peerDelivered: Math.max(head.peerDelivered, delivered, read),
      peerRead: Math.max(head.peerRead, read),
    });
    return;
  }
  setRead(store, conversation, read, me, wishes);
}

/** Moves the reader's own read position, and counts what is unread behind it. */
export function setRead(store: Store, conversation: number, read: number, me: number, wishes: Wishes): void {
  const head = store.head(conversation)?.peek();
  if (!head || read < head.read || (read === head.read && head.mentions === 0)) return;
  const rest = unreadBehind(store, conversation, read, head.last, me);
  if (rest === null) wishes.conversations = true;
  store.set(conversation, {
    read,
    delivered: Math.max(head.delivered, read),
    ...(rest ?? {}),
  });
}

/** Counts unread messages after `read`; `null` if the page does not have all of them. */
function unreadBehind(store: Store, conversation: number, read: number, last: number, me: number) {
  const timeline = store.timeline(conversation);
  const from = Math.max(read, timeline.forgotten) + 1;
  if (from > last) return { unread: 0, mentions: 0 };
  const range = timeline.around(from);
  if (!range || range.to < last) return null;
  const unread = timeline
    .messages({ from, to: last })
    .filter(({ senderId, deleted }) => senderId !== me && !deleted);
  const mentions = unread.filter(({ mentionedIds }) => mentionedIds.includes(me));
  return { unread: unread.length, mentions: mentions.length };
}

function stopTyping(store: Store, conversation: number, name: string): void {
  const typists = store.typing.peek().get(conversation);
  if (!typists?.some((typist) => typist.name === name)) return;
  const rest = typists.filter((typist) => typist.name !== name);
  store.typing.value = new Map(store.typing.peek()).set(conversation, rest);
}
