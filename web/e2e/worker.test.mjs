// The service worker: the shell without a node, and a newer page once a node has one.

import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { dist, setUp, until, withPage as withMockPage } from "./lib.mjs";

const shared = setUp();

/** Runs a test with a page that its worker serves. */
function withPage(nodes, pages, run) {
  const body = async (page, cluster, context) => {
    await page.evaluate(async () => {
      await navigator.serviceWorker.ready;
      if (navigator.serviceWorker.controller) return;
      await new Promise((resolve) => navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true }));
    });
    await run(page, cluster, context);
  };
  return withMockPage(shared, body, { nodes, pages });
}

test("without any node the page is there, and says so; it goes on by itself", () =>
  withPage(1, dist, async (page, { nodes, state }, context) => {
    const url = nodes[0].url;
    await page.goto(`${url}/c/1`);
    await page.locator("article").first().waitFor();
    nodes[0].kill();
    await page.goto(`${url}/c/1`);
    await page.getByText("No node of the cluster answers. Trying again…").waitFor();
    await context.setOffline(true);
    await page.getByText("This device is offline. The page goes on as soon as it is back.").waitFor();
    await context.setOffline(false);
    await nodes[0].start();
    await page.locator("article").first().waitFor();
    assert.equal(await page.getByRole("button", { name: "Sign in" }).count(), 0, "no second sign-in");
    // In the middle of work: what is sent waits, and the page says why.
    await context.setOffline(true);
    await page.getByText("This device is offline. What you send waits here").waitFor();
    nodes[0].kill();
    const field = page.getByRole("textbox", { name: /^Message / });
    await field.fill("from a tunnel");
    await field.press("Enter");
    await page.locator("article", { hasText: "from a tunnel" }).locator(".ticks-waiting").waitFor();
    await nodes[0].start();
    await context.setOffline(false);
    await page.locator("article.stored", { hasText: "from a tunnel" }).waitFor();
    await until("once", () => state.places[0].messages.filter(({ text }) => text === "from a tunnel").length === 1);
  }));

test("a dead node's address still opens the page, which goes on at another node", () =>
  withPage(3, dist, async (page, { nodes }) => {
    nodes[0].kill();
    await page.goto(`${nodes[0].url}/c/1`);
    await page.locator("article").first().waitFor();
    await page.getByText(/^Node [23]$/).waitFor();
  }));

test("calls and streams never come from the worker's store", () =>
  withPage(1, dist, async (page) => {
    const kept = await page.evaluate(async () => {
      const urls = [];
      for (const name of await caches.keys()) for (const request of await (await caches.open(name)).keys()) urls.push(new URL(request.url).pathname);
      return urls;
    });
    assert.ok(kept.includes("/"));
    for (const path of kept) assert.match(path, /^\/($|assets\/|favicon|manifest)/);
  }));

test("a page notices that its node has a newer one, and offers it", async () => {
  const folder = mkdtempSync(join(tmpdir(), "conclave-page-"));
  cpSync(dist, folder, { recursive: true });
  try {
    await withPage(1, folder, async (page, { nodes }) => {
      await page.goto(`${nodes[0].url}/c/1`);
      await page.locator("article").first().waitFor();
      // The node is stopped, given another page, and started again.
      nodes[0].kill();
      const put = (name, change) => {
        const path = join(folder, name);
        writeFileSync(path, change(readFileSync(path, "utf8")));
        for (const end of [".br", ".gz"]) rmSync(path + end, { force: true });
      };
      put("index.html", (text) => text.replace("<title>Conclave</title>", "<title>Conclave</title><meta name=\"newer\" />"));
      put("sw.js", (text) => text.replace(/version = "[^"]+"/, 'version = "newer"'));
      await nodes[0].start();
      const field = page.getByRole("textbox", { name: /^Message / });
      await field.fill("half a sen");
      await page.getByText("A newer version of this page is there.").waitFor({ timeout: 15_000 });
      assert.equal(await page.locator("meta[name=newer]").count(), 0, "it does not reload by itself");
      await page.getByRole("button", { name: "Reload" }).click();
      await page.locator("meta[name=newer]").waitFor({ state: "attached" });
      await page.locator("article").first().waitFor();
      assert.equal(await field.inputValue(), "half a sen");
      const kept = () => page.evaluate(async () => (await caches.keys()).map((name) => name.replace(/^conclave-/, "")));
      assert.equal((await kept()).length, 2);
      // The next one keeps the one before it, and nothing older.
      put("sw.js", (text) => text.replace('version = "newer"', 'version = "newest"'));
      await page.evaluate(async () => (await navigator.serviceWorker.getRegistration()).update());
      await until("the oldest files are gone", async () => (await kept()).join() === "newer,newest");
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("a page that was not reloaded yet still opens its parts, though no node has them any more", async () => {
  const folder = mkdtempSync(join(tmpdir(), "conclave-page-"));
  cpSync(dist, folder, { recursive: true });
  try {
    await withPage(1, folder, async (page, { nodes }, context) => {
      await page.goto(`${nodes[0].url}/c/1`);
      await page.locator("article").first().waitFor();
      nodes[0].kill();
      // The browser's own cache may lose files at any time.
      await (await context.newCDPSession(page)).send("Network.clearBrowserCache");
      // The newer page has its parts under other names.
      const parts = readdirSync(join(folder, "assets")).filter((name) => /^(Search|Settings)-.*\.js$/.test(name));
      assert.equal(parts.length, 2);
      for (const part of parts) for (const end of ["", ".br", ".gz"]) rmSync(join(folder, "assets", part + end), { force: true });
      const path = join(folder, "sw.js");
      let worker = readFileSync(path, "utf8").replace(/version = "[^"]+"/, 'version = "newer"');
      for (const part of parts) worker = worker.replace(`"/assets/${part}",`, "");
      for (const end of [".br", ".gz"]) rmSync(path + end, { force: true });
      writeFileSync(path, worker);
      await nodes[0].start();
      await page.getByText("A newer version of this page is there.").waitFor({ timeout: 15_000 });
      await until("the newer worker is there", async () => (await page.evaluate(() => caches.keys())).includes("conclave-newer"));
      await page.keyboard.press("Control+Shift+f");
      await page.getByRole("searchbox").waitFor();
      await page.getByRole("button", { name: /^Your account/ }).click();
      await page.getByRole("menuitem", { name: "Settings" }).click();
      await page.getByRole("heading", { name: "Appearance" }).waitFor();
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
