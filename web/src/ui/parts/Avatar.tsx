// The picture of an account: its first letters on a colour of its own, with its presence.

import type { PresenceName } from "../../wire/events";
import { strings } from "../../base/strings";

const COLORS = 8;

export function Avatar({
  name,
  size = "normal",
  presence,
}: {
  name: string;
  size?: "small" | "normal" | "large";
  presence?: PresenceName | undefined;
}) {
  return (
    <span class={`avatar avatar-${size} tint-${name ? colorOf(name) : "none"}`}>
      <span aria-hidden="true">{initials(name)}</span>
      {presence && presence !== "offline" && <Presence state={presence} />}
    </span>
  );
}

export function Presence({ state }: { state: PresenceName }) {
  const names = { online: strings.online, away: strings.away, offline: strings.offlineState };
  return (
    <span class={`presence presence-${state}`} role="img" aria-label={names[state]} title={names[state]} />
  );
}

function initials(name: string): string {
  const parts = name.split(/[._-]+/).filter(Boolean);
  const [first = "?", second] = parts;
  return (second ? first[0] + (second[0] ?? "") : first.slice(0, 2)).toUpperCase();
}

/** Returns the same colour for the same name, on every device. */
export function colorOf(name: string): number {
  let hash = 7;
  for (const character of name.toLowerCase()) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) % 65521;
  return hash % COLORS;
}
