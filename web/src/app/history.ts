// Reads pages of history into the timelines: the newest, older, newer, or around one message.
//
// Always true: of one conversation at most one page in each direction is under way; a page that was
// asked for before events were missed is asked for again.

import type { Caller } from "../net/call";
import type { Store } from "../state/store";
import type { ListMessagesResponse } from "../gen/conclave/v1/chat_pb";
import { num, toMessage } from "../wire/values";

/** Messages of a page: two screens. */
const PAGE = 60;
/** Times that a page is asked for because events were missed meanwhile; seconds are between those. */
const TIMES_MAX = 5;

type RangeOf = (page: ListMessagesResponse) => { from: number; to: number };

type From = ListMessagesRequestFrom;
type ListMessagesRequestFrom =
  | { case: "beforeSequence"; value: bigint }
  | { case: "afterSequence"; value: bigint }
  | { case: "aroundSequence"; value: bigint }
  | { case: undefined };

export class History {
  readonly #underWay = new Map<string, Promise<void>>();

  constructor(
    private readonly caller: Caller,
    private readonly store: Store,
  ) {}

  newest(conversation: number): Promise<void> {
    return this.#once(`${conversation} newest`, () =>
      this.#page(conversation, { case: undefined }, PAGE, (page) => ({
        from: num(page.previousBeforeSequence) || 1,
        to: num(page.nextAfterSequence),
      })),
    );
  }

  /** Reads the page before a number. */
  older(conversation: number, before: number, count = PAGE): Promise<void> {
    return this.#once(`${conversation} older`, () =>
      this.#page(conversation, { case: "beforeSequence", value: BigInt(before) }, count, (page) => ({
        from: num(page.previousBeforeSequence) || 1,
        to: before - 1,
      })),
    );
  }

  /** Reads the page after a number. */
  newer(conversation: number, after: number): Promise<void> {
    return this.#once(`${conversation} newer`, () =>
      this.#page(conversation, { case: "afterSequence", value: BigInt(after) }, PAGE, (page) => ({
        from: after + 1,
        to: num(page.nextAfterSequence),
      })),
    );
  }

  /** Reads what is before and after a message, and the message. */
  async around(conversation: number, sequence: number): Promise<void> {
    if (this.store.timeline(conversation).around(sequence)) return;
    return this.#once(`${conversation} around ${sequence}`, () =>
      this.#page(conversation, { case: "aroundSequence", value: BigInt(sequence) }, PAGE, (page) => ({
        from: num(page.previousBeforeSequence) || 1,
        to: num(page.nextAfterSequence),
      })),
    );
  }

  #once(key: string, read: () => Promise<void>): Promise<void> {
    let reading = this.#underWay.get(key);
    if (!reading) {
      reading = read().finally(() => this.#underWay.delete(key));
      this.#underWay.set(key, reading);
    }
    return reading;
  }

  async #page(conversation: number, from: From, pageSize: number, range: RangeOf): Promise<void> {
    for (let time = 0; time < TIMES_MAX; time += 1) {
      if (await this.#ask(conversation, from, pageSize, range)) return;
    }
    throw new Error("events are missed again and again");
  }

  /** Asks for a page; returns whether the timeline has taken it. */
  async #ask(conversation: number, from: From, pageSize: number, range: RangeOf): Promise<boolean> {
    const timeline = this.store.timeline(conversation);
    const mark = timeline.begin();
    try {
      const page = await this.caller.read((services, options) =>
        services.chat.listMessages(
          {
            conversation: { case: "conversationId", value: BigInt(conversation) },
            from,
            pageSize,
          },
          options,
        ),
      );
      timeline.forget(num(page.forgottenThrough));
      return timeline.answer(mark, page.messages.map(toMessage), range(page));
    } catch (error) {
      timeline.answer(mark, []);
      throw error;
    }
  }
}
