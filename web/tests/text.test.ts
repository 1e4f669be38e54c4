// Texts become nodes without markup; only safe addresses become links.

import { describe, expect, test } from "vitest";
import { safeHref } from "../src/text/links";
import { parse } from "../src/text/markdown";
import type { Node } from "../src/text/nodes";
import { plain } from "../src/text/plain";
import { visible } from "../src/text/visible";
import { findEmoji, onlyEmoji, toTable } from "../src/text/emoji";
import { EMOJI_TABLE } from "../src/text/emoji-table";
import { PAYLOADS } from "./payloads";

const KINDS = new Set([
  "text", "break", "bold", "italic", "strike", "quote", "paragraph", "code", "block", "list", "link", "account", "room", "emoji",
]);

function walk(nodes: readonly Node[], visit: (node: Node) => void): void {
  for (const node of nodes) {
    visit(node);
    if ("children" in node) walk(node.children, visit);
    if (node.kind === "list") for (const item of node.items) walk(item, visit);
  }
}

function words(nodes: readonly Node[]): string {
  let found = "";
  walk(nodes, (node) => {
    if ("text" in node) found += node.text;
    if ("written" in node) found += node.written;
    if (node.kind === "emoji") found += `:${node.name}:`;
    if (node.kind === "break") found += "\n";
  });
  return found;
}

test("there are at least 200 payloads", () => {
  expect(PAYLOADS.length).toBeGreaterThanOrEqual(200);
});

test.each(PAYLOADS.map((payload) => [payload]))("%j is text or a safe link", (payload) => {
  const nodes = parse(payload);
  walk(nodes, (node) => {
    expect(KINDS.has(node.kind)).toBe(true);
    if (node.kind === "link") {
      expect(node.href).toMatch(/^(https?:\/\/|mailto:)/);
      // eslint-disable-next-line no-control-regex
      expect(node.href).not.toMatch(/["'<>\u0000-\u0020]/);
      expect(new URL(node.href).username).toBe("");
    }
    // Nothing that this tree holds is markup: every value is a string that becomes a text.
    for (const value of Object.values(node)) expect(["string", "object", "number"]).toContain(typeof value);
  });
});

describe("what people type", () => {
  test.each<[string, unknown]>([
    ["**bold** *it* ~~gone~~ `code`", [{ kind: "paragraph", children: [
      { kind: "bold", children: [{ kind: "text", text: "bold" }] },
      { kind: "text", text: " " },
      { kind: "italic", children: [{ kind: "text", text: "it" }] },
      { kind: "text", text: " " },
      { kind: "strike", children: [{ kind: "text", text: "gone" }] },
      { kind: "text", text: " " },
      { kind: "code", text: "code" },
    ] }]],
    ["one\ntwo", [{ kind: "paragraph", children: [{ kind: "text", text: "one" }, { kind: "break" }, { kind: "text", text: "two" }] }]],
    ["```rust\nfn main() {}\n```", [{ kind: "block", language: "rust", text: "fn main() {}" }]],
    ["> quoted", [{ kind: "quote", children: [{ kind: "paragraph", children: [{ kind: "text", text: "quoted" }] }] }]],
    ["> quoted\nanswer", [
      { kind: "quote", children: [{ kind: "paragraph", children: [{ kind: "text", text: "quoted" }] }] },
      { kind: "paragraph", children: [{ kind: "text", text: "answer" }] },
    ]],
    ["```\n> a\nb\n```", [{ kind: "block", language: "", text: "> a\nb" }]],
    ["3. c\n4. d", [{ kind: "list", start: 3, items: [[{ kind: "text", text: "c" }], [{ kind: "text", text: "d" }]] }]],
    ["- a", [{ kind: "list", start: null, items: [[{ kind: "text", text: "a" }]] }]],
    ["[docs](https://example.org/a)", [{ kind: "paragraph", children: [{ kind: "link", href: "https://example.org/a", children: [{ kind: "text", text: "docs" }] }] }]],
    ["hi @bob, see #lobby :tada:", [{ kind: "paragraph", children: [
      { kind: "text", text: "hi " },
      { kind: "account", written: "@bob" },
      { kind: "text", text: ", see " },
      { kind: "room", written: "#lobby" },
      { kind: "text", text: " " },
      { kind: "emoji", name: "tada" },
    ] }]],
  ])("%j", (text, expected) => {
    expect(parse(text)).toEqual(expected);
  });

  test.each([
    ["# not a heading", "# not a heading"],
    ["<b>not html</b>", "<b>not html</b>"],
    ["&amp; stays", "&amp; stays"],
    ["    four spaces", "four spaces"],
    ["[x]: https://example.org", "[x]: https://example.org"],
    ["a * b * c", "a * b * c"],
    ["snake_case_name", "snake_case_name"],
  ])("%j keeps its words", (text, expected) => {
    expect(words(parse(text))).toBe(expected);
  });

  test.each([
    ["see https://example.org/a?b=c&d, ok", ["https://example.org/a?b=c&d"]],
    ["write to bob@example.org", ["mailto:bob@example.org"]],
    ["<https://example.org/x>", ["https://example.org/x"]],
    ["main.rs and example.org", []],
    ["ftp://example.org //example.org", []],
    ["`https://example.org`", []],
    ["```\nhttps://example.org\n```", []],
  ])("links of %j", (text, expected) => {
    const hrefs: string[] = [];
    walk(parse(text), (node) => node.kind === "link" && hrefs.push(node.href));
    expect(hrefs).toEqual(expected);
  });

  test.each([
    ["_@bob_", ["@bob"]],
    ["(@bob)", ["@bob"]],
    ["**@bob**", ["@bob"]],
    ["中文@bob中文", ["@bob"]],
    ["＠bob", ["＠bob"]],
    ["@bob's", ["@bob"]],
    ["`@bob`", []],
    ["bob@example.org", []],
    ["@bob@example.org", []],
    ["\\@bob", []],
    ["@josé", []],
    ["https://example.org/@bob", []],
    ["http://example.org/#lobby", []],
    ["C# and issue #", []],
  ])("mentions of %j", (text, expected) => {
    const names: string[] = [];
    walk(parse(text), (node) => "written" in node && names.push(node.written));
    expect(names).toEqual(expected);
  });

  test("what lies too deep stays text, and takes no time", () => {
    const began = performance.now();
    parse(">".repeat(8000) + " deep");
    parse("*a ".repeat(5000));
    parse("[".repeat(8000));
    parse("`".repeat(8191) + "a");
    parse("~~a ".repeat(4000));
    parse("- ".repeat(4000));
    parse("<".repeat(16_000));
    parse("@a".repeat(8000));
    parse("http://a.".repeat(1800));
    parse("![](".repeat(4000));
    expect(performance.now() - began).toBeLessThan(3000);
  });
});

test.each([
  ["https://example.org", "https://example.org/"],
  ["HTTP://EXAMPLE.org/A", "http://example.org/A"],
  ["mailto:a@b.example", "mailto:a@b.example"],
  ["javascript:alert(1)", null],
  ["https://a@b.example", null],
  ["https://a b", null],
  ["//example.org", null],
  [`https://example.org/${"a".repeat(3000)}`, null],
])("%j becomes the address %j", (address, expected) => {
  expect(safeHref(address)).toBe(expected);
});

test.each([
  ["a\u202Eb\u202Cc", "abc"],
  ["a\u0000b\u0007c", "abc"],
  ["tab\tand\r\nline", "tab\tand\nline"],
  ["👩‍💻 👨‍👩‍👧", "👩‍💻 👨‍👩‍👧"],
  ["می‌خواهم", "می‌خواهم"],
  ["🏴\u{E0067}\u{E0062}\u{E0073}\u{E0063}\u{E0074}\u{E007F}", "🏴\u{E0067}\u{E0062}\u{E0073}\u{E0063}\u{E0074}\u{E007F}"],
  ["x\u{E0041}y", "xy"],
  ["\uD800", "\uFFFD"],
])("%j is shown as %j", (text, expected) => {
  expect(visible(text)).toBe(expected);
});

test("at most eight marks stand on a letter", () => {
  expect(visible("e" + "\u0301".repeat(50))).toHaveLength(9);
});

test("a preview is one line of words", () => {
  expect(plain("**bold**\n\n`code` ~~x~~  y")).toBe("bold code x y");
  expect(plain("> quoted\n> > twice\n\nanswer > 3")).toBe("quoted twice answer > 3");
});

test("emoji are found by name, the best first", () => {
  const table = toTable(EMOJI_TABLE);
  expect(table.byName.get("tada")).toBe("🎉");
  expect(findEmoji(table, "heart", 5)[0]?.emoji).toBe("❤️");
  expect(findEmoji(table, "zzzz", 5)).toEqual([]);
  expect(onlyEmoji("🎉🎉")).toBe(true);
  expect(onlyEmoji("👩‍💻")).toBe(true);
  expect(onlyEmoji("1")).toBe(false);
  expect(onlyEmoji("🎉 yes")).toBe(false);
  expect(onlyEmoji("👍🏽 ❤️ 🇩🇪")).toBe(true);
  expect(onlyEmoji("🎉".repeat(12))).toBe(true);
  expect(onlyEmoji("🎉".repeat(13))).toBe(false);
  expect(onlyEmoji("  ")).toBe(false);
});
