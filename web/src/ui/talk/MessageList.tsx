// The messages of a conversation, as a window that slides while the reader scrolls.
//
// What the reader looks at stays where it is: the first visible message keeps its place on the
// screen, whatever is added above or below it. Only a reader at the end follows new messages.
//
// Always true: the read position moves only over messages that were on the screen.

import { useComputed, useSignalEffect } from "@preact/signals";
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Session } from "../../app/session";
import { strings } from "../../base/strings";
import type { Range } from "../../state/ranges";
import { cover } from "../../state/ranges";
import { onTheWay, outgoingOf, rows } from "../../state/rows";
import type { Head } from "../../state/store";
import type { Timeline } from "../../state/timeline";
import type { Message } from "../../wire/values";
import { dayName } from "../parts/dates";
import { Icon } from "../parts/Icon";
import { attempt, notice } from "../parts/notices";
import { MessageRow } from "./MessageRow";
import { PendingRow } from "./PendingRow";
import type { TalkActions } from "./talk";
import type { View } from "./window";
import { bound, shownRange, slideDown, slideUp, viewAround, viewAtEnd } from "./window";

export interface MessageListProps {
  readonly session: Session;
  readonly id: number;
  /** Message to show and mark; 0: the first unread one, or the end. */
  readonly focus: number;
  readonly talk: TalkActions;
  readonly name: string;
}

/** Distance from an edge at which the window slides. */
const EDGE = 700;
/** Distance from the end that counts as the end. */
const END = 40;

export function MessageList({ session, id, focus, talk, name }: MessageListProps) {
  const { store, engine } = session;
  const timeline = store.timeline(id);
  const headSignal = store.head(id);
  const scroller = useRef<HTMLDivElement>(null);
  const opened = headSignal?.peek();
  const [unreadFrom, setUnreadFrom] = useState(() => unreadAt(opened, timeline));
  const [view, setView] = useState<View>(() => viewAt(opened, focus, timeline));
  const [failed, setFailed] = useState(false);
  const [below, setBelow] = useState(false);
  const anchor = useRef<{ sequence: number; top: number } | null>(null);
  const following = useRef(view.last === Infinity);
  const target = useRef(focus || (unreadFrom ? unreadFrom : 0));
  const shownNumbers = useRef<readonly Range[]>([]);

  void timeline.version.value;
  const head = headSignal?.value;
  const newest = head?.last ?? 0;
  const shown = shownRange(timeline, view);
  const messages = shown ? timeline.messages(shown) : [];
  // Of a conversation without a message nothing is shown, and that is its end, too.
  const atEnd = view.last === Infinity && (shown ? shown.to : 0) >= newest;
  const outgoing = useComputed(() =>
    outgoingOf(store.outgoing.value, id, headSignal?.value.peerName ?? ""),
  ).value;
  const me = store.me.value?.id ?? 0;
  const pending = atEnd ? onTheWay(outgoing, messages.slice(-60), me) : [];
  const status = deliveries(head, messages, me);

  const load = useCallback(
    async (what: () => Promise<void>) => {
      try {
        setFailed(false);
        await what();
      } catch {
        setFailed(true);
      }
    },
    [id],
  );

  // What the window needs is read when it is not there: at first, and after events were missed.
  const missing = shown === null && newest > 0;
  useEffect(() => {
    if (!missing || failed) return;
    const at = view.last === Infinity ? 0 : view.anchor;
    void load(() => (at ? engine.history.around(id, at) : engine.history.newest(id)));
  }, [missing, view.anchor, failed]);
  useEffect(() => {
    if (view.last === Infinity && newest > 0) setView((now) => follow(now, newest));
  }, [newest]);
  useEffect(() => {
    if (focus === 0) return;
    target.current = focus;
    following.current = false;
    setView(viewAround(focus));
  }, [focus]);
  // An address may lead to a message that is gone; the page shows what is there instead.
  const notKept = focus > 0 && focus <= timeline.forgotten;
  useEffect(() => {
    if (notKept) notice(strings.notKept);
  }, [notKept, focus]);

  const remember = () => {
    const element = scroller.current;
    if (!element) return;
    const edge = element.getBoundingClientRect().top;
    const all = rowsIn(element);
    const row = all[firstBelow(all, edge)];
    anchor.current = row ? { sequence: sequenceOf(row), top: row.getBoundingClientRect().top - edge } : null;
  };

  const look = () => {
    const element = scroller.current;
    if (!element || document.visibilityState !== "visible" || !document.hasFocus()) return;
    const box = element.getBoundingClientRect();
    let [from, to] = [0, 0];
    const all = rowsIn(element);
    for (let index = firstBelow(all, box.top); index < all.length; index += 1) {
      const row = all[index] as HTMLElement;
      const { top, bottom } = row.getBoundingClientRect();
      if (top + Math.min(bottom - top, 40) > box.bottom) break;
      from ||= sequenceOf(row);
      to = sequenceOf(row);
    }
    if (to === 0) return;
    // Numbers between shown rows are hidden from this account.
    shownNumbers.current = cover(shownNumbers.current, { from, to });
    const now = headSignal?.peek();
    if (!now) return;
    const next = nextUnread(store.timeline(id), now, me);
    const range = next && shownNumbers.current.find((each) => each.from <= next && next <= each.to);
    if (range) engine.markRead(id, range.to >= now.last ? now.last : range.to);
  };

  const slide = () => {
    const element = scroller.current;
    if (!element) return;
    const end = element.scrollHeight - element.scrollTop - element.clientHeight;
    following.current = view.last === Infinity && end < END;
    setBelow(!following.current && newest > 0);
    if (element.scrollTop < EDGE) {
      const { view: next, readBefore } = slideUp(timeline, view);
      if (next !== view) setView(next);
      if (readBefore && !failed) void load(() => engine.history.older(id, readBefore));
    }
    if (end < EDGE) {
      const { view: next, readAfter } = slideDown(timeline, view, newest);
      if (next !== view) setView(next);
      if (readAfter && !failed) void load(() => engine.history.newer(id, readAfter));
    }
  };

  const settle = () => {
    const element = scroller.current;
    if (!element) return;
    if (target.current && shown) {
      const row = element.querySelector<HTMLElement>(`[data-sequence="${target.current}"]`);
      const place = row ?? [...rowsIn(element)].find((each) => sequenceOf(each) >= target.current);
      if (place) {
        const offset = target.current === focus ? element.clientHeight / 3 : 90;
        const moved = () => place.getBoundingClientRect().top - element.getBoundingClientRect().top - offset;
        element.scrollTop += moved();
        // What comes below may still be on its way; until then the place is looked for again.
        if (Math.abs(moved()) < 2 || shown.to >= Math.min(target.current + 20, newest)) target.current = 0;
      }
    } else if (following.current) element.scrollTop = element.scrollHeight;
    else if (anchor.current) {
      const { sequence, top } = anchor.current;
      const row = element.querySelector(`[data-sequence="${sequence}"]`);
      if (row) {
        const moved = row.getBoundingClientRect().top - element.getBoundingClientRect().top - top;
        if (Math.abs(moved) >= 1) element.scrollTop += moved;
      }
    }
    remember();
  };

  useLayoutEffect(settle);
  useEffect(() => {
    slide();
    look();
  });
  useEffect(() => {
    const element = scroller.current;
    if (!element) return;
    const observer = new ResizeObserver(() => settle());
    observer.observe(element);
    if (element.firstElementChild) observer.observe(element.firstElementChild);
    const seen = () => look();
    addEventListener("focus", seen);
    document.addEventListener("visibilitychange", seen);
    return () => {
      observer.disconnect();
      removeEventListener("focus", seen);
      document.removeEventListener("visibilitychange", seen);
    };
  }, [id]);
  // A message that comes while nobody looks begins the unread part.
  useSignalEffect(() => {
    const now = headSignal?.value;
    if (now && now.unread > 0 && !document.hasFocus()) setUnreadFrom((from) => from || now.read + 1);
  });
  useEffect(() => {
    timeline.look(shown?.from ?? newest, shown?.to ?? newest);
  }, [shown?.from, shown?.to]);
  useEffect(() => () => timeline.leave(headSignal?.peek().last ?? 0), []);

  const toEnd = () => {
    following.current = true;
    target.current = 0;
    anchor.current = null;
    setView(viewAtEnd(newest));
    setBelow(false);
    requestAnimationFrame(() => scroller.current?.scrollTo({ top: scroller.current.scrollHeight }));
  };
  const walk = (event: KeyboardEvent) => {
    if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
    target.current = 0;
    const inside = event.target as HTMLElement;
    if (inside.closest("[role=menu], .picker, pre")) return;
    const row = inside.closest("[data-sequence]");
    event.preventDefault();
    // From a link or a button of a message, the first step leads to the message.
    if (row instanceof HTMLElement && row !== inside) return row.focus();
    const all = [...rowsIn(scroller.current as HTMLElement)];
    const at = row ? all.indexOf(row as HTMLElement) : all.length;
    (all[event.key === "ArrowUp" ? at - 1 : at + 1] ?? (row as HTMLElement | null))?.focus();
  };
  const older = head && shown && firstUnread(head, timeline) < shown.from && head.unread > 0 ? head.unread : 0;
  const beginning = newest === 0 || (shown !== null && shown.from <= timeline.forgotten + 1);
  return (
    <div class="list-frame">
      <div
        class="list"
        ref={scroller}
        tabIndex={0}
        role="group"
        aria-label={strings.messages}
        onScroll={() => {
          remember();
          slide();
          look();
        }}
        onKeyDown={walk}
        onWheel={() => (target.current = 0)}
        onTouchMove={() => (target.current = 0)}
        onPointerDown={() => (target.current = 0)}
      >
        <div class="list-rows" aria-busy={missing}>
          {beginning && (
            <p class="list-beginning">{timeline.forgotten > 0 ? strings.olderNotKept : strings.firstMessage(name)}</p>
          )}
          {!beginning && !failed && <p class="list-loading">{strings.loading}</p>}
          {failed && (
            <p class="list-loading" role="alert">
              {strings.loadFailed}{" "}
              <button type="button" class="button-quiet" onClick={() => setFailed(false)}>
                {strings.tryAgain}
              </button>
            </p>
          )}
          {rows(messages, unreadFrom).map((row) =>
            row.kind === "day" ? (
              <h2 class="day" key={row.key}>
                <span>{dayName(row.atMs)}</span>
              </h2>
            ) : row.kind === "unread" ? (
              <div class="unread-line" key={row.key} role="separator" aria-label={strings.newMessages}>
                <span>{strings.newMessages}</span>
              </div>
            ) : (
              <MessageRow
                key={row.key}
                message={row.message}
                head={row.head}
                session={session}
                talk={talk}
                focused={row.message.sequence === focus}
                original={row.message.replyTo ? timeline.get(row.message.replyTo) : undefined}
                originalKept={row.message.replyTo > timeline.forgotten}
                delivery={status.get(row.message.sequence) ?? "none"}
              />
            ),
          )}
          {pending.map((message) => (
            <PendingRow key={`pending ${message.id}`} message={message} session={session} />
          ))}
        </div>
      </div>
      {older > 0 && head && (
        <div class="pill pill-top">
          <button type="button" onClick={() => {
            const first = firstUnread(head, timeline);
            target.current = first;
            setUnreadFrom(first);
            setView(viewAround(first));
          }}>
            {strings.unreadAbove(older)}
          </button>
          <button type="button" onClick={() => engine.markRead(id, newest)}>
            {strings.markRead}
          </button>
        </div>
      )}
      {below && (
        <div class="pill pill-bottom">
          <button
            type="button"
            aria-label={strings.toNewest}
            onClick={() => {
              void attempt(async () => {
                if (!timeline.around(newest)) await engine.history.newest(id);
                toEnd();
              });
            }}
          >
            <Icon name="down" small />
            {head && head.unread > 0 ? strings.newBelow(head.unread) : strings.toNewest}
          </button>
        </div>
      )}
    </div>
  );
}

function unreadAt(head: Head | undefined, timeline: Timeline): number {
  return head && head.unread > 0 ? firstUnread(head, timeline) : 0;
}

/** Returns the number of the first message that may be unread: what is no longer kept is not. */
function firstUnread(head: Head, { forgotten }: Timeline): number {
  return Math.max(head.read, forgotten) + 1;
}

function viewAt(head: Head | undefined, focus: number, timeline: Timeline): View {
  if (focus > 0) return viewAround(focus);
  if (head && head.unread > 0) return viewAround(firstUnread(head, timeline));
  return viewAtEnd(head?.last ?? 0);
}

function follow(view: View, newest: number): View {
  return view.last === Infinity ? { ...bound(view, newest), anchor: newest } : view;
}

/** Returns the rows of messages: a list that the browser keeps up to date. */
function rowsIn(element: HTMLElement): HTMLCollectionOf<HTMLElement> {
  return element.getElementsByClassName("stored") as HTMLCollectionOf<HTMLElement>;
}

/** Returns the index of the first row that ends below an edge; rows stand in order. */
function firstBelow(all: HTMLCollectionOf<HTMLElement>, edge: number): number {
  let [low, high] = [0, all.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((all[middle] as HTMLElement).getBoundingClientRect().bottom > edge) high = middle;
    else low = middle + 1;
  }
  return low;
}

function sequenceOf(row: HTMLElement): number {
  return Number(row.dataset["sequence"]);
}

/** Returns the first message of others that is unread, if the page knows it; else 0. */
function nextUnread(timeline: Timeline, head: Head, me: number): number {
  for (let sequence = firstUnread(head, timeline); sequence <= head.last; sequence += 1) {
    if (!timeline.around(sequence)) return 0;
    const message = timeline.get(sequence);
    if (message && message.senderId !== me && !message.deleted) return sequence;
  }
  return 0;
}

/** Says for the reader's own messages how far they are: only where a state ends, as it covers all before. */
function deliveries(head: Head | undefined, messages: readonly Message[], me: number) {
  const found = new Map<number, "sent" | "delivered" | "read">();
  let before = "";
  for (const message of [...messages].reverse()) {
    if (message.senderId !== me || message.deleted) continue;
    const { sequence } = message;
    const direct = head !== undefined && head.roomName === "";
    const state =
      direct && sequence <= head.peerRead
        ? "read"
        : direct && sequence <= head.peerDelivered
          ? "delivered"
          : "sent";
    if (state !== before) found.set(sequence, state);
    before = state;
  }
  return found;
}
