// Tells a person who does not look: by a notification, if the person has asked for them.
//
// Always true: of all tabs one notifies, and none while the conversation is in view, or of what was
// read on another device.

import { strings } from "../base/strings";
import { preferences } from "./preferences";
import type { Store } from "../state/store";
import type { Message } from "../wire/values";
import { plain } from "../text/plain";
import { go, route } from "./route";

const TEXT_MAX = 140;
/** Wait until a message is notified of. */
const SETTLE_MS = 300;

/** Notifies of a message that names the reader, or was written to the reader alone. */
export function notifyOf(store: Store, message: Message): void {
  if (!asksFor(store, message) || isInView(message.conversation)) return;
  // After a sleep, that another device has read it comes right behind the message.
  setTimeout(() => {
    if (!asksFor(store, message)) return;
    const room = store.head(message.conversation)?.peek().roomName ?? "";
    void once(message, () => show(store, message, room));
  }, SETTLE_MS);
}

/** Returns whether the reader wants to hear of a message, and has not read it. */
export function asksFor(store: Store, { conversation, sequence, mentionedIds }: Message): boolean {
  const { notify, muted } = preferences.peek();
  const me = store.me.peek();
  const head = store.head(conversation)?.peek();
  if (!notify || !me || !head || muted.includes(conversation) || sequence <= head.read) return false;
  return head.roomName === "" || mentionedIds.includes(me.id);
}

function isInView(conversation: number): boolean {
  const at = route.peek();
  return document.hasFocus() && at.view === "conversation" && at.id === conversation;
}

/** Runs `action` in one of the tabs only. */
async function once(message: Message, action: () => void): Promise<void> {
  const name = `conclave-notify-${message.conversation}-${message.sequence}`;
  if (!("locks" in navigator)) return action();
  await navigator.locks.request(name, { ifAvailable: true }, async (lock) => {
    if (!lock) return;
    action();
    // The other tabs ask for the lock while this one holds it.
    await new Promise((resolve) => setTimeout(resolve, 1500));
  });
}

function show(store: Store, message: Message, room: string): void {
  if (!("Notification" in globalThis) || Notification.permission !== "granted") return;
  const name = store.displayName(message.senderName) || strings.deletedAccount;
  const title = room ? `${name} · #${room}` : name;
  try {
    const note = new Notification(title, {
      body: plain(message.text).slice(0, TEXT_MAX),
      tag: `conclave-${message.conversation}`,
      icon: "/icon-192.png",
    });
    note.onclick = () => {
      window.focus();
      go({ view: "conversation", id: message.conversation, sequence: 0 });
      note.close();
    };
  } catch {
    // Some browsers notify only through a service worker.
    void navigator.serviceWorker?.ready.then((worker) =>
      worker.showNotification(title, {
        body: plain(message.text).slice(0, TEXT_MAX),
        tag: `conclave-${message.conversation}`,
        icon: "/icon-192.png",
      }),
    );
  }
}

/** Asks the browser for the right to notify; only ever called from a click. */
export async function askToNotify(): Promise<boolean> {
  if (!("Notification" in globalThis)) return false;
  return (await Notification.requestPermission()) === "granted";
}
