// History and news become one sequence, whatever order they come in.

import { expect, test } from "vitest";
import { Timeline } from "../src/state/timeline";
import { message, random } from "./fakes";

test("a page and news that touch are one range", () => {
  const timeline = new Timeline();
  const mark = timeline.begin();
  timeline.append(message(1, 11));
  timeline.answer(mark, [9, 10].map((sequence) => message(1, sequence)), { from: 9, to: 10 });
  expect(timeline.ranges).toEqual([{ from: 9, to: 11 }]);
  expect(timeline.messages({ from: 9, to: 11 }).map(({ sequence }) => sequence)).toEqual([9, 10, 11]);
});

test("a gap stays a gap", () => {
  const timeline = new Timeline();
  timeline.append(message(1, 5));
  timeline.append(message(1, 8));
  expect(timeline.ranges).toEqual([{ from: 5, to: 5 }, { from: 8, to: 8 }]);
  expect(timeline.around(7)).toBeUndefined();
});

test("a message that comes twice is there once", () => {
  const timeline = new Timeline();
  expect(timeline.append(message(1, 5))).toBe(true);
  expect(timeline.append(message(1, 5, { text: "again" }))).toBe(false);
  expect(timeline.get(5)?.text).toBe("message 5");
});

test("an answer that was on its way does not undo an edit", () => {
  const timeline = new Timeline();
  const mark = timeline.begin();
  timeline.change({ kind: "edited", message: message(1, 4, { text: "new" }) });
  timeline.change({ kind: "deleted", sequence: 5 });
  timeline.answer(mark, [message(1, 4), message(1, 5)], { from: 4, to: 5 });
  expect(timeline.get(4)?.text).toBe("new");
  expect(timeline.get(5)).toMatchObject({ deleted: true, text: "" });
});

test("an answer that was on its way while everything was cleared is asked for again", () => {
  const timeline = new Timeline();
  const before = timeline.begin();
  timeline.change({ kind: "edited", message: message(1, 9, { text: "of before" }) });
  timeline.clear();
  const after = timeline.begin();
  timeline.change({ kind: "edited", message: message(1, 4, { text: "new" }) });
  timeline.change({ kind: "deleted", sequence: 5 });
  expect(timeline.answer(before, [message(1, 4)], { from: 4, to: 4 })).toBe(false);
  expect(timeline.ranges).toEqual([]);
  expect(timeline.answer(after, [message(1, 4), message(1, 5)], { from: 4, to: 5 })).toBe(true);
  expect(timeline.get(4)?.text).toBe("new");
  expect(timeline.get(5)).toMatchObject({ deleted: true, text: "" });
});

test("a change before a question is not applied to its answer", () => {
  const timeline = new Timeline();
  timeline.change({ kind: "edited", message: message(1, 4, { text: "old news" }) });
  const mark = timeline.begin();
  timeline.answer(mark, [message(1, 4, { text: "newest" })], { from: 4, to: 4 });
  expect(timeline.get(4)?.text).toBe("newest");
});

test("an edit keeps reactions; a reaction that is told twice counts once", () => {
  const timeline = new Timeline();
  timeline.append(message(1, 1, { reactions: [{ reaction: "x", count: 2, mine: false }] }));
  for (let times = 0; times < 2; times += 1) timeline.change({ kind: "reacted", sequence: 1, reaction: "x", count: 3, mine: true });
  timeline.change({ kind: "edited", message: message(1, 1, { text: "edited" }) });
  expect(timeline.get(1)).toMatchObject({ text: "edited", reactions: [{ reaction: "x", count: 3, mine: true }] });
  timeline.change({ kind: "reacted", sequence: 1, reaction: "x", count: 4, mine: null });
  expect(timeline.get(1)?.reactions).toEqual([{ reaction: "x", count: 4, mine: true }]);
  timeline.change({ kind: "reacted", sequence: 1, reaction: "x", count: 2, mine: false });
  expect(timeline.get(1)?.reactions).toEqual([{ reaction: "x", count: 2, mine: false }]);
});

test("what is forgotten is gone, and counts as known", () => {
  const timeline = new Timeline();
  timeline.answer(timeline.begin(), [4, 5, 6, 7].map((sequence) => message(1, sequence)), { from: 4, to: 7 });
  timeline.append(message(1, 20));
  timeline.forget(5);
  expect(timeline.forgotten).toBe(5);
  expect(timeline.get(5)).toBeUndefined();
  expect(timeline.ranges).toEqual([{ from: 1, to: 7 }, { from: 20, to: 20 }]);
  expect(timeline.messages({ from: 1, to: 7 }).map(({ sequence }) => sequence)).toEqual([6, 7]);
  expect(timeline.before(8, 9).map(({ sequence }) => sequence)).toEqual([6, 7]);
  // It never goes back.
  timeline.forget(2);
  expect(timeline.forgotten).toBe(5);
  timeline.forget(20);
  expect(timeline.size).toBe(0);
  expect(timeline.ranges).toEqual([{ from: 1, to: 20 }]);
});

test("an answer that was on its way brings nothing back that is forgotten meanwhile", () => {
  const timeline = new Timeline();
  const mark = timeline.begin();
  timeline.forget(5);
  timeline.answer(mark, [4, 5, 6].map((sequence) => message(1, sequence)), { from: 4, to: 6 });
  expect(timeline.messages({ from: 1, to: 6 }).map(({ sequence }) => sequence)).toEqual([6]);
  expect(timeline.append(message(1, 3))).toBe(false);
  expect(timeline.ranges).toEqual([{ from: 1, to: 6 }]);
});

test("what is forgotten stays known when memory is cut, until everything is read anew", () => {
  const timeline = new Timeline();
  timeline.forget(1000);
  for (let sequence = 1001; sequence <= 4000; sequence += 1) timeline.append(message(1, sequence));
  expect(timeline.around(500)).toEqual({ from: 1, to: 1000 });
  timeline.clear();
  expect(timeline.forgotten).toBe(0);
  expect(timeline.around(500)).toBeUndefined();
});

test("memory is bounded around what is shown", () => {
  const timeline = new Timeline();
  for (let sequence = 1; sequence <= 4000; sequence += 1) timeline.append(message(1, sequence));
  timeline.look(3990, 4000);
  expect(timeline.size).toBeLessThanOrEqual(1500);
  expect(timeline.around(4000)?.to).toBe(4000);
  expect(timeline.around(1)).toBeUndefined();
});

test("memory is bounded while messages come, on the screen or not", () => {
  const timeline = new Timeline();
  for (let sequence = 1; sequence <= 5000; sequence += 1) timeline.append(message(1, sequence));
  expect(timeline.size).toBeLessThanOrEqual(400);
  expect(timeline.around(5000)?.to).toBe(5000);
  // A reader far up keeps what is on the screen.
  timeline.answer(timeline.begin(), Array.from({ length: 60 }, (_, n) => message(1, 100 + n)), { from: 100, to: 159 });
  timeline.look(100, 159);
  for (let sequence = 5001; sequence <= 9000; sequence += 1) timeline.append(message(1, sequence));
  expect(timeline.size).toBeLessThanOrEqual(1600);
  expect(timeline.around(120)).toEqual({ from: 100, to: 159 });
  timeline.leave(9000);
  expect(timeline.size).toBeLessThanOrEqual(300);
});

test.each(Array.from({ length: 50 }, (_, seed) => [seed]))("pages and news in any order make one sequence (seed %i)", (seed) => {
  const chance = random(seed);
  const timeline = new Timeline();
  const last = 60;
  const pages: (() => void)[] = [];
  for (let from = 1; from <= last; from += 5) {
    const to = Math.min(from + 4 + Math.floor(chance() * 6), last);
    const messages = Array.from({ length: to - from + 1 }, (_, index) => message(1, from + index));
    pages.push(() => timeline.answer(timeline.begin(), messages, { from, to }));
  }
  for (let sequence = 40; sequence <= last; sequence += 1) pages.push(() => void timeline.append(message(1, sequence)));
  pages.sort(() => chance() - 0.5);
  for (const page of pages) page();
  expect(timeline.ranges).toEqual([{ from: 1, to: last }]);
  expect(timeline.messages({ from: 1, to: last }).map(({ sequence }) => sequence)).toEqual(
    Array.from({ length: last }, (_, index) => index + 1),
  );
});
