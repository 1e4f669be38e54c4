// Serves the shell of the page when its node does not, and keeps it as new as the node has it.
//
// Calls and streams never pass through here. A document comes from the node if that answers in
// time; files with a hash in their name come from the cache. The cache of the page before this one
// stays: a page that was not reloaded yet reads parts of itself that no node has any more.

const version = "72fd5e4191f416ce";
const files = ["/","/assets/Admin-fT_Nqo1z.js","/assets/Cluster-CCPPAzps.js","/assets/Cluster-Ccd6L3Os.css","/assets/Door-l235uMmL.js","/assets/Panel-DpVBfl2X.js","/assets/Panel-ppBLjPRS.css","/assets/Rooms-DMXPLgDq.js","/assets/Search-DHA__C-l.js","/assets/Settings-Bo8HedP8.js","/assets/administration-YE4j9GBz.js","/assets/bytes-D0q5ploq.js","/assets/emoji-table-Bw-ZFDRB.js","/assets/index-BaSt5TEG.js","/assets/index-De57wW0A.css","/assets/key-EdgUpjcj.js","/assets/load-CJKaibIg.js","/assets/notices-BYsDM19k.js","/assets/notify-BEhXOZHi.js","/assets/values-DTD-5oty.js","/assets/words-CB4xmAjF.js","/favicon-unread.svg","/favicon.svg","/manifest.webmanifest"];
const cacheName = `conclave-${version}`;
/** Folder of the files whose names have the hash of their content. */
const hashed = "/assets/";
const waitMs = 1500;

self.addEventListener("install", (event) => {
  event.waitUntil(
    caches
      .open(cacheName)
      .then((cache) => cache.addAll(files.map((path) => new Request(path, { cache: "no-cache" }))))
      .then(() => self.skipWaiting()),
  );
});

self.addEventListener("activate", (event) => {
  event.waitUntil(
    caches
      .keys()
      // They come in the order in which they were made.
      .then((names) => names.filter((name) => name !== cacheName).slice(0, -1))
      .then((names) => Promise.all(names.map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== self.location.origin) return;
  if (request.mode === "navigate") event.respondWith(documentOf(request));
  else if (files.includes(url.pathname) || url.pathname.startsWith(hashed)) event.respondWith(fileOf(request));
});

async function documentOf(request) {
  try {
    const answer = await fetch(request, { signal: AbortSignal.timeout(waitMs) });
    if (answer.ok || answer.status < 500) return answer;
  } catch {
    // The node is dead or far away: the shell asks the other nodes.
  }
  return (await caches.match("/", { cacheName })) ?? Response.error();
}

async function fileOf(request) {
  const own = await caches.match(request, { cacheName, ignoreSearch: true });
  return own ?? (await caches.match(request, { ignoreSearch: true })) ?? fetch(request);
}

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(
    self.clients.matchAll({ type: "window" }).then(([page]) => (page ? page.focus() : self.clients.openWindow("/"))),
  );
});
