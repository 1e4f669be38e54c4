// The rules of what is kept, as functions of the records, the same for a database and for memory.

import { randomNonce } from "../base/random";
import type { RequestKey } from "../net/call";
import type { NewOutgoing, Outgoing } from "./keep";
import { NUMBERS_AHEAD_MAX } from "./keep";

export interface NumbersRecord {
  readonly session: number;
  readonly next: bigint;
  readonly nonce: bigint;
}

export function learned(session: number, record: NumbersRecord | undefined, last: bigint): NumbersRecord {
  const next = last + 1n;
  if (!record) return { session, next, nonce: randomNonce() };
  return { ...record, next: record.next > next ? record.next : next };
}

export function restarted(session: number, last: bigint): NumbersRecord {
  return { session, next: last + 1n, nonce: randomNonce() };
}

/** Returns the number that is taken now and the record afterwards. */
export function taken(session: number, record: NumbersRecord | undefined, above: bigint) {
  const known = learned(session, record, above);
  const key = { number: known.next, nonce: known.nonce };
  return { key, record: { ...known, next: known.next + 1n } };
}

/** Returns the smallest number of messages that may still be executed. */
export function oldest(messages: readonly Outgoing[], session: number): bigint | null {
  let oldest: bigint | null = null;
  for (const { key, session: owner, state } of messages) {
    if (!key || owner !== session || state !== "waiting") continue;
    if (oldest === null || key.number < oldest) oldest = key.number;
  }
  return oldest;
}

/** Returns whether a message has a number of this session that is not refused, such as another tab has given it. */
export function isNumbered(
  { key, session: owner }: Outgoing,
  session: number,
  above: bigint,
  refused: RequestKey | undefined,
): boolean {
  if (key === null || owner !== session || key.number <= above) return false;
  return key.number !== refused?.number || key.nonce !== refused.nonce;
}

/** Returns whether a message's number is half as far behind the next one as it may be, or further. */
export function isLate({ key, session: owner }: Outgoing, session: number, record: NumbersRecord | undefined): boolean {
  if (!key || owner !== session || !record) return false;
  return record.next >= key.number + NUMBERS_AHEAD_MAX / 2n;
}

export function fresh(message: NewOutgoing): Omit<Outgoing, "id"> {
  return { ...message, state: "waiting", reason: "", sentence: "", session: 0, key: null };
}
