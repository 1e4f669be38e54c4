// Marks of delivery: one tick for a majority, two for a device of the reader, coloured once read.

import { strings } from "../../base/strings";
import { Icon } from "../parts/Icon";

export type TickState = "waiting" | "sent" | "delivered" | "read";

export function Ticks({ state }: { state: TickState }) {
  const icons = { waiting: "clock", sent: "check", delivered: "checks", read: "checks" } as const;
  return (
    <span class={`ticks ticks-${state}`} role="img" aria-label={strings[state]} title={strings[state]}>
      <Icon name={icons[state]} small />
    </span>
  );
}
