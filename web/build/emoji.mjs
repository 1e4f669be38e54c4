// Writes src/text/emoji-table.ts, the names of emoji, from the list of the package `gemoji`.
// Run by hand when that list changes: `node build/emoji.mjs`.

import { writeFileSync } from "node:fs";
import { gemoji } from "gemoji";

const groups = [];
for (const { emoji, names, category } of gemoji) {
  if (category === "Flags" && names[0] === undefined) continue;
  let group = groups.find(({ name }) => name === category);
  if (!group) groups.push((group = { name: category, entries: [] }));
  group.entries.push(`${emoji} ${names.join(" ")}`);
}
const lines = groups.map(
  ({ name, entries }) => `  [${JSON.stringify(name)}, ${JSON.stringify(entries.join(","))}],`,
);
writeFileSync(
  new URL("../src/text/emoji-table.ts", import.meta.url),
  `// Names of emoji by group: an emoji and its names, then a comma. Written by build/emoji.mjs from the
// list of the package gemoji (MIT).

export const EMOJI_TABLE: readonly (readonly [string, string])[] = [
${lines.join("\n")}
];
`,
);
