// The panel of `conclave demo` in a browser: real nodes are broken by its buttons, and nothing is lost.
// Skipped where the program is not built (CONCLAVE names it).

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { browser, root, until as waitUntil, watch } from "./lib.mjs";

const program = process.env.CONCLAVE ?? join(root, "../target/debug/conclave");
const pictures = process.env.PAGE_PICTURES;
const skip = existsSync(program) ? false : `there is no ${program}`;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let directory, demo, chromium, report;
const output = [];

function until(what, condition, ms = 30_000) {
  return waitUntil(what, condition, ms, () => `\n${output.join("").slice(-2000)}`);
}

before(async () => {
  if (skip) return;
  directory = mkdtempSync(join(tmpdir(), "conclave-page-"));
  report = join(directory, "report.html");
  demo = spawn(program, ["demo", "--serve", "--report", report], {
    env: { ...process.env, HOME: directory, XDG_CONFIG_HOME: directory },
  });
  for (const stream of [demo.stdout, demo.stderr]) stream.on("data", (data) => output.push(String(data)));
  await until("an address", () => /#demo=\S+\n/.test(output.join("")), 60_000);
  chromium = await browser();
  if (pictures) mkdirSync(pictures, { recursive: true });
});

after(async () => {
  await chromium?.close();
  if (demo && demo.exitCode === null) {
    demo.kill("SIGKILL");
    await new Promise((resolve) => demo.once("exit", resolve));
  }
  if (directory) rmSync(directory, { recursive: true, force: true });
});

test("a person breaks nodes on the page", { skip, timeout: 300_000 }, async () => {
  const address = /(http:\S+#demo=\S+)/.exec(output.join(""))[1];
  const context = await chromium.newContext({ viewport: { width: 1360, height: 1240 } });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const problems = watch(page);
  await page.goto(address);
  const panel = page.getByRole("region", { name: "Break it" });
  await panel.waitFor();
  assert.equal(new URL(page.url()).hash, "", "the secret does not stay in the address");
  const figure = async (name) => Number(await panel.locator("dl > div", { has: page.getByText(name, { exact: true }) }).locator("dd").textContent());
  const state = (node) => panel.locator(".demo-node").nth(node - 1).locator("header span");
  const press = (act, node) => panel.getByRole("button", { name: `${act}: Node ${node}`, exact: true }).click();
  // Between two leaders the page shows none.
  const leaderBut = async (old) => {
    let found = 0;
    await until("a node leads", async () => {
      const words = await Promise.all([1, 2, 3, 4, 5].map((node) => state(node).textContent()));
      found = words.indexOf("leader") + 1;
      return found > 0 && found !== old;
    });
    return found;
  };
  const goesOn = async (more) => {
    const acked = await figure("acknowledged");
    await until("messages are acknowledged", async () => (await figure("acknowledged")) >= acked + more, 60_000);
  };
  await goesOn(pictures ? 1800 : 50);

  // The page itself goes on when the node behind it dies with the leader's office.
  const first = await leaderBut(0);
  await press("Kill", first);
  await until("killed", async () => (await state(first).textContent()) === "killed");
  await leaderBut(first);
  await goesOn(pictures ? 700 : 50);
  const second = await leaderBut(first);
  await press("Cut off", second);
  await leaderBut(second);
  await goesOn(pictures ? 400 : 50);
  const third = await leaderBut(second);
  const others = [1, 2, 3, 4, 5].filter((node) => ![first, second, third].includes(node));
  await press("Slow disk", others[0]);
  await press("Clock +1h", others[1]);
  await until("faults are shown", async () => (await state(others[1]).textContent()) === "wrong clock");
  await goesOn(pictures ? 400 : 20);

  await page.evaluate(axe);
  for (const theme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: theme });
    const { violations } = await page.evaluate(() => globalThis.axe.run(".demo"));
    assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes[0].html]), [], theme);
    if (pictures) await panel.screenshot({ path: join(pictures, `demo-panel-${theme}.png`) });
  }

  await press("Pause", third);
  await panel.getByText("3 of 5 down: no majority").first().waitFor();
  await panel.getByRole("button", { name: "Heal all" }).click();
  await panel.getByText("everything is healed").waitFor();
  await goesOn(50);
  assert.equal(await figure("lost"), 0);
  assert.equal(await figure("twice"), 0);
  await panel.getByRole("switch", { name: "Load" }).click();
  await panel.getByText("load: off").waitFor();

  // After a reload the panel is still there, and nobody signs in.
  await page.reload();
  await panel.waitFor();
  assert.deepEqual(problems, []);

  const nodes = execFileSync("ps", ["-o", "pid=", "--ppid", String(demo.pid)], { encoding: "utf8" }).trim().split(/\s+/);
  assert.equal(nodes.length, 5);
  demo.kill("SIGINT");
  await until("the demo ends", () => demo.exitCode !== null, 60_000);
  assert.equal(demo.exitCode, 0, output.join("").slice(-2000));
  assert.match(output.join(""), /lost 0, duplicated 0, out of order 0/);
  for (const node of nodes) assert.throws(() => process.kill(Number(node), 0), `node with pid ${node} is left`);

  // The report is a page of its own: it asks for nothing, and shows what happened.
  const [asked, alone] = [[], await context.newPage()];
  alone.on("request", (request) => asked.push(request.url()));
  await alone.goto(`file://${report}`);
  await alone.getByText("once and in order").waitFor();
  assert.equal(await alone.locator("svg").count(), 3);
  assert.deepEqual(asked.filter((url) => !url.startsWith("file:")), []);
  for (const theme of pictures ? ["light", "dark"] : []) {
    await alone.emulateMedia({ colorScheme: theme });
    await alone.screenshot({ path: join(pictures, `report-${theme}.png`), fullPage: true });
  }
  await context.close();
});
