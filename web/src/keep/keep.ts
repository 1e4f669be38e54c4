// What the browser keeps for a session: the next request number, and messages that are not
// acknowledged yet.
//
// All tabs of one browser share a session, and so the numbers and the outbox. Each step is one
// transaction, so no two tabs take the same number, and a message never has a number that is lost
// with its tab.
//
// Always true: a message that was taken stays until it is acknowledged, or its author removes it.

import type { RequestKey } from "../net/call";

/** Numbers that a session remembers; a request that falls out of them has an unknown outcome. */
export const REQUEST_WINDOW = 256n;
/** Greatest distance between a new number and the oldest one under way: other tabs need room, too. */
export const NUMBERS_AHEAD_MAX = 200n;
/** Maximum number of messages in the outbox of one account. Further ones are refused. */
export const OUTGOING_MAX = 500;

export type OutgoingState =
  | "waiting"
  /** Refused by the rules: it is sent again only if its author says so. */
  | "refused"
  /** Its session has ended or forgotten its number: it may have been sent. */
  | "unknown";

/** A message on its way. */
export interface Outgoing {
  /** Grows with each message of this browser. */
  readonly id: number;
  readonly account: number;
  /** Number of the conversation; 0: the direct conversation with `recipient`, whose number is not known. */
  readonly conversation: number;
  /** The other person of a direct conversation; empty in a room. */
  readonly recipient: string;
  readonly text: string;
  readonly replyTo: number;
  readonly action: boolean;
  readonly createdAtMs: number;
  /** The last sequence of the conversation when the message was written. */
  readonly after: number;
  readonly state: OutgoingState;
  /** Reason and sentence of a refusal. */
  readonly reason: string;
  readonly sentence: string;
  /** Session and number under which it was sent first; 0 and absent before that. */
  readonly session: number;
  readonly key: RequestKey | null;
}

export type NewOutgoing = Omit<Outgoing, "id" | "state" | "reason" | "sentence" | "session" | "key">;

export interface Keep {
  /** Records that the session has used numbers up to `last`. */
  learn(session: number, last: bigint): Promise<void>;
  /** Takes the next number, above `above`; `null` while it is too far ahead of the oldest in the outbox. */
  takeNumber(session: number, above: bigint): Promise<RequestKey | null>;
  /** Goes on above `last` with a new nonce, although greater numbers were taken. */
  restart(session: number, last: bigint): Promise<void>;
  /** Takes a message; `null` if the outbox is full. */
  addOutgoing(message: NewOutgoing): Promise<Outgoing | null>;
  /**
   * Gives a message the next number, above `above`, unless it has such a number in this session and
   * that is not `refused`; `null` if the message is gone.
   */
  numberOutgoing(id: number, session: number, above: bigint, refused?: RequestKey): Promise<Outgoing | null>;
  /**
   * Gives a message that was certainly not executed the next number, if it is so far behind that
   * further numbers will wait for it; `null` if the message is gone.
   */
  refreshOutgoing(id: number, session: number): Promise<Outgoing | null>;
  changeOutgoing(id: number, change: Partial<Outgoing>): Promise<void>;
  removeOutgoing(id: number): Promise<void>;
  /** Lists the messages of an account in the order in which they were taken. */
  listOutgoing(account: number): Promise<Outgoing[]>;
  /** Forgets everything of an account, because it has signed out. */
  forget(account: number): Promise<void>;
}
