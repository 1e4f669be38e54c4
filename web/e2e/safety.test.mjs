// Hostile texts in every field, and the rules of accessibility on every screen.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { before, test } from "node:test";
import { calm, dist, frames, load, setUp, signIn, still, watch } from "./lib.mjs";

const shared = setUp();
let payloads;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

before(async () => {
  ({ PAYLOADS: payloads } = await load("tests/payloads.ts"));
});

test("hostile texts are text in every place", async () => {
  const cluster = await shared.make.startMock(dist, 1);
  shared.make.tell(cluster.state);
  const { state } = cluster;
  const [alice, bruno] = state.people;
  const nasty = state.addPlace("nasty", [alice, bruno], payloads[2]);
  for (const payload of payloads) if (payload.trim()) state.post(nasty, bruno, payload);
  bruno.displayName = '<img src=x onerror=alert(1)>"';
  const page = await (await shared.chromium.newContext()).newPage();
  const problems = watch(page);
  page.on("dialog", (dialog) => {
    problems.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  const requests = [];
  page.on("request", (request) => requests.push(request.url()));
  try {
    await signIn(page, cluster.nodes[0].url, "alice");
    await page.goto(`${cluster.nodes[0].url}/c/${nasty.id}/1`);
    const seen = new Set();
    for (let step = 0; seen.size < nasty.messages.length && step < 200; step += 1) {
      const found = await page.evaluate(() => ({
        sequences: [...document.querySelectorAll("[data-sequence]")].map((row) => Number(row.dataset.sequence)),
        foreign: [...document.querySelectorAll(".list script, .list img, .list iframe, .list object, .list embed, .list form, .list style, .list link, .list base, .list meta, .list video, .list audio, .list input, .list math")].map((each) => each.outerHTML.slice(0, 80)),
        handlers: [...document.querySelectorAll("*")].flatMap((each) => each.getAttributeNames().filter((name) => name.startsWith("on") || name === "style" && each.closest(".list")).map((name) => `${each.tagName} ${name}`)),
        links: [...document.querySelectorAll(".list a")].map((link) => [link.getAttribute("href"), link.rel]),
      }));
      for (const sequence of found.sequences) seen.add(sequence);
      assert.deepEqual(found.foreign, []);
      assert.deepEqual(found.handlers, []);
      for (const [href, rel] of found.links) {
        assert.match(href, /^(https?:\/\/|mailto:)/);
        assert.equal(rel, "noopener noreferrer");
      }
      await page.locator(".list").evaluate((element) => element.scrollBy(0, 700));
      await frames(page, 3);
    }
    assert.equal(seen.size, nasty.messages.length, "every message was shown");
    // What the reader types goes through every field.
    const field = page.getByRole("textbox", { name: /^Message / });
    for (const payload of payloads.slice(0, 40)) {
      if (!payload.trim() || /^\/[a-z]/.test(payload)) continue;
      await field.fill(payload);
      await field.press("Escape");
      await field.press("Enter");
    }
    await page.keyboard.press("Control+k");
    for (const payload of payloads.slice(0, 30)) await page.getByRole("combobox").fill(payload.replace(/\n/g, " "));
    await page.keyboard.press("Escape");
    await page.goto(`${cluster.nodes[0].url}/search`);
    for (const payload of payloads.slice(0, 20)) {
      await page.getByRole("searchbox").fill(payload.replace(/\n/g, " "));
      await page.getByRole("searchbox").press("Enter");
    }
    await still(page, () => document.querySelector("main")?.textContent);
    assert.deepEqual(problems, []);
    const foreign = requests.filter((url) => !url.startsWith(cluster.nodes[0].url));
    assert.deepEqual(foreign, [], "nothing was loaded from elsewhere");
  } finally {
    await page.context().close();
    cluster.stop();
  }
});

const SCREENS = [
  ["/", "welcome"],
  ["/c/1", "conversation"],
  ["/rooms", "rooms"],
  ["/search", "search"],
  ["/settings", "settings"],
  ["/admin", "administration"],
  ["/cluster", "cluster"],
];

for (const theme of ["light", "dark"]) {
  for (const [width, kind] of [[1280, "wide"], [360, "narrow"]]) {
    test(`no finding of axe on any ${kind} screen, ${theme}`, async () => {
      const cluster = await shared.make.startMock(dist, 3);
      shared.make.tell(cluster.state);
      const context = await shared.chromium.newContext({ colorScheme: theme, viewport: { width, height: 740 }, bypassCSP: true });
      const page = await context.newPage();
      const check = async (name) => {
        await calm(page);
        await page.evaluate(axe);
        const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
        const found = violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map(({ html, any }) => `${html.slice(0, 120)} ${any[0]?.message ?? ""}`).join(" | ")}`);
        assert.deepEqual(found, [], `${name}, ${theme}, ${kind}`);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wide <= 0, `${name} is ${wide} px too wide`);
      };
      try {
        await page.goto(cluster.nodes[0].url);
        await page.getByRole("button", { name: "Sign in" }).waitFor();
        await check("sign in");
        await page.getByLabel("Name", { exact: true }).fill("alice");
        await page.getByLabel("Password", { exact: true }).fill("password");
        await page.getByRole("button", { name: "Sign in" }).click();
        await page.locator(".frame").waitFor();
        for (const [path, name] of SCREENS) {
          await page.goto(cluster.nodes[0].url + path);
          await page.locator(".talk h1").waitFor();
          if (name === "cluster") await page.locator(".chart-line").first().waitFor();
          if (name === "conversation") await page.locator("article").first().waitFor();
          await still(page, () => document.querySelector("main")?.innerText.length);
          await check(name);
        }
        await page.goto(`${cluster.nodes[0].url}/c/1`);
        await page.locator("article").first().waitFor();
        await page.getByRole("button", { name: "Details" }).click();
        await page.getByText("5 members").waitFor();
        await still(page, () => document.querySelector("aside")?.innerText);
        await check("panel");
        await page.getByRole("complementary").getByRole("button", { name: "Close" }).click();
        await page.keyboard.press("Control+k");
        await page.getByRole("option").first().waitFor();
        await calm(page);
        await check("switcher");
        await page.keyboard.press("Escape");
        await page.locator(".composer").getByRole("button", { name: "Emoji" }).click();
        await page.locator(".picker .emoji").first().waitFor();
        await calm(page);
        await check("emoji");
        await page.keyboard.press("Escape");
        await page.goto(`${cluster.nodes[0].url}/cluster`);
        await page.getByRole("button", { name: "Actions for node 2" }).click();
        await page.getByRole("menuitem", { name: "Remove node 2" }).click();
        await page.getByRole("dialog").getByText("conclave cluster remove 2").waitFor();
        await calm(page);
        await check("operation");
      } finally {
        await context.close();
        cluster.stop();
      }
    });
  }
}

test("every function is reached by keyboard alone", async () => {
  const cluster = await shared.make.startMock(dist, 1);
  shared.make.tell(cluster.state);
  const page = await (await shared.chromium.newContext()).newPage();
  const press = async (...keys) => {
    for (const key of keys) await page.keyboard.press(key);
  };
  const focused = () => page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent ?? "");
  try {
    await page.goto(cluster.nodes[0].url);
    await page.getByRole("button", { name: "Sign in" }).waitFor();
    await page.keyboard.type("alice");
    await press("Tab");
    await page.keyboard.type("password");
    await press("Enter");
    await page.getByRole("link", { name: /^lobby/ }).waitFor();
    await press("Control+k");
    await page.keyboard.type("lob");
    await press("Enter");
    await page.getByRole("heading", { name: "lobby" }).waitFor();
    await page.waitForFunction(() => document.activeElement?.tagName === "TEXTAREA");
    // The field has the focus; from there the messages are one step back.
    await page.keyboard.type("by keyboard");
    await press("Enter");
    await page.locator("article", { hasText: "by keyboard" }).waitFor();
    await press("Shift+Tab", "ArrowUp", "ArrowUp");
    assert.match(await focused(), /^(Chiara|alice), /);
    // The buttons of a message come with the focus, behind what the message has.
    await page.locator("article:focus .toolbar").waitFor();
    let steps = 0;
    while (!/^Add reaction: /.test(await focused())) {
      assert.ok((steps += 1) < 8, "the buttons are not reached");
      await press("Tab");
    }
    // An arrow leads back to the message.
    await press("ArrowUp");
    assert.match(await focused(), /^(Chiara|alice), /);
    await press("r");
    await page.getByText(/Reply to /).waitFor();
    await page.keyboard.type("an answer");
    await press("Enter");
    await page.locator("article", { hasText: "an answer" }).locator(".quote").waitFor();
    await press("ArrowUp");
    await page.getByText("Edit message").waitFor();
    await press("Escape");
    await page.keyboard.type("/top");
    await page.getByRole("option").first().waitFor();
    await press("Tab");
    await page.keyboard.type("A new topic");
    await press("Enter");
    await page.getByText("A new topic").first().waitFor();
    await press("Alt+ArrowDown");
    await page.getByRole("heading", { name: "shipping" }).waitFor();
    // The menu of the account.
    await page.getByRole("button", { name: "Your account" }).focus();
    await press("Enter", "ArrowDown", "ArrowDown", "Enter");
    await page.getByRole("heading", { name: "Cluster" }).waitFor();
    // Every focusable element can be seen to have the focus.
    await page.goto(`${cluster.nodes[0].url}/settings`);
    await page.getByRole("heading", { name: "Appearance" }).waitFor();
    for (let step = 0; step < 30; step += 1) {
      await press("Tab");
      const outline = await page.evaluate(() => {
        const element = document.activeElement;
        return !element || element === document.body ? "page" : getComputedStyle(element).outlineStyle;
      });
      assert.notEqual(outline, "none", await focused());
    }
  } finally {
    await page.context().close();
    cluster.stop();
  }
});
