// The page for readers of all kinds: right-to-left text, 200 % zoom, large text, reduced motion.

import assert from "node:assert/strict";
import { test } from "node:test";
import { calm, setUp, still, withPage as withMockPage } from "./lib.mjs";

const shared = setUp();

const withPage = (options, run) => withMockPage(shared, run, { nodes: 3, options });

const HEBREW = "שלום לכולם, המכונות ב-rack 7 עובדות";
const ARABIC = "مرحبا، هل **الخادم** رقم 3 يعمل؟";

test("text from right to left stands at the right, and turns nothing beside it", () =>
  withPage({ viewport: { width: 1280, height: 800 } }, async (page, { state, nodes }) => {
    const [, bruno] = state.people;
    const lobby = state.places.find(({ room }) => room === "lobby");
    bruno.displayName = "ברוך";
    for (const text of [HEBREW, ARABIC, `${HEBREW}\n\nand then English`, "```\nconst שם = 1;\n```", "English with שלום inside", `- ${HEBREW}\n- two`]) {
      state.post(lobby, bruno, text);
    }
    await page.goto(`${nodes[0].url}/c/1`);
    const row = (text) => page.locator("article", { hasText: text }).first();
    await row("two").waitFor();
    const at = (locator) => locator.evaluate((element) => {
      const range = document.createRange();
      range.selectNodeContents(element);
      const [text, box] = [range.getBoundingClientRect(), element.parentElement.closest(".message-main").getBoundingClientRect()];
      return { direction: getComputedStyle(element).direction, left: text.left - box.left, right: box.right - text.right };
    });
    for (const text of [HEBREW, "مرحبا"]) {
      const { direction, left, right } = await at(row(text).locator("p").first());
      assert.equal(direction, "rtl", text);
      assert.ok(right < 4 && left > 100, `${text}: ${left} ${right}`);
    }
    assert.equal((await at(row("and then English").locator("p").last())).direction, "ltr", "each paragraph for itself");
    assert.equal(await row("const").locator("pre").evaluate((pre) => getComputedStyle(pre).direction), "ltr", "code is code");
    assert.equal((await at(row("English with").locator("p").first())).direction, "ltr");
    assert.equal((await at(row("two").locator("li").first())).direction, "rtl");
    // The name does not turn the account and the time beside it.
    const who = await page.locator(".message-who", { hasText: "ברוך" }).first().evaluate((element) => [...element.children].map((child) => child.getBoundingClientRect().left));
    assert.deepEqual(who, [...who].sort((one, other) => one - other));
    const field = page.getByRole("textbox", { name: /^Message / });
    await field.fill(HEBREW);
    assert.equal(await field.evaluate((element) => getComputedStyle(element).direction), "rtl");
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0);
  }));

const SCREENS = ["/", "/c/1", "/rooms", "/search", "/settings", "/admin", "/cluster"];

/** Returns what is cut off or lies outside of the window. */
const outside = () => {
  const found = [];
  if (document.documentElement.scrollWidth > innerWidth) found.push(`${document.documentElement.scrollWidth - innerWidth} px too wide`);
  for (const element of document.querySelectorAll("main button, main input, main textarea, main select, main h1")) {
    const box = element.getBoundingClientRect();
    if (box.width === 0 || element.closest(".hidden, .toolbar, .chart, pre") || getComputedStyle(element).visibility === "hidden") continue;
    if (element.matches(".hidden, [type=file]")) continue;
    if (box.left < -1 || box.right > innerWidth + 1) found.push(`${element.tagName} ${element.textContent.slice(0, 30)} ${Math.round(box.left)}–${Math.round(box.right)}`);
  }
  return found;
};

// A window of 1280 × 800 at 200 % has 640 × 400 CSS pixels; one of 720 × 1480 has 360 × 740.
for (const [name, width, height] of [["200 % zoom", 640, 400], ["a telephone", 360, 740], ["a small telephone", 320, 568]]) {
  test(`every screen can be used at ${name}`, () =>
    withPage({ viewport: { width, height }, deviceScaleFactor: 2 }, async (page, { nodes }) => {
      for (const path of SCREENS) {
        await page.goto(nodes[0].url + path);
        await page.locator(".talk h1").waitFor({ state: "attached" });
        await still(page, () => document.querySelector("main")?.innerText.length);
        assert.deepEqual(await page.evaluate(outside), [], path);
      }
      await page.goto(`${nodes[0].url}/c/1`);
      await page.locator("article").last().waitFor();
      // There is room to read and to write, also with a long draft.
      const field = page.getByRole("textbox", { name: /^Message / });
      await field.fill("a line\n".repeat(30));
      await still(page, () => document.querySelector(".list").clientHeight);
      const box = await field.boundingBox();
      assert.ok(box.y + box.height <= height, "the field is in the window");
      const list = await page.locator(".list").evaluate((element) => element.clientHeight);
      assert.ok(list >= 60, `${list} px for messages`);
      await field.fill("said at this size");
      await page.getByRole("button", { name: "Send" }).click();
      await page.locator("article.stored", { hasText: "said at this size" }).waitFor();
      // A dialog is reached to its end.
      await page.keyboard.press("Control+k");
      await page.getByRole("option").first().waitFor();
      await calm(page);
      const dialog = await page.locator("dialog[open]").boundingBox();
      assert.ok(dialog.x >= 0 && dialog.x + dialog.width <= width && dialog.y + dialog.height <= height + 1);
    }));
}

test("the largest text fits, too", () =>
  withPage({ viewport: { width: 640, height: 800 } }, async (page, { nodes }) => {
    await page.goto(`${nodes[0].url}/settings`);
    await page.getByLabel("Very large").check();
    for (const path of SCREENS) {
      await page.goto(nodes[0].url + path);
      await page.locator("html[data-text=huge] .talk h1").waitFor({ state: "attached" });
      await still(page, () => document.querySelector("main")?.innerText.length);
      assert.deepEqual(await page.evaluate(outside), [], path);
    }
  }));

test("nothing moves for a reader who wants no motion", () =>
  withPage({ viewport: { width: 360, height: 740 }, reducedMotion: "reduce" }, async (page, { nodes }) => {
    const moving = () =>
      page.evaluate(() => {
        const found = document.getAnimations().map((each) => each.animationName ?? each.transitionProperty);
        for (const element of document.querySelectorAll("*")) {
          const { animationName, transitionDuration, scrollBehavior } = getComputedStyle(element);
          if (animationName !== "none") found.push(`${element.className} ${animationName}`);
          if (transitionDuration.split(",").some((each) => parseFloat(each) > 0)) found.push(`${element.className} transition`);
          if (scrollBehavior === "smooth") found.push(`${element.className} scrolls`);
        }
        return found;
      });
    await page.goto(`${nodes[0].url}/c/1`);
    await page.locator("article").last().waitFor();
    assert.deepEqual(await moving(), []);
    await page.getByRole("button", { name: "Open conversations" }).click();
    assert.deepEqual(await moving(), []);
    await page.getByRole("button", { name: "Your account" }).click();
    await page.getByRole("menu").waitFor();
    assert.deepEqual(await moving(), []);
    await page.getByRole("menuitem", { name: "Keyboard" }).click();
    await page.getByRole("dialog").waitFor();
    assert.deepEqual(await moving(), []);
    await page.keyboard.press("Escape");
    nodes[0].kill();
    await page.locator(".banner-good").waitFor();
    assert.deepEqual(await moving(), []);
  }));
