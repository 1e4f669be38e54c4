// One signed-in session in one tab: follows the stream or the leading tab, keeps the store true.
//
// Order at the start: first the position (the stream begins, or the leading tab says where it is),
// then everything is read. So nothing falls between what was read and what is followed.
//
// Always true: after an event of the stream is missed, everything is read again.

import type { Clock } from "../base/time";
import { soon } from "../base/time";
import type { Keep, NewOutgoing, Outgoing } from "../keep/keep";
import type { Marks } from "../keep/marks";
import type { Numbers } from "../keep/numbers";
import type { Caller } from "../net/call";
import type { Nodes } from "../net/nodes";
import type { Link } from "../net/stream";
import { follow, HEARTBEAT_MS } from "../net/stream";
import type { Wishes } from "../state/reduce";
import { applyBatch, noWishes, setRead } from "../state/reduce";
import type { Store } from "../state/store";
import type { Batch } from "../wire/events";
import { toBatch } from "../wire/events";
import type { Account, Message } from "../wire/values";
import { History } from "./history";
import { readAccounts, readConversations, readEverything, readRooms } from "./load";
import { Positions } from "./positions";
import { Sender } from "./sender";
import type { Channel, TabMessage } from "./tabs";
import { Tabs } from "./tabs";

/** What the banner says after a fail-over. */
export interface Comeback {
  readonly node: number;
  readonly outageMs: number;
  readonly caughtUp: number;
  readonly sent: number;
}

export interface EngineOptions {
  readonly store: Store;
  readonly keep: Keep;
  readonly caller: Caller;
  readonly nodes: Nodes;
  readonly numbers: Numbers;
  readonly marks: Marks;
  readonly clock: Clock;
  readonly account: Account;
  readonly channel: Channel | null;
  readonly locks: Pick<LockManager, "request"> | null;
  readonly isVisible: () => boolean;
  readonly onSignedOut: (sentence: string) => void;
  readonly onArrived: (message: Message) => void;
  readonly onComeback: (comeback: Comeback) => void;
  readonly onNodes: () => void;
  /** The browser's cookie is that of another account now. */
  readonly onOther: () => void;
  readonly onMembers: (conversation: number) => void;
}

/** Wait after a fail-over until the banner counts what was caught up. */
const COMEBACK_MS = 400;
/** How long an account counts as present after a tab was last visible. */
const AWAY_MS = 5 * 60_000;
const ROUNDS_MS = 15_000;
/** Wait until counts are read again that forgotten messages have made too great. */
const COUNTS_MS = 5000;
/** Greatest wait before a list is read again that events ask for all the time. */
const READ_PAUSE_MS_MAX = 5000;

export class Engine {
  readonly history: History;
  readonly positions: Positions;
  readonly #tabs: Tabs;
  readonly #sender: Sender;
  readonly #abort = new AbortController();
  /** Acknowledged messages that the stream has not brought yet. */
  #acknowledged: { message: Outgoing; sequence: number; conversation: number }[] = [];
  #token = new Uint8Array();
  #started = false;
  #visibleMs: number;
  #away = false;
  /** Messages of others that the stream has brought. */
  #arrived = 0;
  readonly #readConversations = this.#soon(200, () => readConversations(this.options));
  readonly #readCounts = soon(COUNTS_MS, () => this.#readConversations());
  readonly #readRooms = this.#soon(200, () => readRooms(this.options));
  readonly #readAccounts = this.#soon(300, () => readAccounts(this.options));
  readonly #readEverything = this.#soon(50, () => this.#readAll());

  constructor(readonly options: EngineOptions) {
    const { caller, store, numbers, keep, clock, account } = options;
    this.history = new History(caller, store);
    this.positions = new Positions(caller, numbers, clock, options.marks);
    this.#visibleMs = clock.now();
    this.#sender = new Sender({
      keep,
      caller,
      clock,
      account: account.id,
      session: numbers.session,
      onChange: () => {
        this.#tabs.tell({ kind: "outgoing" });
        void this.#readOutgoing();
      },
      onSent: (message, { conversation, sequence }) => {
        this.#sent(message, conversation, sequence);
        this.#tabs.tell({ kind: "sent", message, conversation, sequence });
      },
    });
    this.#tabs = new Tabs({
      channel: options.channel,
      locks: options.locks,
      clock,
      isVisible: options.isVisible,
      onMessage: (message) => this.#heard(message),
      lead: (signal) => this.#lead(signal),
    });
  }

  /** Follows the session until `stop`. */
  start(): void {
    const { store, account } = this.options;
    store.me.value = account;
    void this.#readOutgoing();
    this.positions.start();
    this.#tabs.tell({ kind: "hello" });
    void this.#tabs.run(this.#abort.signal);
  }

  stop(): void {
    this.#abort.abort();
    this.positions.stop();
    this.options.channel?.close();
  }

  /** Tells the other tabs that the account has signed out. */
  tellSignedOut(): void {
    this.#tabs.tell({ kind: "signedOut" });
  }

  /** Puts a message into the outbox; returns whether there was room. */
  async send(message: Omit<NewOutgoing, "account">): Promise<boolean> {
    const { keep, account } = this.options;
    const taken = await keep.addOutgoing({ ...message, account: account.id });
    if (!taken) return false;
    this.#outgoingChanged();
    await this.#readOutgoing();
    return true;
  }

  /** Sends a refused message, or one with an unknown outcome, again as a new one. */
  async sendAgain(id: number): Promise<void> {
    const change = { state: "waiting", session: 0, key: null, reason: "", sentence: "" } as const;
    await this.options.keep.changeOutgoing(id, change);
    this.#outgoingChanged();
    await this.#readOutgoing();
  }

  async discard(id: number): Promise<void> {
    await this.options.keep.removeOutgoing(id);
    this.#outgoingChanged();
    await this.#readOutgoing();
  }

  /** Records that messages up to `sequence` were shown to the reader. */
  markRead(conversation: number, sequence: number): void {
    const { store, account } = this.options;
    const head = store.head(conversation)?.peek();
    if (!head || (sequence <= head.read && head.mentions === 0)) return;
    const wishes = noWishes();
    setRead(store, conversation, sequence, account.id, wishes);
    this.positions.advance(conversation, sequence, sequence);
    if (wishes.conversations) this.#readConversations();
  }

  /** Reads again who there is: accounts that have come since. */
  lookAround(): void {
    this.#readAccounts();
  }

  /** Tells all tabs that a person looks at this one. */
  seen(): void {
    this.#visibleMs = this.options.clock.now();
    this.#tabs.tell({ kind: "visible" });
  }

  #outgoingChanged(): void {
    if (this.#tabs.leads) this.#sender.wake();
    this.#tabs.tell({ kind: "outgoing" });
  }

  async #lead(signal: AbortSignal): Promise<void> {
    const { nodes, caller, clock, store, onSignedOut } = this.options;
    void this.#sender.run(signal);
    void this.#presence(signal);
    const resumeAt = this.#started ? { token: this.#token, position: store.position } : undefined;
    await follow(
      {
        nodes,
        clock,
        ...(resumeAt ? { resumeAt } : {}),
        open: async function* (node, token, abort) {
          const options = { signal: abort };
          const request = { resumeToken: token, heartbeatMs: HEARTBEAT_MS, ephemeral: true };
          for await (const response of caller.services(node).live.subscribe(request, options)) {
            yield toBatch(response);
          }
        },
        onBatch: (batch, from, fresh) => {
          this.#batch(batch, from, fresh);
          this.#tabs.tell({ kind: "batch", batch, from, fresh });
        },
        onLink: (link) => {
          this.#link(link);
          this.#tabs.tell({ kind: "link", link });
        },
        onSignedOut,
      },
      signal,
    );
  }

  #heard(message: TabMessage): void {
    const { store, onSignedOut } = this.options;
    // Where the browser has no locks, every tab leads and needs no other.
    if (this.#tabs.leads && (message.kind === "batch" || message.kind === "link")) return;
    switch (message.kind) {
      case "hello":
        if (!this.#tabs.leads || !this.#started) return;
        this.#tabs.tell({
          kind: "state",
          token: this.#token,
          position: store.position,
          link: store.link.peek(),
        });
        return;
      case "state":
        if (this.#started) return;
        store.link.value = message.link;
        return this.#begin(message.position, message.token);
      case "batch":
        return this.#batch(message.batch, message.from, message.fresh);
      case "link":
        return this.#link(message.link);
      case "outgoing":
        if (this.#tabs.leads) this.#sender.wake();
        return void this.#readOutgoing();
      case "sent":
        return this.#sent(message.message, message.conversation, message.sequence);
      case "visible":
        this.#visibleMs = this.options.clock.now();
        return;
      case "signedOut":
        return onSignedOut("");
    }
  }

  /** Takes a position as that from which on everything is followed. */
  #begin(position: number, token: Uint8Array): void {
    this.#started = true;
    this.#token = new Uint8Array(token);
    this.options.store.position = position;
    this.#readEverything();
  }

  #batch(batch: Batch, from: number, fresh: boolean): void {
    const { store, clock, account, onArrived, onNodes, onMembers, onOther } = this.options;
    const started = batch.events.find(({ kind }) => kind === "started");
    if (started?.kind === "started" && started.account !== account.id) return onOther();
    if (!this.#started) {
      this.#begin(batch.position, batch.token);
      return;
    }
    if (fresh) {
      // The cluster did not know the token: what it has now is the truth.
      store.position = batch.position;
      this.#readEverything();
    }
    const wishes: Wishes = applyBatch(store, batch, fresh ? batch.position : from, clock.now());
    this.#token = new Uint8Array(batch.token);
    if (wishes.everything) this.#readEverything();
    if (wishes.conversations) this.#readConversations();
    if (wishes.counts) this.#readCounts();
    if (wishes.rooms) this.#readRooms();
    if (wishes.nodes) onNodes();
    for (const conversation of wishes.members) onMembers(conversation);
    if (wishes.accounts) this.#readAccounts();
    this.#arrived += wishes.arrived.length;
    for (const message of wishes.arrived) {
      // In a room no member sees how far messages have come to others.
      const direct = store.head(message.conversation)?.peek().roomName === "";
      if (this.#tabs.leads && direct) this.positions.advance(message.conversation, message.sequence, 0);
      onArrived(message);
    }
    this.#settle();
  }

  #link(link: Link): void {
    const { store, clock, onComeback } = this.options;
    store.link.value = link;
    if (link.state !== "live" || !link.resumed || link.outageMs === 0) return;
    const waiting = store.outgoing.peek().filter(({ state }) => state === "waiting");
    const arrivedBefore = this.#arrived;
    void clock.sleep(COMEBACK_MS).then(() => {
      const left = new Set(store.outgoing.peek().map(({ id }) => id));
      const sent = waiting.filter(({ id }) => !left.has(id)).length;
      const caughtUp = this.#arrived - arrivedBefore;
      onComeback({ node: link.node, outageMs: Math.round(link.outageMs), caughtUp, sent });
    });
  }

  #sent(message: Outgoing, conversation: number, sequence: number): void {
    this.#acknowledged.push({ message, conversation, sequence });
    this.#settle();
    void this.#readOutgoing();
  }

  /** Forgets acknowledged messages that are in their timeline. */
  #settle(): void {
    if (this.#acknowledged.length === 0) return;
    const { store } = this.options;
    const rest = this.#acknowledged.filter(
      ({ conversation, sequence }) => (store.head(conversation)?.peek().last ?? 0) < sequence,
    );
    if (rest.length === this.#acknowledged.length) return;
    this.#acknowledged = rest;
    void this.#readOutgoing();
  }

  async #readOutgoing(): Promise<void> {
    const { keep, account, store } = this.options;
    const kept = await keep.listOutgoing(account.id);
    const acknowledged = new Map(
      this.#acknowledged.map(({ message, conversation }) => [message.id, { ...message, conversation }]),
    );
    const waiting = kept.filter(({ id }) => !acknowledged.has(id));
    store.outgoing.value = [...acknowledged.values(), ...waiting];
  }

  async #readAll(): Promise<void> {
    for (const timeline of this.options.store.timelines()) timeline.clear();
    await readEverything(this.options);
    const { store } = this.options;
    for (const id of store.ids.peek()) {
      const head = store.head(id)?.peek();
      if (this.#tabs.leads && head?.roomName === "" && head.last > head.delivered) {
        this.positions.advance(id, head.last, 0);
      }
    }
    await this.#readOutgoing();
  }

  /** Says that the reader is away when no tab was visible for a while. */
  async #presence(signal: AbortSignal): Promise<void> {
    const { clock, caller, isVisible } = this.options;
    while (!signal.aborted) {
      await clock.sleep(ROUNDS_MS, signal);
      if (isVisible()) this.#visibleMs = clock.now();
      const away = clock.now() - this.#visibleMs > AWAY_MS;
      if (away === this.#away || signal.aborted) continue;
      try {
        await caller.read((services, options) => services.live.setPresence({ away }, options), 2000);
        this.#away = away;
      } catch {
        // The stream is at another node; the next round tells it again.
      }
    }
  }

  /** Reads without a word; while events go on that ask for it, seconds are between two readings. */
  #soon(ms: number, read: () => Promise<void>): () => void {
    // Every failure has been asked at all nodes; the next event or a click asks again.
    return soon(ms, () => read().catch(() => {}), READ_PAUSE_MS_MAX);
  }
}
