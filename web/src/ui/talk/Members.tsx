// The panel of a room: topic, what it keeps, members with their roles, invitations, webhooks, leaving.

import { useEffect, useMemo, useState } from "preact/hooks";
import { go } from "../../app/route";
import { preferences, toggleMuted } from "../../app/preferences";
import type { Session } from "../../app/session";
import { membersChanged } from "../../app/session";
import { readMembers } from "../../app/load";
import { strings } from "../../base/strings";
import { soon } from "../../base/time";
import { visible } from "../../text/visible";
import type { Member } from "../../wire/values";
import { RoomRole } from "../../wire/values";
import { panel } from "../frame/open";
import { Avatar } from "../parts/Avatar";
import { Dialog } from "../parts/Dialog";
import { Icon } from "../parts/Icon";
import type { MenuItem } from "../parts/Menu";
import { Menu } from "../parts/Menu";
import { attempt, notice } from "../parts/notices";
import { Kept } from "./Kept";
import { Webhooks } from "./Webhooks";

/** Greatest wait before the members are read again while they change all the time. */
const READ_PAUSE_MS_MAX = 10_000;
const ROLES = { 0: "", 1: "", 2: strings.moderator, 3: strings.owner } as const;

export function Members({ session, id, name }: { session: Session; id: number; name: string }) {
  const { store, actions, engine } = session;
  const [members, setMembers] = useState<readonly Member[]>([]);
  const [asking, setAsking] = useState<"leave" | "webhooks" | null>(null);
  const [invitee, setInvitee] = useState("");
  const [topic, setTopic] = useState<string | null>(null);
  const changed = membersChanged.value.get(id) ?? 0;
  const read = useMemo(
    () => soon(50, () => readMembers(engine.options, id, name).then(setMembers, () => {}), READ_PAUSE_MS_MAX),
    [id],
  );
  useEffect(read, [read, changed]);
  const room = store.rooms.value.get(id);
  const role = room?.role ?? RoomRole.Member;
  const me = store.me.value?.name;
  const head = store.head(id)?.value;
  const muted = preferences.value.muted.includes(id);
  const sorted = [...members].sort(
    (one, other) => other.role - one.role || one.account.name.localeCompare(other.account.name),
  );
  return (
    <aside class="panel" aria-label={strings.details}>
      <header class="panel-head">
        <h2>#{name}</h2>
        <button type="button" class="button-icon" aria-label={strings.close} onClick={() => (panel.value = false)}>
          <Icon name="close" />
        </button>
      </header>
      <div class="panel-body">
        <p class="panel-kind">{room && !room.public ? strings.privateRoom : strings.publicRoom}</p>
        {topic === null ? (
          <div class="panel-topic">
            <p dir="auto">{visible(head?.topic ?? "") || strings.noTopic}</p>
            {role >= RoomRole.Moderator && (
              <button type="button" class="button-quiet" onClick={() => setTopic(head?.topic ?? "")}>
                {strings.setTopic}
              </button>
            )}
          </div>
        ) : (
          <form
            onSubmit={(event) => {
              event.preventDefault();
              void attempt(() => actions.setTopic(name, topic)).then((done) => done && setTopic(null));
            }}
          >
            <label class="field">
              <span>{strings.topic}</span>
              <input class="input" dir="auto" value={topic} maxLength={256} onInput={(event) => setTopic(event.currentTarget.value)} />
            </label>
            <div class="buttons">
              <button type="button" class="button" onClick={() => setTopic(null)}>
                {strings.cancel}
              </button>
              <button type="submit" class="button button-main">
                {strings.save}
              </button>
            </div>
          </form>
        )}
        {room && <Kept session={session} room={room} />}
        {(room?.public || role >= RoomRole.Moderator) && (
          <form
            class="inline-form"
            onSubmit={(event) => {
              event.preventDefault();
              const who = invitee.replace(/^@/, "").trim();
              void attempt(() => actions.invite(name, who)).then((done) => {
                if (!done) return;
                setInvitee("");
                notice(strings.inviteSent(who));
              });
            }}
          >
            <label class="field">
              <span>{strings.inviteToRoom}</span>
              <input class="input" value={invitee} placeholder={strings.accountName} list="accounts" onInput={(event) => setInvitee(event.currentTarget.value)} />
            </label>
            <datalist id="accounts">
              {[...store.accounts.value.values()].slice(0, 200).map((account) => (
                <option key={account.id} value={account.name} />
              ))}
            </datalist>
            <button type="submit" class="button" disabled={!invitee.trim()}>
              {strings.invite}
            </button>
          </form>
        )}
        <h3>{strings.memberCount(room?.members ?? members.length)}</h3>
        <ul class="people">
          {sorted.map((member) => (
            <li key={member.account.id}>
              <Avatar name={member.account.name} size="small" presence={store.presence.value.get(member.account.name.toLowerCase())} />
              <span class="people-name">
                <bdi>{visible(member.account.displayName) || member.account.name}</bdi>
                <small>
                  {member.account.displayName ? `@${member.account.name} ` : ""}
                  {ROLES[member.role] || (member.account.role === "bot" ? strings.bot : "")}
                </small>
              </span>
              {member.account.name !== me && (
                <Menu label={strings.more} items={memberItems(session, name, role, member)}>
                  <Icon name="more" />
                </Menu>
              )}
            </li>
          ))}
        </ul>
        <div class="panel-actions">
          <button type="button" class="button" onClick={() => toggleMuted(id)}>
            <Icon name={muted ? "bell" : "mute"} small /> {muted ? strings.unmute : strings.mute}
          </button>
          {role >= RoomRole.Moderator && (
            <button type="button" class="button" onClick={() => setAsking("webhooks")}>
              <Icon name="link" small /> {strings.webhooks}
            </button>
          )}
          <button type="button" class="button button-danger" onClick={() => setAsking("leave")}>
            <Icon name="out" small /> {strings.leave}
          </button>
        </div>
      </div>
      {asking === "webhooks" && <Webhooks session={session} name={name} onClose={() => setAsking(null)} />}
      {asking === "leave" && (
        <Dialog title={strings.leave} onClose={() => setAsking(null)}>
          <p>{strings.leaveAsk(name)}</p>
          <div class="buttons">
            <button type="button" class="button" onClick={() => setAsking(null)}>
              {strings.cancel}
            </button>
            <button
              type="button"
              class="button button-danger"
              onClick={() =>
                void attempt(() => actions.leaveRoom(name)).then((done) => {
                  setAsking(null);
                  if (done) go({ view: "home" });
                })
              }
            >
              {strings.leave}
            </button>
          </div>
        </Dialog>
      )}
    </aside>
  );
}

function memberItems(session: Session, room: string, role: RoomRole, member: Member): MenuItem[] {
  const { actions, store } = session;
  const { name } = member.account;
  const give = (label: string, to: RoomRole): MenuItem => ({
    label,
    act: () => void attempt(() => actions.setRole(room, name, to)),
  });
  const items: MenuItem[] = [
    {
      label: strings.writeTo(name),
      icon: "send",
      act: () => {
        const known = store.find(name, false);
        go(known ? { view: "conversation", id: known.id, sequence: 0 } : { view: "person", name });
      },
    },
  ];
  if (role === RoomRole.Owner) {
    if (member.role !== RoomRole.Owner) items.push(give(strings.makeOwner, RoomRole.Owner));
    if (member.role !== RoomRole.Moderator) items.push(give(strings.makeModerator, RoomRole.Moderator));
    if (member.role !== RoomRole.Member) items.push(give(strings.makeMember, RoomRole.Member));
  }
  if (role >= RoomRole.Moderator && member.role < role) {
    items.push({
      label: strings.removeMember,
      icon: "out",
      danger: true,
      act: () => void attempt(() => actions.kick(room, name)),
    });
  }
  return items;
}
