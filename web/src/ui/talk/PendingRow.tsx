// A message on its way: waiting, refused, or with an outcome that nobody knows.

import type { Session } from "../../app/session";
import { strings } from "../../base/strings";
import type { Outgoing } from "../../keep/keep";
import { Icon } from "../parts/Icon";
import { Body } from "./Body";
import { Ticks } from "./Ticks";

export function PendingRow({ message, session }: { message: Outgoing; session: Session }) {
  const failed = message.state !== "waiting";
  const why = message.state === "unknown" ? strings.unknown : `${strings.refused}: ${message.sentence}`;
  return (
    <article class={failed ? "message message-failed" : "message message-pending"} tabIndex={-1} aria-label={strings.waiting}>
      <div class="message-gutter" />
      <div class="message-main">
        <Body text={message.text} store={session.store} />
        {!failed && (
          <span class="message-marks">
            <Ticks state="waiting" />
          </span>
        )}
        {failed && (
          <p class="message-why" role="alert">
            <Icon name="alert" small /> {why}
            <button type="button" class="button-quiet" onClick={() => void session.engine.sendAgain(message.id)}>
              {strings.sendAgain}
            </button>
            <button type="button" class="button-quiet" onClick={() => void session.engine.discard(message.id)}>
              {strings.discard}
            </button>
          </p>
        )}
      </div>
    </article>
  );
}
