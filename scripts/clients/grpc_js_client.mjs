// Does with grpc-js what docs/protocol.md says a client can do; see `run`.
//
// Takes the protocol from CONCLAVE_PROTO, and the nodes as `common.mjs` does.

import { randomBytes } from "node:crypto";
import { createRequire } from "node:module";

import { ENDPOINTS, PATIENCE_MS, failures, followOverAKill, repeat, waitUntilAllServe } from "./common.mjs";

const require = createRequire(`${process.env.CONCLAVE_MODULES}/`);
const grpc = require("@grpc/grpc-js");
const { loadSync } = require("@grpc/proto-loader");

const { fail, expect } = failures("grpc-js");
const PREFIX = `js${Date.now() % 1e9}`;
const MESSAGES = 150;
const KILL_AFTER = 40;

const proto = grpc.loadPackageDefinition(
  loadSync(
    ["account", "chat", "live"].map((file) => `conclave/v1/${file}.proto`),
    { includeDirs: [process.env.CONCLAVE_PROTO], longs: String, oneofs: true, keepCase: true },
  ),
).conclave.v1;

// What a client of gRPC for Go, Java or C++ would have in its service configuration as well.
const RETRIES = JSON.stringify({
  methodConfig: [
    {
      name: [{ service: "conclave.v1.ChatService" }],
      timeout: "5s",
      retryPolicy: {
        maxAttempts: 5,
        initialBackoff: "0.2s",
        maxBackoff: "1s",
        backoffMultiplier: 2,
        retryableStatusCodes: ["UNAVAILABLE"],
      },
    },
  ],
});
// One target that goes to another node when the one that it uses dies.
const ALL = `ipv4:${ENDPOINTS.join(",")}`;
const OPTIONS = {
  "grpc.service_config": RETRIES,
  "grpc.enable_retries": 1,
  // Else the list of addresses is sent as the name of the server, which is none.
  "grpc.default_authority": "conclave",
};

function of(Service, target = ALL) {
  return new Service(target, grpc.credentials.createInsecure(), OPTIONS);
}

function metadata(token) {
  const metadata = new grpc.Metadata();
  if (token) metadata.set("authorization", `Bearer ${token}`);
  return metadata;
}

function once(client, method, request, token) {
  const deadline = Date.now() + 5000;
  return new Promise((resolve, reject) => {
    client[method](request, metadata(token), { deadline }, (error, answer) =>
      error ? reject(error) : resolve(answer),
    );
  });
}

// Repeats a call until it has an answer. Each caller repeats the same request.
async function again(client, method, request, token) {
  const { UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNKNOWN } = grpc.status;
  const open = [UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNKNOWN];
  return repeat(
    () => once(client, method, request, token),
    (error) => open.includes(error.code),
    (error) => fail(`${method}: ${error.message}`),
  );
}

// What a node says of itself, unless it is that it serves.
async function health(endpoint) {
  const raw = (bytes) => bytes;
  const definition = {
    Check: {
      path: "/grpc.health.v1.Health/Check",
      requestStream: false,
      responseStream: false,
      requestSerialize: raw,
      requestDeserialize: raw,
      responseSerialize: raw,
      responseDeserialize: raw,
    },
  };
  const Health = grpc.makeGenericClientConstructor(definition, "Health");
  const client = of(Health, endpoint);
  try {
    const answer = await once(client, "Check", Buffer.alloc(0));
    // One field: the status, of which 1 is SERVING.
    return answer.equals(Buffer.from([8, 1])) ? "" : answer.toString("hex");
  } finally {
    client.close();
  }
}

async function person(name) {
  const accounts = of(proto.AccountService);
  const sessions = of(proto.SessionService);
  const full = `${PREFIX}-${name}`;
  const account = { name: full, password: "correct horse", request_id: randomBytes(16) };
  const made = await again(accounts, "CreateAccount", account);
  const retried = await again(accounts, "CreateAccount", account);
  expect(made.id === retried.id, "a retried sign-up made another account");
  const login = { name: full, password: "correct horse", request_id: randomBytes(16) };
  const session = await again(sessions, "OpenSession", login);
  const wrong = { name: full, password: "wrong horse" };
  const refusal = await once(sessions, "OpenSession", wrong).catch((error) => error);
  const details = refusal.metadata?.get("grpc-status-details-bin")[0];
  expect(details?.includes("WRONG_CREDENTIALS"), "a wrong password has no reason");
  accounts.close();
  sessions.close();
  return { name: full, token: session.token, chat: of(proto.ChatService), number: 0 };
}

async function send(by, to, text) {
  by.number += 1;
  const request = { number: by.number, nonce: 7 };
  const message = { request, recipient_name: to, text };
  const first = await again(by.chat, "SendMessage", message, by.token);
  const second = await again(by.chat, "SendMessage", message, by.token);
  expect(first.sequence === second.sequence, "a retry was another message");
}

// Reads a conversation in both directions.
async function pages(by, peer) {
  const ask = (how) =>
    again(by.chat, "ListMessages", { peer_name: peer, page_size: 50, ...how }, by.token);
  const up = [];
  let after = "0";
  while (up.length < MESSAGES) {
    const page = await ask({ after_sequence: after });
    expect(page.page_size === 50 && page.messages.length > 0, "a page is missing");
    up.push(...page.messages.map((message) => message.text));
    after = page.next_after_sequence;
  }
  let page = await ask({});
  let down = [];
  for (;;) {
    down = [...page.messages.map((message) => message.text), ...down];
    if (!page.previous_before_sequence || page.previous_before_sequence === "0") break;
    page = await ask({ before_sequence: page.previous_before_sequence });
  }
  expect(up.join() === down.join(), "a conversation is not the same in both directions");
  const cut = await ask({ page_size: 2 ** 32 - 1 });
  expect(cut.page_size === 1000, "a page does not say that it was cut");
  return up;
}

// Subscribes at a node until the stream ends or everything has come; gives the last token.
function stream(by, node, token, seen, onMessage) {
  const live = of(proto.LiveService, ENDPOINTS[node]);
  const asked = { resume_token: token, from_beginning: token.length === 0, heartbeat_ms: 1000 };
  const call = live.Subscribe(asked, metadata(by.token));
  let last = token;
  return new Promise((resolve) => {
    const end = () => {
      call.cancel();
      live.close();
      resolve(last);
    };
    call.on("data", (answer) => {
      for (const event of answer.events) {
        if (event.event === "message_sent") {
          seen.push(event.message_sent.text);
          onMessage();
        }
      }
      last = answer.resume_token;
      if (seen.length >= MESSAGES) end();
    });
    call.on("error", end);
    call.on("end", end);
  });
}

const limit = setTimeout(() => fail("it took too long"), 2 * PATIENCE_MS);
await waitUntilAllServe(health, fail);
const [alice, bob] = [await person("alice"), await person("bob")];
const sent = Array.from({ length: MESSAGES }, (_, number) => `message ${number}`);
const talking = (async () => {
  for (const text of sent) await send(alice, bob.name, text);
})();
const seen = await followOverAKill({
  stream: (node, token, seen, onMessage) => stream(bob, node, token, seen, onMessage),
  token: Buffer.alloc(0),
  count: MESSAGES,
  killAfter: KILL_AFTER,
  fail,
});
expect(seen.join() === sent.join(), "the stream has a gap or told something twice");
await talking;
const paged = await pages(bob, alice.name);
expect(paged.join() === sent.join(), "pages are not what was sent");
clearTimeout(limit);
const { version } = require("@grpc/grpc-js/package.json");
console.log(`grpc-js ${version}: ${MESSAGES} messages streamed over a killed node, each once`);
process.exit(0);
