// Clients of the services at one node, over gRPC-Web.
//
// Always true: every call carries the header by which a node knows that its own page asks; another
// site cannot send it without the node's consent.

import type { Client, Transport } from "@connectrpc/connect";
import { createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { AccountService, SessionService } from "../gen/conclave/v1/account_pb";
import { ChatService } from "../gen/conclave/v1/chat_pb";
import { LiveService } from "../gen/conclave/v1/live_pb";
import { RoomService } from "../gen/conclave/v1/room_pb";

export interface Services {
  readonly transport: Transport;
  readonly accounts: Client<typeof AccountService>;
  readonly sessions: Client<typeof SessionService>;
  readonly chat: Client<typeof ChatService>;
  readonly live: Client<typeof LiveService>;
  readonly rooms: Client<typeof RoomService>;
}

/** Options that every call takes. */
export interface CallOptions {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

export function services(transport: Transport): Services {
  return {
    transport,
    accounts: createClient(AccountService, transport),
    sessions: createClient(SessionService, transport),
    chat: createClient(ChatService, transport),
    live: createClient(LiveService, transport),
    rooms: createClient(RoomService, transport),
  };
}

/**
 * Returns the transport to the node at a base URL such as `https://chat.example:7400`. Every call
 * names the session for which the transport was made, so that the cookie of another one is refused;
 * 0: the session of the cookie, or none.
 */
export function transportTo(baseUrl: string, session: number): Transport {
  return createGrpcWebTransport({
    baseUrl,
    fetch: (input, init) => {
      const headers = new Headers(init?.headers);
      headers.set("x-conclave-page", "1");
      if (session > 0) headers.set("x-conclave-session", String(session));
      return fetch(input, { ...init, headers, credentials: "include", cache: "no-store" });
    },
  });
}
