// A choice of emoji: recent ones first, all groups below, and a search by name.

import { useEffect, useRef, useState } from "preact/hooks";
import { preferences } from "../../app/preferences";
import { strings } from "../../base/strings";
import { emojiTable, findEmoji, readEmoji } from "../../text/emoji";

/** Emoji that a search shows. */
const FOUND_MAX = 64;

export function EmojiPicker({
  onPick,
  onClose,
}: {
  onPick: (emoji: string) => void;
  onClose: () => void;
}) {
  const [query, setQuery] = useState("");
  const root = useRef<HTMLDivElement>(null);
  const table = emojiTable.value;
  useEffect(() => {
    void readEmoji();
    root.current?.querySelector("input")?.focus();
    const outside = (event: Event) => {
      if (!root.current?.parentElement?.contains(event.target as Node)) onClose();
    };
    document.addEventListener("pointerdown", outside);
    return () => document.removeEventListener("pointerdown", outside);
  }, []);
  const found = query && table ? findEmoji(table, query, FOUND_MAX) : null;
  const walk = (event: KeyboardEvent) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      return onClose();
    }
    if (event.key === "Enter" && found?.[0] && event.target instanceof HTMLInputElement) {
      event.preventDefault();
      return onPick(found[0].emoji);
    }
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 8, ArrowUp: -8 }[event.key];
    if (!step || (event.target instanceof HTMLInputElement && Math.abs(step) === 1)) return;
    event.preventDefault();
    const all = [...(root.current?.querySelectorAll<HTMLElement>(".emoji") ?? [])];
    const at = all.indexOf(document.activeElement as HTMLElement);
    if (at + step < 0) root.current?.querySelector("input")?.focus();
    else all[Math.min(at < 0 ? 0 : at + step, all.length - 1)]?.focus();
  };
  const one = (emoji: string, name: string) => (
    <button type="button" class="emoji" key={emoji} title={name} aria-label={name} onClick={() => onPick(emoji)}>
      {emoji}
    </button>
  );
  return (
    <div class="picker" ref={root} role="dialog" aria-label={strings.emoji} onKeyDown={walk}>
      <input
        type="search"
        class="input"
        placeholder={strings.search}
        aria-label={strings.search}
        value={query}
        onInput={(event) => setQuery(event.currentTarget.value)}
      />
      <div class="picker-scroll" tabIndex={-1}>
        {found ? (
          <div class="picker-grid">{found.map(({ emoji, name }) => one(emoji, name))}</div>
        ) : (
          <>
            <div class="picker-grid">{preferences.value.emoji.map((emoji) => one(emoji, emoji))}</div>
            {table?.groups.map((group) => (
              <section key={group.name}>
                <h3>{group.name}</h3>
                <div class="picker-grid">{group.emoji.map(({ emoji, names }) => one(emoji, names[0] ?? emoji))}</div>
              </section>
            ))}
          </>
        )}
      </div>
    </div>
  );
}
