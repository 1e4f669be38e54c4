// Where the page is, as its address says: every conversation and every message has one.
//
// Secrets (invites, setup tokens) stand behind `#`, so that no node and no log sees them.

import { signal } from "@preact/signals";

export type Route =
  | { readonly view: "home" }
  | { readonly view: "conversation"; readonly id: number; readonly sequence: number }
  /** A direct conversation that has no message yet. */
  | { readonly view: "person"; readonly name: string }
  | { readonly view: "rooms" | "search" | "settings" | "admin" | "cluster" | "join" };

export const route = signal<Route>({ view: "home" });
/** What stands behind `#`: `invite`, `setup`, `ticket` or `demo` with its value. */
export const secret = signal<{ readonly kind: string; readonly value: string } | null>(null);

const VIEWS = ["rooms", "search", "settings", "admin", "cluster", "join"] as const;
const NAME = /^[A-Za-z0-9._-]{1,32}$/;
const CONVERSATION = /^\/c\/(\d{1,15})(?:\/(\d{1,15}))?$/;

export function parseRoute(path: string): Route {
  const conversation = CONVERSATION.exec(path);
  if (conversation) {
    return {
      view: "conversation",
      id: Number(conversation[1]),
      sequence: Number(conversation[2] ?? 0),
    };
  }
  const name = path.startsWith("/c/@") ? path.slice("/c/@".length) : "";
  if (isName(name)) return { view: "person", name };
  const view = VIEWS.find((each) => path === `/${each}`);
  return view ? { view } : { view: "home" };
}

/** Returns whether an account may have such a name. */
export function isName(name: string): boolean {
  return NAME.test(name);
}

export function pathOf(to: Route): string {
  switch (to.view) {
    case "home":
      return "/";
    case "conversation":
      return to.sequence ? `/c/${to.id}/${to.sequence}` : `/c/${to.id}`;
    case "person":
      return `/c/@${to.name}`;
    default:
      return `/${to.view}`;
  }
}

export function go(to: Route, replace = false): void {
  if (replace) history.replaceState(null, "", pathOf(to));
  else if (location.pathname !== pathOf(to)) history.pushState(null, "", pathOf(to));
  route.value = to;
}

/** Reads the address, and follows it from now on. */
export function startRoute(): void {
  readSecret();
  // A link that is opened in the same tab changes what stands behind `#`, and loads nothing.
  addEventListener("hashchange", readSecret);
  route.value = parseRoute(location.pathname);
  addEventListener("popstate", () => (route.value = parseRoute(location.pathname)));
}

function readSecret(): void {
  const fragment = /^#(invite|setup|ticket|demo)=([A-Za-z0-9_-]{1,200})$/.exec(location.hash);
  if (fragment?.[1] && fragment[2]) {
    secret.value = { kind: fragment[1], value: fragment[2] };
    // The secret does not stay in the address bar or in the history.
    history.replaceState(null, "", location.pathname);
  }
}
