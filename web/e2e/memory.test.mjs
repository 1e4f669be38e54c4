// Memory while messages come for a long time: what the page keeps does not grow.
//
// Shortened to some thousand messages. PAGE_MINUTES=60 takes one message a second for an hour.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setUp, until, withPage } from "./lib.mjs";

const minutes = Number(process.env.PAGE_MINUTES ?? 0);
const ROUNDS = 8;
const PER_ROUND = minutes > 0 ? Math.ceil((minutes * 60) / ROUNDS) : 700;
const PAUSE_MS = minutes > 0 ? 1000 : 0;
/** Rounds before the first measurement: the page fills what it keeps. */
const WARM = 5;

const shared = setUp();
const viewport = { width: 1280, height: 800 };

const all = { timeout: minutes * 90_000 + 300_000 };
test("memory stays flat while messages come", all, () => withPage(shared, flat, { nodes: 1, options: { viewport } }));

async function flat(page, { state, nodes: [node] }) {
  const [alice, bruno] = state.people;
  const [lobby, ship] = state.places;
  await page.goto(`${node.url}/c/${lobby.id}`);
  await page.locator("article").first().waitFor();
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Performance.enable");
  const measured = [];
  let count = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    for (let n = 0; n < PER_ROUND; n += 1) {
      count += 1;
      // Half of them where the reader is not; some with what costs most.
      const place = count % 2 ? lobby : ship;
      const message = state.post(place, count % 5 ? bruno : alice, `Message ${count} with **some** words and \`code\` @alice`);
      if (count % 7 === 0) {
        message.text += ", edited";
        state.publish([...place.members.keys()], "messageEdited", { place, message });
      }
      if (PAUSE_MS > 0) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      else if (count % 50 === 0) await page.locator("article", { hasText: `Message ${count % 2 ? count : count - 1} ` }).waitFor();
    }
    const last = lobby.messages.at(-1).text.split(" ")[1];
    await page.locator("article", { hasText: `Message ${last} ` }).waitFor();
    // Messages that came faster than they were painted are unread until the reader says otherwise.
    await page.keyboard.press("Escape");
    await until("read", () => lobby.read.get(alice.id) === lobby.messages.length);
    await devtools.send("HeapProfiler.collectGarbage");
    const { metrics } = await devtools.send("Performance.getMetrics");
    const metric = (name) => metrics.find((each) => each.name === name).value;
    measured.push({ messages: count, heap: metric("JSHeapUsedSize"), nodes: metric("Nodes"), listeners: metric("JSEventListeners") });
  }
  for (const { messages, heap, nodes, listeners } of measured) {
    console.log(`${messages} messages: ${(heap / 2 ** 20).toFixed(1)} MiB, ${nodes} nodes, ${listeners} listeners`);
  }
  const [first, last] = [measured[WARM], measured.at(-1)];
  assert.ok(last.heap - first.heap < 0.5 * 2 ** 20, "the heap grows");
  assert.ok(last.nodes <= first.nodes * 1.3 + 200, "the document grows");
  assert.ok(last.listeners <= first.listeners * 1.3 + 100, "listeners stay behind");
}
