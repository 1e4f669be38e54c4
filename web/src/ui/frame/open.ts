// What is open beside the conversation: the drawer, the switcher, the panel, the search.

import { signal } from "@preact/signals";
import { go } from "../../app/route";

export const drawer = signal(false);
export const switcher = signal(false);
export const panel = signal(false);
export const help = signal(false);
/** What the search begins with. */
export const query = signal("");

export function searchFor(text: string): void {
  query.value = text;
  go({ view: "search" });
}
