// The page of the cluster: what an operator does there, and where the credential is not.

import assert from "node:assert/strict";
import { test } from "node:test";
import { dist, setUp, signIn, until, watch } from "./lib.mjs";

const shared = setUp();

test("an operator acts on the page, and the credential stays in its memory", async () => {
  const cluster = await shared.make.startMock(dist);
  shared.make.tell(cluster.state);
  const context = await shared.chromium.newContext();
  const page = await context.newPage();
  const problems = watch(page);
  const shown = [];
  // What is asked while the page closes can be asked for nothing more: so at once, without a wait.
  page.on("request", (request) => {
    const headers = request.headers();
    if (headers.authorization) shown.push([new URL(request.url()).origin, headers.authorization]);
  });
  try {
    await signIn(page, cluster.nodes[0].url, "alice");
    await page.goto(`${cluster.nodes[0].url}/cluster`);
    await page.getByRole("heading", { name: "All nodes work" }).waitFor();
    await page.getByText("Node 1 leads in term 3").waitFor();
    await page.getByRole("img", { name: /^Commit latency: median 2\.1 ms, 99 % 7\.4 ms/ }).waitFor();
    // Without the credential there is the command and no button.
    const menu = (node) => page.getByRole("button", { name: `Actions for node ${node}` });
    const dialog = page.getByRole("dialog");
    await menu(3).click();
    await page.getByRole("menuitem", { name: "Make node 3 the leader" }).click();
    await dialog.getByText("conclave cluster transfer-leader --to 3").waitFor();
    assert.equal(await dialog.getByRole("button", { name: "Do it" }).count(), 0);
    await dialog.getByLabel("Operator's credential").fill(`conclave-operator-1.${"x".repeat(43)}`);
    await dialog.getByRole("button", { name: "Use it here" }).click();
    await page.getByText("The request shows no credential of an operator.").waitFor();
    assert.equal(await dialog.getByLabel("Operator's credential").inputValue(), "", "nothing stays in the field");
    await dialog.getByLabel("Operator's credential").fill(` ${shared.make.OPERATOR} `);
    await dialog.getByRole("button", { name: "Use it here" }).click();
    await dialog.getByRole("button", { name: "Do it" }).click();
    await page.getByText("Node 3 leads now.").waitFor();
    await page.locator(".node-leader", { hasText: "Node 3" }).waitFor();
    // A removal says what it costs, and asks for the number.
    await menu(2).click();
    await page.getByRole("menuitem", { name: "Remove node 2" }).click();
    await dialog.getByText("Now 2 more nodes may fail; afterwards 1.").waitFor();
    assert.ok(await dialog.getByRole("button", { name: "Do it" }).isDisabled());
    await dialog.getByLabel("Type 2 to confirm").fill("2");
    await dialog.getByRole("button", { name: "Do it" }).click();
    await until("removed", () => cluster.state.changes.length === 1);
    assert.deepEqual(cluster.state.changes, ["removeNodeId 2"]);
    await page.getByRole("button", { name: "Add a machine" }).click();
    await dialog.getByRole("button", { name: "Make the command" }).click();
    await dialog.getByText("conclave serve --join 10.0.0.1:7401 --token CNC1mock --plain").waitFor();
    await dialog.getByRole("button", { name: "Close" }).last().click();
    await page.getByRole("button", { name: "Check all nodes" }).click();
    await dialog.getByRole("button", { name: "Begin" }).click();
    await dialog.getByText("As the majority").first().waitFor();
    await page.keyboard.press("Escape");
    // It was sent to this node alone, and the browser keeps it nowhere.
    assert.ok(shown.length > 5);
    for (const [origin] of shown) assert.equal(origin, cluster.nodes[0].url);
    const kept = await page.evaluate(async () => {
      const databases = await indexedDB.databases();
      return JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, history.state, location.href, databases]);
    });
    assert.ok(!kept.includes(shared.make.OPERATOR.slice(20)));
    assert.ok(!(await page.content()).includes(shared.make.OPERATOR.slice(20)));
    // It goes with the page: to leave it is enough.
    await page.getByText("You act as an operator").waitFor();
    await page.getByRole("link", { name: /^lobby/ }).click();
    await page.getByRole("heading", { name: "lobby" }).waitFor();
    await page.goBack();
    await page.getByRole("heading", { name: "All nodes work" }).waitFor();
    await page.getByLabel("Operator's credential").waitFor();
    // A file does as well; and a click forgets it.
    const buffer = Buffer.from(`${shared.make.OPERATOR}\n`);
    await page.locator("input[type=file]").setInputFiles({ name: "operator.token", mimeType: "text/plain", buffer });
    await page.getByRole("button", { name: "Forget it now" }).click();
    await page.getByLabel("Operator's credential").waitFor();
    assert.deepEqual(problems, []);
  } finally {
    await context.close();
    cluster.stop();
  }
});

test("a person who is no administrator sees nothing of the machines", async () => {
  const cluster = await shared.make.startMock(dist, 1);
  shared.make.tell(cluster.state);
  const page = await (await shared.chromium.newContext()).newPage();
  const asked = [];
  page.on("request", (request) => asked.push(request.url()));
  try {
    await signIn(page, cluster.nodes[0].url, "bruno");
    await page.goto(`${cluster.nodes[0].url}/cluster`);
    await page.getByText("You are not allowed to see this page.").waitFor();
    assert.deepEqual(asked.filter((url) => url.includes("AdminService")), []);
  } finally {
    await page.context().close();
    cluster.stop();
  }
});
