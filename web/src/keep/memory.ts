// Keeps in memory what a browser without a database cannot keep: it lasts as long as the tab.

import type { Keep, NewOutgoing, Outgoing } from "./keep";
import { NUMBERS_AHEAD_MAX, OUTGOING_MAX } from "./keep";
import type { NumbersRecord } from "./records";
import { fresh, isLate, isNumbered, learned, oldest, restarted, taken } from "./records";

export function memoryKeep(): Keep {
  const numbers = new Map<number, NumbersRecord>();
  const outgoing = new Map<number, Outgoing>();
  let idLast = 0;

  const of = (account: number) => [...outgoing.values()].filter((entry) => entry.account === account);

  const take = (session: number, above: bigint) => {
    const { key, record } = taken(session, numbers.get(session), above);
    numbers.set(session, record);
    return key;
  };

  const number = (entry: Outgoing, session: number, above: bigint) => {
    const numbered = { ...entry, session, key: take(session, above) };
    outgoing.set(entry.id, numbered);
    return numbered;
  };

  return {
    async learn(session, last) {
      numbers.set(session, learned(session, numbers.get(session), last));
    },
    async takeNumber(session, above) {
      const first = oldest([...outgoing.values()], session);
      const next = numbers.get(session)?.next ?? above + 1n;
      if (first !== null && next >= first + NUMBERS_AHEAD_MAX) return null;
      return take(session, above);
    },
    async restart(session, last) {
      numbers.set(session, restarted(session, last));
    },
    async addOutgoing(message: NewOutgoing) {
      if (of(message.account).length >= OUTGOING_MAX) return null;
      idLast += 1;
      const entry = { ...fresh(message), id: idLast };
      outgoing.set(entry.id, entry);
      return entry;
    },
    async numberOutgoing(id, session, above, refused) {
      const entry = outgoing.get(id);
      if (!entry || isNumbered(entry, session, above, refused)) return entry ?? null;
      return number(entry, session, above);
    },
    async refreshOutgoing(id, session) {
      const entry = outgoing.get(id);
      if (!entry || !isLate(entry, session, numbers.get(session))) return entry ?? null;
      return number(entry, session, 0n);
    },
    async changeOutgoing(id, change) {
      const entry = outgoing.get(id);
      if (entry) outgoing.set(id, { ...entry, ...change });
    },
    async removeOutgoing(id) {
      outgoing.delete(id);
    },
    async listOutgoing(account) {
      return of(account);
    },
    async forget(account) {
      for (const { id } of of(account)) outgoing.delete(id);
    },
  };
}
