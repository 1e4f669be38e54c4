// Shows a text: its nodes become elements, and nothing is ever parsed as markup.

import type { ComponentChildren, JSX } from "preact";
import { memo } from "preact/compat";
import { emojiTable, onlyEmoji, readEmoji } from "../../text/emoji";
import { parse } from "../../text/markdown";
import type { Node } from "../../text/nodes";
import type { Store } from "../../state/store";
import { copyText } from "../parts/notices";
import { Icon } from "../parts/Icon";
import { strings } from "../../base/strings";
import { go } from "../../app/route";

/** Letters that are written from right to left. */
const TURNED = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

interface BodyProps {
  readonly text: string;
  readonly store: Store;
}

export const Body = memo(function Body({ text, store }: BodyProps) {
  const large = text.length < 60 && onlyEmoji(text);
  return (
    <div class={["body", large && "body-large", TURNED.test(text) && "body-turned"].filter(Boolean).join(" ")} dir="auto">
      <Nodes nodes={parse(text)} store={store} />
    </div>
  );
});

function Nodes({ nodes, store }: { nodes: readonly Node[]; store: Store }): JSX.Element {
  return (
    <>
      {nodes.map((node, index) => (
        <One key={index} node={node} store={store} />
      ))}
    </>
  );
}

function One({ node, store }: { node: Node; store: Store }): ComponentChildren {
  const inside = () => "children" in node && <Nodes nodes={node.children} store={store} />;
  switch (node.kind) {
    case "text":
      return node.text;
    case "break":
      return <br />;
    case "paragraph":
      return <p dir="auto">{inside()}</p>;
    case "bold":
      return <strong>{inside()}</strong>;
    case "italic":
      return <em>{inside()}</em>;
    case "strike":
      return <s>{inside()}</s>;
    case "quote":
      return <blockquote dir="auto">{inside()}</blockquote>;
    case "code":
      return <code dir="ltr">{node.text}</code>;
    case "block":
      return <Block language={node.language} text={node.text} />;
    case "list": {
      const items = node.items.map((item, index) => (
        <li key={index} dir="auto">
          <Nodes nodes={item} store={store} />
        </li>
      ));
      return node.start === null ? <ul>{items}</ul> : <ol start={node.start}>{items}</ol>;
    }
    case "link":
      return (
        <a href={node.href} target="_blank" rel="noopener noreferrer" title={node.href}>
          <bdi>{inside()}</bdi>
        </a>
      );
    case "account":
      return <Mention written={node.written} store={store} />;
    case "room":
      return <RoomLink written={node.written} store={store} />;
    case "emoji":
      return <Emoji name={node.name} />;
  }
}

function Block({ language, text }: { language: string; text: string }) {
  return (
    <figure class="block">
      <figcaption>
        <span>{language}</span>
        <button type="button" class="button-quiet" onClick={() => void copyText(text)}>
          <Icon name="copy" small /> {strings.copy}
        </button>
      </figcaption>
      <pre dir="ltr" tabIndex={0} role="group" aria-label={language || "code"}>
        <code>{text}</code>
      </pre>
    </figure>
  );
}

/** Splits what was written into a sign with a known name, and the rest. */
function split(written: string, known: (name: string) => boolean): [string, string] | null {
  let name = written.slice(1);
  for (let tries = 0; tries < 4 && name !== ""; tries += 1) {
    if (known(name.toLowerCase())) return [name, written.slice(1 + name.length)];
    const shorter = /^(.*?)[._-]+[^._-]*$/.exec(name)?.[1] ?? "";
    name = shorter;
  }
  return null;
}

function Mention({ written, store }: { written: string; store: Store }) {
  const accounts = store.accounts.value;
  const found = split(written, (name) => accounts.has(name));
  if (!found) return <>{written}</>;
  const [name, rest] = found;
  const me = store.me.value?.name.toLowerCase() === name.toLowerCase();
  return (
    <>
      <button
        type="button"
        class={me ? "mention mention-me" : "mention"}
        onClick={() => {
          const known = store.find(name, false);
          if (known) go({ view: "conversation", id: known.id, sequence: 0 });
          else go({ view: "person", name: accounts.get(name.toLowerCase())?.name ?? name });
        }}
      >
        @{name}
      </button>
      {rest}
    </>
  );
}

function RoomLink({ written, store }: { written: string; store: Store }) {
  const found = split(written, (name) => store.ids.value.length > 0 && store.find(name, true) !== undefined);
  if (!found) return <>{written}</>;
  const [name, rest] = found;
  const id = store.find(name, true)?.id ?? 0;
  return (
    <>
      <button
        type="button"
        class="mention"
        onClick={() => go({ view: "conversation", id, sequence: 0 })}
      >
        #{name}
      </button>
      {rest}
    </>
  );
}

function Emoji({ name }: { name: string }) {
  const table = emojiTable.value;
  if (!table) void readEmoji();
  const emoji = table?.byName.get(name);
  return emoji ? <span title={`:${name}:`}>{emoji}</span> : <>:{name}:</>;
}
