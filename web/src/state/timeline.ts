// The messages of one conversation that this page has, by their numbers.
//
// History comes in pages and news by the stream; both say which numbers they cover, so the page
// knows of every stretch whether it has all of it. Where pages and news meet, they become one range.
//
// Numbers of messages that are no longer kept count as known: nothing is there, and nothing is asked.
//
// Always true: each message is there once; inside a range none is missing; an answer that was on its
// way while an event came does not undo the event; no message at or below `forgotten` is there.

import { signal } from "@preact/signals";
import type { Message, Reaction } from "../wire/values";
import type { Range } from "./ranges";
import { cover } from "./ranges";

export type Change =
  | { readonly kind: "edited"; readonly message: Message }
  | { readonly kind: "deleted"; readonly sequence: number }
  | { readonly kind: "hidden"; readonly sequence: number }
  | {
      readonly kind: "reacted";
      readonly sequence: number;
      readonly reaction: string;
      readonly count: number;
      /** Whether the reader gives it; `null` if that has not changed. */
      readonly mine: boolean | null;
    };

/** Where a fetch began. */
export interface Mark {
  /** Changes that had come before it. */
  readonly late: number;
  /** How often everything had been forgotten before it. */
  readonly clears: number;
}

/** Messages that are kept around the part in view. */
export const KEPT_MAX = 1500;
/** Messages that are kept of a conversation that is not open: some screens. */
export const KEPT_AWAY_MAX = 300;
/** Messages by which these may be exceeded, so that not every one that comes cuts. */
const SLACK = 100;

export class Timeline {
  /** Grows with each change of what is here. */
  readonly version = signal(0);
  readonly #messages = new Map<number, Message>();
  #ranges: Range[] = [];
  readonly #forgotten = signal(0);
  /** Changes since the oldest fetch under way began. */
  #late: Change[] = [];
  #fetches = 0;
  #clears = 0;
  /** What is on the screen; `null` while the conversation is not open. */
  #inView: Range | null = null;

  get ranges(): readonly Range[] {
    return this.#ranges;
  }

  get size(): number {
    return this.#messages.size;
  }

  /** Messages up to this number are no longer kept; 0: all are kept, as far as the page knows. */
  get forgotten(): number {
    return this.#forgotten.value;
  }

  get(sequence: number): Message | undefined {
    return this.#messages.get(sequence);
  }

  /** Returns the range that covers a number. */
  around(sequence: number): Range | undefined {
    return this.#ranges.find(({ from, to }) => from <= sequence && sequence <= to);
  }

  /** Returns the messages of a range, in order; numbers that are hidden from the account are left out. */
  messages(range: Range): Message[] {
    const found: Message[] = [];
    // Below, nothing is kept, and the range may be long.
    for (let sequence = Math.max(range.from, this.#forgotten.peek() + 1); sequence <= range.to; sequence += 1) {
      const message = this.#messages.get(sequence);
      if (message) found.push(message);
    }
    return found;
  }

  /** Returns at most `count` messages before a number, back to the start of its range. */
  before(sequence: number, count: number): Message[] {
    const range = this.around(sequence - 1);
    const found: Message[] = [];
    if (!range) return found;
    const first = Math.max(range.from, this.#forgotten.peek() + 1);
    for (let at = sequence - 1; at >= first && found.length < count; at -= 1) {
      const message = this.#messages.get(at);
      if (message) found.push(message);
    }
    return found.reverse();
  }

  /** Begins to ask for messages; the answer is handed to `answer` with the mark. */
  begin(): Mark {
    this.#fetches += 1;
    return { late: this.#late.length, clears: this.#clears };
  }

  /**
   * Takes the answer to a question that began with `mark`; without a range it failed. Returns `false`
   * if the question is to be asked again: events were missed since it was.
   */
  answer(mark: Mark, messages: readonly Message[], range?: Range): boolean {
    this.#fetches -= 1;
    const missed = mark.clears < this.#clears;
    if (range && !missed) {
      for (const message of messages) {
        if (message.sequence > this.#forgotten.peek()) this.#messages.set(message.sequence, message);
      }
      for (const change of this.#late.slice(mark.late)) this.#set(change);
      this.#cover(range);
    }
    if (this.#fetches === 0) this.#late = [];
    this.#changed();
    return !missed;
  }

  /** Takes a message of the stream; returns whether it is new. */
  append(message: Message): boolean {
    const { sequence } = message;
    if (this.#messages.has(sequence) || sequence <= this.#forgotten.peek()) return false;
    this.#messages.set(sequence, message);
    this.#cover({ from: sequence, to: sequence });
    if (this.#inView) this.#cut(this.#inView, KEPT_MAX, SLACK);
    else this.#cut({ from: sequence, to: sequence }, KEPT_AWAY_MAX, SLACK);
    this.#changed();
    return true;
  }

  /** Takes a change of the stream. */
  change(change: Change): void {
    if (this.#fetches > 0) this.#late.push(change);
    if (this.#set(change)) this.#changed();
  }

  /** Takes that messages up to a number are no longer kept. It never goes back. */
  forget(through: number): void {
    if (through <= this.#forgotten.peek()) return;
    for (const sequence of this.#messages.keys()) {
      if (sequence <= through) this.#messages.delete(sequence);
    }
    this.#cover({ from: 1, to: through });
    this.#forgotten.value = through;
    this.#changed();
  }

  /** Takes what is on the screen, and forgets messages far from it, if there are too many. */
  look(from: number, to: number): void {
    this.#inView = { from, to };
    this.#cut(this.#inView, KEPT_MAX, 0);
  }

  /** Takes that the conversation is not on the screen any more. */
  leave(newest: number): void {
    this.#inView = null;
    this.#cut({ from: newest, to: newest }, KEPT_AWAY_MAX, 0);
  }

  /**
   * Forgets everything, because events were missed; what is read anew says again what is kept. An
   * answer that is on its way may be from before those events, and is not taken.
   */
  clear(): void {
    this.#messages.clear();
    this.#ranges = [];
    this.#forgotten.value = 0;
    this.#clears += 1;
    this.#late = [];
    this.#changed();
  }

  #set(change: Change): boolean {
    const sequence = change.kind === "edited" ? change.message.sequence : change.sequence;
    const known = this.#messages.get(sequence);
    if (!known) return false;
    switch (change.kind) {
      case "edited":
        this.#messages.set(sequence, { ...change.message, reactions: known.reactions });
        return true;
      case "deleted":
        this.#messages.set(sequence, {
          ...known,
          deleted: true,
          text: "",
          reactions: [],
          mentionedIds: [],
        });
        return true;
      case "hidden":
        return this.#messages.delete(sequence);
      case "reacted":
        this.#messages.set(sequence, { ...known, reactions: reacted(known.reactions, change) });
        return true;
    }
  }

  #cut({ from, to }: Range, most: number, slack: number): void {
    if (this.#messages.size <= most + slack) return;
    const keep = { from: from - most / 2, to: to + most / 2 };
    this.#ranges = this.#ranges.flatMap((range) => {
      const cut = { from: Math.max(range.from, keep.from), to: Math.min(range.to, keep.to) };
      return cut.from <= cut.to ? [cut] : [];
    });
    this.#cover({ from: 1, to: this.#forgotten.peek() });
    for (const sequence of this.#messages.keys()) {
      if (sequence < keep.from || sequence > keep.to) this.#messages.delete(sequence);
    }
  }

  #cover(range: Range): void {
    this.#ranges = cover(this.#ranges, range);
  }

  #changed(): void {
    this.version.value += 1;
  }
}

/** Sets how many give a reaction; setting it twice is setting it once. */
function reacted(
  reactions: readonly Reaction[],
  { reaction, count, mine }: { reaction: string; count: number; mine: boolean | null },
): readonly Reaction[] {
  const known = reactions.find((each) => each.reaction === reaction);
  const now = { reaction, count, mine: mine ?? known?.mine ?? false };
  if (!known) return count > 0 ? [...reactions, now] : reactions;
  return reactions.map((each) => (each === known ? now : each)).filter((each) => each.count > 0);
}
