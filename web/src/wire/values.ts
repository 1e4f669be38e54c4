// The plain values that the page works with, made from what the protocol carries.
//
// Numbers of 64 bits become numbers: ids, sequences and positions stay far below 2^53. A value
// beyond that is a broken promise of the node and throws.
//
// Always true: above this floor no code names a generated type of a message, an account or a room.

import type { Account as WireAccount } from "../gen/conclave/v1/account_pb";
import { AccountRole } from "../gen/conclave/v1/account_pb";
import type {
  Conversation as WireConversation,
  Message as WireMessage,
  MessagePreview,
} from "../gen/conclave/v1/chat_pb";
import type { Member as WireMember, Room as WireRoom } from "../gen/conclave/v1/room_pb";

export interface Reaction {
  readonly reaction: string;
  readonly count: number;
  readonly mine: boolean;
}

/** Delivery of a message of a direct conversation, in growing order; 0 in rooms. */
export const enum Delivery {
  None = 0,
  Sent = 1,
  Delivered = 2,
  Read = 3,
}

export interface Message {
  readonly conversation: number;
  readonly sequence: number;
  readonly position: number;
  readonly senderId: number;
  /** Empty if the account was deleted. */
  readonly senderName: string;
  readonly sentAtMs: number;
  readonly text: string;
  readonly deleted: boolean;
  readonly editedAtMs: number;
  /** Sequence of the message that this one answers; 0 for none. */
  readonly replyTo: number;
  readonly action: boolean;
  readonly mentionedIds: readonly number[];
  readonly reactions: readonly Reaction[];
}

export interface Conversation {
  readonly id: number;
  /** Name of the room; empty in a direct conversation. */
  readonly roomName: string;
  /** Name of the other member; empty in a room, or if the account was deleted. */
  readonly peerName: string;
  readonly topic: string;
  readonly last: number;
  readonly delivered: number;
  readonly read: number;
  readonly unread: number;
  readonly mentions: number;
  readonly peerDelivered: number;
  readonly peerRead: number;
}

export type Role = "user" | "admin" | "bot";

export interface Account {
  readonly id: number;
  readonly name: string;
  readonly displayName: string;
  readonly role: Role;
  readonly suspended: boolean;
  readonly createdAtMs: number;
}

export const enum RoomRole {
  None = 0,
  Member = 1,
  Moderator = 2,
  Owner = 3,
}

export interface Room {
  readonly id: number;
  readonly name: string;
  readonly topic: string;
  readonly public: boolean;
  readonly members: number;
  readonly role: RoomRole;
  readonly invited: boolean;
  /** What the room keeps, 0: without a limit; `null` if the node does not say. */
  readonly kept: { readonly ageMs: number; readonly messages: number } | null;
  /** What its owners have set; `null`: as the cluster. */
  readonly keptOwn: { readonly ageMs: number | null; readonly messages: number | null };
}

export interface Member {
  readonly account: Account;
  readonly role: RoomRole;
}

/** Converts a number of 64 bits. */
export function num(value: bigint): number {
  if (value > 9007199254740991n) throw new RangeError(`the node sent a number beyond 2^53: ${value}`);
  return Number(value);
}

function numOrNull(value: bigint | undefined): number | null {
  return value === undefined ? null : num(value);
}

export function toMessage(wire: WireMessage): Message {
  return {
    conversation: num(wire.conversationId),
    sequence: num(wire.sequence),
    position: num(wire.position),
    senderId: num(wire.senderId),
    senderName: wire.senderName,
    sentAtMs: num(wire.sentAtMs),
    text: wire.text,
    deleted: wire.deleted,
    editedAtMs: num(wire.editedAtMs),
    replyTo: num(wire.replyTo),
    action: wire.action,
    mentionedIds: wire.mentionedIds.map(num),
    reactions: wire.reactions.map(({ reaction, count, mine }) => ({ reaction, count, mine })),
  };
}

export function toConversation(wire: WireConversation): Conversation {
  return {
    id: num(wire.id),
    roomName: wire.roomName,
    peerName: wire.peerName,
    topic: wire.topic,
    last: num(wire.sequenceLast),
    delivered: num(wire.sequenceDelivered),
    read: num(wire.sequenceRead),
    unread: num(wire.unread),
    mentions: num(wire.unreadMentions),
    peerDelivered: num(wire.peerDelivered),
    peerRead: num(wire.peerRead),
  };
}

/** Makes a message of what a list of conversations tells of it; its text may be cut. */
export function toPreview(conversation: number, wire: MessagePreview): Message {
  return {
    conversation,
    sequence: num(wire.sequence),
    position: num(wire.position),
    senderId: num(wire.senderId),
    senderName: wire.senderName,
    sentAtMs: num(wire.sentAtMs),
    text: wire.text,
    deleted: wire.deleted,
    editedAtMs: 0,
    replyTo: 0,
    action: wire.action,
    mentionedIds: [],
    reactions: [],
  };
}

export function toAccount(wire: WireAccount | undefined): Account {
  if (!wire) throw new RangeError("the node sent no account");
  const roles: Partial<Record<AccountRole, Role>> = {
    [AccountRole.ADMIN]: "admin",
    [AccountRole.BOT]: "bot",
  };
  return {
    id: num(wire.id),
    name: wire.name,
    displayName: wire.displayName,
    role: roles[wire.role] ?? "user",
    suspended: wire.suspended,
    createdAtMs: num(wire.createdAtMs),
  };
}

export function toRoom(wire: WireRoom): Room {
  return {
    id: num(wire.conversationId),
    name: wire.name,
    topic: wire.topic,
    public: wire.public,
    members: wire.members,
    role: wire.role as number,
    invited: wire.invited,
    kept: wire.retention ? { ageMs: num(wire.retention.ageMs), messages: num(wire.retention.messages) } : null,
    keptOwn: { ageMs: numOrNull(wire.ownRetention?.ageMs), messages: numOrNull(wire.ownRetention?.messages) },
  };
}

export function toMember(wire: WireMember): Member {
  return { account: toAccount(wire.account), role: wire.role as number };
}
