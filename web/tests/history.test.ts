// Pages of history reach the timeline as they are after all events, also those that were missed.

import { expect, test } from "vitest";
import { History } from "../src/app/history";
import type { Caller } from "../src/net/call";
import { Store } from "../src/state/store";
import type { Services } from "../src/wire/services";

const wire = (sequence: number, text: string) => ({
  conversationId: 1n,
  sequence: BigInt(sequence),
  position: 0n,
  senderId: 2n,
  senderName: "bob",
  sentAtMs: 0n,
  text,
  deleted: false,
  editedAtMs: 0n,
  replyTo: 0n,
  action: false,
  mentionedIds: [],
  reactions: [],
});

/** A history of one message, with what happens while the page is on its way. */
function history(meanwhile: (asked: number, store: Store) => void) {
  const store = new Store();
  let asked = 0;
  const listMessages = async () => {
    asked += 1;
    const text = `as of question ${asked}`;
    meanwhile(asked, store);
    return { messages: [wire(1, text)], forgottenThrough: 0n, previousBeforeSequence: 0n, nextAfterSequence: 1n };
  };
  const services = { chat: { listMessages } } as unknown as Services;
  const caller = { read: (attempt: (...all: unknown[]) => unknown) => attempt(services, {}) } as unknown as Caller;
  return { store, pages: new History(caller, store), asked: () => asked };
}

test("a page from before events that were missed is asked for again", async () => {
  const { store, pages, asked } = history((question, each) => {
    if (question === 1) each.timeline(1).clear();
  });
  await pages.newest(1);
  expect(asked()).toBe(2);
  expect(store.timeline(1).get(1)?.text).toBe("as of question 2");
});

test("a page that misses events again and again ends with an error, and the next one begins anew", async () => {
  let misses = true;
  const { store, pages, asked } = history((_, each) => {
    if (misses) each.timeline(1).clear();
  });
  await expect(pages.newest(1)).rejects.toThrow("missed again");
  expect(asked()).toBe(5);
  misses = false;
  await pages.newest(1);
  expect(store.timeline(1).ranges).toEqual([{ from: 1, to: 1 }]);
});
