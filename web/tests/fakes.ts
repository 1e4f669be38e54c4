// Stand-ins for time and nodes, so that tests decide what happens when.

import { BinaryWriter } from "@bufbuild/protobuf/wire";
import type { Code } from "@connectrpc/connect";
import { ConnectError } from "@connectrpc/connect";
import type { Clock } from "../src/base/time";
import type { ChatEvent } from "../src/wire/events";
import type { Message } from "../src/wire/values";

/** A clock that moves only when a test says so. */
export class FakeClock implements Clock {
  #now = 1000;
  #waiting: { at: number; end: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const end = () => {
        this.#waiting = this.#waiting.filter((each) => each !== waiting);
        signal?.removeEventListener("abort", end);
        resolve();
      };
      const waiting = { at: this.#now + ms, end };
      this.#waiting.push(waiting);
      signal?.addEventListener("abort", end);
    });
  }

  /** Moves on, and lets everything run that was waiting until then. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await settle();
      const next = this.#waiting.filter(({ at }) => at <= end).sort((one, other) => one.at - other.at)[0];
      if (!next) break;
      this.#now = Math.max(this.#now, next.at);
      next.end();
    }
    this.#now = end;
    await settle();
  }
}

/** Lets promises run that are ready. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
  await new Promise((resolve) => setTimeout(resolve, 0));
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
}

/** A refusal as a node explains it; `last` is the greatest number of the session. */
export function refusal(code: Code, reason: string, last?: string): ConnectError {
  const info = new BinaryWriter().tag(1, 2).string(reason).tag(2, 2).string("conclave");
  if (last !== undefined) {
    info.tag(3, 2).fork().tag(1, 2).string("request_last").tag(2, 2).string(last).join();
  }
  const error = new ConnectError("the sentence", code);
  error.details.push({ type: "google.rpc.ErrorInfo", value: info.finish() });
  return error;
}

/** Random numbers that a seed repeats. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

export function message(conversation: number, sequence: number, change: Partial<Message> = {}): Message {
  return {
    conversation,
    sequence,
    position: conversation * 1000 + sequence,
    senderId: 2,
    senderName: "bob",
    sentAtMs: 1_700_000_000_000 + sequence * 1000,
    text: `message ${sequence}`,
    deleted: false,
    editedAtMs: 0,
    replyTo: 0,
    action: false,
    mentionedIds: [],
    reactions: [],
    ...change,
  };
}

export function sent(position: number, each: Message): ChatEvent {
  return { position, kind: "sent", message: { ...each, position } };
}
