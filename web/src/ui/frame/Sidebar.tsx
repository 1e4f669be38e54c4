// The list of conversations, with what is unread, and the way to everything else.

import { useComputed } from "@preact/signals";
import { memo } from "preact/compat";
import { useState } from "preact/hooks";
import { go, route } from "../../app/route";
import { preferences } from "../../app/preferences";
import type { Session } from "../../app/session";
import { config, signOut } from "../../app/session";
import { strings } from "../../base/strings";
import { visible } from "../../text/visible";
import { plain } from "../../text/plain";
import { firstRecipients } from "../../state/rows";
import type { Store } from "../../state/store";
import { Avatar } from "../parts/Avatar";
import { Dialog } from "../parts/Dialog";
import { Icon, Mark } from "../parts/Icon";
import { Menu } from "../parts/Menu";
import { attempt } from "../parts/notices";
import { LinkState } from "./LinkState";
import { drawer, help, switcher } from "./open";
import { listed } from "./order";

export function Sidebar({ session }: { session: Session }) {
  const { store, drafts, actions } = session;
  const [asking, setAsking] = useState(false);
  const order = useComputed(() => {
    const { rooms, people } = listed(store);
    return { rooms: rooms.map(({ id }) => id), people: people.map(({ id }) => id) };
  }).value;
  const first = useComputed(() => {
    void store.ids.value;
    return firstRecipients(store.outgoing.value, (name) => store.find(name, false) !== undefined);
  }).value;
  const invitations = [...store.rooms.value.values()].filter(({ invited, role }) => invited && role === 0);
  const me = store.me.value;
  const at = route.value;
  const current = at.view === "conversation" ? at.id : 0;
  return (
    <nav class={drawer.value ? "sidebar sidebar-open" : "sidebar"} aria-label={strings.conversations}>
      <header class="sidebar-head">
        <a class="sidebar-name" href="/" onClick={(event) => { event.preventDefault(); drawer.value = false; go({ view: "home" }); }}>
          <Mark />
          <bdi>{config.value.cluster || strings.appName}</bdi>
        </a>
        <button type="button" class="button-icon only-narrow" aria-label={strings.closeMenu} onClick={() => (drawer.value = false)}>
          <Icon name="close" />
        </button>
      </header>
      <button type="button" class="jump" onClick={() => (switcher.value = true)}>
        <Icon name="search" small />
        <span>{strings.jumpTo}</span>
        <kbd>{/Mac|iPhone|iPad/.test(navigator.userAgent) ? "⌘ K" : "Ctrl K"}</kbd>
      </button>
      <div class="sidebar-scroll">
        {invitations.length > 0 && (
          <section>
            <h2>{strings.invited}</h2>
            <ul>
              {invitations.map((room) => (
                <li key={room.id}>
                  <button
                    type="button"
                    class="entry entry-unread"
                    onClick={() =>
                      void attempt(async () => {
                        const id = await actions.joinRoom(room.name);
                        store.set(id, { roomName: room.name });
                        go({ view: "conversation", id, sequence: 0 });
                      })
                    }
                  >
                    <Icon name="hash" small />
                    <span class="entry-name">{room.name}</span>
                    <span class="count">{strings.join}</span>
                  </button>
                </li>
              ))}
            </ul>
          </section>
        )}
        <section>
          <h2>
            {strings.rooms}
            <button type="button" class="button-icon" aria-label={strings.browseRooms} title={strings.browseRooms} onClick={() => { drawer.value = false; go({ view: "rooms" }); }}>
              <Icon name="plus" />
            </button>
          </h2>
          <ul>
            {order.rooms.map((id) => (
              <Entry key={id} store={store} id={id} current={current === id} draft={drafts.has(id)} />
            ))}
          </ul>
          {store.loaded.value && order.rooms.length === 0 && (
            <button type="button" class="entry entry-hint" onClick={() => { drawer.value = false; go({ view: "rooms" }); }}>
              {strings.noRoomYet}
            </button>
          )}
        </section>
        <section>
          <h2>
            {strings.people}
            <button type="button" class="button-icon" aria-label={strings.newMessage} title={strings.newMessage} onClick={() => (switcher.value = true)}>
              <Icon name="plus" />
            </button>
          </h2>
          <ul>
            {first.map((name) => (
              <First key={name} name={name} current={at.view === "person" && at.name === name} />
            ))}
            {order.people.map((id) => (
              <Entry key={id} store={store} id={id} current={current === id} draft={drafts.has(id)} />
            ))}
          </ul>
          {store.loaded.value && order.people.length === 0 && first.length === 0 && (
            <button type="button" class="entry entry-hint" onClick={() => (switcher.value = true)}>
              {strings.noPersonYet}
            </button>
          )}
        </section>
      </div>
      <footer class="sidebar-foot">
        <Menu
          label={`${strings.account}: ${visible(me?.displayName ?? "") || (me?.name ?? "")}`}
          buttonClass="self"
          up
          items={[
            { label: strings.settings, icon: "gear", act: () => leaveTo("settings") },
            ...(me?.role === "admin"
              ? ([
                  { label: strings.administration, icon: "shield", act: () => leaveTo("admin") },
                  { label: strings.cluster, icon: "cluster", act: () => leaveTo("cluster") },
                ] as const)
              : []),
            { label: strings.shortcuts, icon: "info", act: () => (help.value = true) },
            { label: strings.signOut, icon: "out", act: () => (store.outgoing.peek().length > 0 ? setAsking(true) : void attempt(signOut)) },
          ]}
        >
          <Avatar name={me?.name ?? ""} size="small" />
          <span class="self-name">
            <bdi>{visible(me?.displayName ?? "") || me?.name}</bdi>
          </span>
        </Menu>
        <LinkState session={session} />
      </footer>
      {asking && <SignOut count={store.outgoing.value.length} onClose={() => setAsking(false)} />}
    </nav>
  );
}

/** Asks before messages are lost that wait to be sent, or were refused. */
function SignOut({ count, onClose }: { count: number; onClose: () => void }) {
  return (
    <Dialog title={strings.signOut} onClose={onClose}>
      <p>{count > 0 && strings.signOutAsk(count)}</p>
      <div class="buttons">
        <button type="button" class="button" autofocus onClick={onClose}>
          {strings.cancel}
        </button>
        <button
          type="button"
          class="button button-danger"
          onClick={() => {
            onClose();
            void attempt(signOut);
          }}
        >
          {strings.signOut}
        </button>
      </div>
    </Dialog>
  );
}

function leaveTo(view: "settings" | "admin" | "cluster"): void {
  drawer.value = false;
  go({ view });
}

/** The recipient of a first message that waits or was refused: no conversation shows it. */
function First({ name, current }: { name: string; current: boolean }) {
  return (
    <li>
      <a
        class={current ? "entry entry-current" : "entry"}
        href={`/c/@${name}`}
        aria-current={current ? "page" : undefined}
        onClick={(event) => {
          if (event.ctrlKey || event.metaKey || event.shiftKey) return;
          event.preventDefault();
          drawer.value = false;
          go({ view: "person", name });
        }}
      >
        <span aria-hidden="true">
          <Avatar name={name} size="small" />
        </span>
        <span class="entry-name">
          <bdi>{name}</bdi>
          <small>{strings.notSentYet}</small>
        </span>
      </a>
    </li>
  );
}

const Entry = memo(function Entry({
  store,
  id,
  current,
  draft,
}: {
  store: Store;
  id: number;
  current: boolean;
  draft: boolean;
}) {
  const head = store.head(id)?.value;
  if (!head) return null;
  const room = store.rooms.value.get(id);
  const muted = preferences.value.muted.includes(id);
  const direct = head.roomName === "";
  const self = direct && head.peerName.toLowerCase() === store.me.value?.name.toLowerCase();
  const name = direct
    ? self
      ? strings.noteToSelf
      : visible(store.displayName(head.peerName)) || strings.deletedAccount
    : head.roomName;
  const asks = direct ? head.unread : head.mentions;
  const unread = head.unread > 0 && !muted;
  const classes = ["entry", current && "entry-current", unread && "entry-unread", muted && "entry-muted"];
  const told = [
    head.unread > 0 && strings.unread(head.unread),
    head.mentions > 0 && strings.mentions(head.mentions),
  ].filter(Boolean);
  return (
    <li>
      <a
        class={classes.filter(Boolean).join(" ")}
        href={`/c/${id}`}
        aria-current={current ? "page" : undefined}
        onClick={(event) => {
          if (event.ctrlKey || event.metaKey || event.shiftKey) return;
          event.preventDefault();
          drawer.value = false;
          go({ view: "conversation", id, sequence: 0 });
        }}
      >
        {direct ? (
          <span aria-hidden="true">
            <Avatar name={head.peerName} size="small" presence={self ? undefined : store.presence.value.get(head.peerName.toLowerCase())} />
          </span>
        ) : (
          <span class="entry-sign">
            <Icon name={room && !room.public ? "lock" : "hash"} small />
          </span>
        )}
        <span class="entry-name">
          <bdi>{name}</bdi>
          {direct && head.newest && !head.newest.deleted && <small dir="auto">{plain(head.newest.text)}</small>}
        </span>
        {draft && !current && <Icon name="edit" small />}
        {muted && <Icon name="mute" small />}
        {told.length > 0 && <span class="hidden">{told.join(", ")}</span>}
        {asks > 0 ? (
          <span class="count" aria-hidden="true">
            {asks > 99 ? "99+" : asks}
          </span>
        ) : (
          unread && <span class="dot" />
        )}
      </a>
    </li>
  );
});
