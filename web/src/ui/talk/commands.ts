// Commands that begin with a slash. A line that begins with two slashes is a message.
//
// Always true: a command that is not known is never sent as a message.

import { strings } from "../../base/strings";

export const COMMANDS = strings.commands;
export type CommandName = keyof typeof COMMANDS;

export type Typed =
  | { readonly kind: "message"; readonly text: string; readonly action: boolean }
  | { readonly kind: "command"; readonly name: CommandName; readonly rest: string }
  | { readonly kind: "unknown"; readonly name: string; readonly near: string };

export function read(text: string): Typed {
  if (text.startsWith("//")) return { kind: "message", text: text.slice(1), action: false };
  const match = /^\/([a-z]{1,20})(?:\s+([\s\S]*))?$/i.exec(text);
  if (!match) return { kind: "message", text, action: false };
  const name = (match[1] ?? "").toLowerCase();
  const rest = (match[2] ?? "").trim();
  if (name === "me" && rest) return { kind: "message", text: rest, action: true };
  if (name === "shrug") {
    return { kind: "message", text: `${rest} ¯\\\\\\_(ツ)\\_/¯`.trim(), action: false };
  }
  if (Object.hasOwn(COMMANDS, name)) return { kind: "command", name: name as CommandName, rest };
  return { kind: "unknown", name, near: nearest(name) };
}

/** Returns the command with the smallest distance, if it is near. */
function nearest(name: string): string {
  let best = "";
  let least = 3;
  for (const each of Object.keys(COMMANDS)) {
    const apart = distance(name, each);
    if (apart < least) [best, least] = [each, apart];
  }
  return best;
}

/** Counts the letters that are inserted, deleted or replaced between two words. */
export function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let i = 1; i <= one.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= other.length; j += 1) {
      const same = one[i - 1] === other[j - 1] ? 0 : 1;
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + same));
    }
    row = next;
  }
  return row[other.length] ?? 0;
}
