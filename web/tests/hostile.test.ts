// No text of the length that a message may have keeps the page busy.

import { expect, test } from "vitest";
import { findEmoji, onlyEmoji, toTable } from "../src/text/emoji";
import { EMOJI_TABLE } from "../src/text/emoji-table";
import { safeHref } from "../src/text/links";
import { parse } from "../src/text/markdown";
import type { Node } from "../src/text/nodes";
import { plain } from "../src/text/plain";
import { visible } from "../src/text/visible";
import { read } from "../src/ui/talk/commands";
import { complete } from "../src/ui/talk/complete";

/** Longest text of a message in bytes of UTF-8. */
const TEXT_BYTES_MAX = 16 * 1024;
/** Longest time of one call: a text that is read again and again takes seconds, or years. */
const CALL_MS = 1000;

const table = toTable(EMOJI_TABLE);
const FUNCTIONS: Readonly<Record<string, (text: string) => unknown>> = {
  safeHref,
  parse,
  plain,
  visible,
  findEmoji: (text) => findEmoji(table, text, 8),
  read,
  complete: (text) => complete(text, text.length, { accounts: [], rooms: [], emoji: table }),
};

/** What is repeated: signs of Markdown, parts of addresses, emoji and what is joined to them, marks. */
const UNITS = [
  "a", " ", "\n", "\r", "©", "⭐", "🎉", "🇩", "\u200D", "\uFE0F", "👩\u200D", "©\uFE0F", "⭐ ", "\u{1F3F4}\u{E0067}",
  "\u0301", "a\u0301", "\u202E", "\uD800", "*", "_", "~", "`", ">", "<", "[", "]", "(", "!", "\\", "&", "@", "#", ":", ".",
  "*a", "**a ", "~~a ", "`a", "_a*", "> ", "- ", "-\n", "1. ", "- > ", "```\n", "[a](", "![", "](", "[a", "<a", "<http://",
  "http://", "http://a.", "https://a/", "https://a#", "https://a/(", "https://a/\"", "/https://a", "\u0301http://", "https://a!",
  "mailto:", "mailto:a@", "a@b.c", "@a.b", "@a", "#a", ":a", ":a:", "www.a.", "//a.b", "ftp://", "a-", "a.", "/a ",
];

function ms(act: () => unknown): number {
  const began = performance.now();
  act();
  return performance.now() - began;
}

test.each(["©", "⭐", "🎉", "🇩🇪", "👩\u200D💻"])("one more letter behind %s takes no time", (emoji) => {
  // The short text first: if it is slow, the long one takes years.
  for (const length of [24, 58, TEXT_BYTES_MAX / 4]) {
    const text = `${emoji.repeat(Math.floor(length / emoji.length))}x`;
    expect(ms(() => onlyEmoji(text))).toBeLessThan(200);
  }
});

test.each(Object.entries(FUNCTIONS))("%s takes no time for any text of a message", (_, act) => {
  const slow: string[] = [];
  for (const unit of UNITS) {
    const times = Math.floor((TEXT_BYTES_MAX - 1) / new TextEncoder().encode(unit).length);
    for (const text of [unit.repeat(times), `${unit.repeat(times)}x`]) {
      const took = ms(() => act(text));
      if (took > CALL_MS) slow.push(`${JSON.stringify(unit)}: ${Math.round(took)} ms`);
    }
  }
  expect(slow).toEqual([]);
});

test("an address that is too long for a link is text, and the next one is a link", () => {
  const hrefs = (nodes: readonly Node[]): string[] =>
    nodes.flatMap((node) => [...(node.kind === "link" ? [node.href] : []), ...("children" in node ? hrefs(node.children) : [])]);
  const long = `https://a.example/${"b".repeat(3000)}`;
  expect(hrefs(parse(`${long} https://c.example/d`))).toEqual(["https://c.example/d"]);
  expect(hrefs(parse(`https://c.example/d。${"文".repeat(3000)}`))).toEqual(["https://c.example/d"]);
  const most = `https://a.example/${"b".repeat(2000)}`;
  expect(hrefs(parse(`see ${most}`))).toEqual([most]);
});
