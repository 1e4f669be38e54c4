// Where messages are written: drafts, replies, edits, completion, commands.
//
// Always true: what was typed is kept as a draft before anything else is done with it.

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Session } from "../../app/session";
import { strings } from "../../base/strings";
import { draftKey } from "../../keep/drafts";
import { emojiTable, readEmoji } from "../../text/emoji";
import { plain } from "../../text/plain";
import type { Message } from "../../wire/values";
import { Icon } from "../parts/Icon";
import { attempt, notice } from "../parts/notices";
import type { CommandName } from "./commands";
import { read } from "./commands";
import type { Completion } from "./complete";
import { complete } from "./complete";
import { EmojiPicker } from "./EmojiPicker";

/** Longest text of a message in bytes of UTF-8. */
const TEXT_BYTES_MAX = 16 * 1024;
/** Wait between two signs that the reader is typing. */
const TYPING_MS = 3000;
const HEIGHT_MAX = 240;
/** Whether the browser fits the field to its text. To measure it costs a layout for each key. */
const GROWS_ALONE = globalThis.CSS?.supports("field-sizing", "content") ?? false;

export interface ComposerProps {
  readonly session: Session;
  /** 0: the first message to `recipient`. */
  readonly id: number;
  /** The other person of a direct conversation; empty in a room. */
  readonly recipient: string;
  readonly name: string;
  readonly replyTo: Message | null;
  readonly editing: Message | null;
  readonly onReply: (message: Message | null) => void;
  readonly onEdit: (message: Message | null) => void;
  /** Runs a command; returns whether it was done. If it was not, it stands in the field again. */
  readonly onCommand: (name: CommandName, rest: string) => Promise<boolean>;
  /** Returns the newest message that the reader may edit. */
  readonly lastOwn: () => Message | null;
}

export function Composer(props: ComposerProps) {
  const { session, id, recipient, name, replyTo, editing, onReply, onEdit } = props;
  const { store, engine, drafts } = session;
  const key = draftKey(id, recipient);
  const field = useRef<HTMLTextAreaElement>(null);
  const [text, setText] = useState(() => drafts.get(key).text);
  const [completion, setCompletion] = useState<Completion | null>(null);
  const [chosen, setChosen] = useState(0);
  const [picking, setPicking] = useState(false);
  const typedMs = useRef(-Infinity);

  // Before the next key: an effect after the frame would come upon text that was typed meanwhile.
  useLayoutEffect(() => {
    // On a touch screen the keyboard would cover what the reader came to see.
    if (matchMedia("(hover: hover)").matches) field.current?.focus();
  }, [id]);
  useLayoutEffect(() => {
    setText(editing ? editing.text : drafts.get(key).text);
    if (editing) field.current?.focus();
  }, [editing?.sequence]);
  useLayoutEffect(() => {
    if (replyTo) field.current?.focus();
  }, [replyTo?.sequence]);
  useLayoutEffect(() => {
    const element = field.current;
    if (!element || GROWS_ALONE) return;
    element.style.height = "auto";
    element.style.height = `${Math.min(element.scrollHeight, HEIGHT_MAX)}px`;
  }, [text]);

  const keepDraft = (value: string) => {
    if (!editing) drafts.set(key, { text: value, replyTo: replyTo?.sequence ?? 0 });
  };
  const change = (value: string, caret: number) => {
    setText(value);
    keepDraft(value);
    const accounts = [...store.accounts.peek().values()];
    const rooms = [...store.rooms.peek().values()].map((room) => room.name);
    const found = complete(value, caret, { accounts, rooms, emoji: emojiTable.peek() });
    setCompletion(found);
    setChosen(0);
    if (value.includes(":")) void readEmoji();
    const now = performance.now();
    if (id && value && !value.startsWith("/") && now - typedMs.current > TYPING_MS) {
      typedMs.current = now;
      session.actions.typing(id).catch(() => {});
    }
  };
  const insert = (at: number, value: string) => {
    const element = field.current;
    const caret = element?.selectionStart ?? text.length;
    const next = text.slice(0, at) + value + text.slice(caret);
    if (element) {
      // At once: the next key may come before the next frame.
      element.value = next;
      element.focus();
      element.setSelectionRange(at + value.length, at + value.length);
    }
    setText(next);
    keepDraft(next);
    setCompletion(null);
  };
  const choose = (index: number) => {
    const choice = completion?.choices[index];
    if (completion && choice) insert(completion.from, choice.insert);
  };
  const clear = () => {
    setText("");
    setCompletion(null);
    if (!editing) drafts.set(key, { text: "", replyTo: 0 });
    onReply(null);
    onEdit(null);
  };
  const submit = async () => {
    const value = text.trim();
    if (value === "") return;
    if (new TextEncoder().encode(value).length > TEXT_BYTES_MAX) return notice(strings.textTooLong, true);
    if (editing) {
      const message = editing;
      if (value === message.text) return onEdit(null);
      if (await attempt(() => session.actions.edit(message, value))) {
        onEdit(null);
        setText(drafts.get(key).text);
      }
      return;
    }
    const typed = read(value);
    if (typed.kind === "unknown") return notice(strings.unknownCommand(typed.name, typed.near), true);
    if (typed.kind === "command") {
      clear();
      if (await props.onCommand(typed.name, typed.rest)) return;
      if (drafts.get(key).text === "") drafts.set(key, { text, replyTo: 0 });
      return setText((now) => now || text);
    }
    // The field is free for the next message at once; the draft goes when this one is stored.
    setText("");
    setCompletion(null);
    onReply(null);
    const message = {
      conversation: id,
      recipient,
      text: typed.text,
      action: typed.action,
      replyTo: replyTo?.sequence ?? 0,
      createdAtMs: Date.now(),
      after: store.head(id)?.peek().last ?? 0,
    };
    // The browser may refuse to store it: then it is still in the field.
    const taken = await engine.send(message).catch(() => null);
    if (!taken) {
      setText((now) => now || text);
      return notice(taken === null ? strings.notStored : strings.outboxFull, true);
    }
    typedMs.current = -Infinity;
    if (drafts.get(key).text === text) drafts.set(key, { text: "", replyTo: 0 });
  };
  const press = (event: KeyboardEvent) => {
    if (event.isComposing) return;
    if (completion) {
      const count = completion.choices.length;
      const step = { ArrowDown: 1, ArrowUp: count - 1 }[event.key];
      if (step !== undefined) {
        event.preventDefault();
        return setChosen((chosen + step) % count);
      }
      if (event.key === "Tab" || event.key === "Enter") {
        event.preventDefault();
        return choose(chosen);
      }
      if (event.key === "Escape") {
        event.stopPropagation();
        return setCompletion(null);
      }
    }
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      return void submit();
    }
    if (event.key === "ArrowUp" && text === "" && !editing) {
      const last = props.lastOwn();
      if (!last) return;
      event.preventDefault();
      return onEdit(last);
    }
    if (event.key === "Escape" && (editing || replyTo)) {
      event.stopPropagation();
      onReply(null);
      onEdit(null);
    }
  };
  const other = editing ?? replyTo;
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      {other && (
        <div class="composer-about">
          <Icon name={editing ? "edit" : "reply"} small />
          <b>{editing ? strings.editing : strings.replyTo(store.displayName(other.senderName))}</b>
          <bdi>{plain(other.text)}</bdi>
          <button
            type="button"
            class="button-icon"
            aria-label={strings.cancel}
            onClick={() => {
              onReply(null);
              onEdit(null);
            }}
          >
            <Icon name="close" />
          </button>
        </div>
      )}
      {completion && (
        <ul class="choices" id="choices" role="listbox" aria-label={strings.jumpTo}>
          {completion.choices.map((choice, index) => (
            <li
              key={choice.insert}
              id={`choice-${index}`}
              role="option"
              aria-selected={index === chosen}
              class="choice"
              onPointerDown={(event) => {
                event.preventDefault();
                choose(index);
              }}
            >
              <bdi>{choice.label}</bdi>
              {choice.hint && <small>{choice.hint}</small>}
            </li>
          ))}
        </ul>
      )}
      <div class="composer-box">
        <textarea
          ref={field}
          class="composer-field"
          rows={1}
          dir="auto"
          value={text}
          placeholder={strings.placeholder(name)}
          aria-label={strings.placeholder(name)}
          autocomplete="off"
          enterkeyhint="send"
          {...(completion
            ? {
                "aria-autocomplete": "list",
                "aria-controls": "choices",
                "aria-activedescendant": `choice-${chosen}`,
              }
            : {})}
          onInput={(event) => change(event.currentTarget.value, event.currentTarget.selectionStart)}
          onKeyDown={press}
          onBlur={() => setCompletion(null)}
        />
        <div class="composer-tools">
          <button
            type="button"
            class="button-icon"
            aria-label={strings.emoji}
            title={strings.emoji}
            aria-expanded={picking}
            onClick={() => setPicking(!picking)}
          >
            <Icon name="smile" />
          </button>
          {picking && (
            <EmojiPicker
              onClose={() => setPicking(false)}
              onPick={(emoji) => {
                setPicking(false);
                insert(field.current?.selectionStart ?? text.length, emoji);
              }}
            />
          )}
        </div>
        <button type="submit" class="composer-send" aria-label={editing ? strings.saveEdit : strings.send} disabled={text.trim() === ""}>
          <Icon name={editing ? "check" : "send"} />
        </button>
      </div>
    </form>
  );
}
