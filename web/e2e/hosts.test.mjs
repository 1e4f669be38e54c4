// Nodes under several host names, of which a browser keeps the cookies apart.
//
// Names below one domain are one site: a ticket brings the session to each. Bare addresses are each a
// site of their own: there the page shows the way to the other node. The second part needs real nodes.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { dist, field, fromDist, root, say, setUp, signIn, until, watch } from "./lib.mjs";

const program = process.env.CONCLAVE ?? join(root, "../target/debug/conclave");
const skip = existsSync(program) ? false : `there is no ${program}`;

const shared = setUp();

test("a session comes to names below one domain by tickets, and fail-over needs no sign-in", async () => {
  const cluster = await shared.make.startMock(dist, 3, (id) => `n${id}.chat.localhost`);
  shared.make.tell(cluster.state);
  const { nodes, state } = cluster;
  const context = await shared.chromium.newContext();
  const page = await context.newPage();
  const problems = watch(page);
  try {
    await signIn(page, nodes[0].url, "alice");
    await until("a cookie for each name", async () => (await context.cookies()).length === 3);
    assert.equal(state.tickets.size, 0, "each ticket was used");
    for (const { httpOnly, sameSite } of await context.cookies()) assert.deepEqual([httpOnly, sameSite], [true, "Strict"]);
    await page.getByRole("link", { name: /^lobby/ }).click();
    for (const dead of [0, 1]) {
      nodes[dead].kill();
      await say(page, `after the death of ${dead + 1}`);
      await page.locator("article.stored", { hasText: `after the death of ${dead + 1}` }).waitFor();
    }
    await page.getByText("Node 3", { exact: true }).waitFor();
    assert.equal(new URL(page.url()).host, new URL(nodes[0].url).host, "the page stays where it is");
    assert.deepEqual(state.places[0].messages.map(({ text }) => text).filter((text) => text.startsWith("after")), ["after the death of 1", "after the death of 2"]);
    assert.deepEqual(problems, []);
  } finally {
    await context.close();
    cluster.stop();
  }
});

test("a page on a bare address or on localhost, with real nodes", { skip, timeout: 180_000 }, async (context) => {
  const directory = mkdtempSync(join(tmpdir(), "conclave-hosts-"));
  const base = 17_800;
  const hosts = ["127.0.0.1", "127.0.0.1", "127.0.0.2"];
  const client = (id) => `${hosts[id - 1]}:${base + id * 10}`;
  const members = [1, 2, 3].map((id) => `${id}=127.0.0.1:${base + id * 10 + 1}/${client(id)}`).join(",");
  const secret = join(directory, "secret");
  const running = new Map();
  const start = (id) => {
    const args = ["serve", "--node", id, "--members", members, "--secret-file", secret, "--data", join(directory, `node-${id}`), "--plain", "--unsafe-no-sync"];
    args.push("--client-address", client(id), "--peer-address", `127.0.0.1:${base + id * 10 + 1}`);
    const child = spawn(program, args.map(String), { stdio: "ignore", env: { ...process.env, HOME: directory, XDG_CONFIG_HOME: directory } });
    running.set(id, child);
  };
  const kill = (id) => running.get(id)?.kill("SIGKILL");
  const made = spawn(program, ["token", "secret"], { env: { ...process.env, HOME: directory, XDG_CONFIG_HOME: directory } });
  let text = "";
  made.stdout.on("data", (data) => (text += String(data)));
  await new Promise((resolve) => made.once("exit", resolve));
  writeFileSync(secret, text, { mode: 0o600 });
  const answers = (id) => fetch(`http://${client(id)}/page/config.json`).then(({ ok }) => ok, () => false);
  const one = await shared.chromium.newContext(process.env.PAGE_DIST ? { serviceWorkers: "block" } : {});
  if (process.env.PAGE_DIST) await fromDist(one);
  const page = await one.newPage();
  const problems = watch(page);
  page.setDefaultTimeout(20_000);
  try {
    for (const id of [1, 2, 3]) start(id);
    await until("three nodes serve", async () => (await Promise.all([1, 2, 3].map(answers))).every(Boolean), 30_000);

    await context.test("nodes on one machine share localhost", async () => {
      await page.goto(`http://localhost:${base + 10}/`);
      await page.getByRole("button", { name: "Create an account" }).click();
      await page.getByLabel("Name", { exact: true }).fill("alice");
      await page.getByLabel("Password", { exact: true }).fill("a long password");
      await page.getByRole("button", { name: "Create account" }).click();
      await page.locator(".link-live").waitFor();
      await page.getByRole("button", { name: "Browse rooms" }).first().click();
      await page.getByRole("textbox", { name: "Name", exact: true }).fill("lobby");
      await page.getByRole("button", { name: "Create", exact: true }).click();
      await page.getByRole("heading", { name: "lobby" }).waitFor();
      await say(page, "from node 1");
      await page.locator("article.stored", { hasText: "from node 1" }).waitFor();
      kill(1);
      await page.getByText("Node 2", { exact: true }).waitFor();
      await say(page, "from node 2");
      await page.locator("article.stored", { hasText: "from node 2" }).waitFor();
      assert.equal(await page.getByRole("button", { name: "Sign in" }).count(), 0);
      start(1);
      await until("node 1 serves", () => answers(1), 30_000);
    });

    await context.test("to a node on another bare address, the page shows the way", async () => {
      await page.goto(`http://${client(3)}/`);
      await page.getByLabel("Name", { exact: true }).fill("alice");
      await page.getByLabel("Password", { exact: true }).fill("a long password");
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.getByRole("link", { name: /^lobby/ }).click();
      await page.locator("article.stored", { hasText: "from node 2" }).waitFor();
      await say(page, "from node 3");
      await page.locator("article.stored", { hasText: "from node 3" }).waitFor();
      const path = new URL(page.url()).pathname;
      kill(3);
      await page.getByText("Open this page at").waitFor();
      await page.getByRole("link", { name: client(2) }).click();
      await page.waitForURL(`http://${client(2)}${path}`);
      // The session of localhost is another host's cookie: here one signs in.
      await page.getByLabel("Name", { exact: true }).fill("alice");
      await page.getByLabel("Password", { exact: true }).fill("a long password");
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.locator("article.stored", { hasText: "from node 3" }).waitFor();
    });
    assert.deepEqual(problems, []);
  } finally {
    await one.close();
    for (const child of running.values()) child.kill("SIGKILL");
    await new Promise((resolve) => setTimeout(resolve, 200));
    rmSync(directory, { recursive: true, force: true });
  }
});
