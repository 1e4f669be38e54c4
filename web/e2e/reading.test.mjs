// What was read stays read, whatever happens to the nodes and to the page.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setUp, until, withPage } from "./lib.mjs";

const shared = setUp();
const ADVANCE = "**/conclave.v1.ChatService/AdvancePositions";
const kept = (page) => page.evaluate(() => Object.keys(localStorage).filter((key) => key.startsWith("conclave.read.")));

/** Opens the room with unread messages while no node takes positions, and reads it. */
async function readAlone(page, { nodes, state }) {
  const lobby = state.places.find(({ room }) => room === "lobby");
  await page.route(ADVANCE, (route) => route.abort());
  await page.goto(`${nodes[0].url}/c/${lobby.id}`);
  await page.locator("article").last().waitFor();
  await until("the badge is gone", async () => !/^\(/.test(await page.title()));
  assert.equal(lobby.read.get(state.people[0].id), 7, "no node knows it yet");
  return lobby;
}

test("what no node has taken before a reload is told by the next page", () =>
  withPage(shared, async (page, cluster) => {
    const lobby = await readAlone(page, cluster);
    await page.reload();
    await page.unroute(ADVANCE);
    await until("read on the node", () => lobby.read.get(cluster.state.people[0].id) === lobby.messages.length);
    await until("no mark is left", async () => (await kept(page)).length === 0);
  }));

test("signing out leaves nothing of what was read", () =>
  withPage(shared, async (page, cluster) => {
    await readAlone(page, cluster);
    await page.evaluate(() => dispatchEvent(new Event("pagehide")));
    assert.equal((await kept(page)).length, 1);
    await page.getByRole("button", { name: "Your account" }).click();
    await page.getByRole("menuitem", { name: "Sign out" }).click();
    await page.getByLabel("Password", { exact: true }).waitFor();
    assert.deepEqual(await kept(page), []);
  }));
