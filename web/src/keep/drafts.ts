// What was typed and not sent, by conversation, kept through reloads.
//
// Always true: a draft is lost neither with its node nor with its tab; where the browser keeps
// nothing, it lasts as long as the page.

/** Maximum number of drafts of an account; the oldest one goes. */
const DRAFTS_MAX = 200;

export interface Draft {
  readonly text: string;
  readonly replyTo: number;
}

const EMPTY: Draft = { text: "", replyTo: 0 };

export class Drafts {
  readonly #drafts: Map<number, Draft>;

  constructor(
    private readonly storage: Pick<Storage, "getItem" | "setItem"> | null,
    private readonly account: number,
  ) {
    this.#drafts = new Map(read(storage, this.#key));
  }

  get #key(): string {
    return `conclave.drafts.${this.account}`;
  }

  get(conversation: number): Draft {
    return this.#drafts.get(conversation) ?? EMPTY;
  }

  has(conversation: number): boolean {
    return this.#drafts.has(conversation);
  }

  set(conversation: number, draft: Draft): void {
    this.#drafts.delete(conversation);
    if (draft.text !== "" || draft.replyTo !== 0) this.#drafts.set(conversation, draft);
    for (const [oldest] of this.#drafts) {
      if (this.#drafts.size <= DRAFTS_MAX) break;
      this.#drafts.delete(oldest);
    }
    try {
      this.storage?.setItem(this.#key, JSON.stringify([...this.#drafts]));
    } catch {
      // The browser keeps nothing; the draft lasts as long as the page.
    }
  }
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
