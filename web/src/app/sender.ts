// Empties the outbox: in each conversation one message after the other, as they were written.
//
// A message gets its request number together with its place in the database, before it is first
// sent; so a tab or a browser that dies in between sends it again under the same number. Only the
// leading tab sends.
//
// Always true: messages of a conversation are stored in the order in which they were written,
// unless one of them is refused.

import type { Clock } from "../base/time";
import type { Keep, Outgoing } from "../keep/keep";
import type { Caller, RequestKey } from "../net/call";
import { CallError } from "../wire/problem";
import type { CallOptions, Services } from "../wire/services";
import { num } from "../wire/values";

/** Conversations in which a message is under way at once. */
const CONVERSATIONS_AT_ONCE = 8;
/** Time of one call; the next one follows. Shorter than changes wait for a number that a message holds back. */
const CALL_MS = 10_000;
const PAUSE_MS = 250;

export interface Sent {
  readonly conversation: number;
  readonly sequence: number;
}

export interface SenderOptions {
  readonly keep: Keep;
  readonly caller: Pick<Caller, "resume">;
  readonly clock: Clock;
  readonly account: number;
  readonly session: number;
  /** The outbox has changed. */
  readonly onChange: () => void;
  readonly onSent: (message: Outgoing, sent: Sent) => void;
}

export class Sender {
  #wake: () => void = () => {};
  readonly #busy = new Set<string>();

  constructor(private readonly options: SenderOptions) {}

  /** Looks into the outbox again. */
  wake(): void {
    this.#wake();
  }

  /** Sends until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { keep, account } = this.options;
    signal.addEventListener("abort", () => this.#wake(), { once: true });
    while (!signal.aborted) {
      const woken = new Promise<void>((resolve) => (this.#wake = resolve));
      for (const message of await keep.listOutgoing(account)) {
        const queue = queueOf(message);
        if (message.state !== "waiting" || this.#busy.has(queue)) continue;
        if (this.#busy.size >= CONVERSATIONS_AT_ONCE) break;
        this.#busy.add(queue);
        void this.#empty(queue, signal).finally(() => {
          this.#busy.delete(queue);
          this.#wake();
        });
      }
      await woken;
    }
  }

  /** Sends the messages of one conversation until none waits. */
  async #empty(queue: string, signal: AbortSignal): Promise<void> {
    const { keep, account, clock } = this.options;
    while (!signal.aborted) {
      const messages = await keep.listOutgoing(account);
      const next = messages.find((each) => queueOf(each) === queue && each.state === "waiting");
      if (!next) return;
      try {
        await this.#send(next, signal);
      } catch (error) {
        if (error instanceof CallError && error.reason === "SESSION_EXPIRED") return;
        await clock.sleep(PAUSE_MS, signal);
      }
    }
  }

  async #send(message: Outgoing, signal: AbortSignal): Promise<void> {
    const { keep, caller, session, onChange, onSent } = this.options;
    if (message.key && message.session !== session) {
      // Its session has ended: whether it was sent, only the history tells.
      await keep.changeOutgoing(message.id, { state: "unknown" });
      return onChange();
    }
    let above = 0n;
    let numbered = message.key ? message : await keep.numberOutgoing(message.id, session, above);
    let maybeDone = message.key !== null;
    while (numbered?.key && !signal.aborted) {
      try {
        const attempt = (services: Services, options: CallOptions, key: RequestKey) =>
          services.chat.sendMessage(toRequest(message, key), options);
        const result = await caller.resume(numbered.key, attempt, CALL_MS, maybeDone);
        if ("value" in result) {
          const { conversationId, sequence } = result.value;
          // What is told first is not shown as missing in between.
          onSent(message, { conversation: num(conversationId), sequence: num(sequence) });
          await keep.removeOutgoing(message.id);
          return onChange();
        }
        if (result.restart) await keep.restart(session, result.last);
        above = result.last;
        maybeDone = false;
        numbered = await keep.numberOutgoing(message.id, session, above, numbered.key);
      } catch (error) {
        if (!(error instanceof CallError)) throw error;
        if (error.undecided) {
          maybeDone ||= error.reason === "OUTCOME_UNKNOWN";
          // What waits for room waits for hours, and must not hold back all other changes. Of a tab
          // that has lost the lead another one may be sending the message under its number.
          if (!maybeDone && !signal.aborted) numbered = await keep.refreshOutgoing(message.id, session);
          continue;
        }
        switch (error.reason) {
          case "SESSION_EXPIRED":
            throw error;
          case "UNKNOWN":
            await keep.changeOutgoing(message.id, { state: "unknown" });
            return onChange();
          default: {
            const { reason, message: sentence } = error;
            await keep.changeOutgoing(message.id, { state: "refused", reason, sentence });
            return onChange();
          }
        }
      }
    }
  }
}

/**
 * Returns the queue of a message. A direct conversation has that of its person: the number is not known
 * when the first messages are written, and later ones do not pass them.
 */
function queueOf({ conversation, recipient }: Outgoing): string {
  return recipient ? `@${recipient.toLowerCase()}` : String(conversation);
}

function toRequest(message: Outgoing, request: RequestKey) {
  return {
    request,
    to: message.conversation
      ? ({ case: "conversationId", value: BigInt(message.conversation) } as const)
      : ({ case: "recipientName", value: message.recipient } as const),
    text: message.text,
    replyTo: BigInt(message.replyTo),
    action: message.action,
  };
}
