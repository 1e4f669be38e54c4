// Short notices at the edge of the page: what failed, and what was done.

import { signal } from "@preact/signals";
import { strings } from "../../base/strings";
import { CallError } from "../../wire/problem";

export interface Notice {
  readonly id: number;
  readonly text: string;
  readonly bad: boolean;
}

export const notices = signal<readonly Notice[]>([]);
/** What a screen reader says next. */
export const spoken = signal("");

const SHOWN_MS = 6000;
const NOTICES_MAX = 3;
let idLast = 0;

export function notice(text: string, bad = false): void {
  idLast += 1;
  const id = idLast;
  notices.value = [...notices.peek(), { id, text, bad }].slice(-NOTICES_MAX);
  setTimeout(() => dismiss(id), SHOWN_MS);
}

export function dismiss(id: number): void {
  notices.value = notices.peek().filter((each) => each.id !== id);
}

export function say(text: string): void {
  spoken.value = text;
}

/** Says why something failed. */
export function sentenceOf(error: unknown): string {
  if (error instanceof CallError && error.message) {
    const sentence = error.message[0]?.toUpperCase() + error.message.slice(1);
    return /[.!?]$/.test(sentence) ? sentence : `${sentence}.`;
  }
  return strings.failed;
}

/** Runs an action, and says so if it fails. Returns whether it was done. */
export async function attempt(action: () => Promise<unknown>): Promise<boolean> {
  try {
    await action();
    return true;
  } catch (error) {
    notice(sentenceOf(error), true);
    return false;
  }
}

export async function copyText(text: string): Promise<void> {
  const copied = await attempt(async () => {
    if (navigator.clipboard as Clipboard | undefined) return navigator.clipboard.writeText(text);
    if (!copyByHand(text)) throw new Error("the browser copies nothing");
  });
  if (copied) notice(strings.copied);
}

/** Copies in a page without TLS, where browsers have no clipboard for scripts. */
function copyByHand(text: string): boolean {
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "hidden";
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  return copied;
}
