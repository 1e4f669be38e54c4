// A text in one line, for previews, titles and notifications.

import { visible } from "./visible";

/** Characters of a preview that are looked at. */
const LENGTH_MAX = 300;

export function plain(text: string): string {
  return visible(text.slice(0, LENGTH_MAX))
    .replace(/^```\w*\n?|```$/gm, "")
    .replace(/^ {0,3}(?:> ?)+/gm, "")
    .replace(/(\*\*|__|~~|`)(\S(?:.*?\S)?)\1/g, "$2")
    .replace(/\s+/g, " ")
    .trim();
}
