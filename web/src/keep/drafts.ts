// What was typed and not sent, by conversation, kept through reloads.
//
// Always true: a draft is lost neither with its node nor with its tab: it is written some
// milliseconds after a key, and at once when the page is left. Where the browser keeps nothing, it
// lasts as long as the page.

import { soon } from "../base/time";

/** Wait after a key until drafts are written, for the keys that come meanwhile. */
const WRITE_MS = 100;
/** Maximum number of drafts of an account; the oldest one goes. */
const DRAFTS_MAX = 200;

export interface Draft {
  readonly text: string;
  readonly replyTo: number;
}

const EMPTY: Draft = { text: "", replyTo: 0 };

export class Drafts {
  #kept: Map<number, Draft>;
  /** What this tab has changed and not written yet; the other tabs write, too. */
  readonly #own = new Map<number, Draft>();
  readonly #later = soon(WRITE_MS, () => this.write());

  constructor(
    private readonly storage: Pick<Storage, "getItem" | "setItem" | "removeItem"> | null,
    private readonly account: number,
  ) {
    this.#kept = new Map(read(storage, this.#key));
  }

  get #key(): string {
    return `conclave.drafts.${this.account}`;
  }

  get(conversation: number): Draft {
    const own = this.#own.get(conversation);
    if (own) return own;
    // Another tab may have changed it.
    if (this.storage) this.#kept = new Map(read(this.storage, this.#key));
    return this.#kept.get(conversation) ?? EMPTY;
  }

  has(conversation: number): boolean {
    const own = this.#own.get(conversation);
    return own ? !isEmpty(own) : this.#kept.has(conversation);
  }

  set(conversation: number, draft: Draft): void {
    this.#own.delete(conversation);
    this.#own.set(conversation, draft);
    for (const [oldest] of this.#own) {
      if (this.#own.size <= DRAFTS_MAX) break;
      this.#own.delete(oldest);
    }
    this.#later();
  }

  /** Writes what was not written yet: the page may be gone in a moment. */
  write(): void {
    if (this.#own.size === 0 || !this.storage) return;
    const all = new Map(read(this.storage, this.#key));
    for (const [conversation, draft] of this.#own) {
      all.delete(conversation);
      if (!isEmpty(draft)) all.set(conversation, draft);
    }
    for (const [oldest] of all) {
      if (all.size <= DRAFTS_MAX) break;
      all.delete(oldest);
    }
    try {
      this.storage.setItem(this.#key, JSON.stringify([...all]));
      this.#kept = all;
      this.#own.clear();
    } catch {
      // The browser keeps nothing; the draft lasts as long as the page.
    }
  }

  /** Forgets all drafts, because the account has signed out. */
  forget(): void {
    this.#own.clear();
    this.#kept.clear();
    try {
      this.storage?.removeItem(this.#key);
    } catch {
      // Nothing was kept.
    }
  }
}

function isEmpty({ text, replyTo }: Draft): boolean {
  return text === "" && replyTo === 0;
}

function read(storage: Pick<Storage, "getItem"> | null, key: string): [number, Draft][] {
  try {
    const value: unknown = JSON.parse(storage?.getItem(key) ?? "[]");
    if (!Array.isArray(value)) return [];
    return value.flatMap((entry: unknown): [number, Draft][] => {
      if (!Array.isArray(entry) || typeof entry[0] !== "number") return [];
      const draft = entry[1] as Partial<Draft> | null;
      if (typeof draft?.text !== "string" || typeof draft.replyTo !== "number") return [];
      return [[entry[0], { text: draft.text, replyTo: draft.replyTo }]];
    });
  } catch {
    return [];
  }
}
