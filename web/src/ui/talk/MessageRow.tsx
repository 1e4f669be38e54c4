// One message: who, when, what, with its reactions and what can be done with it.

import { memo } from "preact/compat";
import { useState } from "preact/hooks";
import { preferences, usedEmoji } from "../../app/preferences";
import type { Session } from "../../app/session";
import { strings } from "../../base/strings";
import { visible } from "../../text/visible";
import { plain } from "../../text/plain";
import type { Message } from "../../wire/values";
import { RoomRole } from "../../wire/values";
import { Avatar } from "../parts/Avatar";
import { dayName, fullDate, shortTime, timeOf } from "../parts/dates";
import { Icon } from "../parts/Icon";
import type { MenuItem } from "../parts/Menu";
import { Menu } from "../parts/Menu";
import { attempt, copyText } from "../parts/notices";
import { EmojiPicker } from "./EmojiPicker";
import { Body } from "./Body";
import { Ticks } from "./Ticks";
import type { TalkActions } from "./talk";

export interface MessageRowProps {
  readonly message: Message;
  /** Whether it begins a group: with name, picture and time. */
  readonly head: boolean;
  readonly session: Session;
  readonly talk: TalkActions;
  readonly focused: boolean;
  /** The message that this one answers, if the page has it. */
  readonly original: Message | undefined;
  /** Whether that message is still kept. */
  readonly originalKept: boolean;
  /** Whether delivery is shown on this message. */
  readonly delivery: "none" | "sent" | "delivered" | "read";
}

export const MessageRow = memo(function MessageRow(props: MessageRowProps) {
  const { message, head, session, talk, focused, original, originalKept, delivery } = props;
  const { store } = session;
  const [picking, setPicking] = useState(false);
  // A row has its buttons from when the reader first comes near: most never do.
  const [near, setNear] = useState(false);
  const me = store.me.value;
  const mine = message.senderId === me?.id;
  const name = message.senderName;
  const shown = visible(store.displayName(name)) || strings.deletedAccount;
  const mentioned = !mine && message.mentionedIds.includes(me?.id ?? 0);
  const classes = ["message stored", head && "message-head", focused && "message-focused", mentioned && "message-mention"];
  const react = (reaction: string, present: boolean) => {
    setPicking(false);
    if (present) usedEmoji(reaction);
    void attempt(() => session.actions.react(message, reaction, present));
  };
  const keys = (event: KeyboardEvent) => {
    if (event.target !== event.currentTarget || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = {
      r: () => talk.reply(message),
      e: () => mine && !message.deleted && talk.edit(message),
      "+": () => setPicking(true),
      Delete: () => mine && talk.askDelete(message),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  };
  return (
    <article
      class={classes.filter(Boolean).join(" ")}
      data-sequence={message.sequence}
      tabIndex={-1}
      aria-label={`${shown}, ${timeOf(message.sentAtMs)}`}
      onKeyDown={keys}
      onPointerEnter={() => setNear(true)}
      onFocusIn={() => setNear(true)}
    >
      {message.replyTo > 0 && !message.deleted && (
        <button type="button" class="quote" disabled={!originalKept} onClick={() => talk.jump(message.replyTo)}>
          <Icon name="reply" small />
          {original ? (
            <>
              <b>{visible(store.displayName(original.senderName)) || strings.deletedAccount}</b>
              <bdi>{original.deleted ? strings.deleted : plain(original.text)}</bdi>
            </>
          ) : (
            <span>{originalKept ? strings.replyGone : strings.replyNotKept}</span>
          )}
        </button>
      )}
      <div class="message-gutter">
        {head ? (
          <Avatar name={name} presence={store.presence.value.get(name.toLowerCase())} />
        ) : (
          <time class="message-time-small">{shortTime(message.sentAtMs)}</time>
        )}
      </div>
      <div class="message-main">
        {head && !message.action && (
          <div class="message-who">
            <button type="button" class="message-name" tabIndex={-1} disabled={!name} onClick={() => talk.person(name)}>
              <bdi>{shown}</bdi>
            </button>
            {shown.toLowerCase() !== name.toLowerCase() && name && <span class="message-account">@{name}</span>}
            <time title={fullDate(message.sentAtMs)} dateTime={new Date(message.sentAtMs).toISOString()}>
              {timeOf(message.sentAtMs)}
            </time>
          </div>
        )}
        {message.deleted ? (
          <p class="message-deleted">{strings.deleted}</p>
        ) : message.action ? (
          <div class="message-action">
            <bdi>{shown}</bdi> <Body text={message.text} store={store} />
          </div>
        ) : (
          <Body text={message.text} store={store} />
        )}
        <span class="message-marks">
          {message.editedAtMs > 0 && !message.deleted && (
            <span class="message-edited" title={`${dayName(message.editedAtMs)} ${timeOf(message.editedAtMs)}`}>
              ({strings.edited})
            </span>
          )}
          {delivery !== "none" && <Ticks state={delivery} />}
        </span>
        {message.reactions.length > 0 && (
          <ul class="reactions" aria-label={strings.react}>
            {message.reactions.map(({ reaction, count, mine: isMine }) => (
              <li key={reaction}>
                <button
                  type="button"
                  class="reaction"
                  aria-pressed={isMine}
                  aria-label={strings.reactedWith(visible(reaction), count)}
                  onPointerEnter={(event) => nameReactors(session, message, reaction, event.currentTarget)}
                  onFocus={(event) => nameReactors(session, message, reaction, event.currentTarget)}
                  onClick={() => react(reaction, !isMine)}
                >
                  <bdi>{visible(reaction)}</bdi>
                  <span>{count}</span>
                </button>
              </li>
            ))}
          </ul>
        )}
      </div>
      {near && !message.deleted && (
        <div class={picking ? "toolbar toolbar-open" : "toolbar"} role="toolbar" aria-label={strings.more}>
          {preferences.value.emoji.slice(0, 3).map((emoji) => (
            <button
              type="button"
              key={emoji}
              class="button-icon toolbar-emoji"
              aria-label={`${strings.react}: ${emoji}`}
              onClick={() => react(emoji, true)}
            >
              {emoji}
            </button>
          ))}
          <button
            type="button"
            class="button-icon"
            aria-label={strings.react}
            title={strings.react}
            aria-expanded={picking}
            onClick={() => setPicking(!picking)}
          >
            <Icon name="smile" />
          </button>
          <button
            type="button"
            class="button-icon"
            aria-label={strings.reply}
            title={strings.reply}
            onClick={() => talk.reply(message)}
          >
            <Icon name="reply" />
          </button>
          <Menu label={strings.more} items={itemsOf(props, mine)}>
            <Icon name="more" />
          </Menu>
          {picking && (
            <EmojiPicker onClose={() => setPicking(false)} onPick={(emoji) => react(emoji, true)} />
          )}
        </div>
      )}
    </article>
  );
});

/** Shows who gave a reaction, once the reader points at it. */
function nameReactors(session: Session, message: Message, reaction: string, button: HTMLElement): void {
  session.actions.reactors(message, reaction).then(
    (names) => {
      const shown = names.map((name) => visible(session.store.displayName(name)) || strings.deletedAccount);
      button.title = shown.join(", ");
    },
    () => {},
  );
}

function itemsOf({ message, session, talk }: MessageRowProps, mine: boolean): MenuItem[] {
  const role = session.store.rooms.peek().get(message.conversation)?.role ?? RoomRole.None;
  const items: MenuItem[] = [];
  if (mine) items.push({ label: strings.edit, icon: "edit", act: () => talk.edit(message) });
  items.push(
    { label: strings.copyText, icon: "copy", act: () => void copyText(message.text) },
    {
      label: strings.copyLink,
      icon: "link",
      act: () => void copyText(`${location.origin}/c/${message.conversation}/${message.sequence}`),
    },
    {
      label: strings.deleteForMe,
      icon: "trash",
      act: () => void attempt(() => session.actions.delete(message, false)),
    },
  );
  if (mine || role >= RoomRole.Moderator) {
    items.push({
      label: strings.deleteForAll,
      icon: "trash",
      danger: true,
      act: () => talk.askDelete(message),
    });
  }
  return items;
}
