// Does with `buf curl` what docs/protocol.md says a client can do; see `run`. The program knows no
// protocol of ours: it asks the nodes for it by reflection.
//
// Takes the nodes as `common.mjs` does.

import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createRequire } from "node:module";
import { promisify } from "node:util";

import { ENDPOINTS, PATIENCE_MS, failures, followOverAKill, repeat, waitUntilAllServe } from "./common.mjs";

// The program itself: what npm has in `.bin` starts it as a child, which outlives it when killed.
const require = createRequire(`${process.env.CONCLAVE_MODULES}/`);
const BUF = require.resolve(`@bufbuild/buf-${process.platform}-${process.arch}/bin/buf`);
const { fail, expect } = failures("buf curl");
const PREFIX = `buf${Date.now() % 1e9}`;
// Each call is a process: fewer than with the other clients.
const MESSAGES = 24;
const KILL_AFTER = 8;
const HOW = ["curl", "--protocol", "grpc", "--http2-prior-knowledge"];

const run = promisify(execFile);

function words(endpoint, method, request, token) {
  const header = token ? ["-H", `authorization: Bearer ${token}`] : [];
  return [...HOW, ...header, "-d", JSON.stringify(request), `http://${endpoint}/${method}`];
}

async function once(endpoint, method, request, token) {
  const limit = { timeout: 20_000, killSignal: "SIGKILL" };
  const { stdout } = await run(BUF, words(endpoint, method, request, token), limit);
  return stdout.trim() === "" ? {} : JSON.parse(stdout);
}

// Repeats a call, on one node after the other, until it has an answer.
async function again(method, request, token) {
  const told = (error) => `${error.stderr ?? ""}${error.stdout ?? ""}`;
  const open = /unavailable|deadline_exceeded|resource_exhausted|unknown/i;
  return repeat(
    (attempt) => once(ENDPOINTS[attempt % ENDPOINTS.length], method, request, token),
    (error) => open.test(told(error)) || error.killed,
    (error) => fail(`${method}: ${told(error) || error}`),
  );
}

// What a node says of itself, unless it is that it serves.
async function health(endpoint) {
  const answer = await once(endpoint, "grpc.health.v1.Health/Check", {});
  return answer.status === "SERVING" ? "" : JSON.stringify(answer);
}

async function person(name) {
  const full = `${PREFIX}-${name}`;
  const id = randomBytes(16).toString("base64");
  const account = { name: full, password: "correct horse", request_id: id };
  const made = await again("conclave.v1.AccountService/CreateAccount", account);
  const retried = await again("conclave.v1.AccountService/CreateAccount", account);
  expect(made.id && made.id === retried.id, "a retried sign-up made another account");
  const login = { name: full, password: "correct horse" };
  const session = await again("conclave.v1.SessionService/OpenSession", login);
  return { name: full, token: session.token, number: 0 };
}

// Subscribes at a node until the stream ends or everything has come; gives the last token.
function stream(by, node, token, seen, onMessage) {
  const asked = token ? { resume_token: token } : { from_beginning: true };
  const method = "conclave.v1.LiveService/Subscribe";
  const request = { ...asked, heartbeat_ms: 1000 };
  const child = spawn(BUF, words(ENDPOINTS[node], method, request, by.token), {
    stdio: ["ignore", "pipe", "ignore"],
  });
  let last = token;
  let text = "";
  child.stdout.on("data", (more) => {
    text += more;
    // Each answer is an object over several lines, which ends with a brace of its own.
    let end;
    while ((end = text.search(/^}$/m)) >= 0) {
      const answer = JSON.parse(text.slice(0, end + 1));
      text = text.slice(end + 1);
      for (const event of answer.events ?? []) {
        if (!event.messageSent) continue;
        seen.push(event.messageSent.text);
        onMessage();
      }
      last = answer.resumeToken;
      if (seen.length >= MESSAGES) child.kill("SIGKILL");
    }
  });
  return new Promise((resolve) => child.on("close", () => resolve(last)));
}

const limit = setTimeout(() => fail("it took too long"), 2 * PATIENCE_MS);
await waitUntilAllServe(health, fail);
const [alice, bob] = [await person("alice"), await person("bob")];
const wrong = { name: alice.name, password: "wrong horse" };
const refusal = await once(ENDPOINTS[0], "conclave.v1.SessionService/OpenSession", wrong).then(
  () => "",
  (error) => `${error.stderr}`,
);
expect(refusal.includes("unauthenticated"), `a wrong password: ${refusal}`);
const sent = Array.from({ length: MESSAGES }, (_, number) => `message ${number}`);
const talking = (async () => {
  for (const text of sent) {
    alice.number += 1;
    const request = { number: alice.number, nonce: 7 };
    const message = { request, recipient_name: bob.name, text };
    const method = "conclave.v1.ChatService/SendMessage";
    const first = await again(method, message, alice.token);
    if (alice.number % 8 !== 0) continue;
    const second = await again(method, message, alice.token);
    expect(first.sequence === second.sequence, "a retry was another message");
  }
})();
const seen = await followOverAKill({
  stream: (node, token, seen, onMessage) => stream(bob, node, token, seen, onMessage),
  token: "",
  count: MESSAGES,
  killAfter: KILL_AFTER,
  fail,
});
expect(seen.join() === sent.join(), `the stream has a gap or told something twice: ${seen}`);
await talking;
const paged = [];
let after = "0";
while (paged.length < MESSAGES) {
  const list = { peer_name: alice.name, page_size: 10, after_sequence: after };
  const page = await again("conclave.v1.ChatService/ListMessages", list, bob.token);
  expect(page.pageSize === 10 && page.messages?.length > 0, "a page is missing");
  paged.push(...page.messages.map((message) => message.text));
  after = page.nextAfterSequence;
}
expect(paged.join() === sent.join(), "pages are not what was sent");
clearTimeout(limit);
const version = (await run(BUF, ["--version"])).stdout.trim();
console.log(`buf curl ${version}: ${MESSAGES} messages streamed over a killed node, each once`);
process.exit(0);
