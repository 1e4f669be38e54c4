// The order of conversations in the list, and what a person most likely means by a few letters.

import type { Head, Store } from "../../state/store";

export interface Listed {
  readonly rooms: readonly Head[];
  readonly people: readonly Head[];
}

/** Rooms by name; people with the newest activity first. */
export function listed(store: Store): Listed {
  const heads = store.ids.value.flatMap((id) => store.head(id)?.value ?? []);
  const rooms = heads
    .filter(({ roomName }) => roomName !== "")
    .sort((one, other) => one.roomName.localeCompare(other.roomName));
  const people = heads
    .filter(({ roomName }) => roomName === "")
    .sort((one, other) => other.activeAtMs - one.activeAtMs || other.id - one.id);
  return { rooms, people };
}

/** Returns how well a name fits what was typed: 0 is best, `null` is not at all. */
export function fit(name: string, typed: string): number | null {
  const [in_, wanted] = [name.toLowerCase(), typed.toLowerCase()];
  if (wanted === "") return 5;
  if (in_ === wanted) return 0;
  if (in_.startsWith(wanted)) return 1;
  const at = in_.indexOf(wanted);
  if (at > 0) return /[^a-z0-9]/.test(in_[at - 1] ?? "") ? 2 : 3;
  let from = 0;
  for (const character of wanted) {
    from = in_.indexOf(character, from) + 1;
    if (from === 0) return null;
  }
  return 4;
}
