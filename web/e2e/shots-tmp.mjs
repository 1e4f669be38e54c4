import { mock, dist, browser, signIn, watch } from "/work/wt/web/web/e2e/lib.mjs";
import { mkdirSync } from "node:fs";
const out = "/tmp/shots"; mkdirSync(out, { recursive: true });
const { startMock, tell } = await mock();
const cluster = await startMock(dist); tell(cluster.state);
const b = await browser();
try {
  const page = await b.newPage({ viewport: { width: 1280, height: 800 } });
  page.on("console", (m) => console.log("console", m.type(), m.text().slice(0, 300)));
  page.on("pageerror", (e) => console.log("pageerror", e.stack?.slice(0, 500)));
  await page.goto(cluster.nodes[2].url);
  await page.waitForTimeout(500);
  await page.screenshot({ path: `${out}/sign.png` });
  await signIn(page, cluster.nodes[2].url, "alice");
  await page.getByRole("link", { name: /#lobby/ }).click();
  await page.waitForTimeout(800);
  await page.screenshot({ path: `${out}/lobby.png` });
  console.log("read after view", cluster.state.places[0].read.get(1));
  await page.getByRole("textbox").fill("Hello **team**, @bruno and #kitchen :wave: https://example.org");
  await page.keyboard.press("Enter");
  await page.waitForTimeout(400);
  cluster.nodes[2].kill();
  await page.getByRole("textbox").fill("Sent while the node is dead");
  await page.keyboard.press("Enter");
  await page.waitForTimeout(1000);
  await page.screenshot({ path: `${out}/failover.png` });
  console.log(cluster.state.places[0].messages.slice(-3).map((m) => m.text));
  await page.keyboard.press("Control+k"); await page.keyboard.type("sh"); await page.waitForTimeout(300);
  await page.screenshot({ path: `${out}/switcher.png` });
  await page.keyboard.press("Enter"); await page.waitForTimeout(600);
  await page.getByRole("button", { name: "Details" }).click(); await page.waitForTimeout(500);
  await page.screenshot({ path: `${out}/panel.png` });
  await page.goto(cluster.nodes[0].url + "/cluster"); await page.waitForTimeout(3500);
  await page.screenshot({ path: `${out}/cluster.png` });
  for (const [view, name] of [["/settings", "settings"], ["/rooms", "rooms"], ["/admin", "admin"]]) {
    await page.goto(cluster.nodes[0].url + view); await page.waitForTimeout(700); await page.screenshot({ path: `${out}/${name}.png` });
  }
  await page.emulateMedia({ colorScheme: "dark" });
  await page.goto(cluster.nodes[0].url + "/c/1"); await page.waitForTimeout(800);
  await page.screenshot({ path: `${out}/dark.png` });
  await page.setViewportSize({ width: 360, height: 700 }); await page.waitForTimeout(400);
  await page.screenshot({ path: `${out}/narrow.png` });
  await page.getByRole("button", { name: "Open conversations" }).click(); await page.waitForTimeout(400);
  await page.screenshot({ path: `${out}/drawer.png` });
} catch (e) { console.log("FAILED", e.message.slice(0, 1500)); }
await b.close(); cluster.stop(); process.exit(0);
