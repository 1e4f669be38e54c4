// Tells the cluster how far the reader's devices have messages, and how far they were read.
//
// Always true: positions are told together and a few times in a second at most; they only grow.

import { soon } from "../base/time";
import type { Caller, TakesNumbers } from "../net/call";

const GATHER_MS = 300;
/** Conversations in one request. */
const PROGRESS_MAX = 256;

interface Progress {
  delivered: number;
  read: number;
}

export class Positions {
  #waiting = new Map<number, Progress>();
  #busy = false;
  readonly #later = soon(GATHER_MS, () => void this.#flush());

  constructor(
    private readonly caller: Caller,
    private readonly numbers: TakesNumbers,
  ) {}

  advance(conversation: number, delivered: number, read: number): void {
    const known = this.#waiting.get(conversation) ?? { delivered: 0, read: 0 };
    this.#waiting.set(conversation, {
      delivered: Math.max(known.delivered, delivered),
      read: Math.max(known.read, read),
    });
    this.#later();
  }

  /** Forgets what was not told yet: another account may use the browser next. */
  stop(): void {
    this.#waiting.clear();
  }

  async #flush(): Promise<void> {
    if (this.#busy) return this.#later();
    const progress = [...this.#waiting].slice(0, PROGRESS_MAX);
    if (progress.length === 0) return;
    for (const [conversation] of progress) this.#waiting.delete(conversation);
    this.#busy = true;
    try {
      await this.caller.change(this.numbers, (services, options, request) =>
        services.chat.advancePositions(
          {
            request,
            progress: progress.map(([conversation, { delivered, read }]) => ({
              conversationId: BigInt(conversation),
              sequenceDelivered: BigInt(Math.max(delivered, read)),
              sequenceRead: BigInt(read),
            })),
          },
          options,
        ),
      );
    } catch {
      // A conversation that the reader has left, or no node: the next message tells it again.
    } finally {
      this.#busy = false;
      if (this.#waiting.size > 0) this.#later();
    }
  }
}
