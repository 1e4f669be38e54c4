// One conversation: its head, its messages, who is typing, and where one writes.

import { useSignalEffect } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { go, route } from "../../app/route";
import { toggleMuted } from "../../app/preferences";
import type { Session } from "../../app/session";
import { strings } from "../../base/strings";
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
import type { TalkActions } from "./talk";
import { Typing } from "./Typing";

export function Talk({ session, id, focus }: { session: Session; id: number; focus: number }) {
  const { store, engine, drafts, actions } = session;
  const head = store.head(id)?.value;
  const [replyTo, setReplyTo] = useState<Message | null>(null);
  const [editing, setEditing] = useState<Message | null>(null);
  const [deleting, setDeleting] = useState<Message | null>(null);
  const answered = useRef(0);
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
            recipient=""
            name={name}
            replyTo={answering}
            editing={editing}
            onReply={setReplyTo}
            onEdit={setEditing}
            onCommand={(command, rest) => void run(session, id, command, rest)}
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

/** Runs a command of the composer. */
async function run(session: Session, id: number, command: CommandName, rest: string): Promise<void> {
  const { store, actions, engine } = session;
  const head = store.head(id)?.peek();
  const room = head?.roomName ?? "";
  const [first = "", ...others] = rest.split(/\s+/);
  const name = first.replace(/^[@#]/, "");
  switch (command) {
    case "join":
      await attempt(async () => {
        const joined = await actions.joinRoom(name);
        store.set(joined, { roomName: name });
        go({ view: "conversation", id: joined, sequence: 0 });
      });
      return;
    case "leave":
      if (room && (await attempt(() => actions.leaveRoom(room)))) go({ view: "home" });
      return;
    case "topic":
      await attempt(() => actions.setTopic(room, rest));
      return;
    case "invite":
      if (await attempt(() => actions.invite(room, name))) notice(strings.inviteSent(name));
      return;
    case "kick":
      await attempt(() => actions.kick(room, name));
      return;
    case "msg": {
      const text = others.join(" ");
      const known = store.find(name, false);
      if (!text) return go(known ? { view: "conversation", id: known.id, sequence: 0 } : { view: "person", name });
      await engine.send({
        conversation: known?.id ?? 0,
        recipient: known ? "" : name,
        text,
        action: false,
        replyTo: 0,
        createdAtMs: Date.now(),
        after: known?.last ?? 0,
      });
      if (known) go({ view: "conversation", id: known.id, sequence: 0 });
      return;
    }
    case "search":
      return searchFor(rest);
    case "mute":
      return toggleMuted(id);
    case "help":
      help.value = true;
      return;
    case "me":
    case "shrug":
      return;
  }
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
  const waiting = store.outgoing.value.filter(({ recipient }) => recipient.toLowerCase() === name.toLowerCase());
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
              <p class="message-pending" key={message.id}>
                {message.text} {message.sentence}
              </p>
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
        onCommand={(command, rest) => void run(session, 0, command, rest)}
        lastOwn={() => null}
      />
    </div>
  );
}
