// The node behind the page, and whether it works.

import type { Session } from "../../app/session";
import { strings } from "../../base/strings";

export function LinkState({ session }: { session: Session }) {
  const link = session.store.link.value;
  const live = link.state === "live";
  const text = live ? strings.live(link.node) : strings.reconnecting;
  return (
    <span class={live ? "link link-live" : "link"} title={live ? strings.liveHint(link.node) : text}>
      <span class="link-dot" aria-hidden="true" />
      {text}
    </span>
  );
}
