// Rules of the page that need no document: rows, windows, commands, completion, order, addresses.

import { describe, expect, test } from "vitest";
import { parseConfig } from "../src/app/config";
import { parseRoute, pathOf } from "../src/app/route";
import type { Outgoing } from "../src/keep/keep";
import { firstRecipients, onTheWay, outgoingOf, rows } from "../src/state/rows";
import { Timeline } from "../src/state/timeline";
import { read } from "../src/ui/talk/commands";
import { complete } from "../src/ui/talk/complete";
import { fit } from "../src/ui/frame/order";
import { partOf } from "../src/ui/parts/onDemand";
import { sentence } from "../src/ui/talk/Kept";
import type { View } from "../src/ui/talk/window";
import { ROWS_MAX, shownRange, slideDown, slideUp, viewAround, viewAtEnd } from "../src/ui/talk/window";
import { watch, NOTHING } from "../src/ui/cluster/watch";
import { NodeEventKind } from "../src/gen/conclave/v1/admin_pb";
import { commandOf } from "../src/ui/cluster/operations";
import type { ClusterView, NodeEvent, NodeView } from "../src/ui/cluster/watch";
import { message } from "./fakes";

test("messages of one sender stand together, days and the unread line apart", () => {
  const day = 86_400_000;
  const at = new Date(2026, 10, 20, 12).getTime();
  const list = [
    message(1, 1, { sentAtMs: at }),
    message(1, 2, { sentAtMs: at + 1000 }),
    message(1, 3, { sentAtMs: at + 2000, senderId: 3 }),
    message(1, 4, { sentAtMs: at + 3000, senderId: 3 }),
    message(1, 5, { sentAtMs: at + day, senderId: 3 }),
  ];
  const shape = rows(list, 4).map((row) => (row.kind === "message" ? `${row.message.sequence}${row.head ? " head" : ""}` : row.kind));
  expect(shape).toEqual(["day", "1 head", "2", "3 head", "unread", "4 head", "day", "5 head"]);
});

test("a first message is shown with its person, before and after the conversation is opened", () => {
  const entry = (id: number, conversation: number, recipient: string): Outgoing => ({
    id, account: 1, conversation, recipient, text: "", replyTo: 0, action: false, createdAtMs: 0, after: 0,
    state: "refused", reason: "", sentence: "", session: 0, key: null,
  });
  const all = [entry(1, 0, "Bob"), entry(2, 17, "bob"), entry(3, 17, ""), entry(4, 0, "bbo"), entry(5, 9, "")];
  const ids = (list: readonly Outgoing[]) => list.map(({ id }) => id);
  expect(ids(outgoingOf(all, 17, "bob"))).toEqual([1, 2, 3]);
  expect(ids(outgoingOf(all, 0, "bob"))).toEqual([1, 2]);
  expect(ids(outgoingOf(all, 9, ""))).toEqual([5]);
  // What no conversation shows is listed by its person.
  expect(firstRecipients([...all, entry(6, 0, "BBO")], (name) => name === "Bob")).toEqual(["BBO"]);
});

test("a message that came by the stream is not shown as waiting, too", () => {
  const waiting = (id: number, text: string): Outgoing => ({
    id, account: 1, conversation: 1, recipient: "", text, replyTo: 0, action: false, createdAtMs: 0, after: 4,
    state: "waiting", reason: "", sentence: "", session: 0, key: null,
  });
  const stored = [message(1, 4, { senderId: 1, text: "same" }), message(1, 5, { senderId: 1, text: "same" })];
  expect(onTheWay([waiting(1, "same"), waiting(2, "same")], stored, 1).map(({ id }) => id)).toEqual([2]);
  expect(onTheWay([waiting(1, "other")], stored, 1)).toHaveLength(1);
});

describe("the window over a long conversation", () => {
  const timeline = new Timeline();
  const total = 1000;
  timeline.answer(timeline.begin(), Array.from({ length: total }, (_, index) => message(1, index + 1)), { from: 1, to: total });

  test("slides to the first message and back, and never grows", () => {
    let view = viewAtEnd(total);
    for (let step = 0; step < 100; step += 1) view = slideUp(timeline, view).view;
    expect(shownRange(timeline, view)).toMatchObject({ from: 1 });
    for (let step = 0; step < 100; step += 1) {
      const { from, to } = shownRange(timeline, view) ?? { from: 0, to: 0 };
      expect(to - from).toBeLessThan(ROWS_MAX + 50);
      view = slideDown(timeline, view, total).view;
    }
    expect(view.last).toBe(Infinity);
    expect(shownRange(timeline, view)?.to).toBe(total);
  });

  test("asks for history where it ends", () => {
    const part = new Timeline();
    part.answer(part.begin(), Array.from({ length: 60 }, (_, index) => message(1, 500 + index)), { from: 500, to: 559 });
    expect(slideUp(part, viewAround(520)).readBefore).toBe(500);
    expect(slideDown(part, viewAround(540), 900).readAfter).toBe(559);
    expect(shownRange(part, viewAround(700))).toBeNull();
  });
});

describe("the window over a conversation that forgets", () => {
  /** Numbers up to 1000, of which all up to `forgotten` are gone. */
  const forgetting = (forgotten: number) => {
    const made = new Timeline();
    made.answer(made.begin(), Array.from({ length: 1000 }, (_, index) => message(1, index + 1)), { from: 1, to: 1000 });
    made.forget(forgotten);
    return made;
  };

  test("ends at the first message that is kept, and asks for nothing before it", () => {
    const made = forgetting(700);
    let view = viewAtEnd(1000);
    for (let step = 0; step < 100; step += 1) {
      const slid = slideUp(made, view);
      expect(slid.readBefore).toBe(0);
      view = slid.view;
    }
    expect(shownRange(made, view)?.from).toBe(701);
    // A page that ends at what is kept says so, too.
    const page = new Timeline();
    page.forget(700);
    page.answer(page.begin(), [message(1, 701), message(1, 702)], { from: 1, to: 702 });
    expect(slideUp(page, viewAround(702)).readBefore).toBe(0);
  });

  test("a reader in the middle of what is forgotten stands at what follows", () => {
    const made = forgetting(700);
    expect(shownRange(made, viewAround(300))).toEqual({ from: 701, to: 725 });
    expect(slideDown(made, viewAround(300), 1000).view.last).toBe(750);
    // What follows may not be here yet: it is read.
    const away = new Timeline();
    away.forget(700);
    expect(messagesIn(away, viewAround(300))).toEqual([]);
    expect(slideDown(away, viewAround(300), 1000).readAfter).toBe(700);
  });

  test("is empty and complete when everything is forgotten", () => {
    const made = forgetting(1000);
    for (const view of [viewAtEnd(1000), viewAround(300)]) {
      expect(messagesIn(made, view)).toEqual([]);
      expect(slideUp(made, view)).toMatchObject({ readBefore: 0 });
      expect(slideDown(made, view, 1000)).toMatchObject({ readAfter: 0 });
    }
    made.append(message(1, 1001));
    expect(messagesIn(made, viewAtEnd(1001))).toEqual([1001]);
  });

  const messagesIn = (made: Timeline, view: View) =>
    made.messages(shownRange(made, view) ?? { from: 0, to: -1 }).map(({ sequence }) => sequence);
});

test.each([
  [0, 0, "Messages are kept without a limit."],
  [30 * 86_400_000, 0, "Messages are kept for 30 days."],
  [3_600_000, 500, "Messages are kept for 1 hour, the newest 500 at most."],
  [0, 1000, "The newest 1000 messages are kept."],
  [90_000, 0, "Messages are kept for 90 seconds."],
])("a room that keeps %i ms and %i messages says so", (ageMs, messages, expected) => {
  expect(sentence(ageMs, messages)).toBe(expected);
});

test.each([
  ["hello", { kind: "message", text: "hello", action: false }],
  ["/me waves", { kind: "message", text: "waves", action: true }],
  ["//me", { kind: "message", text: "/me", action: false }],
  ["/join lobby", { kind: "command", name: "join", rest: "lobby" }],
  ["/jion lobby", { kind: "unknown", name: "jion", near: "join" }],
  ["/constructor", { kind: "unknown", name: "constructor", near: "" }],
  ["/usr/bin is a path", { kind: "message", text: "/usr/bin is a path", action: false }],
])("%j is read as %j", (text, expected) => {
  expect(read(text)).toEqual(expected);
});

test("words become names, rooms and commands", () => {
  const known = {
    accounts: [{ name: "bob", displayName: "Robert" }, { name: "alice", displayName: "" }],
    rooms: ["lobby", "library"],
    emoji: null,
  };
  const inserts = (text: string) => complete(text, text.length, known)?.choices.map(({ insert }) => insert);
  expect(inserts("hi @bo")).toEqual(["@bob "]);
  expect(inserts("hi @rob")).toEqual(["@bob "]);
  expect(inserts("in #l")).toEqual(["#lobby ", "#library "]);
  expect(inserts("/jo")).toEqual(["/join "]);
  expect(inserts("mail@bo")).toBeUndefined();
  expect(inserts("plain")).toBeUndefined();
});

test("a few letters find a name", () => {
  expect(fit("lobby", "lob")).toBe(1);
  expect(fit("dev.ops", "ops")).toBe(2);
  expect(fit("release", "rls")).toBe(4);
  expect(fit("lobby", "x")).toBeNull();
});

test.each([
  ["/", { view: "home" }],
  ["/c/7", { view: "conversation", id: 7, sequence: 0 }],
  ["/c/7/12", { view: "conversation", id: 7, sequence: 12 }],
  ["/c/@bob", { view: "person", name: "bob" }],
  ["/cluster", { view: "cluster" }],
  ["/c/7/x", { view: "home" }],
  ["/c/@<script>", { view: "home" }],
] as const)("%s is %j", (path, expected) => {
  expect(parseRoute(path)).toEqual(expected);
  if (expected.view !== "home") expect(pathOf(parseRoute(path))).toBe(path);
});

test.each([["5e643cd7a6e52d45", ""], ["5e643cd7a6e52d45-18a2f3", ""], ["Harbour", "Harbour"]])("the cluster %s is called %j", (cluster, name) => {
  expect(parseConfig(JSON.stringify({ cluster })).cluster).toBe(name);
});

test("what a node says about its cluster is checked", () => {
  const config = parseConfig(JSON.stringify({
    cluster: 5,
    registration: "anything",
    nodes: [{ node_id: 1, url: "http://a:1/path" }, { url: "javascript:alert(1)" }, null, { node_id: "x", url: "https://b" }],
  }));
  expect(config).toEqual({
    cluster: "",
    demo: "",
    page: "",
    registration: "open",
    needsSetup: false,
    nodes: [{ id: 1, url: "http://a:1" }, { id: 0, url: "https://b" }],
  });
});

test("the cluster page tells each event once, however many nodes know of it", () => {
  const node = (id: number, decided: number, uptimeMs: number, events: readonly NodeEvent[] = []): NodeView => ({
    id, address: "", role: id === 1 ? "leader" : "follower", term: 1, commit: 0, applied: 0, version: "", uptimeMs,
    freeBytes: 0, clockSkewMs: null, decided, latency: id === 1 ? { median: 2.5, p99: 9 } : null, events, problems: [],
  });
  const view = (nodes: readonly NodeView[]): ClusterView => ({
    nodes, leader: 1, asked: 1, voters: 3, reachable: 3, tolerates: 1, quorum: true, connections: 0, connectionsMax: 0,
  });
  const event = (number: number, kind: NodeEventKind, ageMs: number, subject = 0, term = 0): NodeEvent => ({
    number, kind, ageMs, subject, term, voters: "", learners: "",
  });
  const led = (ageMs: number) => event(1, NodeEventKind.LEADER_CHANGED, ageMs, 1, 4);
  let seen = watch(NOTHING, view([node(1, 100, 1000), node(2, 90, 900)]), 50_000, 2);
  expect(seen.rates).toEqual([null]);
  seen = watch(seen, view([node(1, 150, 2000, [led(500)]), node(2, 140, 1900, [led(700)])]), 51_000, 2);
  expect(seen.rates).toEqual([null, 50]);
  expect(seen.medians.at(-1)).toBe(2.5);
  expect(seen.events.map(({ text }) => text)).toEqual(["Node 1 leads in term 4"]);
  // A node that was started again counts from the beginning, and is no negative rate.
  const restarted = node(2, 3, 100, [event(1, NodeEventKind.STARTED, 100)]);
  seen = watch(seen, view([node(1, 150, 3000, [led(1500)]), restarted]), 52_000, 2);
  expect(seen.rates.at(-1)).toBe(0);
  seen = watch(seen, view([node(1, 150, 23_000, [led(21_500)]), node(2, 3, 100, [event(1, NodeEventKind.STARTED, 100)])]), 72_000, 2);
  expect(seen.events.map(({ text }) => text)).toEqual(["Node 2 was started", "Node 2 was started", "Node 1 leads in term 4"]);
  for (let second = 73; second < 400; second += 1) {
    const lost = event(second, NodeEventKind.PEER_UNREACHABLE, 0, 3);
    seen = watch(seen, view([node(1, 150, second * 1000, [lost])]), second * 20_000, 2);
  }
  expect(seen.rates.length).toBeLessThanOrEqual(120);
  expect(seen.events.length).toBeLessThanOrEqual(50);
});

test.each([
  [{ kind: "transfer", node: 3 }, "conclave cluster transfer-leader --to 3"],
  [{ kind: "transfer", node: 0 }, "conclave cluster transfer-leader"],
  [{ kind: "promote", node: 4 }, "conclave cluster promote 4"],
  [{ kind: "demote", node: 4 }, "conclave cluster demote 4"],
  [{ kind: "remove", node: 2 }, "conclave cluster remove 2"],
  [{ kind: "token", learner: true }, "conclave token create --role learner"],
  [{ kind: "check" }, "conclave cluster check"],
] as const)("the command for %j is %s", (operation, command) => {
  expect(commandOf(operation)).toBe(command);
});

test("a part of the page that could not be read is read again", async () => {
  const answers = [() => Promise.reject(new Error("the node is dead")), () => Promise.resolve("the part")];
  const part = partOf(() => (answers.shift() ?? (() => Promise.reject(new Error("read once too often"))))());
  await expect(part.read()).rejects.toThrow("the node is dead");
  expect(part.known).toBeNull();
  await part.read();
  await part.read();
  expect(part.known).toBe("the part");
});
