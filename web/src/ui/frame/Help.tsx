// Keys and commands, on one screen.

import { strings } from "../../base/strings";
import { Dialog } from "../parts/Dialog";
import { help } from "./open";

export function Help() {
  return (
    <Dialog title={strings.shortcuts} onClose={() => (help.value = false)}>
      <dl class="keys">
        {strings.keys.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
        {Object.entries(strings.commands).map(([name, what]) => (
          <div key={name}>
            <dt>
              <kbd>/{name}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
