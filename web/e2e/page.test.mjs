// The page in a browser, against a mock cluster: what a person does, and what breaks meanwhile.

import assert from "node:assert/strict";
import { test } from "node:test";
import { field, frames, placeOfList, say, setUp, signIn, still, until, withPage as withMockPage } from "./lib.mjs";

const shared = setUp();
let cluster;

function withPage(run, { name = "alice", viewport = { width: 1280, height: 800 } } = {}) {
  const body = (page, made, context) => {
    cluster = made;
    return run(page, context);
  };
  return withMockPage(shared, body, { name, options: { viewport } });
}

const room = (page, name) => page.getByRole("link", { name: new RegExp(`^${name}`) });

const place = (name) => cluster.state.places.find((each) => each.room === name);

test("two browsers talk, with typing, edits, reactions and deletions", () =>
  withPage(async (page, context) => {
    const other = await (await shared.chromium.newContext()).newPage();
    await signIn(other, cluster.nodes[3].url, "bruno");
    await room(page, "lobby").click();
    await room(other, "lobby").click();
    await field(other).pressSequentially("hm");
    await page.getByText("Bruno Keller is typing…").waitFor();
    await field(other).fill("");
    await say(page, "Hello **Bruno**");
    await other.locator("article", { hasText: "Hello Bruno" }).waitFor();
    assert.equal(await other.locator(".body strong", { hasText: "Bruno" }).count(), 1);
    await field(page).press("ArrowUp");
    await field(page).fill("Hello all");
    await field(page).press("Enter");
    await other.locator("article", { hasText: "Hello all" }).waitFor();
    const message = other.locator("article", { hasText: "Hello all" });
    await message.hover();
    await message.getByRole("button", { name: "Add reaction: 👍" }).click();
    await page.getByRole("button", { name: "👍: 1 person" }).waitFor();
    const own = page.locator("article", { hasText: "Hello all" });
    await own.hover();
    await own.getByRole("button", { name: "More actions" }).click();
    await page.getByRole("menuitem", { name: "Delete for everyone" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete for everyone" }).click();
    await other.locator("article", { hasText: "This message was deleted." }).waitFor();
    await other.context().close();
    assert.ok(context);
  }));

test("unread messages, mentions and the unread line", () =>
  withPage(async (page) => {
    await room(page, "shipping").waitFor();
    assert.match(await page.title(), /^\(\d\) /);
    await room(page, "lobby").click();
    await page.getByRole("separator", { name: "New messages" }).waitFor();
    await until("read on the node", () => place("lobby").read.get(1) === place("lobby").messages.length);
    await until("title without a count", async () => !/^\(/.test(await page.title()));
  }));

test("history scrolls to its beginning, and the place stays", () =>
  withPage(async (page) => {
    const { state } = cluster;
    const lobby = place("lobby");
    const [alice, bruno] = state.people;
    for (let n = 0; n < 900; n += 1) state.post(lobby, n % 7 ? bruno : alice, `Filler ${n}`);
    await room(page, "lobby").click();
    const list = page.locator(".list");
    await page.locator("article").first().waitFor();
    let steps = 0;
    while ((await page.getByText("This is the beginning of #lobby.").count()) === 0) {
      assert.ok((steps += 1) < 200, "the beginning was not reached");
      await list.evaluate((element) => element.scrollBy(0, -1500));
      await frames(page);
      assert.ok((await page.locator("article").count()) < 260, "the document grows");
    }
    await page.getByText("Good morning! The new page").waitFor();
    const firsts = await page.locator("article").evaluateAll((rows) => rows.map((row) => Number(row.dataset.sequence)));
    assert.deepEqual(firsts, firsts.map((_, index) => firsts[0] + index), "in order, without a gap");
    await page.getByRole("button", { name: /newest message|new message/ }).click();
    await page.locator("article", { hasText: "Filler 899" }).waitFor();
  }));

test("what the reader looks at stays where it is when messages come", () =>
  withPage(async (page) => {
    const { state } = cluster;
    const [, bruno] = state.people;
    for (let n = 0; n < 200; n += 1) state.post(place("lobby"), bruno, `Filler ${n}`);
    await room(page, "lobby").click();
    await page.getByText("Filler 0", { exact: true }).waitFor();
    await page.locator(".list").evaluate((element) => element.scrollBy(0, 400));
    await still(page, placeOfList);
    const place1 = await page.locator("article").evaluateAll((rows) => {
      const row = rows.find((each) => each.getBoundingClientRect().top > 200);
      return [row.dataset.sequence, row.getBoundingClientRect().top];
    });
    const known = page.locator(".pill-bottom");
    const told = await known.textContent();
    for (let n = 0; n < 30; n += 1) state.post(place("lobby"), bruno, `Later ${n}`);
    // The page has them when it counts them.
    await until("counted", async () => (await known.textContent()) !== told);
    await still(page, placeOfList);
    const top = await page.locator(`[data-sequence="${place1[0]}"]`).evaluate((row) => row.getBoundingClientRect().top);
    assert.ok(Math.abs(top - place1[1]) < 2, `moved by ${top - place1[1]}`);
  }));

test("a search leads to the message in its conversation", () =>
  withPage(async (page) => {
    const { state } = cluster;
    const [alice, bruno] = state.people;
    state.post(place("lobby"), alice, "The needle is here");
    for (let n = 0; n < 300; n += 1) state.post(place("lobby"), bruno, `Hay ${n}`);
    await page.keyboard.press("Control+Shift+f");
    await page.getByRole("searchbox").fill("needle");
    await page.getByRole("searchbox").press("Enter");
    await page.getByRole("link", { name: /The needle is here/ }).click();
    const found = page.locator("article.message-focused", { hasText: "The needle is here" });
    await found.waitFor();
    assert.ok(await found.evaluate((row) => row.getBoundingClientRect().top > 0 && row.getBoundingClientRect().bottom < innerHeight));
  }));

test("rooms are made, found and joined; people are written to", () =>
  withPage(async (page) => {
    await page.getByRole("button", { name: "Browse rooms" }).first().click();
    await page.getByLabel("Name", { exact: true }).fill("garden");
    await page.getByLabel("Topic").fill("Plants");
    await page.getByRole("button", { name: "Create", exact: true }).click();
    await page.getByRole("heading", { name: "garden" }).waitFor();
    await say(page, "First");
    await until("sent", () => place("garden").messages.length === 1);
    await page.getByRole("button", { name: "Browse rooms" }).first().click();
    await page.getByRole("button", { name: "Join #kitchen" }).click();
    await page.getByRole("heading", { name: "kitchen" }).waitFor();
    await page.keyboard.press("Control+k");
    await page.keyboard.type("chia");
    await page.getByRole("option", { name: /Chiara/ }).waitFor();
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Chiara" }).waitFor();
    await say(page, "Hello Chiara");
    await page.waitForURL(/\/c\/\d+$/);
    await page.locator("article", { hasText: "Hello Chiara" }).waitFor();
  }));

test("drafts stay with their conversation and through a reload", () =>
  withPage(async (page) => {
    await room(page, "lobby").click();
    await field(page).fill("half a sentence");
    await room(page, "incidents").click();
    assert.equal(await field(page).inputValue(), "");
    await page.reload();
    await room(page, "lobby").click();
    assert.equal(await field(page).inputValue(), "half a sentence");
    // An answer is an answer after a reload, too.
    const message = page.locator("article", { hasText: "No hurry" });
    await message.hover();
    await message.getByRole("button", { name: "Reply" }).click();
    await field(page).fill("half an answer");
    await page.reload();
    await page.getByText("Reply to Chiara").waitFor();
    await field(page).press("Enter");
    await page.locator("article.stored", { hasText: "half an answer" }).locator(".quote", { hasText: "No hurry" }).waitFor();
  }));

test("tabs share one stream, and the outbox survives the tab that sends", () =>
  withPage(async (page, context) => {
    await room(page, "lobby").click();
    const second = await context.newPage();
    await second.goto(`${cluster.nodes[0].url}/c/1`);
    await second.locator("article", { hasText: "No hurry" }).waitFor();
    await until("one stream", () => cluster.state.listeners.size === 1);
    await say(page, "from the first tab");
    await second.locator("article", { hasText: "from the first tab" }).waitFor();
    for (const node of cluster.nodes) node.kill();
    await say(second, "while nothing works 1");
    await say(second, "while nothing works 2");
    await page.close();
    for (const node of cluster.nodes) await node.start();
    await second.locator("article", { hasText: "while nothing works 2" }).locator(".ticks-sent").waitFor({ timeout: 15_000 });
    const texts = place("lobby").messages.map(({ text }) => text).filter((text) => text.startsWith("while"));
    assert.deepEqual(texts, ["while nothing works 1", "while nothing works 2"]);
  }));

test("a full outbox survives a reload", () =>
  withPage(async (page) => {
    await room(page, "lobby").click();
    const before = place("lobby").messages.length;
    for (const node of cluster.nodes.slice(1)) node.kill();
    // The node answers nothing, but serves the page.
    const send = cluster.nodes[0];
    const expected = [];
    await page.route("**/conclave.v1.ChatService/SendMessage", (route) => route.abort());
    for (let n = 0; n < 20; n += 1) {
      expected.push(`queued ${n}`);
      await say(page, `queued ${n}`);
    }
    // What is shown as waiting is stored.
    await page.locator("article", { hasText: "queued 19" }).waitFor();
    await page.unroute("**/conclave.v1.ChatService/SendMessage");
    await page.reload();
    await until("all sent", () => place("lobby").messages.length >= before + 20);
    // What would be sent twice would be waiting still.
    await until("nothing waits", async () => (await page.locator(".ticks-waiting").count()) === 0);
    await page.locator("article.stored", { hasText: "queued 19" }).waitFor();
    assert.deepEqual(place("lobby").messages.slice(before).map(({ text }) => text), expected);
    assert.ok(send.alive);
  }));

test("twenty deaths of the node behind the page lose and double nothing", () =>
  withPage(async (page) => {
    const other = await (await shared.chromium.newContext()).newPage();
    await signIn(other, cluster.nodes[4].url, "bruno");
    await room(page, "lobby").click();
    await room(other, "lobby").click();
    const before = place("lobby").messages.length;
    const outages = [];
    const expected = [];
    for (let round = 0; round < 20; round += 1) {
      await field(page).fill(`typed before death ${round}`);
      const node = Number((await page.locator(".link-live").textContent()).replace(/\D/g, ""));
      cluster.nodes[node - 1].kill();
      const died = Date.now();
      assert.equal(await field(page).inputValue(), `typed before death ${round}`);
      await field(page).press("Enter");
      expected.push(`typed before death ${round}`);
      await until("another node", async () => {
        const text = await page.locator(".link").textContent();
        return text.startsWith("Node") && Number(text.replace(/\D/g, "")) !== node;
      });
      outages.push(Date.now() - died);
      await until("sent", () => place("lobby").messages.length === before + round + 1);
      await cluster.nodes[node - 1].start();
    }
    outages.sort((one, two) => one - two);
    console.log(`outage: median ${outages[10]} ms, worst ${outages.at(-1)} ms`);
    assert.ok(outages[10] < 1000 && outages.at(-1) < 2000);
    assert.deepEqual(place("lobby").messages.slice(before).map(({ text }) => text), expected);
    for (const each of [page, other]) {
      await each.locator("article", { hasText: "typed before death 19" }).waitFor();
      const shown = await each.locator("article .body").allTextContents();
      assert.deepEqual(shown.filter((text) => text.startsWith("typed before")), expected);
    }
    assert.equal(await page.getByRole("button", { name: "Sign in" }).count(), 0);
    await other.context().close();
  }));

test("a refused message says why, and can be discarded", () =>
  withPage(async (page) => {
    await room(page, "lobby").click();
    await say(page, "refuse me");
    const row = page.locator("article", { hasText: "refuse me" });
    await row.getByText("the account has blocked you").waitFor();
    await row.getByRole("button", { name: "Discard" }).click();
    await until("gone", async () => (await row.count()) === 0);
  }));

test("a first message that is refused stays where it was written, until it is discarded", () =>
  withPage(async (page) => {
    await room(page, "lobby").click();
    await say(page, "/msg chiaar are you\nthere?");
    await page.waitForURL(/\/c\/@chiaar$/);
    const row = page.locator("article", { hasText: "are you" });
    await row.getByText("Not sent: there is no such account").waitFor();
    // The list of conversations leads to it, after a reload, too.
    await page.goto(`${cluster.nodes[0].url}/c/1`);
    await page.getByRole("link", { name: /^chiaar/ }).click();
    await row.getByText("Not sent: there is no such account").waitFor();
    await row.getByRole("button", { name: "Send again" }).click();
    await row.getByText("Not sent: there is no such account").waitFor();
    await row.getByRole("button", { name: "Discard" }).click();
    await row.waitFor({ state: "detached" });
    await page.getByRole("link", { name: /^chiaar/ }).waitFor({ state: "detached" });
    // Without a name it is no message; what was typed stays in the field.
    await say(page, "/msg ch!ara hello");
    await page.getByText("Write a name and a text: /msg name text").waitFor();
    assert.equal(await field(page).inputValue(), "/msg ch!ara hello");
    // A refused one is still there when the other person opens the conversation.
    await field(page).fill("");
    await say(page, "/msg chiara refuse me");
    await page.waitForURL(/\/c\/@chiara$|\/c\/\d+$/);
    await page.locator("article", { hasText: "refuse me" }).getByText("the account has blocked you").waitFor();
    const [alice, , chiara] = cluster.state.people;
    cluster.state.post(cluster.state.direct(alice, chiara), chiara, "Sorry, now you can");
    await page.waitForURL(/\/c\/\d+$/);
    await page.locator("article.stored", { hasText: "Sorry, now you can" }).waitFor();
    const refused = page.locator("article", { hasText: "refuse me" });
    await refused.getByRole("button", { name: "Discard" }).click();
    await refused.waitFor({ state: "detached" });
  }));

test("what was typed to one new person is not typed to the next, and stays with the first", () =>
  withPage(async (page) => {
    const to = async (name) => {
      await page.keyboard.press("Control+k");
      await page.getByRole("combobox").fill(name);
      await page.getByRole("option", { name: new RegExp(name, "i") }).first().waitFor();
      await page.keyboard.press("Enter");
      await page.getByRole("heading", { name: new RegExp(name, "i") }).waitFor();
    };
    await to("chiara");
    await field(page).fill("for Chiara alone");
    await to("dev.ops");
    assert.equal(await field(page).inputValue(), "");
    await field(page).fill("for Dev");
    await page.reload();
    await page.getByRole("heading", { name: "dev.ops" }).waitFor();
    assert.equal(await field(page).inputValue(), "for Dev");
    await to("chiara");
    assert.equal(await field(page).inputValue(), "for Chiara alone");
    // Chiara writes first: the draft goes along into the conversation.
    const [alice, , chiara] = cluster.state.people;
    cluster.state.post(cluster.state.direct(alice, chiara), chiara, "Hello Alice");
    await page.waitForURL(/\/c\/\d+$/);
    await page.locator("article", { hasText: "Hello Alice" }).waitFor();
    assert.equal(await field(page).inputValue(), "for Chiara alone");
  }));

test("signing out asks before messages are lost", () =>
  withPage(async (page) => {
    const signOut = async () => {
      await page.getByRole("button", { name: /^Your account/ }).click();
      await page.getByRole("menuitem", { name: "Sign out" }).click();
    };
    await room(page, "lobby").click();
    await say(page, "refuse me");
    const row = page.locator("article", { hasText: "refuse me" });
    await row.getByText("the account has blocked you").waitFor();
    await signOut();
    const dialog = page.getByRole("dialog");
    await dialog.getByText("1 message was not sent yet. It is lost if you sign out.").waitFor();
    await dialog.getByRole("button", { name: "Cancel" }).click();
    await row.waitFor();
    await signOut();
    await dialog.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("button", { name: "Sign in" }).waitFor();
    // Without such a message nothing is asked.
    await signIn(page, cluster.nodes[0].url, "alice");
    await signOut();
    await page.getByRole("button", { name: "Sign in" }).waitFor();
    assert.equal(await dialog.count(), 0);
  }));

test("another cluster at the same address gets nothing of what waited for the first", () =>
  withPage(async (page) => {
    await room(page, "lobby").click();
    await say(page, "refuse me");
    const row = page.locator("article", { hasText: "refuse me" });
    await row.getByText("the account has blocked you").waitFor();
    await field(page).fill("half a sentence");
    await page.reload();
    await row.waitFor();
    assert.equal(await field(page).inputValue(), "half a sentence");
    // There, the account with this number was made at another time.
    cluster.state.people[0].createdAtMs += 1;
    await page.reload();
    await page.locator("article", { hasText: "No hurry" }).waitFor();
    assert.equal(await row.count(), 0);
    assert.equal(await field(page).inputValue(), "");
  }));

test("a part of the page that cannot be read says so, and a reload reads it", () =>
  withMockPage(
    shared,
    async (page, _, context) => {
      const parts = /\/assets\/(Rooms|Search|Settings)-/;
      await context.route(parts, (route) => route.abort());
      const failed = page.getByRole("alert").filter({ hasText: "This part of the page could not be read." });
      await page.keyboard.press("Control+Shift+f");
      await failed.getByRole("button", { name: "Reload" }).waitFor();
      await page.getByRole("button", { name: "Browse rooms" }).first().click();
      await failed.waitFor();
      await context.unroute(parts);
      await failed.getByRole("button", { name: "Reload" }).click();
      await page.getByRole("heading", { name: "Create a room" }).waitFor();
      await page.keyboard.press("Control+Shift+f");
      await page.getByRole("searchbox").waitFor();
    },
    // A worker would have the parts.
    { options: { serviceWorkers: "block" } },
  ));

test("what is forgotten vanishes, and is not asked for again", () =>
  withPage(async (page) => {
    const { state } = cluster;
    const [alice, bruno] = state.people;
    const lobby = place("lobby");
    const first = lobby.messages.length + 1;
    for (let n = 0; n < 400; n += 1) state.post(lobby, bruno, `Filler ${n}`, { replyTo: n === 399 ? first : 0 });
    // A search shows results, and a reader who came from it stands in the middle.
    await page.keyboard.press("Control+Shift+f");
    await page.getByRole("searchbox").fill("filler");
    await page.getByRole("searchbox").press("Enter");
    await page.locator(".found li").first().waitFor();
    const found = await page.locator(".found li").count();
    state.forget(lobby, first + 389);
    await until("fewer results", async () => (await page.locator(".found li").count()) === 10);
    assert.ok(found > 10);
    for (let n = 400; n < 700; n += 1) state.post(lobby, bruno, `Filler ${n}`);
    await room(page, "lobby").click();
    const list = page.locator(".list");
    await page.getByText("Filler 390", { exact: true }).waitFor();
    await page.getByText("Older messages are no longer kept.").waitFor();
    await page.locator("article", { hasText: "Filler 399" }).getByText("The original message is no longer kept.").waitFor();
    // Further ones go while they are on the screen; those that are left stay.
    state.forget(lobby, first + 394);
    await until("gone", async () => (await page.getByText("Filler 394", { exact: true }).count()) === 0);
    await page.getByText("Filler 395", { exact: true }).waitFor();
    assert.equal(await page.getByText("This is the beginning of #lobby.").count(), 0);
    const { pages } = state;
    for (let times = 0; times < 20; times += 1) {
      await list.evaluate((element) => element.scrollBy(0, -2000));
      await frames(page);
      await list.evaluate((element) => element.scrollBy(0, 300));
      await frames(page);
    }
    assert.equal(state.pages, pages, "the top asks for nothing");
    // All of what was unread is gone; what comes then is counted alone.
    await room(page, "shipping").click();
    await page.locator("article", { hasText: "Point 24 of the list" }).waitFor();
    for (let n = 0; n < 3; n += 1) state.post(lobby, bruno, `Late ${n}`);
    const unread = page.getByRole("link", { name: /^lobby.* unread/ });
    await unread.waitFor();
    state.forget(lobby, lobby.messages.length);
    await unread.waitFor({ state: "detached" });
    state.post(lobby, bruno, "After all that");
    await room(page, "lobby").click();
    await page.locator("article", { hasText: "After all that" }).waitFor();
    assert.equal(await page.locator("article").count(), 1);
    await until("read on the node", () => lobby.read.get(alice.id) === lobby.messages.length);
    // An address of a message that is gone says so.
    await page.goto(`${cluster.nodes[0].url}/c/${lobby.id}/${first}`);
    await page.getByText("This message is no longer kept.").waitFor();
    await page.locator("article", { hasText: "After all that" }).waitFor();
  }));

test("an owner sees and sets what a room keeps", () =>
  withPage(async (page) => {
    await room(page, "lobby").click();
    await page.getByRole("button", { name: /^Details/ }).click();
    await page.getByText("Messages are kept without a limit.").waitFor();
    await page.getByRole("button", { name: "Change what is kept" }).click();
    await page.getByLabel("Longest age of a message").selectOption("30 days");
    await page.getByLabel("Number of messages").selectOption("1000");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Messages are kept for 30 days, the newest 1000 at most.").waitFor();
    assert.deepEqual(place("lobby").keep, { ageMs: 30n * 86_400_000n, messages: 1000n });
    await room(page, "shipping").click();
    await page.getByText("Messages are kept without a limit.").waitFor();
    assert.equal(await page.getByRole("button", { name: "Change what is kept" }).count(), 0, "a member sets nothing");
  }));
