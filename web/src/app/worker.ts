// Installs the service worker, and notices when a node has a newer page.

import { signal } from "@preact/signals";

export const newPage = signal(false);

interface ScriptPolicy {
  createScriptURL(url: string): unknown;
}

interface TrustedTypes {
  createPolicy(name: string, rules: { createScriptURL: (url: string) => string }): ScriptPolicy;
}

const SCRIPT = "/sw.js";
/** Interval at which a page that is never left asks for a newer one. */
const EVERY_MS = 30 * 60_000;

/** Asks the node whether it has a newer page. */
export function lookForNewPage(): void {
  if (!("serviceWorker" in navigator)) return;
  navigator.serviceWorker.getRegistration().then((registration) => registration?.update()).catch(() => {
    // The node is dead; the next look asks again.
  });
}

export function startWorker(): void {
  if (!("serviceWorker" in navigator) || import.meta.env.DEV) return;
  const types = (globalThis as { trustedTypes?: TrustedTypes }).trustedTypes;
  const policy = types?.createPolicy("conclave", {
    createScriptURL: (url) => {
      if (url !== SCRIPT) throw new TypeError("only the page's own worker is installed");
      return url;
    },
  });
  const had = navigator.serviceWorker.controller !== null;
  navigator.serviceWorker.addEventListener("controllerchange", () => {
    // The first worker takes over the page that has installed it.
    if (had) newPage.value = true;
  });
  const url = (policy?.createScriptURL(SCRIPT) ?? SCRIPT) as string;
  navigator.serviceWorker.register(url, { updateViaCache: "none" }).then(
    () => {
      document.addEventListener("visibilitychange", () => {
        if (document.visibilityState === "visible") lookForNewPage();
      });
      setInterval(lookForNewPage, EVERY_MS);
    },
    () => {
      // Without TLS and not on this machine: the page works without.
    },
  );
}
