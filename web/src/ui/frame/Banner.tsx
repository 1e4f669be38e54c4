// What happened to the connection, with its true figures.

import { useEffect, useState } from "preact/hooks";
import type { Session } from "../../app/session";
import { comeback, foreignNodes } from "../../app/session";
import { newPage } from "../../app/worker";
import { strings } from "../../base/strings";
import { Icon } from "../parts/Icon";

const COMEBACK_MS = 6000;
/** An outage that is shorter is not announced before it is over. */
const PATIENCE_MS = 700;
/** Attempts after which nodes that this page cannot ask are named. */
const ATTEMPTS = 2;

export function Banner({ session }: { session: Session }) {
  const link = session.store.link.value;
  const back = comeback.value;
  const online = useOnline();
  const connecting = link.state === "connecting";
  const late = useLate(connecting, PATIENCE_MS);
  useEffect(() => {
    if (!back) return;
    const timer = setTimeout(() => (comeback.value = null), COMEBACK_MS);
    return () => clearTimeout(timer);
  }, [back]);
  let content = null;
  if (!online) content = bannerOf("banner-bad", "alert", strings.offline);
  else if (connecting && late) {
    content = (
      <>
        {bannerOf("banner-bad", "alert", strings.lost(link.attempt + 1))}
        {link.attempt >= ATTEMPTS && <Elsewhere />}
      </>
    );
  }
  else if (back) {
    const { node, outageMs, caughtUp, sent } = back;
    content = bannerOf("banner-good", "check", strings.comeback(node, outageMs, caughtUp, sent));
  } else if (newPage.value) {
    content = (
      <div class="banner">
        <Icon name="info" small />
        <span>{strings.newPage}</span>
        <button type="button" class="button-quiet" onClick={() => location.reload()}>
          {strings.reload}
        </button>
      </div>
    );
  }
  return (
    <div class="banner-place" role="status" aria-live="polite">
      {content}
    </div>
  );
}

/** Nodes on other sites: the browser shares no cookie with them, so the reader goes there. */
function Elsewhere() {
  const others = foreignNodes().slice(0, 3);
  if (others.length === 0) return null;
  return (
    <div class="banner">
      <span>{strings.openThere}</span>
      {others.map(({ url }) => (
        <a key={url} href={url + location.pathname}>
          {new URL(url).host}
        </a>
      ))}
    </div>
  );
}

function bannerOf(kind: string, icon: "alert" | "check", text: string) {
  return (
    <div class={`banner ${kind}`}>
      <Icon name={icon} small />
      <span>{text}</span>
    </div>
  );
}

/** Returns whether the device has a network, as far as the browser knows. */
export function useOnline(): boolean {
  const [online, setOnline] = useState(navigator.onLine);
  useEffect(() => {
    const look = () => setOnline(navigator.onLine);
    addEventListener("online", look);
    addEventListener("offline", look);
    return () => {
      removeEventListener("online", look);
      removeEventListener("offline", look);
    };
  }, []);
  return online;
}

/** Returns whether something has been true for a while. */
function useLate(value: boolean, ms: number): boolean {
  const [late, setLate] = useState(false);
  useEffect(() => {
    setLate(false);
    if (!value) return;
    const timer = setTimeout(() => setLate(true), ms);
    return () => clearTimeout(timer);
  }, [value]);
  return late && value;
}
