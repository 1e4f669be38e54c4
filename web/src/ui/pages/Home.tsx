// What one sees before a conversation is chosen.

import { go } from "../../app/route";
import type { Session } from "../../app/session";
import { strings } from "../../base/strings";
import { visible } from "../../text/visible";
import { switcher } from "../frame/open";
import { Icon, Mark } from "../parts/Icon";
import { Page } from "./Page";

export function Home({ session }: { session: Session }) {
  const me = session.store.me.value;
  return (
    <Page title={strings.appName}>
      <div class="welcome">
        <Mark />
        <h2>{strings.welcome(visible(me?.displayName ?? "") || (me?.name ?? ""))}</h2>
        <p>{strings.welcomeLead}</p>
        <div class="buttons">
          <button type="button" class="button button-main" onClick={() => go({ view: "rooms" })}>
            <Icon name="hash" small /> {strings.browseRooms}
          </button>
          <button type="button" class="button" onClick={() => (switcher.value = true)}>
            <Icon name="send" small /> {strings.newMessage}
          </button>
          {me?.role === "admin" && (
            <button type="button" class="button" onClick={() => go({ view: "admin" })}>
              <Icon name="people" small /> {strings.invitePeople}
            </button>
          )}
        </div>
      </div>
    </Page>
  );
}
