// What the reader prefers on this device: theme, size of text, notifications, muted conversations.

import { effect, signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";
export type TextSize = "small" | "normal" | "large" | "huge";

export interface Preferences {
  readonly theme: Theme;
  readonly textSize: TextSize;
  readonly notify: boolean;
  readonly muted: readonly number[];
  readonly emoji: readonly string[];
}

const KEY = "conclave.preferences";
/** Recent emoji that are offered first. */
const EMOJI_MAX = 6;
const DEFAULTS: Preferences = {
  theme: "system",
  textSize: "normal",
  notify: false,
  muted: [],
  emoji: ["👍", "❤️", "😄", "🎉", "👀", "🙏"],
};

export const preferences = signal<Preferences>(DEFAULTS);

export function prefer(change: Partial<Preferences>): void {
  preferences.value = { ...preferences.peek(), ...change };
}

export function toggleMuted(id: number): void {
  const { muted } = preferences.peek();
  prefer({ muted: muted.includes(id) ? muted.filter((each) => each !== id) : [...muted, id] });
}

export function usedEmoji(emoji: string): void {
  const others = preferences.peek().emoji.filter((each) => each !== emoji);
  prefer({ emoji: [emoji, ...others].slice(0, EMOJI_MAX) });
}

/** Reads what this device keeps, and shows it in the document from now on. */
export function startPreferences(storage: Storage | null): void {
  try {
    const kept: unknown = JSON.parse(storage?.getItem(KEY) ?? "{}");
    if (typeof kept === "object" && kept !== null) preferences.value = { ...DEFAULTS, ...kept };
  } catch {
    // Nothing that can be read is kept.
  }
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const systemIsDark = signal(dark.matches);
  dark.addEventListener("change", () => (systemIsDark.value = dark.matches));
  effect(() => {
    const { theme, textSize } = preferences.value;
    const isDark = theme === "dark" || (theme === "system" && systemIsDark.value);
    document.documentElement.dataset["theme"] = isDark ? "dark" : "light";
    document.documentElement.dataset["text"] = textSize;
    const color = document.querySelector('meta[name="theme-color"]');
    color?.setAttribute("content", isDark ? "#16181d" : "#f6f4ef");
    try {
      storage?.setItem(KEY, JSON.stringify(preferences.value));
    } catch {
      // Not kept.
    }
  });
}
