// One operation: what it does, the command for a terminal, and a button for who has the credential.

import { useEffect, useState } from "preact/hooks";
import { clusterStrings as texts } from "../../base/cluster";
import { strings } from "../../base/strings";
import type { Operator } from "../../app/operator";
import type { CheckClusterResponse, ChangeMembersResponse } from "../../gen/conclave/v1/admin_pb";
import { Dialog } from "../parts/Dialog";
import { fullDate } from "../parts/dates";
import { Icon } from "../parts/Icon";
import { attempt, copyText, notice, sentenceOf } from "../parts/notices";
import { Secret } from "../parts/Secret";
import { Credential } from "./Credential";
import type { Operation } from "./operations";
import { commandOf, titleOf } from "./operations";

/** What an operation says once it is done. */
type Result =
  | { readonly kind: "join"; readonly command: string; readonly until: string }
  | { readonly kind: "check"; readonly progress: CheckClusterResponse | null };

export function Operate({
  operation: asked,
  operator,
  onClose,
}: {
  operation: Operation;
  operator: Operator;
  onClose: () => void;
}) {
  const [operation, setOperation] = useState(asked);
  const [effect, setEffect] = useState<ChangeMembersResponse | string | null>(null);
  const [typed, setTyped] = useState("");
  const [busy, setBusy] = useState(false);
  const [result, setResult] = useState<Result | null>(null);
  const [gone] = useState(() => new AbortController());
  const held = operator.until.value > 0;
  useEffect(() => () => gone.abort(), []);
  const change = changeOf(operation);
  useEffect(() => {
    if (!held || !change) return;
    operator.changeMembers(change, true).then(setEffect, (error: unknown) => setEffect(sentenceOf(error)));
  }, [held]);
  const run = async () => {
    setBusy(true);
    const done = await attempt(() => perform(operation, operator, setResult, gone.signal));
    if (gone.signal.aborted) return;
    setBusy(false);
    if (done && operation.kind !== "token" && operation.kind !== "check") onClose();
  };
  const sure = operation.kind !== "remove" || typed.trim() === String(operation.node);
  return (
    <Dialog title={titleOf(operation)} onClose={onClose}>
      <p>{texts.about[operation.kind]}</p>
      {effect !== null && <Effect effect={effect} />}
      {operation.kind === "token" && !result && (
        <label class="check">
          <input type="checkbox" checked={operation.learner} onChange={(event) => setOperation({ kind: "token", learner: event.currentTarget.checked })} />
          <span>{texts.learnerOnly}</span>
        </label>
      )}
      {result?.kind === "join" && <Secret label={texts.runThere(result.until)} value={result.command} />}
      {result?.kind === "check" && <Check progress={result.progress} />}
      {!result && <InTerminal command={commandOf(operation)} />}
      {!held && !result && <Credential operator={operator} />}
      {held && !result && operation.kind === "remove" && (
        <label class="field">
          <span>{texts.typeNumber(operation.node)}</span>
          <input class="input" value={typed} inputMode="numeric" autocomplete="off" onInput={(event) => setTyped(event.currentTarget.value)} />
        </label>
      )}
      <div class="buttons">
        <button type="button" class="button" onClick={onClose}>
          {result ? strings.close : strings.cancel}
        </button>
        {held && !result && (
          <button type="button" class={operation.kind === "remove" ? "button button-danger" : "button button-main"} disabled={busy || !sure} onClick={() => void run()}>
            {operation.kind === "token" ? texts.makeToken : operation.kind === "check" ? texts.beginCheck : texts.doIt}
          </button>
        )}
      </div>
    </Dialog>
  );
}

function InTerminal({ command }: { command: string }) {
  return (
    <div class="terminal">
      <span>{texts.inTerminal}</span>
      <code>{command}</code>
      <button type="button" class="button-icon" aria-label={`${strings.copy}: ${command}`} title={strings.copy} onClick={() => void copyText(command)}>
        <Icon name="copy" />
      </button>
    </div>
  );
}

function Effect({ effect }: { effect: ChangeMembersResponse | string }) {
  if (typeof effect === "string") return <p class="node-problem">{effect}</p>;
  const { changed, toleratedBefore, toleratedAfter } = effect;
  return <p class="effect">{changed ? texts.tolerance(toleratedBefore, toleratedAfter) : texts.noChange}</p>;
}

function Check({ progress }: { progress: CheckClusterResponse | null }) {
  return (
    <div class="check-result" role="status">
      <p>{progress?.finished ? texts.done : texts.checking}</p>
      <ul class="rows">
        {progress?.nodes.map((node) => (
          <li key={String(node.nodeId)}>
            <b class="rows-main">{texts.node(Number(node.nodeId))}</b>
            <span class={node.verdict === 1 ? "verdict-good" : node.verdict ? "verdict-bad" : ""}>
              {texts.verdicts[node.verdict] ?? ""} {node.problem}
            </span>
          </li>
        ))}
      </ul>
    </div>
  );
}

/** Returns the change of members that an operation is; `null` if it is another thing. */
function changeOf(operation: Operation): Parameters<Operator["changeMembers"]>[0] | null {
  switch (operation.kind) {
    case "promote":
      return { case: "promoteNodeId", value: BigInt(operation.node) };
    case "demote":
      return { case: "demoteNodeId", value: BigInt(operation.node) };
    case "remove":
      return { case: "removeNodeId", value: BigInt(operation.node) };
    default:
      return null;
  }
}

async function perform(
  operation: Operation,
  operator: Operator,
  tell: (result: Result) => void,
  gone: AbortSignal,
): Promise<void> {
  switch (operation.kind) {
    case "transfer":
      return notice(texts.leadsNow(await operator.transfer(operation.node)));
    case "promote":
    case "demote":
    case "remove": {
      const change = changeOf(operation);
      if (change) await operator.changeMembers(change, false);
      return notice(texts.done);
    }
    case "token": {
      const { command, untilMs } = await operator.joinCommand(operation.learner);
      return tell({ kind: "join", command, until: fullDate(untilMs) });
    }
    case "check":
      tell({ kind: "check", progress: null });
      return operator.check((progress) => tell({ kind: "check", progress }), gone);
  }
}
