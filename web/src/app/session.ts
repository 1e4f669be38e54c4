// The page from its start to its end: signed out, or signed in with everything that belongs to it.
//
// Always true: there is at most one session in a tab; what belongs to it is gone when it ends.

import { signal } from "@preact/signals";
import { randomBytes } from "../base/random";
import { clock } from "../base/time";
import { openKeep } from "../keep/database";
import { Drafts } from "../keep/drafts";
import type { Keep } from "../keep/keep";
import { Marks } from "../keep/marks";
import { Numbers } from "../keep/numbers";
import { claim } from "../keep/owner";
import { Caller } from "../net/call";
import { Nodes } from "../net/nodes";
import { Store } from "../state/store";
import { CallError } from "../wire/problem";
import { services, transportTo } from "../wire/services";
import type { Message } from "../wire/values";
import { num, toAccount } from "../wire/values";
import { Actions } from "./actions";
import type { Config } from "./config";
import { ownNode, parseConfig, readConfig } from "./config";
import type { Comeback } from "./engine";
import { Engine } from "./engine";
import { notifyOf } from "./notify";
import { prefer } from "./preferences";
import { secret } from "./route";
import type { Channel } from "./tabs";
import { redeemOwn, shareSession } from "./tickets";
import { lookForNewPage } from "./worker";

export interface Session {
  readonly store: Store;
  readonly engine: Engine;
  readonly actions: Actions;
  readonly drafts: Drafts;
  readonly id: number;
  /** Aborted when the session ends, and with it every call in its name. */
  readonly over: AbortController;
}

export const phase = signal<"starting" | "signedOut" | "ready">("starting");
export const session = signal<Session | null>(null);
export const config = signal<Config>(parseConfig("{}"));
/** Why the page is signed out, if it was not the person's own wish. */
export const signedOutBecause = signal("");
export const comeback = signal<Comeback | null>(null);
/** Whether no node has answered since the page was opened. */
export const unreachable = signal(false);
/** How often the members of each room have changed since the page was opened. */
export const membersChanged = signal<ReadonlyMap<number, number>>(new Map());

const RETRY_MS = 1000;
/** Time after which the page says that no node answers, and asks again. */
const START_MS = 4000;

let nodes = new Nodes([{ id: 0, url: "http://localhost" }]);
let keep: Keep | null = null;
let opened: Promise<Keep> | null = null;
/** What the node says about its cluster, asked beside everything else. */
let configured: Promise<void> = Promise.resolve();
/** Makes the calls that belong to no session: which session the cookie is of, and signing in. */
let caller = makeCaller();

export function storage(): Storage | null {
  try {
    return localStorage;
  } catch {
    return null;
  }
}

/** Starts the page: finds out whether the browser has a session. */
export async function start(): Promise<void> {
  addEventListener("pagehide", writeAll);
  document.addEventListener("visibilitychange", writeAll);
  nodes = new Nodes([ownNode(location.origin)]);
  caller = makeCaller();
  configured = readConfig(location.origin, storage()).then((read) => {
    config.value = read;
    learnNodes(read);
  });
  opened = openKeep(globalThis.indexedDB);
  const ticket = secret.peek();
  if (ticket?.kind === "ticket") {
    await redeemOwn(ticket.value);
    secret.value = null;
  }
  await resume();
}

/** Keeps what is only in memory: the page may be gone in a moment. */
function writeAll(): void {
  const current = session.peek();
  current?.drafts.write();
  current?.engine.positions.flush();
}

async function resume(): Promise<void> {
  for (;;) {
    try {
      return await begin(START_MS);
    } catch (error) {
      if (error instanceof CallError && !error.undecided) {
        // Who may make an account is on the page that follows.
        await configured;
        phase.value = "signedOut";
        return;
      }
      unreachable.value = true;
      await clock.sleep(RETRY_MS);
    }
  }
}

/** Signs in; the answer sets the cookie, and no script sees the token. */
export async function signIn(name: string, password: string): Promise<void> {
  await caller.once((each, options) =>
    each.sessions.openSession(
      { requestId: randomBytes(16), name, password, label: deviceLabel(), deviceSecret: deviceSecret() },
      options,
    ),
  );
  await begin();
}

export async function signUp(name: string, password: string): Promise<void> {
  const requestId = randomBytes(16);
  const given = secret.peek();
  const grant =
    given?.kind === "setup"
      ? ({ case: "setupToken", value: given.value } as const)
      : given?.kind === "invite"
        ? ({ case: "inviteCode", value: given.value } as const)
        : ({ case: undefined } as const);
  await caller.once((each, options) =>
    each.accounts.createAccount({ requestId, name, password, grant }, options),
  );
  secret.value = null;
  await signIn(name, password);
}

export async function signOut(): Promise<void> {
  const current = session.peek();
  if (!current) return;
  await current.actions.signOut();
  const account = current.store.me.peek();
  if (account) await keep?.forget(account.id);
  current.drafts.forget();
  current.engine.tellSignedOut();
  leave("");
  current.engine.positions.forget();
  phase.value = "signedOut";
}

/** Asks the node for the addresses of its cluster again. */
export async function readNodes(): Promise<void> {
  const read = await readConfig(nodes.current.url, storage());
  config.value = read;
  learnNodes(read);
  void shareSession(read, nodes);
}

export function nodeList() {
  return nodes.list;
}

export function currentNode() {
  return nodes.current;
}

/** Nodes on this host name share the cookie; others are learned once they have one. */
function learnNodes(read: Config): void {
  const own = nodes.list.find(({ url }) => url === location.origin) ?? ownNode(location.origin);
  const listed = read.nodes.filter(({ url }) => new URL(url).hostname === location.hostname);
  const others = nodes.list.filter(
    ({ url }) => new URL(url).hostname !== location.hostname && read.nodes.some((node) => node.url === url),
  );
  const known = listed.some(({ url }) => url === own.url) ? listed : [own, ...listed];
  nodes.learn([...known, ...others]);
}

/** Returns the nodes that this page cannot ask: the browser keeps no cookie of theirs here. */
export function foreignNodes() {
  return config.value.nodes.filter(({ url }) => nodes.list.every((node) => node.url !== url));
}

/** Makes a caller whose calls name the session for as long as it lasts; 0: no session. */
function makeCaller(id = 0, signal?: AbortSignal): Caller {
  return new Caller({
    nodes,
    connect: (url) => services(transportTo(url, id)),
    clock,
    ...(signal ? { signal } : {}),
    onSignedOut: signal ? end : () => {},
  });
}

async function begin(callMs?: number): Promise<void> {
  const answer = await caller.read((each, options) => each.sessions.getSession({}, options), callMs);
  const account = toAccount(answer.account);
  const id = num(answer.sessionId);
  keep ??= await (opened ??= openKeep(globalThis.indexedDB));
  const [drafts, marks] = [new Drafts(storage(), account.id), new Marks(storage(), account.id)];
  if (!claim(storage(), account)) {
    await keep.forget(account.id);
    drafts.forget();
    marks.forget();
    prefer({ muted: [] });
  }
  await keep.learn(id, answer.requestNumberLast);
  const numbers = new Numbers(keep, id, clock);
  const store = new Store();
  const over = new AbortController();
  const ownCaller = makeCaller(id, over.signal);
  const engine: Engine = new Engine({
    store,
    keep,
    caller: ownCaller,
    nodes,
    numbers,
    marks,
    clock,
    account,
    channel: openChannel(id),
    locks: globalThis.navigator.locks ?? null,
    isVisible: () => document.visibilityState === "visible",
    onSignedOut: end,
    onArrived: (message: Message) => notifyOf(store, message),
    onComeback: (value) => {
      comeback.value = value;
      // The node was perhaps stopped to be given a newer program.
      lookForNewPage();
    },
    onNodes: () => void readNodes(),
    onOther: () => location.reload(),
    onMembers: (conversation) => {
      const times = membersChanged.peek().get(conversation) ?? 0;
      membersChanged.value = new Map(membersChanged.peek()).set(conversation, times + 1);
    },
  });
  const actions = new Actions(ownCaller, numbers);
  session.value = { store, engine, actions, drafts, id, over };
  signedOutBecause.value = "";
  phase.value = "ready";
  engine.start();
  sessions?.postMessage(id);
  void configured.then(() => shareSession(config.peek(), nodes));
}

/** Ends the session that a node does not know, and looks which one the cookie is of now. */
function end(sentence: string): void {
  if (!leave(sentence)) return;
  phase.value = "starting";
  void resume();
}

function leave(sentence: string): boolean {
  const current = session.peek();
  if (!current) return false;
  current.over.abort();
  current.engine.stop();
  current.drafts.write();
  session.value = null;
  signedOutBecause.value = sentence;
  return true;
}

/** Tells the tabs of this browser which session its cookie is of. */
const sessions = "BroadcastChannel" in globalThis ? new BroadcastChannel("conclave-session") : null;
if (sessions) sessions.onmessage = ({ data }: MessageEvent<unknown>) => other(data);

/** Begins anew if the cookie is another session's: what is shown would not be who acts. */
function other(id: unknown): void {
  const current = session.peek();
  if (current && typeof id === "number" && id !== current.id) location.reload();
}

/** Compares the session with the cookie, which a page at another port may have changed. */
export async function verify(): Promise<void> {
  const current = session.peek();
  if (!current) return;
  try {
    const answer = await current.actions.caller.read((each, options) => each.sessions.getSession({}, options), 4000);
    other(num(answer.sessionId));
  } catch {
    // No node, or signed out: then the page has said so.
  }
}

function openChannel(id: number): Channel | null {
  if (!("BroadcastChannel" in globalThis)) return null;
  return new BroadcastChannel(`conclave-${id}`) as unknown as Channel;
}

/** Names this device in the list of sessions. */
function deviceLabel(): string {
  const agent = navigator.userAgent;
  const browser = /Firefox/.test(agent)
    ? "Firefox"
    : /Edg\//.test(agent)
      ? "Edge"
      : /Chrom/.test(agent)
        ? "Chromium"
        : /Safari/.test(agent)
          ? "Safari"
          : "Browser";
  const system = /Android|iPhone|iPad|Windows|Mac OS X|Linux/.exec(agent)?.[0] ?? "";
  return system ? `${browser} on ${system.replace("Mac OS X", "macOS")}` : browser;
}

/** Returns the bytes by which nodes know a device that has signed in before. */
function deviceSecret(): Uint8Array {
  const key = "conclave.device";
  const fresh = randomBytes(32);
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(key) ?? "null");
    if (Array.isArray(kept) && kept.length === 32) return Uint8Array.from(kept as number[]);
    localStorage.setItem(key, JSON.stringify([...fresh]));
  } catch {
    // Not kept: the next sign-in is that of a new device.
  }
  return fresh;
}
