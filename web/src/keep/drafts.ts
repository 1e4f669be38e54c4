// What was typed and not sent, by conversation or by the person who gets the first message, kept
// through reloads.
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

/** Number of a conversation, or `@` and the name of a person without a conversation yet. */
export type DraftKey = number | `@${string}`;

/** Returns the key of a conversation; 0: the one that begins with the first message to `recipient`. */
export function draftKey(conversation: number, recipient: string): DraftKey {
  return conversation || `@${recipient.toLowerCase()}`;
}

const EMPTY: Draft = { text: "", replyTo: 0 };

export class Drafts {
  #kept: Map<DraftKey, Draft>;
  /** What this tab has changed and not written yet; the other tabs write, too. */
  readonly #own = new Map<DraftKey, Draft>();
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

  get(conversation: DraftKey): Draft {
    const own = this.#own.get(conversation);
    if (own) return own;
    // Another tab may have changed it.
    if (this.storage) this.#kept = new Map(read(this.storage, this.#key));
    return this.#kept.get(conversation) ?? EMPTY;
  }

  has(conversation: DraftKey): boolean {
    const own = this.#own.get(conversation);
    return own ? !isEmpty(own) : this.#kept.has(conversation);
  }

  set(conversation: DraftKey, draft: Draft): void {
    this.#own.delete(conversation);
    this.#own.set(conversation, draft);
    for (const [oldest] of this.#own) {
      if (this.#own.size <= DRAFTS_MAX) break;
      this.#own.delete(oldest);
    }
    this.#later();
  }

  /** Moves a draft to the conversation that was opened, below what is typed there already. */
  move(from: DraftKey, to: DraftKey): void {
    const moved = this.get(from);
    if (isEmpty(moved)) return;
    const { text, replyTo } = this.get(to);
    this.set(to, { text: [text, moved.text].filter(Boolean).join("\n"), replyTo });
    this.set(from, EMPTY);
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

/** Returns whether a kept key is valid. Earlier pages kept drafts to all new people under 0. */
function isKey(value: unknown): value is DraftKey {
  return typeof value === "number" ? value > 0 : typeof value === "string" && value.startsWith("@");
}

function read(storage: Pick<Storage, "getItem"> | null, key: string): [DraftKey, Draft][] {
  try {
    const value: unknown = JSON.parse(storage?.getItem(key) ?? "[]");
    if (!Array.isArray(value)) return [];
    return value.flatMap((entry: unknown): [DraftKey, Draft][] => {
      if (!Array.isArray(entry) || !isKey(entry[0])) return [];
      const draft = entry[1] as Partial<Draft> | null;
      if (typeof draft?.text !== "string" || typeof draft.replyTo !== "number") return [];
      return [[entry[0], { text: draft.text, replyTo: draft.replyTo }]];
    });
  } catch {
    return [];
  }
}
