// Events of the stream as plain values. What this version does not know becomes `unknown` and is
// ignored, as the protocol asks.

import type { Event as WireEvent, SubscribeResponse } from "../gen/conclave/v1/live_pb";
import { PresenceState } from "../gen/conclave/v1/live_pb";
import type { Account, Message, RoomRole } from "./values";
import { num, toAccount, toMessage } from "./values";

export type PresenceName = "online" | "away" | "offline";

export type ChatEvent = { readonly position: number } & (
  | { readonly kind: "started"; readonly node: number; readonly account: number }
  | { readonly kind: "heartbeat" }
  | { readonly kind: "gap" }
  | { readonly kind: "goingAway" }
  | { readonly kind: "sent"; readonly message: Message }
  | { readonly kind: "edited"; readonly message: Message }
  | { readonly kind: "deleted"; readonly conversation: number; readonly sequence: number }
  | { readonly kind: "hidden"; readonly conversation: number; readonly sequence: number }
  /** Messages up to `through` are no longer kept. */
  | { readonly kind: "forgotten"; readonly conversation: number; readonly through: number }
  | {
      readonly kind: "reaction";
      readonly conversation: number;
      readonly sequence: number;
      readonly account: number;
      readonly reaction: string;
      readonly present: boolean;
      /** Members that give it now. */
      readonly count: number;
    }
  | {
      readonly kind: "advanced";
      readonly conversation: number;
      readonly account: number;
      readonly delivered: number;
      readonly read: number;
    }
  | { readonly kind: "opened"; readonly conversation: number; readonly peer: string }
  | {
      readonly kind: "joined" | "left";
      readonly conversation: number;
      readonly room: string;
      readonly account: number;
      readonly name: string;
    }
  | {
      readonly kind: "role";
      readonly conversation: number;
      readonly account: number;
      readonly role: RoomRole;
    }
  | { readonly kind: "topic"; readonly conversation: number; readonly topic: string }
  | { readonly kind: "invited"; readonly conversation: number; readonly room: string }
  | { readonly kind: "account"; readonly account: Account }
  | { readonly kind: "presence"; readonly name: string; readonly state: PresenceName }
  | { readonly kind: "typing"; readonly conversation: number; readonly name: string }
  | { readonly kind: "nodes"; readonly addresses: readonly string[] }
  | { readonly kind: "unknown" }
);

/** Events that belong together, and the place in the log after them. */
export interface Batch {
  readonly events: readonly ChatEvent[];
  readonly token: Uint8Array;
  readonly position: number;
}

export function toBatch(wire: SubscribeResponse): Batch {
  return {
    events: wire.events.map(toEvent),
    token: wire.resumeToken,
    position: num(wire.position),
  };
}

const PRESENCES: Partial<Record<PresenceState, PresenceName>> = {
  [PresenceState.ONLINE]: "online",
  [PresenceState.AWAY]: "away",
};

function toEvent(wire: WireEvent): ChatEvent {
  const position = num(wire.position);
  const event = wire.event;
  switch (event.case) {
    case "started": {
      const { nodeId, accountId } = event.value;
      return { position, kind: "started", node: num(nodeId), account: num(accountId) };
    }
    case "heartbeat":
    case "gap":
    case "goingAway":
      return { position, kind: event.case };
    case "messageSent":
      return { position, kind: "sent", message: toMessage(event.value) };
    case "messageEdited":
      return { position, kind: "edited", message: toMessage(event.value) };
    case "messageDeleted":
      return { position, kind: "deleted", ...place(event.value.message) };
    case "messageHidden":
      return { position, kind: "hidden", ...place(event.value) };
    case "messagesForgotten": {
      const { conversationId, throughSequence } = event.value;
      return { position, kind: "forgotten", conversation: num(conversationId), through: num(throughSequence) };
    }
    case "reactionChanged": {
      const { message, accountId, reaction, present } = event.value;
      const [account, count] = [num(accountId), num(event.value.count)];
      return { position, kind: "reaction", ...place(message), account, reaction, present, count };
    }
    case "positionAdvanced": {
      const { conversationId, accountId, sequenceDelivered, sequenceRead } = event.value;
      return {
        position,
        kind: "advanced",
        conversation: num(conversationId),
        account: num(accountId),
        delivered: num(sequenceDelivered),
        read: num(sequenceRead),
      };
    }
    case "conversationOpened": {
      const { conversationId, peerName } = event.value;
      return { position, kind: "opened", conversation: num(conversationId), peer: peerName };
    }
    case "memberJoined":
    case "memberLeft": {
      const { conversationId, roomName, accountId, accountName } = event.value;
      return {
        position,
        kind: event.case === "memberJoined" ? "joined" : "left",
        conversation: num(conversationId),
        room: roomName,
        account: num(accountId),
        name: accountName,
      };
    }
    case "memberRoleChanged": {
      const { conversationId, accountId, role } = event.value;
      const conversation = num(conversationId);
      return { position, kind: "role", conversation, account: num(accountId), role: role as number };
    }
    case "topicChanged": {
      const { conversationId, topic } = event.value;
      return { position, kind: "topic", conversation: num(conversationId), topic };
    }
    case "roomInvitation": {
      const { conversationId, roomName } = event.value;
      return { position, kind: "invited", conversation: num(conversationId), room: roomName };
    }
    case "accountChanged":
      return { position, kind: "account", account: toAccount(event.value.account) };
    case "presence": {
      const { accountName, state } = event.value;
      return { position, kind: "presence", name: accountName, state: PRESENCES[state] ?? "offline" };
    }
    case "typing": {
      const { conversationId, accountName } = event.value;
      return { position, kind: "typing", conversation: num(conversationId), name: accountName };
    }
    case "members":
      return { position, kind: "nodes", addresses: event.value.clientAddresses };
    default:
      return { position, kind: "unknown" };
  }
}

function place(ref: { conversationId: bigint; sequence: bigint } | undefined) {
  return { conversation: num(ref?.conversationId ?? 0n), sequence: num(ref?.sequence ?? 0n) };
}
