// How far an account has read what the cluster does not know yet, kept until the cluster has it.
//
// Always true: a mark only grows, and goes when the cluster has it or refuses it for good. Where the
// browser keeps nothing, there are no marks.

/** Conversation and the sequence up to which it was read. */
export type Mark = readonly [conversation: number, read: number];

/** Maximum number of conversations with a mark; the oldest marks go. */
export const MARKS_MAX = 1000;

export class Marks {
  readonly #key: string;

  constructor(
    private readonly storage: Pick<Storage, "getItem" | "setItem" | "removeItem"> | null,
    account: number,
  ) {
    this.#key = `conclave.read.${account}`;
  }

  all(): ReadonlyMap<number, number> {
    return this.#read();
  }

  add(marks: readonly Mark[]): void {
    if (marks.length === 0) return;
    const all = this.#read();
    for (const [conversation, read] of marks) {
      const known = all.get(conversation) ?? 0;
      all.delete(conversation);
      all.set(conversation, Math.max(known, read));
    }
    for (const [oldest] of all) {
      if (all.size <= MARKS_MAX) break;
      all.delete(oldest);
    }
    this.#write(all);
  }

  /** Removes marks that are not beyond the given ones. */
  remove(marks: readonly Mark[]): void {
    const all = this.#read();
    if (all.size === 0) return;
    for (const [conversation, read] of marks) {
      if ((all.get(conversation) ?? Infinity) <= read) all.delete(conversation);
    }
    this.#write(all);
  }

  /** Forgets all marks, because the account has signed out. */
  forget(): void {
    this.#write(new Map());
  }

  #read(): Map<number, number> {
    try {
      const value: unknown = JSON.parse(this.storage?.getItem(this.#key) ?? "[]");
      return new Map(Array.isArray(value) ? value.filter(isMark).slice(-MARKS_MAX) : []);
    } catch {
      return new Map();
    }
  }

  #write(all: ReadonlyMap<number, number>): void {
    try {
      if (all.size === 0) this.storage?.removeItem(this.#key);
      else this.storage?.setItem(this.#key, JSON.stringify([...all]));
    } catch {
      // The browser keeps nothing.
    }
  }
}

function isMark(value: unknown): value is Mark {
  return Array.isArray(value) && value.length === 2 && value.every((each) => Number.isSafeInteger(each) && each > 0);
}
