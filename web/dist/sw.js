// Serves the shell of the page when its node does not, and keeps it as new as the node has it.
//
// Calls and streams never pass through here. A document comes from the node if that answers in
// time; files with a hash in their name come from the cache.

const version = "b5ad0e7f33eac174";
const files = ["/","/assets/Admin-7DF7ucaA.js","/assets/Cluster-Ccd6L3Os.css","/assets/Cluster-DVZ_0tao.js","/assets/Door-Bjnzw0bT.js","/assets/Panel-B__cUwmO.js","/assets/Panel-ppBLjPRS.css","/assets/Rooms-CaB_BOdu.js","/assets/Search-CX05Tll-.js","/assets/Settings-ZMsgtbBw.js","/assets/administration-b64oJeoF.js","/assets/bytes-DCWGPfB5.js","/assets/emoji-table-Bw-ZFDRB.js","/assets/index-BJDVmuCR.js","/assets/index-De57wW0A.css","/assets/key-DFaxKcf6.js","/assets/load-DTwZrFti.js","/assets/notices-BXWCtVVQ.js","/assets/notify-z5Ydz23j.js","/assets/values-DTeX3c6o.js","/assets/words-CB4xmAjF.js","/favicon-unread.svg","/favicon.svg","/manifest.webmanifest"];
const cacheName = `conclave-${version}`;
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
      .then((names) => Promise.all(names.filter((name) => name !== cacheName).map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== self.location.origin) return;
  if (request.mode === "navigate") event.respondWith(documentOf(request));
  else if (files.includes(url.pathname)) event.respondWith(fileOf(request));
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
  return (await caches.match(request, { cacheName, ignoreSearch: true })) ?? fetch(request);
}

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(
    self.clients.matchAll({ type: "window" }).then(([page]) => (page ? page.focus() : self.clients.openWindow("/"))),
  );
});
