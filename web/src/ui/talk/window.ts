// Which stretch of a conversation is in the document: a window of some hundred messages that slides.
//
// The document holds at most ROWS_MAX messages however long the conversation is, so scrolling costs
// the same at message one hundred as at message one hundred thousand.
//
// Where older messages are no longer kept, the window begins behind them, whatever it was before.
//
// Always true: the window lies inside one range of the timeline, and no message before it is asked for
// that is no longer kept.

import type { Range } from "../../state/ranges";
import type { Timeline } from "../../state/timeline";

/** Messages in the document, and by how many the window slides. */
export const ROWS_MAX = 160;
export const STEP = 25;

export interface View {
  /** The number around which the window lies: it decides the range. */
  readonly anchor: number;
  readonly first: number;
  /** Infinity: the window follows the newest messages. */
  readonly last: number;
}

/** Returns the window around a message. */
export function viewAround(sequence: number): View {
  return { anchor: sequence, first: sequence - STEP, last: sequence + STEP };
}

/** Returns the window at the newest messages. */
export function viewAtEnd(last: number): View {
  return { anchor: last, first: last - STEP + 1, last: Infinity };
}

/** Returns the numbers that are shown, or `null` if the timeline does not have them. */
export function shownRange(timeline: Timeline, view: View): Range | null {
  const { anchor, first, last } = lifted(timeline, view);
  const range = timeline.around(anchor);
  if (!range) return null;
  return { from: Math.max(range.from, first, timeline.forgotten + 1), to: Math.min(range.to, last) };
}

/** Returns the window, moved to the first message that is kept if it lies before that. */
export function lifted({ forgotten }: Timeline, view: View): View {
  if (view.anchor >= forgotten) return view;
  return { anchor: forgotten, first: forgotten, last: Math.max(view.last, forgotten + STEP) };
}

/** Slides towards older messages. Returns the number to read history before, if it is needed. */
export function slideUp(timeline: Timeline, view: View): { view: View; readBefore: number } {
  const shown = shownRange(timeline, view);
  const range = timeline.around(lifted(timeline, view).anchor);
  if (!shown || !range) return { view, readBefore: 0 };
  const oldest = timeline.forgotten + 1;
  const readBefore = shown.from - STEP < range.from && range.from > oldest ? range.from : 0;
  const first = Math.max(shown.from - STEP, range.from, oldest);
  if (first >= shown.from) return { view, readBefore };
  const last = shown.to - first >= ROWS_MAX ? first + ROWS_MAX - 1 : view.last;
  return { view: { anchor: first, first, last }, readBefore };
}

/** Slides towards newer messages. Returns the number to read history after, if it is needed. */
export function slideDown(timeline: Timeline, view: View, newest: number): { view: View; readAfter: number } {
  const shown = shownRange(timeline, view);
  const range = timeline.around(lifted(timeline, view).anchor);
  if (!shown || !range || view.last === Infinity) return { view, readAfter: 0 };
  const readAfter = shown.to + STEP > range.to && range.to < newest ? range.to : 0;
  const last = Math.min(shown.to + STEP, range.to);
  const atEnd = last >= range.to && range.to >= newest;
  if (last <= shown.to && !atEnd) return { view, readAfter };
  const first = Math.max(shown.from, last - ROWS_MAX + 1);
  return { view: { anchor: last, first, last: atEnd ? Infinity : last }, readAfter };
}

/** Keeps a window that follows the newest messages from growing. */
export function bound(view: View, newest: number): View {
  if (view.last !== Infinity || newest - view.first < ROWS_MAX * 2) return view;
  return { anchor: newest, first: newest - ROWS_MAX + 1, last: Infinity };
}
