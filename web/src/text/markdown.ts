// Reads the subset of Markdown that messages are written in.
//
// The parser is markdown-it with everything off that is not in the list below; HTML in a text is
// text. Its tokens become nodes of our own; a token that this file does not know becomes its text.
//
// Always true: what is returned holds no markup, and links pass `safeHref`.

import MarkdownIt from "markdown-it";
import type { Token } from "markdown-it";
import { LENGTH_MAX, safeHref } from "./links";
import type { Node } from "./nodes";
import { visible } from "./visible";

/** Quotes and lists inside each other; what lies deeper is left as text. */
const NESTING_MAX = 12;
/** Texts whose nodes are remembered: what one screen and its surroundings show. */
const REMEMBERED_MAX = 1000;

/** The characters of an address up to the first that ends it. */
const ADDRESS = /^(?:[^\p{Z}\p{Cc}\p{P}<>\uFF5C]|["'.,;!?\\/:%@#&=_~*[\](){}-])*/u;

const parser = new MarkdownIt("zero", {
  html: false,
  linkify: true,
  breaks: true,
  maxNesting: NESTING_MAX * 2,
})
  .enable(["linkify", "fence", "blockquote", "list"])
  .enable(["newline", "escape", "backticks", "strikethrough", "emphasis", "link", "autolink"])
  // An escaped sign stays apart, so that `\@name` is no mention.
  .disable("text_join");
parser.validateLink = (address) => safeHref(address) !== null;
parser.normalizeLinkText = (address) => address;
// `main.rs` is a file, not a host in Serbia: links need their scheme, addresses of mail do not.
parser.linkify.set({ fuzzyLink: false, fuzzyIP: false, fuzzyEmail: true });
parser.linkify.add("ftp:", null).add("//", null);
// An address that is too long would be read again at each scheme inside of it.
parser.inline.ruler.before("linkify", "long_address", (state, silent) => {
  if (!state.src.startsWith("://", state.pos)) return false;
  const rest = state.src.slice(state.pos, state.pos + LENGTH_MAX);
  if ((ADDRESS.exec(rest)?.[0] ?? "").length < LENGTH_MAX) return false;
  if (!silent) state.pending += ":";
  state.pos += 1;
  return true;
});

const remembered = new Map<string, readonly Node[]>();

/** Reads a text as it was typed. */
export function parse(text: string): readonly Node[] {
  const known = remembered.get(text);
  if (known) return known;
  const nodes = build(parser.parse(closeQuotes(visible(text)), {}));
  if (remembered.size >= REMEMBERED_MAX) {
    const [oldest] = remembered.keys();
    if (oldest !== undefined) remembered.delete(oldest);
  }
  remembered.set(text, nodes);
  return nodes;
}

/** Ends each quote with its line: what follows is the answer, not more of the quote. */
function closeQuotes(text: string): string {
  if (!text.includes(">")) return text;
  const lines: string[] = [];
  let fenced = false;
  let quoted = false;
  for (const line of text.split("\n")) {
    if (/^ {0,3}```/.test(line)) fenced = !fenced;
    const quotes = !fenced && /^ {0,3}>/.test(line);
    if (quoted && !quotes && line.trim() !== "") lines.push("");
    lines.push(line);
    quoted = quotes;
  }
  return lines.join("\n");
}

interface Open {
  readonly children: Node[];
  readonly close: (children: Node[]) => Node[];
}

/** Builds the tree of a flat list of tokens that open and close. */
function build(tokens: readonly Token[]): Node[] {
  const root: Open = { children: [], close: (children) => children };
  const stack: Open[] = [root];
  const add = (...nodes: Node[]) => (stack.at(-1) as Open).children.push(...nodes);
  for (const token of tokens) {
    if (token.nesting === 1) stack.push({ children: [], close: closing(token) });
    else if (token.nesting === -1) {
      const closed = stack.length > 1 ? stack.pop() : undefined;
      if (closed) add(...closed.close(closed.children));
    } else add(...leaf(token));
  }
  while (stack.length > 1) {
    const closed = stack.pop() as Open;
    add(...closed.close(closed.children));
  }
  return root.children;
}

/** Marks an item of a list until the list is closed. */
type Item = { kind: "item"; children: Node[] };

function closing(token: Token): (children: Node[]) => Node[] {
  switch (token.type) {
    case "paragraph_open":
      return (children) => (token.hidden ? children : [{ kind: "paragraph", children }]);
    case "strong_open":
      return (children) => [{ kind: "bold", children }];
    case "em_open":
      return (children) => [{ kind: "italic", children }];
    case "s_open":
      return (children) => [{ kind: "strike", children }];
    case "blockquote_open":
      return (children) => [{ kind: "quote", children }];
    case "list_item_open":
      return (children) => [{ kind: "item", children } as unknown as Node];
    case "bullet_list_open":
      return (children) => [{ kind: "list", start: null, items: items(children) }];
    case "ordered_list_open": {
      const start = Number(token.attrGet("start") ?? 1);
      return (children) => [{ kind: "list", start, items: items(children) }];
    }
    case "link_open": {
      const href = safeHref(String(token.attrGet("href") ?? ""));
      return (children) => (href ? [{ kind: "link", href, children: unlinked(children) }] : children);
    }
    default:
      return (children) => children;
  }
}

function items(children: readonly Node[]): readonly (readonly Node[])[] {
  return (children as readonly (Node | Item)[]).map((child) =>
    child.kind === "item" ? child.children : [child],
  );
}

/** Inside a link, names are text. */
function unlinked(children: readonly Node[]): Node[] {
  return children.map((child) => {
    if (child.kind === "account" || child.kind === "room") return { kind: "text", text: child.written };
    if ("children" in child) return { ...child, children: unlinked(child.children) };
    return child;
  });
}

function leaf(token: Token): Node[] {
  switch (token.type) {
    case "inline":
      return build(token.children ?? []);
    case "text":
      return names(token.content);
    case "softbreak":
    case "hardbreak":
      return [{ kind: "break" }];
    case "code_inline":
      return [{ kind: "code", text: token.content }];
    case "fence": {
      const language = /^[A-Za-z0-9+#._-]{1,20}/.exec(token.info.trim())?.[0] ?? "";
      return [{ kind: "block", language, text: token.content.replace(/\n$/, "") }];
    }
    default:
      return token.content === "" ? [] : [{ kind: "text", text: token.content }];
  }
}

/** `@name`, `#room` and `:emoji:`, where the sign before them does not make them part of a word. */
const NAME =
  /(?<![A-Za-z0-9_.@/\\:#\u00C0-\u024F])(?:[@\uFF20]([A-Za-z0-9][A-Za-z0-9._-]{0,31})(?![@A-Za-z0-9\u00C0-\u024F])|#([A-Za-z0-9][A-Za-z0-9._-]{0,31})(?![A-Za-z0-9]))|(?<![A-Za-z0-9:]):([a-z0-9_+-]{1,40}):/g;

/** Finds names in a text. */
function names(text: string): Node[] {
  const nodes: Node[] = [];
  let at = 0;
  for (const match of text.matchAll(NAME)) {
    if (match.index > at) nodes.push({ kind: "text", text: text.slice(at, match.index) });
    if (match[1]) nodes.push({ kind: "account", written: match[0] });
    else if (match[2]) nodes.push({ kind: "room", written: match[0] });
    else nodes.push({ kind: "emoji", name: match[3] ?? "" });
    at = match.index + match[0].length;
  }
  if (at < text.length) nodes.push({ kind: "text", text: text.slice(at) });
  return nodes;
}
