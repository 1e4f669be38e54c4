// Where an operator shows the credential, and takes it away again.

import { useEffect, useRef, useState } from "preact/hooks";
import { clusterStrings as texts } from "../../base/cluster";
import type { Operator } from "../../app/operator";
import { isCredential, readCredential } from "../../app/operator";
import { Icon } from "../parts/Icon";
import { attempt, notice } from "../parts/notices";

const MINUTE_MS = 60_000;

export function Credential({ operator }: { operator: Operator }) {
  const until = operator.until.value;
  const field = useRef<HTMLInputElement>(null);
  const [busy, setBusy] = useState(false);
  const left = useMinutes(operator, until);
  if (!globalThis.isSecureContext) return <p class="hint">{texts.notSafe}</p>;
  if (until > 0) {
    return (
      <div class="held">
        <p>
          <Icon name="shield" small /> {texts.held(left)}
        </p>
        <button type="button" class="button" onClick={() => operator.forget()}>
          {texts.forgetNow}
        </button>
      </div>
    );
  }
  const hold = async (text: string) => {
    if (!isCredential(text)) return notice(texts.credentialBad, true);
    setBusy(true);
    await attempt(() => operator.hold(text));
    setBusy(false);
  };
  return (
    <form
      class="inline-form"
      autocomplete="off"
      onSubmit={(event) => {
        event.preventDefault();
        const text = field.current?.value ?? "";
        if (field.current) field.current.value = "";
        void hold(text);
      }}
    >
      <label class="field field-wide">
        <span>{texts.credential}</span>
        {/* No field for passwords: what keeps passwords would offer to keep it. */}
        <input ref={field} class="input input-secret" type="text" autocomplete="off" autocapitalize="off" spellcheck={false} maxLength={100} aria-describedby="credential-hint" />
      </label>
      <label class="button file-button">
        {texts.credentialFile}
        <input
          type="file"
          class="hidden"
          onChange={(event) => {
            const input = event.currentTarget;
            const file = input.files?.[0];
            input.value = "";
            if (file) void readCredential(file).then(hold);
          }}
        />
      </label>
      <button type="submit" class="button button-main" disabled={busy}>
        {texts.unlock}
      </button>
      <small id="credential-hint" class="credential-hint">
        {texts.credentialHint}
      </small>
    </form>
  );
}

/** Returns how many minutes are left, and has the operator look at its clock. */
function useMinutes(operator: Operator, until: number): number {
  const [, draw] = useState(0);
  useEffect(() => {
    if (until === 0) return;
    const timer = setInterval(() => {
      operator.look();
      draw((times) => times + 1);
    }, 5000);
    return () => clearInterval(timer);
  }, [until]);
  return Math.max(1, Math.ceil((until - Date.now()) / MINUTE_MS));
}
