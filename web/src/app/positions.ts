// Tells the cluster how far the reader's devices have messages, and how far they were read.
//
// What no node takes is told again, and what was read is kept in the browser until the cluster has
// it: a page may be closed, or reloaded while there is no majority.
//
// Always true: positions are told together and a few times in a second at most; they only grow; one
// is given up only if the cluster refuses it by itself.

import type { Clock } from "../base/time";
import type { Mark, Marks } from "../keep/marks";
import type { Caller, TakesNumbers } from "../net/call";
import { CallError } from "../wire/problem";

const GATHER_MS = 300;
/** Pause after a call that no node has taken. */
const TROUBLE_MS = 1000;
/** Conversations in one request. */
const PROGRESS_MAX = 256;

interface Progress {
  readonly delivered: number;
  readonly read: number;
}

type Positioned = readonly [conversation: number, progress: Progress];

export class Positions {
  readonly #waiting = new Map<number, Progress>();
  #underWay: readonly Positioned[] = [];
  #running = false;
  #stopped = false;
  /** Ends the time in which positions are gathered. */
  #hurry = new AbortController();

  constructor(
    private readonly caller: Pick<Caller, "change">,
    private readonly numbers: TakesNumbers,
    private readonly clock: Clock,
    private readonly marks: Marks,
  ) {}

  /** Tells what an earlier page has not told any more. */
  start(): void {
    for (const [conversation, read] of this.marks.all()) this.advance(conversation, read, read);
  }

  advance(conversation: number, delivered: number, read: number): void {
    if (this.#stopped) return;
    this.#note(conversation, { delivered, read });
    if (!this.#running) void this.#run();
  }

  /** Tells everything at once: the page may be gone in a moment. */
  flush(): void {
    this.marks.add(marksOf([...this.#underWay, ...this.#waiting]));
    this.#hurry.abort();
    this.#hurry = new AbortController();
  }

  /** Ends; what was not told yet is told when the account is signed in again. */
  stop(): void {
    this.flush();
    this.#stopped = true;
    this.#waiting.clear();
  }

  /** Forgets what was not told yet: the account has signed out of this browser. */
  forget(): void {
    this.#waiting.clear();
    this.#underWay = [];
    this.marks.forget();
  }

  #note(conversation: number, { delivered, read }: Progress): void {
    const known = this.#waiting.get(conversation) ?? { delivered: 0, read: 0 };
    this.#waiting.set(conversation, {
      delivered: Math.max(known.delivered, delivered),
      read: Math.max(known.read, read),
    });
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (this.#waiting.size > 0) {
      await this.clock.sleep(GATHER_MS, this.#hurry.signal);
      this.#underWay = [...this.#waiting].slice(0, PROGRESS_MAX);
      for (const [conversation] of this.#underWay) this.#waiting.delete(conversation);
      if (!(await this.#tell())) await this.clock.sleep(TROUBLE_MS);
    }
    this.#running = false;
  }

  /** Tells the positions under way; returns whether the cluster has decided about them. */
  async #tell(): Promise<boolean> {
    const told = this.#underWay;
    if (told.length === 0) return true;
    try {
      await this.#advance(told);
    } catch {
      // What was read is in the marks already, if the session has ended.
      if (this.#stopped) return true;
      this.marks.add(marksOf(told));
      for (const [conversation, progress] of told) this.#note(conversation, progress);
      return false;
    } finally {
      this.#underWay = [];
    }
    this.marks.remove(marksOf(told));
    return true;
  }

  /**
   * Advances all in one call, or one by one if that is refused: a node takes all or none, and one
   * conversation may no longer be the reader's.
   */
  async #advance(progress: readonly Positioned[]): Promise<void> {
    try {
      return await this.#call(progress);
    } catch (error) {
      if (!isRefused(error)) throw error;
    }
    if (progress.length === 1) return;
    for (const one of progress) {
      await this.#call([one]).catch((error: unknown) => {
        if (!isRefused(error)) throw error;
      });
    }
  }

  async #call(progress: readonly Positioned[]): Promise<void> {
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
  }
}

/** What was delivered is seen again in the list of conversations; what was read only the reader knows. */
function marksOf(positions: readonly Positioned[]): Mark[] {
  return positions.flatMap(([conversation, { read }]): Mark[] => (read > 0 ? [[conversation, read]] : []));
}

/** Returns whether the cluster has refused for good. A position may be told twice, so doubt is no refusal. */
function isRefused(error: unknown): boolean {
  if (!(error instanceof CallError) || error.undecided) return false;
  return error.reason !== "UNKNOWN" && error.reason !== "SESSION_EXPIRED";
}
