// What browser tests share: the mock cluster, built once, and a browser.

import assert from "node:assert/strict";
import { mkdtempSync, existsSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { chromium } from "playwright-core";
import { build } from "vite";

export const root = fileURLToPath(new URL("..", import.meta.url));
export const dist = join(root, "dist");

/** Builds a module that is TypeScript, and returns it. */
export async function load(path) {
  const outDir = mkdtempSync(join(tmpdir(), "conclave-page-"));
  const entryFileNames = "module.mjs";
  await build({
    root,
    configFile: false,
    logLevel: "error",
    ssr: { noExternal: true },
    build: { ssr: path, outDir, emptyOutDir: true, minify: false, rollupOptions: { output: { entryFileNames } } },
  });
  return import(pathToFileURL(join(outDir, entryFileNames)).href);
}

export const mock = () => load("e2e/mock/index.ts");

/** Starts Chromium; nothing of it asks the network by itself. */
export function browser() {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  if (!existsSync(executablePath)) throw new Error(`there is no browser at ${executablePath}`);
  return chromium.launch({
    executablePath,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** Has the tests of a file share what makes clusters of mock nodes, and a browser. */
export function setUp() {
  const shared = {};
  before(async () => {
    shared.make = await mock();
    shared.chromium = await browser();
  });
  after(() => shared.chromium?.close());
  return shared;
}

/** Runs a test with a mock cluster and a signed-in page of its own; the page must have no problems. */
export async function withPage(shared, run, { name = "alice", nodes, pages = dist, options = {} } = {}) {
  const cluster = await shared.make.startMock(pages, nodes);
  shared.make.tell(cluster.state);
  const context = await shared.chromium.newContext(options);
  const page = await context.newPage();
  const problems = watch(page);
  try {
    await signIn(page, cluster.nodes[0].url, name);
    await run(page, cluster, context);
    assert.deepEqual(problems, []);
  } finally {
    await context.close();
    cluster.stop();
  }
}

/** Where a person writes. */
export const field = (page) => page.getByRole("textbox", { name: /^Message / });

export async function say(page, text) {
  await field(page).fill(text);
  await field(page).press("Enter");
}

export async function signIn(page, url, name, password = "password") {
  await page.goto(url);
  await page.getByLabel("Name", { exact: true }).fill(name);
  await page.getByLabel("Password", { exact: true }).fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("navigation", { name: "Conversations" }).waitFor();
}

const TYPES = { html: "text/html; charset=utf-8", js: "text/javascript", css: "text/css", svg: "image/svg+xml" };

/**
 * Has a browser take the page's files from `dist`, and everything else from the node. Calls to nodes of
 * other addresses fail meanwhile, so nothing that needs a fail-over can be tested with it.
 */
export async function fromDist(context) {
  await context.route(
    ({ pathname }) => !/^\/(page\/|conclave\.)/.test(pathname),
    async (route) => {
      const { pathname } = new URL(route.request().url());
      const name = /\.[a-z]+$/.test(pathname) ? pathname : "/index.html";
      const path = join(dist, name);
      if (name.includes("..") || !existsSync(path)) return route.abort();
      await route.fulfill({ body: readFileSync(path), contentType: TYPES[name.split(".").pop()] ?? "application/octet-stream" });
    },
  );
}

/** Collects what a page must never have: errors, and refusals by its policy. */
export function watch(page) {
  const problems = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => {
    const text = message.text();
    if (/Content Security Policy|Trusted/i.test(text)) problems.push(text);
  });
  return problems;
}

/** Waits until what a page measures stays the same for some frames. */
export async function still(page, measure, argument) {
  let before;
  let times = 0;
  await until("the page is still", async () => {
    const now = JSON.stringify(await page.evaluate(measure, argument));
    times = now === before ? times + 1 : 0;
    before = now;
    await frames(page, 1);
    return times >= 4;
  });
}

/** Waits until the page has painted some frames. */
export function frames(page, count = 2) {
  return page.evaluate(async (wanted) => {
    for (let frame = 0; frame < wanted; frame += 1) await new Promise(requestAnimationFrame);
  }, count);
}

/** Where the list of messages is scrolled to, and what is in it. */
export const placeOfList = () => {
  const list = document.querySelector(".list");
  return [list?.scrollTop, list?.scrollHeight, list?.querySelectorAll("article").length];
};

/** Waits until nothing moves any more. */
export function calm(page) {
  return page.waitForFunction(() => document.getAnimations().every(({ playState }) => playState !== "running"));
}

/** Waits until a condition holds; `more` is what a failure says besides. */
export async function until(what, condition, ms = 10_000, more = () => "") {
  const end = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > end) assert.fail(`not in time: ${what}${more()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
