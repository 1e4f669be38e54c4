// Decides which addresses become links.
//
// Always true: a link leads to http, https or mailto, and to nothing else.

const SCHEMES = new Set(["http:", "https:", "mailto:"]);
/** Longer addresses stay text. */
export const LENGTH_MAX = 2048;

/** Returns the address as the browser will use it; `null` if it does not become a link. */
export function safeHref(address: string): string | null {
  if (address.length > LENGTH_MAX) return null;
  // Spaces and controls inside a scheme are ignored by browsers, so nothing with them is believed.
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u0020\u007F-\u009F]/.test(address)) return null;
  if (!/^(https?:\/\/|mailto:)/i.test(address)) return null;
  let url: URL;
  try {
    url = new URL(address);
  } catch {
    return null;
  }
  if (!SCHEMES.has(url.protocol)) return null;
  // `https://bank.example@evil.example/` shows another host than it leads to.
  if (url.username !== "" || url.password !== "") return null;
  // A host may hold quotes; nothing that a person writes leads there.
  return /["'<>`\\{}|^]/.test(url.href) ? null : url.href;
}
