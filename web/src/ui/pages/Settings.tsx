// What a person sets: appearance, notifications, name, password, sessions, blocks, the account itself.

import { useEffect, useState } from "preact/hooks";
import { readBlocks } from "../../app/load";
import { askToNotify } from "../../app/notify";
import type { TextSize, Theme } from "../../app/preferences";
import { prefer, preferences } from "../../app/preferences";
import type { Session } from "../../app/session";
import { strings } from "../../base/strings";
import { num } from "../../wire/values";
import { Dialog } from "../parts/Dialog";
import { shortDate } from "../parts/dates";
import { attempt, notice } from "../parts/notices";
import { Page } from "./Page";

export function Settings({ session }: { session: Session }) {
  return (
    <Page title={strings.settings}>
      <Appearance />
      <Notifications />
      <Profile session={session} />
      <Password session={session} />
      <Sessions session={session} />
      <Blocks session={session} />
      <Removal session={session} />
    </Page>
  );
}

function Appearance() {
  const { theme, textSize } = preferences.value;
  return (
    <section class="card">
      <h2>{strings.appearance}</h2>
      <Choice
        label={strings.theme}
        name="theme"
        value={theme}
        options={strings.themes}
        onChoose={(value) => prefer({ theme: value as Theme })}
      />
      <Choice
        label={strings.textSize}
        name="text"
        value={textSize}
        options={strings.textSizes}
        onChoose={(value) => prefer({ textSize: value as TextSize })}
      />
    </section>
  );
}

function Choice({
  label,
  name,
  value,
  options,
  onChoose,
}: {
  label: string;
  name: string;
  value: string;
  options: Readonly<Record<string, string>>;
  onChoose: (value: string) => void;
}) {
  return (
    <fieldset class="choice-row">
      <legend>{label}</legend>
      {Object.entries(options).map(([each, text]) => (
        <label key={each} class="choice-one">
          <input type="radio" name={name} checked={value === each} onChange={() => onChoose(each)} />
          <span>{text}</span>
        </label>
      ))}
    </fieldset>
  );
}

function Notifications() {
  const { notify } = preferences.value;
  const denied = "Notification" in globalThis && Notification.permission === "denied";
  return (
    <section class="card">
      <h2>{strings.notifications}</h2>
      <label class="check">
        <input
          type="checkbox"
          checked={notify && !denied}
          disabled={denied || !("Notification" in globalThis)}
          onChange={(event) => {
            const wanted = event.currentTarget.checked;
            if (!wanted) return prefer({ notify: false });
            void askToNotify().then((allowed) => prefer({ notify: allowed }));
          }}
        />
        <span>{strings.notifyOn}</span>
      </label>
      <p class="hint">{denied ? strings.notifyDenied : strings.notifyLead}</p>
    </section>
  );
}

function Profile({ session }: { session: Session }) {
  const me = session.store.me.value;
  const [name, setName] = useState(me?.displayName ?? "");
  return (
    <form
      class="card"
      onSubmit={(event) => {
        event.preventDefault();
        void attempt(() => session.actions.setDisplayName(name.trim())).then(
          (done) => done && notice(strings.done),
        );
      }}
    >
      <h2>{strings.profile}</h2>
      <label class="field">
        <span>{strings.displayName}</span>
        <input class="input" dir="auto" maxLength={64} value={name} onInput={(event) => setName(event.currentTarget.value)} />
      </label>
      <small>
        {strings.displayNameHint} @{me?.name}
      </small>
      <div class="buttons">
        <button type="submit" class="button button-main">
          {strings.save}
        </button>
      </div>
    </form>
  );
}

function Password({ session }: { session: Session }) {
  const [before, setBefore] = useState("");
  const [after, setAfter] = useState("");
  return (
    <form
      class="card"
      onSubmit={(event) => {
        event.preventDefault();
        void attempt(() => session.actions.changePassword(before, after)).then((done) => {
          if (!done) return;
          setBefore("");
          setAfter("");
          notice(strings.passwordChanged);
        });
      }}
    >
      <h2>{strings.changePassword}</h2>
      <input type="text" class="hidden" autocomplete="username" tabIndex={-1} aria-hidden="true" readOnly value={session.store.me.value?.name ?? ""} />
      <div class="fields">
        <label class="field">
          <span>{strings.oldPassword}</span>
          <input class="input" type="password" autocomplete="current-password" required value={before} onInput={(event) => setBefore(event.currentTarget.value)} />
        </label>
        <label class="field">
          <span>{strings.newPassword}</span>
          <input class="input" type="password" autocomplete="new-password" required minLength={8} value={after} onInput={(event) => setAfter(event.currentTarget.value)} />
        </label>
      </div>
      <div class="buttons">
        <button type="submit" class="button button-main">
          {strings.changePassword}
        </button>
      </div>
    </form>
  );
}

function Sessions({ session }: { session: Session }) {
  type Each = Awaited<ReturnType<typeof session.actions.listSessions>>[number];
  const [sessions, setSessions] = useState<readonly Each[]>([]);
  const readAgain = () => attempt(async () => setSessions(await session.actions.listSessions()));
  useEffect(() => void readAgain(), []);
  return (
    <section class="card">
      <h2>{strings.sessions}</h2>
      <ul class="rows">
        {sessions.map((each) => (
          <li key={String(each.sessionId)}>
            <span class="rows-main">
              <b dir="auto">{each.label || "–"}</b>
              <small>
                {strings.since(shortDate(num(each.openedAtMs)))}
                {each.current && ` · ${strings.thisSession}`}
              </small>
            </span>
            {!each.current && (
              <button
                type="button"
                class="button"
                onClick={() => void attempt(() => session.actions.endSession(each.sessionId)).then(readAgain)}
              >
                {strings.endSession}
              </button>
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}

function Blocks({ session }: { session: Session }) {
  const { store, actions, engine } = session;
  const [name, setName] = useState("");
  const set = (each: string, blocked: boolean) =>
    attempt(async () => {
      await actions.setBlock(each, blocked);
      await readBlocks(engine.options);
    });
  return (
    <section class="card">
      <h2>{strings.blockedPeople}</h2>
      {store.blocked.value.size === 0 && <p class="hint">{strings.nobodyBlocked}</p>}
      <ul class="rows">
        {[...store.blocked.value].map((each) => (
          <li key={each}>
            <span class="rows-main">
              <b>{store.accounts.value.get(each)?.name ?? each}</b>
            </span>
            <button type="button" class="button" onClick={() => void set(each, false)}>
              {strings.unblock}
            </button>
          </li>
        ))}
      </ul>
      <form
        class="inline-form"
        onSubmit={(event) => {
          event.preventDefault();
          void set(name.trim().replace(/^@/, ""), true).then((done) => done && setName(""));
        }}
      >
        <label class="field">
          <span class="hidden">{strings.accountName}</span>
          <input class="input" placeholder={strings.accountName} value={name} onInput={(event) => setName(event.currentTarget.value)} />
        </label>
        <button type="submit" class="button" disabled={!name.trim()}>
          {strings.block}
        </button>
      </form>
    </section>
  );
}

function Removal({ session }: { session: Session }) {
  const [asking, setAsking] = useState(false);
  const [password, setPassword] = useState("");
  return (
    <section class="card">
      <h2>{strings.deleteAccount}</h2>
      <p class="hint">{strings.deleteAccountLead}</p>
      <div class="buttons">
        <button type="button" class="button button-danger" onClick={() => setAsking(true)}>
          {strings.deleteAccount}
        </button>
      </div>
      {asking && (
        <Dialog title={strings.deleteAccount} onClose={() => setAsking(false)}>
          <form
            onSubmit={(event) => {
              event.preventDefault();
              void attempt(() => session.actions.deleteAccount(password)).then(
                (done) => done && session.engine.options.onSignedOut(""),
              );
            }}
          >
            <p>{strings.deleteAccountAsk}</p>
            <label class="field">
              <span>{strings.password}</span>
              <input class="input" type="password" autocomplete="current-password" required value={password} onInput={(event) => setPassword(event.currentTarget.value)} />
            </label>
            <div class="buttons">
              <button type="button" class="button" onClick={() => setAsking(false)}>
                {strings.cancel}
              </button>
              <button type="submit" class="button button-danger">
                {strings.deleteAccount}
              </button>
            </div>
          </form>
        </Dialog>
      )}
    </section>
  );
}
