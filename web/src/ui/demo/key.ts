// The key of the panel, which `conclave demo` prints behind `#` of the address.
//
// Always true: the key stays in this tab, and goes to the program that has printed it alone.

import { signal } from "@preact/signals";
import { secret } from "../../app/route";

/** Empty where there is no panel. */
export const demoKey = signal("");

const KEPT = "conclave.demo";

/** Takes the key from the address, or from before a reload. */
export function startDemo(): void {
  const given = secret.peek();
  let kept: Storage | null = null;
  try {
    kept = sessionStorage;
  } catch {
    // Not kept: the address has to be opened again after a reload.
  }
  if (given?.kind === "demo") {
    secret.value = null;
    kept?.setItem(KEPT, given.value);
  }
  demoKey.value = kept?.getItem(KEPT) ?? (given?.kind === "demo" ? given.value : "");
}
