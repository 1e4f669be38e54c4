// Emoji and their names. The table is read when it is first needed, not with the first view.
//
// Pictures of emoji are characters of the reader's own font: nothing is loaded for them.

import { signal } from "@preact/signals";

export interface EmojiGroup {
  readonly name: string;
  readonly emoji: readonly { readonly emoji: string; readonly names: readonly string[] }[];
}

export interface EmojiTable {
  readonly groups: readonly EmojiGroup[];
  readonly byName: ReadonlyMap<string, string>;
}

/** The table, once it is there. */
export const emojiTable = signal<EmojiTable | null>(null);

let reading: Promise<void> | undefined;

/** Reads the table, if it was not read yet. */
export function readEmoji(): Promise<void> {
  reading ??= import("./emoji-table").then(
    ({ EMOJI_TABLE }) => {
      emojiTable.value = toTable(EMOJI_TABLE);
    },
    () => {
      reading = undefined;
    },
  );
  return reading;
}

export function toTable(table: readonly (readonly [string, string])[]): EmojiTable {
  const byName = new Map<string, string>();
  const groups = table.map(([name, entries]) => ({
    name,
    emoji: entries.split(",").map((entry) => {
      const [emoji = "", ...names] = entry.split(" ");
      for (const each of names) byName.set(each, emoji);
      return { emoji, names };
    }),
  }));
  return { groups, byName };
}

/** Returns emoji whose names have a part of the query, the best ones first. */
export function findEmoji(table: EmojiTable, query: string, count: number) {
  const wanted = query.toLowerCase();
  const found: { emoji: string; name: string; rank: number }[] = [];
  for (const [name, emoji] of table.byName) {
    const at = name.indexOf(wanted);
    if (at < 0) continue;
    const rank = name === wanted ? 0 : at === 0 ? 1 : name[at - 1] === "_" ? 2 : 3;
    if (!found.some((each) => each.emoji === emoji)) found.push({ emoji, name, rank });
  }
  return found.sort((one, other) => one.rank - other.rank).slice(0, count);
}

/** Maximum number of emoji that are shown large. */
const LARGE_MAX = 12;
/** One emoji, with what belongs to it, or a flag. No two parts begin alike, so nothing is tried twice. */
const EMOJI =
  /\p{Extended_Pictographic}(?:[\u{1F3FB}-\u{1F3FF}\uFE0F]|\u200D\p{Extended_Pictographic})*|\p{Regional_Indicator}{2}/gu;

/** Returns whether a text is emoji and spaces and nothing else: 1 to `LARGE_MAX` of them. */
export function onlyEmoji(text: string): boolean {
  let count = 0;
  const rest = text.replace(EMOJI, () => {
    count += 1;
    return "";
  });
  return count >= 1 && count <= LARGE_MAX && rest.trim() === "";
}
