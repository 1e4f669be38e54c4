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
    (registration) => {
      document.addEventListener("visibilitychange", () => {
        if (document.visibilityState === "visible") registration.update().catch(() => {});
      });
    },
    () => {
      // Without TLS and not on this machine: the page works without.
    },
  );
}
