// What a conversation shows, row by row: days, the unread line, messages that belong together.

import type { Message } from "../wire/values";
import type { Outgoing } from "../keep/keep";

export type Row =
  | { readonly kind: "day"; readonly key: string; readonly atMs: number }
  | { readonly kind: "unread"; readonly key: string }
  | { readonly kind: "message"; readonly key: string; readonly message: Message; readonly head: boolean };

/** Messages of one sender within this time stand together. */
const GROUP_MS = 5 * 60_000;

export function rows(messages: readonly Message[], unreadFrom: number): Row[] {
  const found: Row[] = [];
  let before: Message | undefined;
  let marked = false;
  for (const message of messages) {
    const newDay = !before || dayOf(before.sentAtMs) !== dayOf(message.sentAtMs);
    if (newDay) found.push({ kind: "day", key: `day ${dayOf(message.sentAtMs)} ${message.sequence}`, atMs: message.sentAtMs });
    const unread = !marked && unreadFrom > 0 && message.sequence >= unreadFrom;
    if (unread) {
      marked = true;
      found.push({ kind: "unread", key: "unread" });
    }
    const head = newDay || unread || !before || !together(before, message);
    found.push({ kind: "message", key: String(message.sequence), message, head });
    before = message;
  }
  return found;
}

function together(before: Message, message: Message): boolean {
  return (
    before.senderId === message.senderId &&
    !before.action &&
    !message.action &&
    message.replyTo === 0 &&
    Math.abs(message.sentAtMs - before.sentAtMs) < GROUP_MS
  );
}

/** Returns a number that is the same for all moments of one day in the reader's zone. */
export function dayOf(ms: number): number {
  const date = new Date(ms);
  return date.getFullYear() * 10_000 + (date.getMonth() + 1) * 100 + date.getDate();
}

/**
 * Returns the messages on their way that are not yet among the stored ones: a message may come by
 * the stream before its acknowledgement.
 */
export function onTheWay(outgoing: readonly Outgoing[], stored: readonly Message[], me: number): Outgoing[] {
  const own = stored.filter(({ senderId }) => senderId === me);
  const matched = new Set<number>();
  return outgoing.filter((entry) => {
    if (entry.state === "refused") return true;
    const match = own.find(
      ({ sequence, text, replyTo }) =>
        sequence > entry.after && text === entry.text && replyTo === entry.replyTo && !matched.has(sequence),
    );
    if (match) matched.add(match.sequence);
    return !match;
  });
}

/**
 * Returns the messages on their way to a conversation, and to its person from before it was opened.
 * `id` is 0 while it is not.
 */
export function outgoingOf(outgoing: readonly Outgoing[], id: number, peerName: string): Outgoing[] {
  const peer = peerName.toLowerCase();
  return outgoing.filter(({ conversation, recipient }) =>
    peer === "" ? conversation === id : recipient.toLowerCase() === peer || (id > 0 && conversation === id),
  );
}

/** Returns the recipients of first messages that wait or were refused, each once. */
export function firstRecipients(outgoing: readonly Outgoing[], isOpen: (name: string) => boolean): string[] {
  const names = new Map<string, string>();
  for (const { conversation, recipient } of outgoing) {
    if (conversation === 0 && !isOpen(recipient)) names.set(recipient.toLowerCase(), recipient);
  }
  return [...names.values()];
}
