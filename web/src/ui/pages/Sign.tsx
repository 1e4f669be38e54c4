// Signing in and up, with an invite or the token of the first administrator where there is one.

import { useEffect, useState } from "preact/hooks";
import { secret } from "../../app/route";
import { config, signedOutBecause, signIn, signUp } from "../../app/session";
import { strings } from "../../base/strings";
import { Mark } from "../parts/Icon";
import { sentenceOf } from "../parts/notices";

export function Sign() {
  const given = secret.value;
  const { registration, needsSetup, cluster } = config.value;
  const granted = given?.kind === "invite" || given?.kind === "setup";
  const mayJoin = granted || registration === "open";
  const [joining, setJoining] = useState(granted);
  useEffect(() => {
    if (granted) setJoining(true);
  }, [given]);
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const submit = async () => {
    setBusy(true);
    setProblem("");
    try {
      await (joining ? signUp(name.trim(), password) : signIn(name.trim(), password));
    } catch (error) {
      setProblem(sentenceOf(error));
    } finally {
      setBusy(false);
    }
  };
  const lead = joining
    ? given?.kind === "setup"
      ? strings.setupLead
      : given?.kind === "invite"
        ? strings.inviteLead
        : strings.signUpLead
    : strings.signInLead;
  return (
    <main class="sign">
      <form
        class="sign-box"
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <Mark />
        <h1>
          <bdi>{cluster || strings.appName}</bdi>
        </h1>
        <p>{lead}</p>
        {signedOutBecause.value && !problem && (
          <p class="sign-note" role="status">
            {strings.signedOut}
          </p>
        )}
        <label class="field">
          <span>{strings.accountName}</span>
          <input
            class="input"
            name="username"
            autocomplete="username"
            autocapitalize="none"
            spellcheck={false}
            required
            maxLength={32}
            autofocus
            value={name}
            aria-describedby={joining ? "name-hint" : undefined}
            onInput={(event) => setName(event.currentTarget.value)}
          />
        </label>
        {joining && <small id="name-hint">{strings.accountNameHint}</small>}
        <label class="field">
          <span>{strings.password}</span>
          <input
            class="input"
            type="password"
            name="password"
            autocomplete={joining ? "new-password" : "current-password"}
            required
            minLength={joining ? 8 : 1}
            value={password}
            aria-describedby={joining ? "password-hint" : undefined}
            onInput={(event) => setPassword(event.currentTarget.value)}
          />
        </label>
        {joining && <small id="password-hint">{strings.passwordHint}</small>}
        {problem && (
          <p class="sign-problem" role="alert">
            {problem}
          </p>
        )}
        <button type="submit" class="button button-main button-wide" disabled={busy}>
          {joining ? strings.signUp : strings.signIn}
        </button>
        {mayJoin ? (
          <button type="button" class="button-quiet" onClick={() => setJoining(!joining)}>
            {joining ? strings.haveAccount : strings.needAccount}
          </button>
        ) : (
          !needsSetup && (
            <small>{registration === "invite" ? strings.needInvite : strings.closed}</small>
          )
        )}
      </form>
    </main>
  );
}
