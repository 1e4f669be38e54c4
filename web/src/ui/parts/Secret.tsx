// Something that is shown once, with a button that copies it.

import { strings } from "../../base/strings";
import { Icon } from "./Icon";
import { copyText } from "./notices";

export function Secret({ label, value }: { label: string; value: string }) {
  return (
    <div class="secret" role="status">
      <p>{label}</p>
      <code>{value}</code>
      <button type="button" class="button" onClick={() => void copyText(value)}>
        <Icon name="copy" small /> {strings.copy}
      </button>
    </div>
  );
}
