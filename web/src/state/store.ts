// Everything that one tab knows: conversations, messages, rooms, presence, what is on its way.
//
// Values are immutable and held by signals, one for each conversation, so that a message redraws
// its own conversation and nothing else.

import { batch, computed, signal } from "@preact/signals";
import type { Signal } from "@preact/signals";
import type { Outgoing } from "../keep/keep";
import type { Link } from "../net/stream";
import type { PresenceName } from "../wire/events";
import type { Account, Conversation, Message, Room } from "../wire/values";
import { Timeline } from "./timeline";

/** A conversation with what only this page knows of it. */
export interface Head extends Conversation {
  /** The newest message that the page has; for the list. */
  readonly newest: Message | null;
  /** Date of the newest activity, 0 if unknown. */
  readonly activeAtMs: number;
}

/** A reading of the list of conversations, and what has happened to the list since it began. */
export interface Reading {
  readonly added: Set<number>;
  readonly removed: Set<number>;
}

export interface Typist {
  readonly name: string;
  readonly untilMs: number;
}

export class Store {
  readonly me = signal<Account | null>(null);
  /** Ids of all conversations, in no particular order. */
  readonly ids = signal<readonly number[]>([]);
  readonly rooms = signal<ReadonlyMap<number, Room>>(new Map());
  readonly accounts = signal<ReadonlyMap<string, Account>>(new Map());
  readonly presence = signal<ReadonlyMap<string, PresenceName>>(new Map());
  readonly typing = signal<ReadonlyMap<number, readonly Typist[]>>(new Map());
  readonly outgoing = signal<readonly Outgoing[]>([]);
  readonly blocked = signal<ReadonlySet<string>>(new Set());
  readonly link = signal<Link>({ state: "connecting", attempt: 0, node: 0, sinceMs: 0 });
  /** Whether the conversations were read. */
  readonly loaded = signal(false);
  /** Position of the last event that this tab has dealt with. */
  position = 0;

  readonly #heads = new Map<number, Signal<Head>>();
  readonly #timelines = new Map<number, Timeline>();
  /** Readings under way. */
  readonly #readings = new Set<Reading>();

  /** Unread messages that ask for the reader: mentions, and everything in direct conversations. */
  readonly attention = computed(() => {
    let count = 0;
    for (const id of this.ids.value) {
      const head = this.#heads.get(id)?.value;
      if (head) count += head.roomName === "" ? head.unread : head.mentions;
    }
    return count;
  });

  readonly unread = computed(() =>
    this.ids.value.some((id) => (this.#heads.get(id)?.value.unread ?? 0) > 0),
  );

  head(id: number): Signal<Head> | undefined {
    return this.#heads.get(id);
  }

  timeline(id: number): Timeline {
    let timeline = this.#timelines.get(id);
    if (!timeline) {
      timeline = new Timeline();
      this.#timelines.set(id, timeline);
    }
    return timeline;
  }

  timelines(): Iterable<Timeline> {
    return this.#timelines.values();
  }

  /** Returns whether a message is no longer kept, as far as the page knows. */
  isForgotten(conversation: number, sequence: number): boolean {
    return sequence <= this.timeline(conversation).forgotten;
  }

  /** Sets some fields of a conversation; adds it if it is new. */
  set(id: number, change: Partial<Head>): void {
    const known = this.#heads.get(id);
    if (known) {
      known.value = { ...known.value, ...change };
      return;
    }
    this.#heads.set(id, signal({ ...emptyHead(id), ...change }));
    this.ids.value = [...this.ids.value, id];
    for (const { added, removed } of this.#readings) {
      added.add(id);
      removed.delete(id);
    }
  }

  remove(id: number): void {
    for (const { added, removed } of this.#readings) {
      removed.add(id);
      added.delete(id);
    }
    this.#heads.delete(id);
    this.#timelines.get(id)?.clear();
    this.ids.value = this.ids.value.filter((each) => each !== id);
  }

  setMemberCount(room: number, members: number): void {
    const known = this.rooms.peek().get(room);
    if (!known || known.members === members) return;
    this.rooms.value = new Map(this.rooms.peek()).set(room, { ...known, members });
  }

  /** Begins to read the list of conversations, until `setConversations` or `end`. */
  begin(): Reading {
    const reading = { added: new Set<number>(), removed: new Set<number>() };
    this.#readings.add(reading);
    return reading;
  }

  /** Takes that a reading is over. */
  end(reading: Reading): void {
    this.#readings.delete(reading);
  }

  /**
   * Takes the list of conversations as a node has read it. What was opened or left since the reading
   * began stays so. A list that was `cut` says nothing about those that are not in it.
   */
  setConversations(
    list: readonly (Conversation & { readonly newest?: Message | null })[],
    reading: Reading,
    cut = false,
  ): void {
    this.end(reading);
    batch(() => {
      const listed = new Set(list.map(({ id }) => id));
      for (const id of cut ? [] : this.ids.peek()) {
        if (!listed.has(id) && !reading.added.has(id)) this.remove(id);
      }
      for (const conversation of list) {
        if (reading.removed.has(conversation.id)) continue;
        const known = this.#heads.get(conversation.id)?.peek();
        const found = conversation.newest ?? known?.newest ?? null;
        // A list that was read before messages were forgotten does not bring one back.
        const kept = found && found.sequence > (this.#timelines.get(conversation.id)?.forgotten ?? 0);
        const newest = kept ? found : null;
        const activeAtMs = Math.max(known?.activeAtMs ?? 0, newest?.sentAtMs ?? 0);
        const read = { ...conversation, newest, activeAtMs };
        this.set(conversation.id, known ? this.#later(known, read) : read);
      }
      this.loaded.value = true;
    });
  }

  /** Returns what was read, with what the stream has brought since it was read. */
  #later(known: Head, read: Head): Head {
    let { last, unread, mentions, newest } = read;
    if (known.last > last) {
      const me = this.me.peek()?.id ?? 0;
      const late = this.timeline(read.id)
        .messages({ from: last + 1, to: known.last })
        .filter(({ senderId, deleted }) => senderId !== me && !deleted);
      unread += late.length;
      mentions += late.filter(({ mentionedIds }) => mentionedIds.includes(me)).length;
      last = known.last;
      newest = known.newest;
    }
    // Read on this page since: its own counts are newer.
    if (known.read > read.read) ({ unread, mentions } = known);
    return {
      ...read,
      last,
      newest,
      unread,
      mentions,
      read: Math.max(known.read, read.read),
      delivered: Math.max(known.delivered, read.delivered),
      peerRead: Math.max(known.peerRead, read.peerRead),
      peerDelivered: Math.max(known.peerDelivered, read.peerDelivered),
    };
  }

  /** Finds the direct conversation with an account, or a room, by name. */
  find(name: string, room: boolean): Head | undefined {
    const wanted = name.toLowerCase();
    for (const head of this.#heads.values()) {
      const { roomName, peerName } = head.peek();
      if ((room ? roomName : peerName).toLowerCase() === wanted && (room || roomName === "")) {
        return head.peek();
      }
    }
    return undefined;
  }

  /** Returns the name that is shown for an account. */
  displayName(name: string): string {
    return this.accounts.value.get(name.toLowerCase())?.displayName || name;
  }
}

function emptyHead(id: number): Head {
  return {
    id,
    roomName: "",
    peerName: "",
    topic: "",
    last: 0,
    delivered: 0,
    read: 0,
    unread: 0,
    mentions: 0,
    peerDelivered: 0,
    peerRead: 0,
    newest: null,
    activeAtMs: 0,
  };
}
