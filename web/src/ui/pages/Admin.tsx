// What administrators do: accounts, invites, bots.

import { useEffect, useState } from "preact/hooks";
import { Administration } from "../../app/administration";
import type { Session } from "../../app/session";
import { strings } from "../../base/strings";
import { visible } from "../../text/visible";
import type { Account } from "../../wire/values";
import { num } from "../../wire/values";
import { Avatar } from "../parts/Avatar";
import { Dialog } from "../parts/Dialog";
import { shortDate } from "../parts/dates";
import { Icon } from "../parts/Icon";
import type { MenuItem } from "../parts/Menu";
import { Menu } from "../parts/Menu";
import { attempt } from "../parts/notices";
import { Secret } from "../parts/Secret";
import { Page } from "./Page";

const DAY_S = 86_400;

export default function Admin({ session }: { session: Session }) {
  if (session.store.me.value?.role !== "admin") {
    return (
      <Page title={strings.administration}>
        <p class="page-lead">{strings.notAllowed}</p>
      </Page>
    );
  }
  return (
    <Page title={strings.administration}>
      <Invites session={session} />
      <Accounts session={session} />
      <Bots session={session} />
    </Page>
  );
}

function Invites({ session }: { session: Session }) {
  const [actions] = useState(() => new Administration(session.actions));
  type Each = Awaited<ReturnType<typeof actions.listInvites>>[number];
  const [invites, setInvites] = useState<readonly Each[]>([]);
  const [uses, setUses] = useState(1);
  const [days, setDays] = useState(7);
  const [made, setMade] = useState("");
  const readAgain = () => attempt(async () => setInvites(await actions.listInvites()));
  useEffect(() => void readAgain(), []);
  return (
    <section class="card">
      <h2>{strings.invites}</h2>
      {made && <Secret label={strings.inviteOnce} value={made} />}
      <form
        class="inline-form"
        onSubmit={(event) => {
          event.preventDefault();
          void attempt(async () => {
            const code = await actions.createInvite(uses, days * DAY_S);
            setMade(`${location.origin}/join#invite=${code}`);
            await readAgain();
          });
        }}
      >
        <label class="field">
          <span>{strings.inviteUses}</span>
          <input class="input" type="number" min={1} max={1000} required value={uses} onInput={(event) => setUses(event.currentTarget.valueAsNumber || 1)} />
        </label>
        <label class="field">
          <span>{strings.inviteDays}</span>
          <input class="input" type="number" min={1} max={30} required value={days} onInput={(event) => setDays(event.currentTarget.valueAsNumber || 1)} />
        </label>
        <button type="submit" class="button button-main">
          {strings.makeInvite}
        </button>
      </form>
      {invites.length === 0 && <p class="hint">{strings.noInvites}</p>}
      <ul class="rows">
        {invites.map((invite) => (
          <li key={String(invite.inviteId)}>
            <span class="rows-main">
              <b>{strings.usesLeft(invite.usesLeft)}</b>
              <small>
                {invite.byName || strings.deletedAccount}, {strings.until(shortDate(num(invite.expiresAtMs)))}
              </small>
            </span>
            <button type="button" class="button" onClick={() => void attempt(() => actions.revokeInvite(invite.inviteId)).then(readAgain)}>
              {strings.revoke}
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Accounts({ session }: { session: Session }) {
  const { store } = session;
  const [actions] = useState(() => new Administration(session.actions));
  const [accounts, setAccounts] = useState<readonly Account[]>([]);
  const [filter, setFilter] = useState("");
  const [removing, setRemoving] = useState("");
  const [reset, setReset] = useState<{ name: string; password: string } | null>(null);
  const readAgain = () =>
    attempt(async () => setAccounts(await session.actions.listAccounts(filter.trim() ? `*${filter.trim()}*` : "")));
  useEffect(() => {
    const timer = setTimeout(() => void readAgain(), 200);
    return () => clearTimeout(timer);
  }, [filter]);
  const items = ({ name, role, suspended }: Account): MenuItem[] => {
    const act = (label: string, action: () => Promise<unknown>, danger = false): MenuItem => ({
      label,
      danger,
      act: () => void attempt(action).then(readAgain),
    });
    return [
      ...(role === "bot"
        ? []
        : [
            role === "admin"
              ? act(strings.makeUser, () => actions.setAdministrator(name, false))
              : act(strings.makeAdmin, () => actions.setAdministrator(name, true)),
            act(strings.endAllSessions, () => actions.endSessions(name)),
            act(strings.resetPassword, async () => setReset({ name, password: await actions.resetPassword(name) })),
          ]),
      suspended
        ? act(strings.reactivate, () => actions.setSuspended(name, false))
        : act(strings.suspend, () => actions.setSuspended(name, true)),
      { label: strings.removeAccount, danger: true, act: () => setRemoving(name) },
    ];
  };
  return (
    <section class="card">
      <h2>{strings.accounts}</h2>
      {reset && <Secret label={strings.resetDone(reset.name)} value={reset.password} />}
      <label class="field">
        <span class="hidden">{strings.filterAccounts}</span>
        <input class="input" type="search" placeholder={strings.filterAccounts} value={filter} onInput={(event) => setFilter(event.currentTarget.value)} />
      </label>
      <ul class="rows">
        {accounts.map((account) => (
          <li key={account.id}>
            <Avatar name={account.name} size="small" />
            <span class="rows-main">
              <b>{account.name}</b>
              <small dir="auto">
                {[
                  visible(account.displayName),
                  account.role === "admin" && strings.administrator,
                  account.role === "bot" && strings.bot,
                  account.suspended && strings.suspended,
                ]
                  .filter(Boolean)
                  .join(" · ")}
              </small>
            </span>
            {account.id !== store.me.value?.id && (
              <Menu label={`${strings.more}: ${account.name}`} items={items(account)}>
                <Icon name="more" />
              </Menu>
            )}
          </li>
        ))}
      </ul>
      {removing && (
        <Dialog title={strings.removeAccount} onClose={() => setRemoving("")}>
          <p>{strings.removeAccountAsk(removing)}</p>
          <div class="buttons">
            <button type="button" class="button" onClick={() => setRemoving("")}>
              {strings.cancel}
            </button>
            <button
              type="button"
              class="button button-danger"
              onClick={() => {
                const name = removing;
                setRemoving("");
                void attempt(() => actions.removeAccount(name)).then(readAgain);
              }}
            >
              {strings.removeAccount}
            </button>
          </div>
        </Dialog>
      )}
    </section>
  );
}

function Bots({ session }: { session: Session }) {
  const [name, setName] = useState("");
  const [token, setToken] = useState("");
  return (
    <section class="card">
      <h2>{strings.bots}</h2>
      {token && <Secret label={strings.botOnce} value={token} />}
      <form
        class="inline-form"
        onSubmit={(event) => {
          event.preventDefault();
          void attempt(async () => {
            setToken(await new Administration(session.actions).createBot(name.trim()));
            setName("");
          });
        }}
      >
        <label class="field">
          <span>{strings.botName}</span>
          <input class="input" maxLength={32} value={name} onInput={(event) => setName(event.currentTarget.value)} />
        </label>
        <button type="submit" class="button button-main" disabled={!name.trim()}>
          {strings.makeBot}
        </button>
      </form>
    </section>
  );
}
