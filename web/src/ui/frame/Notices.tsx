// Notices at the edge of the page, and what a screen reader says.

import { strings } from "../../base/strings";
import { Icon } from "../parts/Icon";
import { dismiss, notices, spoken } from "../parts/notices";

export function Notices() {
  return (
    <>
      <div class="notices" role="region" aria-label={strings.notifications}>
        {notices.value.map(({ id, text, bad }) => (
          <div key={id} class={bad ? "notice notice-bad" : "notice"} role={bad ? "alert" : "status"}>
            <span>{text}</span>
            <button type="button" class="button-icon" aria-label={strings.dismiss} onClick={() => dismiss(id)}>
              <Icon name="close" />
            </button>
          </div>
        ))}
      </div>
      <div class="hidden" role="log" aria-live="polite">
        {spoken.value}
      </div>
    </>
  );
}
