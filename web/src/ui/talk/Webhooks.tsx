// The webhooks of a room. An address is shown once, because the cluster keeps only its hash.

import { useEffect, useState } from "preact/hooks";
import type { Session } from "../../app/session";
import { strings } from "../../base/strings";
import { num } from "../../wire/values";
import { Dialog } from "../parts/Dialog";
import { shortDate } from "../parts/dates";
import { attempt } from "../parts/notices";
import { Secret } from "../parts/Secret";

interface Hook {
  readonly webhookId: bigint;
  readonly accountName: string;
  readonly byName: string;
  readonly createdAtMs: bigint;
}

export function Webhooks({ session, name, onClose }: { session: Session; name: string; onClose: () => void }) {
  const { actions } = session;
  const [hooks, setHooks] = useState<readonly Hook[]>([]);
  const [program, setProgram] = useState("");
  const [made, setMade] = useState("");
  const readAgain = () => attempt(async () => setHooks(await actions.listWebhooks(name)));
  useEffect(() => void readAgain(), [name]);
  return (
    <Dialog title={strings.webhooks} onClose={onClose}>
      <p>{strings.webhookLead}</p>
      {made && <Secret label={strings.webhookOnce} value={made} />}
      <ul class="rows">
        {hooks.map((hook) => (
          <li key={String(hook.webhookId)}>
            <span class="rows-main">
              <b>{hook.accountName}</b>
              <small>
                {hook.byName || strings.deletedAccount}, {shortDate(num(hook.createdAtMs))}
              </small>
            </span>
            <button
              type="button"
              class="button-quiet danger"
              onClick={() => void attempt(() => actions.deleteWebhook(hook.webhookId)).then(readAgain)}
            >
              {strings.discard}
            </button>
          </li>
        ))}
      </ul>
      <form
        class="inline-form"
        onSubmit={(event) => {
          event.preventDefault();
          void attempt(async () => {
            setMade(location.origin + (await actions.createWebhook(name, program.trim())));
            setProgram("");
            await readAgain();
          });
        }}
      >
        <label class="field">
          <span>{strings.webhookName}</span>
          <input class="input" value={program} maxLength={32} onInput={(event) => setProgram(event.currentTarget.value)} />
        </label>
        <button type="submit" class="button button-main" disabled={!program.trim()}>
          {strings.webhookMake}
        </button>
      </form>
    </Dialog>
  );
}
