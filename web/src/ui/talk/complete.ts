// What a word that is being typed may become: a name, a room, an emoji, a command.

import type { EmojiTable } from "../../text/emoji";
import { findEmoji } from "../../text/emoji";
import { COMMANDS } from "./commands";

export interface Choice {
  readonly label: string;
  readonly hint: string;
  /** Stands in place of the word. */
  readonly insert: string;
}

export interface Completion {
  /** Where the word begins. */
  readonly from: number;
  readonly choices: readonly Choice[];
}

const CHOICES_MAX = 8;

export interface Known {
  readonly accounts: readonly { readonly name: string; readonly displayName: string }[];
  readonly rooms: readonly string[];
  readonly emoji: EmojiTable | null;
}

/** Returns what the word before the caret may become; `null` if it is an ordinary one. */
export function complete(text: string, caret: number, known: Known): Completion | null {
  const before = text.slice(0, caret);
  const command = /^\/([a-z]*)$/i.exec(before);
  if (command) {
    const wanted = (command[1] ?? "").toLowerCase();
    const choices = Object.entries(COMMANDS)
      .filter(([name]) => name.startsWith(wanted))
      .map(([name, hint]) => ({ label: `/${name}`, hint, insert: `/${name} ` }));
    return some(0, choices);
  }
  const word = /(^|[\s(*_~"'])([@#:])([A-Za-z0-9._+-]{0,32})$/.exec(before);
  if (!word) return null;
  const [, lead = "", sign, part = ""] = word;
  const from = word.index + lead.length;
  const wanted = part.toLowerCase();
  switch (sign) {
    case "@":
      return some(from, named(known.accounts, wanted));
    case "#":
      return some(
        from,
        known.rooms
          .filter((name) => name.toLowerCase().includes(wanted))
          .sort((one, other) => rank(one, wanted) - rank(other, wanted))
          .map((name) => ({ label: `#${name}`, hint: "", insert: `#${name} ` })),
      );
    default:
      if (wanted.length < 2 || !known.emoji) return null;
      return some(
        from,
        findEmoji(known.emoji, wanted, CHOICES_MAX).map(({ emoji, name }) => ({
          label: `${emoji} :${name}:`,
          hint: "",
          insert: `${emoji} `,
        })),
      );
  }
}

function named(accounts: Known["accounts"], wanted: string): Choice[] {
  return accounts
    .filter(
      ({ name, displayName }) =>
        name.toLowerCase().includes(wanted) || displayName.toLowerCase().includes(wanted),
    )
    .sort((one, other) => rank(one.name, wanted) - rank(other.name, wanted))
    .map(({ name, displayName }) => ({ label: `@${name}`, hint: displayName, insert: `@${name} ` }));
}

function rank(name: string, wanted: string): number {
  return name.toLowerCase().startsWith(wanted) ? 0 : 1;
}

function some(from: number, choices: readonly Choice[]): Completion | null {
  return choices.length === 0 ? null : { from, choices: choices.slice(0, CHOICES_MAX) };
}
