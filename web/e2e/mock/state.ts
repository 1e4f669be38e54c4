// A cluster in the memory of one process, for tests of the page: what nodes would agree on.
//
// It keeps the promises that the page builds on (numbers, positions, answers that are remembered) and
// leaves out everything else.

export interface Stored {
  sequence: number;
  position: number;
  senderId: number;
  senderName: string;
  sentAtMs: number;
  text: string;
  deleted: boolean;
  editedAtMs: number;
  replyTo: number;
  action: boolean;
  mentionedIds: number[];
  reactions: Map<string, Set<number>>;
  hiddenFrom: Set<number>;
}

export interface Place {
  id: number;
  room: string;
  topic: string;
  isPrivate: boolean;
  members: Map<number, number>;
  read: Map<number, number>;
  delivered: Map<number, number>;
  /** All messages, also those that are forgotten: a number is a place in it. */
  messages: Stored[];
  forgotten: number;
  /** What the room has set for itself. */
  keep: { ageMs?: bigint; messages?: bigint };
}

export interface Person {
  id: number;
  name: string;
  displayName: string;
  password: string;
  admin: boolean;
  createdAtMs: number;
}

/** An event and the accounts that receive it; the payload is that of the protocol. */
export interface Logged {
  position: number;
  to: Set<number>;
  event: { case: string; value: unknown };
}

export class ClusterState {
  readonly people: Person[] = [];
  readonly places: Place[] = [];
  readonly sessions = new Map<string, { id: number; account: number; numberLast: bigint; answers: Map<bigint, unknown> }>();
  readonly log: Logged[] = [];
  readonly listeners = new Set<(logged: Logged) => void>();
  /** Tickets, each for one node. */
  readonly tickets = new Map<string, { node: number; token: string }>();
  /** Executions of sends, to find one that was made twice. */
  sends = 0;
  /** Pages of history that were asked for. */
  pages = 0;
  position = 4096;
  /** The node that leads, while it lives. */
  leader = 1;
  /** Changes of members that were asked for. */
  readonly changes: string[] = [];

  addPerson(name: string, password = "password", admin = false): Person {
    const person = { id: this.people.length + 1, name, displayName: "", password, admin, createdAtMs: Date.now() };
    this.people.push(person);
    return person;
  }

  person(name: string): Person | undefined {
    return this.people.find((each) => each.name.toLowerCase() === name.toLowerCase());
  }

  addPlace(room: string, members: readonly Person[], topic = "", isPrivate = false): Place {
    const place: Place = {
      id: this.places.length + 1,
      room,
      topic,
      isPrivate,
      members: new Map(members.map(({ id }, index) => [id, room && index === 0 ? 3 : 1])),
      read: new Map(),
      delivered: new Map(),
      messages: [],
      forgotten: 0,
      keep: {},
    };
    this.places.push(place);
    return place;
  }

  direct(one: Person, other: Person): Place {
    const found = this.places.find(
      ({ room, members }) =>
        room === "" && members.has(one.id) && members.has(other.id) && members.size === new Set([one.id, other.id]).size,
    );
    if (found) return found;
    const place = this.addPlace("", [one, other]);
    for (const each of [one, other]) {
      const peer = each === one ? other : one;
      this.publish([each.id], "conversationOpened", { conversationId: BigInt(place.id), peerName: peer.name });
    }
    return place;
  }

  post(place: Place, sender: Person, text: string, options: { replyTo?: number; action?: boolean; atMs?: number } = {}): Stored {
    const names = [...text.matchAll(/@([A-Za-z0-9._-]+)/g)].map((match) => this.person(match[1] ?? ""));
    const message: Stored = {
      sequence: place.messages.length + 1,
      position: this.position + 1,
      senderId: sender.id,
      senderName: sender.name,
      sentAtMs: options.atMs ?? Date.now(),
      text,
      deleted: false,
      editedAtMs: 0,
      replyTo: options.replyTo ?? 0,
      action: options.action ?? false,
      mentionedIds: names.flatMap((each) => (each && each !== sender && place.members.has(each.id) ? [each.id] : [])),
      reactions: new Map(),
      hiddenFrom: new Set(),
    };
    place.messages.push(message);
    this.publish([...place.members.keys()], "messageSent", { place, message });
    return message;
  }

  /** Forgets the messages of a place up to a number. */
  forget(place: Place, through: number): void {
    if (through <= place.forgotten) return;
    place.forgotten = through;
    const value = { conversationId: BigInt(place.id), throughSequence: BigInt(through) };
    this.publish([...place.members.keys()], "messagesForgotten", value);
  }

  publish(to: readonly number[], kind: string, value: unknown): void {
    this.position += 1;
    const logged = { position: this.position, to: new Set(to), event: { case: kind, value } };
    this.log.push(logged);
    for (const listener of this.listeners) listener(logged);
  }

  /** Says something that is in no log. */
  whisper(to: readonly number[], kind: string, value: unknown): void {
    const logged = { position: 0, to: new Set(to), event: { case: kind, value } };
    for (const listener of this.listeners) listener(logged);
  }
}
