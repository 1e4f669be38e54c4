// The page in a browser behind a proxy: signs in, talks in a room, and goes on while nodes die.
// `proxies` starts it: node through.mjs URL NAME PASSWORD. Writes `talks` when nodes may die, reads a
// line when they have, and ends with 0 if every message is there once, also after a reload.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { once } from "node:events";

const web = new URL("../../web/package.json", import.meta.url);
const { chromium } = createRequire(web)("playwright-core");
const [url, name, password] = process.argv.slice(2);

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
try {
  // The authority of the certificate is of this run.
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const problems = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (said) => /Content Security Policy/.test(said.text()) && problems.push(said.text()));

  await page.goto(url);
  await page.getByLabel("Name", { exact: true }).fill(name);
  await page.getByLabel("Password", { exact: true }).fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.locator(".link-live").waitFor();
  await page.getByRole("button", { name: "Browse rooms" }).first().click();
  await page.getByLabel("Name", { exact: true }).fill(`room-${name}`);
  await page.getByRole("button", { name: "Create", exact: true }).click();
  const say = async (text) => {
    const field = page.getByRole("textbox", { name: /^Message / });
    await field.fill(text);
    await field.press("Enter");
    await page.locator("article", { hasText: text }).waitFor();
  };
  await say("in a browser behind a proxy");
  process.stdout.write("talks\n");
  await once(process.stdin, "data");
  await say("after two nodes have died");
  const texts = ["in a browser behind a proxy", "after two nodes have died"];
  await page.locator(".link-live").waitFor();
  await page.reload();
  for (const text of texts) {
    const found = page.locator("article", { hasText: text });
    await found.waitFor();
    assert.equal(await found.count(), 1, `${text} is there once`);
  }
  assert.deepEqual(problems, []);
} finally {
  await browser.close();
}
process.exit(0);
