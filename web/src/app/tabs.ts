// The tabs of one browser: one of them follows the stream and empties the outbox for all.
//
// The tab that holds the lock leads; the browser gives the lock on when that tab closes. What the
// leading tab receives it passes on, with the position before it, so that a tab that missed
// something notices. A tab that is visible and hears nothing for SILENCE_MS takes the lock itself.
//
// Always true: at most one tab leads, as far as the browser tells the truth about its locks.

import type { Clock } from "../base/time";
import type { Outgoing } from "../keep/keep";
import type { Link } from "../net/stream";
import type { Batch } from "../wire/events";

export type TabMessage =
  | { readonly kind: "hello" }
  | { readonly kind: "state"; readonly token: Uint8Array; readonly position: number; readonly link: Link }
  | { readonly kind: "batch"; readonly batch: Batch; readonly from: number; readonly fresh: boolean }
  | { readonly kind: "link"; readonly link: Link }
  /** Something in the outbox has changed. */
  | { readonly kind: "outgoing" }
  | { readonly kind: "sent"; readonly message: Outgoing; readonly sequence: number; readonly conversation: number }
  /** A person looks at some tab. */
  | { readonly kind: "visible" }
  | { readonly kind: "signedOut" };

/** Silence of the leading tab after which a visible tab leads. */
const SILENCE_MS = 6000;
const LOCK = "conclave-stream";

export interface Channel {
  postMessage(message: TabMessage): void;
  onmessage: ((event: { data: TabMessage }) => void) | null;
  close(): void;
}

export interface TabsOptions {
  readonly channel: Channel | null;
  readonly locks: Pick<LockManager, "request"> | null;
  readonly clock: Clock;
  readonly isVisible: () => boolean;
  readonly onMessage: (message: TabMessage) => void;
  /** Runs while this tab leads, until the signal is aborted. */
  readonly lead: (signal: AbortSignal) => Promise<void>;
}

export class Tabs {
  #heardMs: number;
  #leads = false;

  constructor(private readonly options: TabsOptions) {
    this.#heardMs = options.clock.now();
    if (options.channel) {
      options.channel.onmessage = ({ data }) => {
        this.#heardMs = options.clock.now();
        options.onMessage(data);
      };
    }
  }

  get leads(): boolean {
    return this.#leads;
  }

  /** Sends to all other tabs. */
  tell(message: TabMessage): void {
    try {
      this.options.channel?.postMessage(message);
    } catch {
      // The channel is closed: the page is being left.
    }
  }

  /** Takes part until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { locks } = this.options;
    if (!locks) return this.#lead(signal);
    void this.#watch(signal);
    while (!signal.aborted) await this.#hold(false, signal);
  }

  /** Waits for the lock and leads while it is held. */
  async #hold(steal: boolean, signal: AbortSignal): Promise<void> {
    const options: LockOptions = steal ? { steal } : { signal };
    const lost = new AbortController();
    const end = () => lost.abort();
    signal.addEventListener("abort", end);
    try {
      await this.options.locks?.request(LOCK, options, () => this.#lead(lost.signal));
    } catch {
      // Aborted, or another tab has taken the lock.
    } finally {
      lost.abort();
      signal.removeEventListener("abort", end);
    }
  }

  async #lead(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    this.#leads = true;
    try {
      await this.options.lead(signal);
    } finally {
      this.#leads = false;
    }
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const { clock, isVisible } = this.options;
    while (!signal.aborted) {
      await clock.sleep(SILENCE_MS / 3, signal);
      if (signal.aborted || this.#leads || !isVisible()) this.#heardMs = clock.now();
      else if (clock.now() - this.#heardMs > SILENCE_MS) {
        this.#heardMs = clock.now();
        void this.#hold(true, signal);
      }
    }
  }
}
