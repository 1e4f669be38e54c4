// The services of the mock, as far as the page asks them.

import { Code, ConnectError } from "@connectrpc/connect";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { AccountService, SessionService } from "../../src/gen/conclave/v1/account_pb";
import { AdminService } from "../../src/gen/conclave/v1/admin_pb";
import { ChatService } from "../../src/gen/conclave/v1/chat_pb";
import { LiveService } from "../../src/gen/conclave/v1/live_pb";
import { RoomService } from "../../src/gen/conclave/v1/room_pb";
import type { ClusterState, Logged, Person, Place, Stored } from "./state";
import type { MockNode } from "./node";

/** Credential of the operator of the mock. */
export const OPERATOR = `conclave-operator-1.${"m".repeat(43)}`;

type Key = { number: bigint; nonce: bigint } | undefined;

function refuse(code: Code, reason: string, sentence: string): ConnectError {
  const info = new BinaryWriter();
  info.tag(1, 2).string(reason).tag(2, 2).string("conclave");
  const error = new ConnectError(sentence, code);
  error.details.push({ type: "google.rpc.ErrorInfo", value: info.finish() });
  return error;
}

export function routes(router: ConnectRouter, state: ClusterState, nodeId: number, all: () => readonly MockNode[]): void {
  const tokenOf = (context: HandlerContext) =>
    /conclave_session=([^;]+)/.exec(context.requestHeader.get("cookie") ?? "")?.[1] ?? "";
  const session = (context: HandlerContext) => {
    const found = state.sessions.get(tokenOf(context));
    if (!found) throw refuse(Code.Unauthenticated, "SESSION_EXPIRED", "the session has ended");
    return found;
  };
  const caller = (context: HandlerContext) => state.people[session(context).account - 1] as Person;
  /** Executes a request once, and remembers its answer. */
  const once = <T>(context: HandlerContext, request: Key, act: () => T): T => {
    const own = session(context);
    const number = request?.number ?? 0n;
    if (own.answers.has(number)) return own.answers.get(number) as T;
    const answer = act();
    own.answers.set(number, answer);
    if (number > own.numberLast) own.numberLast = number;
    return answer;
  };
  const placeOf = (person: Person, id: bigint): Place => {
    const place = state.places[Number(id) - 1];
    if (!place?.members.has(person.id)) throw refuse(Code.NotFound, "NO_SUCH_CONVERSATION", "there is no such conversation");
    return place;
  };
  const roomOf = (name: string): Place => {
    const place = state.places.find(({ room }) => room !== "" && room.toLowerCase() === name.toLowerCase());
    if (!place) throw refuse(Code.NotFound, "NO_SUCH_CONVERSATION", "there is no such room");
    return place;
  };
  const messageOf = (place: Place, sequence: bigint): Stored => {
    const message = place.messages[Number(sequence) - 1];
    if (!message || message.sequence <= place.forgotten) {
      throw refuse(Code.NotFound, "NO_SUCH_MESSAGE", "there is no such message");
    }
    return message;
  };
  const position = () => ({ position: BigInt(state.position) });
  const account = (person: Person) => ({
    id: BigInt(person.id),
    name: person.name,
    displayName: person.displayName,
    createdAtMs: BigInt(person.createdAtMs),
    role: person.admin ? 2 : 1,
  });
  const wire = (place: Place, message: Stored, reader: number) => ({
    conversationId: BigInt(place.id),
    sequence: BigInt(message.sequence),
    position: BigInt(message.position),
    senderId: BigInt(message.senderId),
    senderName: message.senderName,
    sentAtMs: BigInt(message.sentAtMs),
    text: message.text,
    deleted: message.deleted,
    editedAtMs: BigInt(message.editedAtMs),
    replyTo: BigInt(message.replyTo),
    action: message.action,
    mentionedIds: message.mentionedIds.map(BigInt),
    roomName: place.room,
    reactions: [...message.reactions].map(([reaction, who]) => ({ reaction, count: who.size, mine: who.has(reader) })),
  });
  const toEvent = (logged: Logged, reader: number) => {
    const { case: kind, value } = logged.event;
    const stored = value as { place: Place; message: Stored };
    const inner = kind === "messageSent" || kind === "messageEdited" ? wire(stored.place, stored.message, reader) : value;
    return { position: BigInt(logged.position), event: { case: kind, value: inner } as never };
  };

  router.service(SessionService, {
    openSession(request, context) {
      const person = state.person(request.name);
      if (!person || person.password !== request.password) {
        throw refuse(Code.Unauthenticated, "WRONG_CREDENTIALS", "the name or the password is wrong");
      }
      const token = `t${state.sessions.size + 1}`;
      state.sessions.set(token, { id: state.sessions.size + 1, account: person.id, numberLast: 0n, answers: new Map() });
      context.responseHeader.set("set-cookie", `conclave_session=${token}; HttpOnly; SameSite=Strict; Path=/`);
      return { account: account(person) };
    },
    closeSession(_, context) {
      state.sessions.delete(tokenOf(context));
      return position();
    },
    getSession(_, context) {
      const own = session(context);
      return { sessionId: BigInt(own.id), account: account(caller(context)), requestNumberLast: own.numberLast };
    },
    listSessions: (_, context) => ({
      sessions: [{ sessionId: BigInt(session(context).id), label: "Chromium on Linux", openedAtMs: BigInt(Date.now()), current: true }],
    }),
    endSession: () => position(),
  });

  router.service(AccountService, {
    createAccount(request) {
      if (state.person(request.name)) throw refuse(Code.AlreadyExists, "NAME_TAKEN", "the name is taken");
      return { id: BigInt(state.addPerson(request.name, request.password).id) };
    },
    listAccounts(request) {
      const wanted = request.pattern.replaceAll("*", "").toLowerCase();
      return { accounts: state.people.filter(({ name }) => name.toLowerCase().includes(wanted)).map(account) };
    },
    listBlocks: () => ({ accounts: [] }),
    setBlock: () => position(),
    setDisplayName: (request, context) =>
      once(context, request.request, () => {
        const person = caller(context);
        person.displayName = request.displayName;
        state.publish([person.id], "accountChanged", { account: account(person) });
        return position();
      }),
    changePassword: () => position(),
    deleteAccount: () => position(),
  });

  router.service(ChatService, {
    sendMessage: (request, context) =>
      once(context, request.request, () => {
        const person = caller(context);
        let place: Place;
        if (request.to.case === "recipientName") {
          const other = state.person(request.to.value);
          if (!other) throw refuse(Code.NotFound, "NO_SUCH_ACCOUNT", "there is no such account");
          place = state.direct(person, other);
        } else place = placeOf(person, request.to.value as bigint);
        if (!request.text.trim()) throw refuse(Code.InvalidArgument, "TEXT_EMPTY", "the text is empty");
        if (request.text === "refuse me") throw refuse(Code.PermissionDenied, "BLOCKED", "the account has blocked you");
        state.sends += 1;
        const message = state.post(place, person, request.text, { replyTo: Number(request.replyTo), action: request.action });
        return { conversationId: BigInt(place.id), sequence: BigInt(message.sequence), ...position() };
      }),
    editMessage: (request, context) =>
      once(context, request.request, () => {
        const place = placeOf(caller(context), request.message?.conversationId ?? 0n);
        const message = messageOf(place, request.message?.sequence ?? 0n);
        message.text = request.text;
        message.editedAtMs = Date.now();
        state.publish([...place.members.keys()], "messageEdited", { place, message });
        return position();
      }),
    setReaction: (request, context) =>
      once(context, request.request, () => {
        const person = caller(context);
        const place = placeOf(person, request.message?.conversationId ?? 0n);
        const message = messageOf(place, request.message?.sequence ?? 0n);
        const who = message.reactions.get(request.reaction) ?? new Set();
        if (request.present) who.add(person.id);
        else who.delete(person.id);
        if (who.size > 0) message.reactions.set(request.reaction, who);
        else message.reactions.delete(request.reaction);
        state.publish([...place.members.keys()], "reactionChanged", {
          message: request.message,
          accountId: BigInt(person.id),
          accountName: person.name,
          reaction: request.reaction,
          present: request.present,
          count: BigInt(who.size),
        });
        return position();
      }),
    deleteMessages: (request, context) =>
      once(context, request.request, () => {
        const person = caller(context);
        for (const named of request.messages) {
          const place = placeOf(person, named.conversationId);
          // Deleting what is gone succeeds.
          if (Number(named.sequence) <= place.forgotten) continue;
          const message = messageOf(place, named.sequence);
          if (request.forEveryone) {
            Object.assign(message, { deleted: true, text: "", reactions: new Map() });
            state.publish([...place.members.keys()], "messageDeleted", { message: named });
          } else {
            message.hiddenFrom.add(person.id);
            state.publish([person.id], "messageHidden", named);
          }
        }
        return { count: 1n, ...position() };
      }),
    advancePositions: (request, context) =>
      once(context, request.request, () => {
        const person = caller(context);
        for (const { conversationId, sequenceRead, sequenceDelivered } of request.progress) {
          const place = placeOf(person, conversationId);
          const read = Math.max(place.read.get(person.id) ?? 0, Number(sequenceRead));
          const delivered = Math.max(place.delivered.get(person.id) ?? 0, Number(sequenceDelivered), read);
          place.read.set(person.id, read);
          place.delivered.set(person.id, delivered);
          const to = place.room ? [person.id] : [...place.members.keys()];
          state.publish(to, "positionAdvanced", {
            conversationId,
            accountId: BigInt(person.id),
            sequenceRead: BigInt(read),
            sequenceDelivered: BigInt(delivered),
          });
        }
        return position();
      }),
    listMessages(request, context) {
      const person = caller(context);
      const place =
        request.conversation.case === "conversationId"
          ? placeOf(person, request.conversation.value)
          : roomOf(String(request.conversation.value));
      const size = request.pageSize || 50;
      state.pages += 1;
      const visible = place.messages.filter(
        ({ sequence, hiddenFrom }) => sequence > place.forgotten && !hiddenFrom.has(person.id),
      );
      let page = visible;
      if (request.from.case === "afterSequence") {
        const after = Number(request.from.value);
        page = visible.filter(({ sequence }) => sequence > after).slice(0, size);
      } else if (request.from.case === "aroundSequence") {
        const at = Number(request.from.value);
        const half = Math.floor(size / 2);
        page = [...visible.filter(({ sequence }) => sequence < at).slice(-half), ...visible.filter(({ sequence }) => sequence >= at).slice(0, size - half)];
      } else {
        const before = request.from.case === "beforeSequence" ? Number(request.from.value) : Infinity;
        page = visible.filter(({ sequence }) => sequence < before).slice(-size);
      }
      const first = page[0]?.sequence ?? 0;
      const older = visible.some(({ sequence }) => sequence < first);
      const read = place.read.get(person.id) ?? 0;
      return {
        messages: page.map((message) => wire(place, message, person.id)),
        previousBeforeSequence: older ? BigInt(first) : 0n,
        nextAfterSequence: BigInt(page.at(-1)?.sequence ?? place.messages.length),
        conversationId: BigInt(place.id),
        sequenceRead: BigInt(read),
        forgottenThrough: BigInt(place.forgotten),
      };
    },
    listConversations(_, context) {
      const person = caller(context);
      const own = state.places.filter(({ members }) => members.has(person.id));
      return {
        conversations: own.map((place) => {
          const read = place.read.get(person.id) ?? 0;
          const peer = [...place.members.keys()].find((id) => id !== person.id) ?? person.id;
          const unread = place.messages.filter(
            ({ sequence, senderId, deleted }) => sequence > Math.max(read, place.forgotten) && senderId !== person.id && !deleted,
          );
          return {
            id: BigInt(place.id),
            peerName: place.room ? "" : (state.people[peer - 1]?.name ?? ""),
            roomName: place.room,
            topic: place.topic,
            sequenceLast: BigInt(place.messages.length),
            sequenceRead: BigInt(read),
            sequenceDelivered: BigInt(place.delivered.get(person.id) ?? 0),
            lastMessage: place.messages.length > place.forgotten ? preview(place.messages.at(-1) as Stored) : undefined,
            unread: BigInt(unread.length),
            unreadMentions: BigInt(unread.filter(({ mentionedIds }) => mentionedIds.includes(person.id)).length),
            peerRead: BigInt(place.room ? 0 : (place.read.get(peer) ?? 0)),
            peerDelivered: BigInt(place.room ? 0 : (place.delivered.get(peer) ?? 0)),
          };
        }),
      };
    },
    listReactions(request, context) {
      const place = placeOf(caller(context), request.message?.conversationId ?? 0n);
      const message = place.messages[Number(request.message?.sequence) - 1];
      const who = [...(message?.reactions.get(request.reaction) ?? [])];
      return { reactors: who.map((id) => ({ accountId: BigInt(id), accountName: state.people[id - 1]?.name ?? "" })) };
    },
    searchMessages(request, context) {
      const person = caller(context);
      const words = request.query.toLowerCase().split(/\s+/).filter((word) => !word.includes(":"));
      const messages = state.places
        .filter(({ members }) => members.has(person.id))
        .flatMap((place) => place.messages.slice(place.forgotten).map((message) => ({ place, message })))
        .filter(({ message }) => words.every((word) => message.text.toLowerCase().includes(word)))
        .slice(-30)
        .reverse();
      return {
        messages: messages.map(({ place, message }) => wire(place, message, person.id)),
        hits: messages.map(({ message }) => ({ snippet: parts(message.text, words[0] ?? "") })),
      };
    },
  });

  router.service(RoomService, {
    createRoom: (request, context) =>
      once(context, request.request, () => {
        const person = caller(context);
        const place = state.addPlace(request.name, [person], request.topic, request.private);
        state.publish([person.id], "memberJoined", joined(place, person));
        return { conversationId: BigInt(place.id), ...position() };
      }),
    joinRoom: (request, context) =>
      once(context, request.request, () => {
        const person = caller(context);
        const place = roomOf(request.name);
        if (!place.members.has(person.id)) {
          place.members.set(person.id, 1);
          place.read.set(person.id, place.messages.length);
          state.publish([...place.members.keys()], "memberJoined", joined(place, person));
        }
        return { conversationId: BigInt(place.id), ...position() };
      }),
    leaveRoom: (request, context) =>
      once(context, request.request, () => {
        const person = caller(context);
        const place = roomOf(request.name);
        state.publish([...place.members.keys()], "memberLeft", joined(place, person));
        place.members.delete(person.id);
        return position();
      }),
    setTopic: (request, context) =>
      once(context, request.request, () => {
        const place = roomOf(request.name);
        place.topic = request.topic;
        state.publish([...place.members.keys()], "topicChanged", { conversationId: BigInt(place.id), topic: place.topic });
        return position();
      }),
    setRoomRetention: (request, context) =>
      once(context, request.request, () => {
        const place = roomOf(request.name);
        const { ageMs, messages } = request.retention ?? {};
        place.keep = { ...(ageMs === undefined ? {} : { ageMs }), ...(messages === undefined ? {} : { messages }) };
        if (messages) state.forget(place, place.messages.length - Number(messages));
        return position();
      }),
    inviteToRoom: () => position(),
    kickFromRoom: () => position(),
    setMemberRole: () => position(),
    listRooms(request, context) {
      const person = caller(context);
      const wanted = request.pattern.replaceAll("*", "").toLowerCase();
      return {
        rooms: state.places
          .filter(({ room, members, isPrivate }) => room && (members.has(person.id) || (!request.onlyOwn && !isPrivate)))
          .filter(({ room }) => room.includes(wanted))
          .map((place) => ({
            conversationId: BigInt(place.id),
            name: place.room,
            topic: place.topic,
            public: !place.isPrivate,
            members: place.members.size,
            role: place.members.get(person.id) ?? 0,
            retention: { ageMs: place.keep.ageMs ?? 0n, messages: place.keep.messages ?? 0n },
            ownRetention: place.keep,
          })),
      };
    },
    listMembers(request) {
      const place = roomOf(request.name);
      return {
        members: [...place.members].map(([id, role]) => ({ account: account(state.people[id - 1] as Person), role })),
      };
    },
    listWebhooks: () => ({ webhooks: [] }),
    createWebhook: () => ({ webhookId: 1n }),
    deleteWebhook: () => position(),
  });

  const asOperator = (context: HandlerContext) => {
    if (context.requestHeader.get("authorization") === `Operator ${OPERATOR}`) return;
    throw refuse(Code.PermissionDenied, "NOT_AN_OPERATOR", "the request shows no credential of an operator");
  };
  router.service(AdminService, {
    listOperators(_, context) {
      asOperator(context);
      return { operators: [{ name: "operator" }] };
    },
    transferLeader(request, context) {
      asOperator(context);
      state.leader = Number(request.nodeId) || state.leader;
      return { leaderNodeId: BigInt(state.leader) };
    },
    changeMembers(request, context) {
      asOperator(context);
      const voters = all().length;
      if (!request.dryRun) state.changes.push(`${request.change.case} ${String(request.change.value)}`);
      return { changed: true, toleratedBefore: (voters - 1) >> 1, toleratedAfter: (voters - 2) >> 1 };
    },
    createJoinToken(_, context) {
      asOperator(context);
      return { token: "CNC1mock", peerAddresses: ["10.0.0.1:7401"], expiresAtMs: BigInt(Date.now() + 86_400_000), plain: true };
    },
    checkCluster(request, context) {
      asOperator(context);
      const finished = request.checkId > 0n;
      const nodes = all().map((node) => ({ nodeId: BigInt(node.id), verdict: finished ? 1 : 0 }));
      return { checkId: 7n, finished, nodes };
    },
    getClusterStatus() {
      const alive = all().filter((node) => node.alive);
      const leader = (alive.find(({ id }) => id === state.leader) ?? alive[0])?.id ?? 0;
      return {
        leaderId: BigInt(leader),
        nodeId: BigInt(nodeId),
        voters: all().length,
        votersReachable: alive.length,
        toleratesFailures: Math.max(0, alive.length - Math.floor(all().length / 2) - 1),
        quorum: alive.length > all().length / 2,
        clientPort: { connections: 12n, connectionsMax: 4096n },
        nodes: all().map((node) => ({
          nodeId: BigInt(node.id),
          clientAddress: `127.0.0.1:${node.port}`,
          reachable: node.alive,
          role: node.id === leader ? 1 : 2,
          term: 3n,
          commitIndex: BigInt(state.position),
          appliedIndex: BigInt(state.position),
          version: "0.1.0",
          uptimeMs: BigInt(8_000_000 + Math.round(performance.now())),
          commandsDecided: BigInt(state.position + Math.round(performance.now() / 20)),
          ...(node.id === leader ? { commitLatency: { medianUs: 2100n, p99Us: 7400n, entries: 200 } } : {}),
          events: [{ number: 1n, ageMs: 60_000n, kind: 2, subjectNodeId: BigInt(leader), term: 3n }],
          freeBytes: 58n * 2n ** 30n,
          clockSkewMs: 2n,
        })),
      };
    },
    listInvites: () => ({ invites: [] }),
    createInvite: () => ({ inviteId: 1n }),
    createBot: () => ({ id: 9n }),
  });

  router.service(LiveService, {
    setTyping(request, context) {
      const person = caller(context);
      const place = placeOf(person, request.conversationId);
      const to = [...place.members.keys()].filter((id) => id !== person.id);
      state.whisper(to, "typing", { conversationId: request.conversationId, accountId: BigInt(person.id), accountName: person.name });
      return {};
    },
    setPresence: () => ({}),
    getPresence: (request) => ({
      presences: request.names.map((name, index) => ({ accountName: name, state: index % 3 === 2 ? 2 : 3 })),
    }),
    async *subscribe(request, context) {
      const person = caller(context);
      const token = new TextDecoder().decode(request.resumeToken);
      let at = token ? Number(token) : state.position;
      const started = {
        nodeId: BigInt(nodeId),
        accountId: BigInt(person.id),
        appliedPosition: BigInt(state.position),
      };
      const response = (events: unknown[]) => ({
        resumeToken: new TextEncoder().encode(String(at)),
        position: BigInt(at),
        events: events as never[],
      });
      yield response([{ event: { case: "started", value: started } }]);
      const fresh: Logged[] = state.log.filter((logged) => logged.position > at);
      let wake = () => {};
      const listener = (logged: Logged) => {
        fresh.push(logged);
        wake();
      };
      state.listeners.add(listener);
      try {
        while (!context.signal.aborted) {
          if (fresh.length === 0) {
            await new Promise<void>((resolve) => {
              const end = () => {
                clearTimeout(timer);
                context.signal.removeEventListener("abort", end);
                resolve();
              };
              const timer = setTimeout(end, request.heartbeatMs || 5000);
              context.signal.addEventListener("abort", end);
              wake = end;
            });
          }
          const taken = fresh.splice(0, 100);
          at = Math.max(at, ...taken.map((logged) => logged.position));
          const events = taken.filter(({ to }) => to.has(person.id)).map((logged) => toEvent(logged, person.id));
          yield response(events.length > 0 ? events : [{ event: { case: "heartbeat", value: {} } }]);
        }
      } finally {
        state.listeners.delete(listener);
      }
    },
  });

  function joined(place: Place, person: Person) {
    return { conversationId: BigInt(place.id), roomName: place.room, accountId: BigInt(person.id), accountName: person.name };
  }
}

function preview({ sequence, position, senderId, senderName, sentAtMs, text, deleted, action }: Stored) {
  return {
    sequence: BigInt(sequence),
    position: BigInt(position),
    senderId: BigInt(senderId),
    senderName,
    sentAtMs: BigInt(sentAtMs),
    text: text.slice(0, 200),
    deleted,
    action,
  };
}

function parts(text: string, word: string) {
  const at = text.toLowerCase().indexOf(word);
  if (!word || at < 0) return [{ text, isMatch: false }];
  return [
    { text: text.slice(0, at), isMatch: false },
    { text: text.slice(at, at + word.length), isMatch: true },
    { text: text.slice(at + word.length), isMatch: false },
  ];
}
