// One conversation: its head, its messages, who is typing, and where one writes.

import { useSignalEffect } from "@preact/signals";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { go, isName, route } from "../../app/route";
import { toggleMuted } from "../../app/preferences";
import type { Session } from "../../app/session";
import { strings } from "../../base/strings";
import { draftKey } from "../../keep/drafts";
import { outgoingOf } from "../../state/rows";
import { visible } from "../../text/visible";
import type { Message } from "../../wire/values";
import { Avatar } from "../parts/Avatar";
import { Dialog } from "../parts/Dialog";
import { Icon } from "../parts/Icon";
import { attempt, notice } from "../parts/notices";
import { drawer, help, panel, searchFor } from "../frame/open";
import { Members } from "./Members";
import type { CommandName } from "./commands";
import { Composer } from "./Composer";
import { MessageList } from "./MessageList";
import { PendingRow } from "./PendingRow";
import type { TalkActions } from "./talk";
import { Typing } from "./Typing";

export function Talk({ session, id, focus }: { session: Session; id: number; focus: number }) {
  const { store, engine, drafts, actions } = session;
  const head = store.head(id)?.value;
  const [replyTo, setReplyTo] = useState<Message | null>(null);
  const [editing, setEditing] = useState<Message | null>(null);
  const [deleting, setDeleting] = useState<Message | null>(null);
  const answered = useRef(0);
  // Before the field shows a draft: what was typed before the conversation was opened comes along.
  const peer = head?.roomName === "" ? head.peerName : "";
  useMemo(() => peer && drafts.move(draftKey(0, peer), id), [id, peer]);
  useEffect(() => {
    answered.current = drafts.get(id).replyTo;
    setReplyTo(null);
    setEditing(null);
  }, [id]);
  // What the draft answers may come with the history, after the draft.
  useSignalEffect(() => {
    const timeline = store.timeline(id);
    if (timeline.version.value < 0 || answered.current === 0) return;
    const original = timeline.get(answered.current);
    if (!original) return;
    answered.current = 0;
    setReplyTo(original);
  });
  useEffect(() => {
    const escape = (event: KeyboardEvent) => {
      if (event.key !== "Escape" || event.defaultPrevented || document.querySelector("dialog[open]")) return;
      const now = store.head(id)?.peek();
      if (now) engine.markRead(id, now.last);
    };
    addEventListener("keydown", escape);
    return () => removeEventListener("keydown", escape);
  }, [id]);
  if (!head) return <p class="page-lead">{store.loaded.value ? strings.searchEmpty : strings.loading}</p>;
  const room = head.roomName;
  const self = head.peerName.toLowerCase() === store.me.value?.name.toLowerCase();
  const name = room ? `#${room}` : self ? strings.noteToSelf : visible(store.displayName(head.peerName)) || strings.deletedAccount;
  const talk: TalkActions = {
    reply: (message) => {
      setEditing(null);
      setReplyTo(message);
    },
    edit: (message) => {
      setReplyTo(null);
      setEditing(message);
    },
    askDelete: setDeleting,
    jump: (sequence) => go({ view: "conversation", id, sequence }),
    person: (person) => {
      const known = store.find(person, false);
      go(known ? { view: "conversation", id: known.id, sequence: 0 } : { view: "person", name: person });
    },
  };
  // The line above the composer shows nothing of a message that is no longer kept.
  const answering = replyTo && !store.isForgotten(id, replyTo.sequence) ? replyTo : null;
  const lastOwn = () => {
    const me = store.me.peek()?.id;
    const range = store.timeline(id).around(head.last);
    if (!range) return null;
    return store.timeline(id).messages(range).findLast(({ senderId, deleted }) => senderId === me && !deleted) ?? null;
  };
  return (
    <>
      <div class="talk">
        <TalkHead session={session} id={id} name={name} />
        <MessageList key={`${id}`} session={session} id={id} focus={focus} talk={talk} name={name} />
        <Typing session={session} id={id} />
        {head.roomName === "" && head.peerName === "" ? (
          <p class="composer-gone">{strings.deletedAccount}</p>
        ) : (
          <Composer
            key={id}
            session={session}
            id={id}
            recipient={peer}
            name={name}
            replyTo={answering}
            editing={editing}
            onReply={setReplyTo}
            onEdit={setEditing}
            onCommand={(command, rest) => run(session, id, command, rest)}
            lastOwn={lastOwn}
          />
        )}
      </div>
      {panel.value && room && <Members key={id} session={session} id={id} name={room} />}
      {deleting && (
        <Dialog title={strings.deleteForAll} onClose={() => setDeleting(null)}>
          <p>{strings.deleteAsk}</p>
          <div class="buttons">
            <button type="button" class="button" onClick={() => setDeleting(null)}>
              {strings.cancel}
            </button>
            <button
              type="button"
              class="button button-danger"
              autofocus
              onClick={() => {
                const message = deleting;
                setDeleting(null);
                void attempt(() => actions.delete(message, true));
              }}
            >
              {strings.deleteForAll}
            </button>
          </div>
        </Dialog>
      )}
    </>
  );
}

function TalkHead({ session, id, name }: { session: Session; id: number; name: string }) {
  const { store } = session;
  const head = store.head(id)?.value;
  const room = store.rooms.value.get(id);
  if (!head) return null;
  const presence = store.presence.value.get(head.peerName.toLowerCase());
  const states = { online: strings.online, away: strings.away, offline: strings.offlineState };
  return (
    <header class="talk-head">
      <button type="button" class="button-icon only-narrow" aria-label={strings.openMenu} onClick={() => (drawer.value = true)}>
        <Icon name="menu" />
      </button>
      {head.roomName ? (
        <span class="talk-sign">
          <Icon name={room && !room.public ? "lock" : "hash"} />
        </span>
      ) : (
        <Avatar name={head.peerName} size="small" presence={presence} />
      )}
      <div class="talk-title">
        <h1>
          <bdi>{head.roomName || name}</bdi>
        </h1>
        <p>
          <bdi>{head.roomName ? visible(head.topic) : presence ? states[presence] : `@${head.peerName}`}</bdi>
        </p>
      </div>
      <button
        type="button"
        class="button-icon"
        aria-label={strings.search}
        title={strings.search}
        onClick={() => searchFor(head.roomName ? `in:#${head.roomName} ` : `in:${head.peerName} `)}
      >
        <Icon name="search" />
      </button>
      {head.roomName && (
        <button
          type="button"
          class="button-icon talk-members"
          aria-label={`${strings.details}: ${strings.memberCount(room?.members ?? 0)}`}
          title={strings.details}
          aria-pressed={panel.value}
          onClick={() => (panel.value = !panel.value)}
        >
          <Icon name="people" />
          <span>{room?.members || ""}</span>
        </button>
      )}
    </header>
  );
}

/** Runs a command of the composer. Returns whether it was done; if not, a notice says why. */
async function run(session: Session, id: number, command: CommandName, rest: string): Promise<boolean> {
  const { store, actions } = session;
  const head = store.head(id)?.peek();
  const room = head?.roomName ?? "";
  const [first = ""] = rest.split(/\s/);
  const name = first.replace(/^[@#]/, "");
  switch (command) {
    case "join":
      return attempt(async () => {
        const joined = await actions.joinRoom(name);
        store.set(joined, { roomName: name });
        go({ view: "conversation", id: joined, sequence: 0 });
      });
    case "leave": {
      const left = room !== "" && (await attempt(() => actions.leaveRoom(room)));
      if (left) go({ view: "home" });
      return left;
    }
    case "topic":
      return attempt(() => actions.setTopic(room, rest));
    case "invite": {
      const invited = await attempt(() => actions.invite(room, name));
      if (invited) notice(strings.inviteSent(name));
      return invited;
    }
    case "kick":
      return attempt(() => actions.kick(room, name));
    case "msg":
      return write(session, name, rest.slice(first.length).trim());
    case "search":
      searchFor(rest);
      return true;
    case "mute":
      if (id) toggleMuted(id);
      return id > 0;
    case "help":
      help.value = true;
      return true;
    case "me":
    case "shrug":
      return true;
  }
}

/** Opens what is written with a person, and puts a text into the outbox, if there is one. */
async function write({ store, engine }: Session, name: string, text: string): Promise<boolean> {
  if (!isName(name)) {
    notice(strings.noName, true);
    return false;
  }
  const known = store.find(name, false);
  const message = {
    conversation: known?.id ?? 0,
    recipient: name,
    text,
    action: false,
    replyTo: 0,
    createdAtMs: Date.now(),
    after: known?.last ?? 0,
  };
  const taken = text === "" || (await engine.send(message).catch(() => null));
  if (!taken) {
    notice(taken === null ? strings.notStored : strings.outboxFull, true);
    return false;
  }
  // There it is seen to wait, and why it is refused, if it is.
  go(known ? { view: "conversation", id: known.id, sequence: 0 } : { view: "person", name });
  return true;
}

/** A direct conversation that begins with its first message. */
export function FirstTalk({ session, name }: { session: Session; name: string }) {
  const { store } = session;
  void store.ids.value;
  const opened = store.find(name, false);
  useEffect(() => {
    const at = route.peek();
    if (opened && at.view === "person") go({ view: "conversation", id: opened.id, sequence: 0 }, true);
  }, [opened?.id]);
  const shown = visible(store.displayName(name));
  const waiting = outgoingOf(store.outgoing.value, opened?.id ?? 0, name);
  return (
    <div class="talk">
      <header class="talk-head">
        <button type="button" class="button-icon only-narrow" aria-label={strings.openMenu} onClick={() => (drawer.value = true)}>
          <Icon name="menu" />
        </button>
        <Avatar name={name} size="small" presence={store.presence.value.get(name.toLowerCase())} />
        <div class="talk-title">
          <h1>
            <bdi>{shown}</bdi>
          </h1>
          <p>@{name}</p>
        </div>
      </header>
      <div class="list-frame">
        <div class="list">
          <div class="list-rows">
            <p class="list-beginning">{strings.firstMessage(shown)}</p>
            {waiting.map((message) => (
              <PendingRow key={message.id} message={message} session={session} />
            ))}
          </div>
        </div>
      </div>
      <Composer
        key={name}
        session={session}
        id={0}
        recipient={name}
        name={shown}
        replyTo={null}
        editing={null}
        onReply={() => {}}
        onEdit={() => {}}
        onCommand={(command, rest) => run(session, 0, command, rest)}
        lastOwn={() => null}
      />
    </div>
  );
}
