// The whole page: signed out, or the list of conversations beside what is open.

import { flushSync } from "preact/compat";
import { useEffect } from "preact/hooks";
import { useSignalEffect } from "@preact/signals";
import { go, route } from "../app/route";
import type { Session } from "../app/session";
import { config, phase, session, unreachable, verify } from "../app/session";
import { strings } from "../base/strings";
import { plain } from "../text/plain";
import { demoKey } from "./demo/key";
import { Banner, useOnline } from "./frame/Banner";
import { Help } from "./frame/Help";
import { Notices } from "./frame/Notices";
import { drawer, help, searchFor, switcher } from "./frame/open";
import { listed } from "./frame/order";
import { Sidebar } from "./frame/Sidebar";
import { Switcher } from "./frame/Switcher";
import { Home } from "./pages/Home";
import { Sign } from "./pages/Sign";
import { Mark } from "./parts/Icon";
import { say } from "./parts/notices";
import { onDemand } from "./parts/onDemand";
import { FirstTalk, Talk } from "./talk/Talk";

const Rooms = onDemand(() => import("./pages/Rooms").then(({ Rooms: page }) => page));
const Search = onDemand(() => import("./pages/Search").then(({ Search: page }) => page));
const Settings = onDemand(() => import("./pages/Settings").then(({ Settings: page }) => page));
const Admin = onDemand(() => import("./pages/Admin").then(({ default: page }) => page));
const Cluster = onDemand(() => import("./pages/Cluster").then(({ default: page }) => page));
const Door = onDemand(
  () => import("./demo/Door").then(({ default: page }) => page),
  (content) => <main class="starting">{content}</main>,
);

export function App() {
  const current = session.value;
  return (
    <>
      {phase.value === "starting" ? (
        <Starting />
      ) : current ? (
        <Chat key={current.id} session={current} />
      ) : demoKey.value && config.value.demo ? (
        <Door />
      ) : (
        <Sign />
      )}
      <Notices />
    </>
  );
}

/** What is shown until a node has said who is signed in; also without any network. */
function Starting() {
  const online = useOnline();
  return (
    <main class="starting">
      <Mark />
      <p role="status">{!online ? strings.offlineStart : unreachable.value ? strings.noNode : strings.connecting}</p>
    </main>
  );
}

function Chat({ session: current }: { session: Session }) {
  useTitle(current);
  useKeys(current);
  useAnnouncements(current);
  useEffect(() => {
    const seen = () => document.visibilityState === "visible" && current.engine.seen();
    const compare = () => void verify();
    document.addEventListener("visibilitychange", seen);
    addEventListener("focus", compare);
    return () => {
      document.removeEventListener("visibilitychange", seen);
      removeEventListener("focus", compare);
    };
  }, []);
  return (
    <div class={route.value.view === "home" ? "frame frame-home" : "frame"}>
      <a class="skip" href="#main">
        {strings.skip}
      </a>
      <Sidebar session={current} />
      {drawer.value && <div class="shade" onClick={() => (drawer.value = false)} />}
      <main class="main" id="main" tabIndex={-1}>
        <Banner session={current} />
        <div class="stage">
          <Stage session={current} />
        </div>
      </main>
      {switcher.value && <Switcher session={current} />}
      {help.value && <Help />}
    </div>
  );
}

function Stage({ session: current }: { session: Session }) {
  const at = route.value;
  switch (at.view) {
    case "conversation":
      return <Talk key={at.id} session={current} id={at.id} focus={at.sequence} />;
    case "person":
      return <FirstTalk key={at.name} session={current} name={at.name} />;
    case "rooms":
      return <Rooms session={current} />;
    case "search":
      return <Search session={current} />;
    case "settings":
      return <Settings session={current} />;
    case "admin":
      return <Admin session={current} />;
    case "cluster":
      return <Cluster session={current} />;
    case "home":
    case "join":
      return <Home session={current} />;
  }
}

/** The title and the icon of the tab say how much asks for the reader. */
function useTitle({ store }: Session): void {
  useSignalEffect(() => {
    const at = route.value;
    const head = at.view === "conversation" ? store.head(at.id)?.value : undefined;
    const where = head ? (head.roomName ? `#${head.roomName}` : head.peerName) : "";
    const asks = store.attention.value;
    const sign = asks > 0 ? `(${asks}) ` : store.unread.value ? "• " : "";
    document.title = `${sign}${where ? `${where} · ` : ""}${strings.appName}`;
    const icon = asks > 0 ? "/favicon-unread.svg" : "/favicon.svg";
    const link = document.querySelector<HTMLLinkElement>("link[rel=icon]");
    if (link && link.getAttribute("href") !== icon) link.href = icon;
    const badge = navigator as { setAppBadge?: (count: number) => Promise<void>; clearAppBadge?: () => Promise<void> };
    (asks > 0 ? badge.setAppBadge?.(asks) : badge.clearAppBadge?.())?.catch(() => {});
  });
}

function useKeys({ store }: Session): void {
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      const control = event.ctrlKey || event.metaKey;
      if (control && !event.shiftKey && event.key.toLowerCase() === "k") {
        event.preventDefault();
        flushSync(() => (switcher.value = !switcher.peek()));
      } else if (control && event.shiftKey && event.key.toLowerCase() === "f") {
        event.preventDefault();
        searchFor("");
      } else if (event.altKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
        event.preventDefault();
        step(event.key === "ArrowUp" ? -1 : 1, event.shiftKey);
      }
    };
    const step = (by: number, unread: boolean) => {
      const { rooms, people } = listed(store);
      const all = [...rooms, ...people];
      const at = route.peek();
      const current = all.findIndex(({ id }) => at.view === "conversation" && at.id === id);
      const other = all.filter((head, index) => index === current || !unread || head.unread > 0);
      const from = current < 0 ? -by : other.findIndex(({ id }) => id === all[current]?.id);
      const next = other[(from + by + other.length) % other.length];
      if (next) go({ view: "conversation", id: next.id, sequence: 0 });
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
}

/** Says new messages of the open conversation to a screen reader. */
function useAnnouncements({ store }: Session): void {
  useSignalEffect(() => {
    const at = route.value;
    const head = at.view === "conversation" ? store.head(at.id)?.value : undefined;
    const newest = head?.newest;
    if (!newest || newest.senderId === store.me.peek()?.id || newest.deleted) return;
    say(`${store.displayName(newest.senderName)}: ${plain(newest.text)}`);
  });
}
