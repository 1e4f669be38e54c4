// What the clients of Node have in common: the nodes, how a client fails, and how it follows a stream
// over a killed node; see `run`.
//
// Takes the addresses of the nodes from CONCLAVE_ENDPOINTS and their process ids from CONCLAVE_PIDS,
// both in the order of the nodes.

import { setTimeout as sleep } from "node:timers/promises";

export const ENDPOINTS = process.env.CONCLAVE_ENDPOINTS.split(",");
export const PATIENCE_MS = 60_000;
const PIDS = process.env.CONCLAVE_PIDS.split(",").map(Number);
const LOOK_INTERVAL_MS = 200;

// Gives what ends the program with an error that names the client, and what ends it if something is
// not so.
export function failures(client) {
  const fail = (sentence) => {
    console.error(`error: ${client}: ${sentence}`);
    process.exit(1);
  };
  const expect = (condition, sentence) => {
    if (!condition) fail(sentence);
  };
  return { fail, expect };
}

// Tries again and again until there is a result. `attempt` is given the number of the attempt;
// `isOpen` says whether an error may be gone the next time.
export async function repeat(attempt, isOpen, onFailure) {
  const until = Date.now() + PATIENCE_MS;
  for (let number = 0; ; number += 1) {
    try {
      return await attempt(number);
    } catch (error) {
      if (!isOpen(error) || Date.now() > until) return onFailure(error);
      await sleep(LOOK_INTERVAL_MS);
    }
  }
}

// Waits until every node serves. `health` gives what a node says of itself if that is not that it
// serves, and nothing if it is.
export async function waitUntilAllServe(health, fail) {
  for (const endpoint of ENDPOINTS) {
    const attempt = async () => {
      const told = await health(endpoint);
      if (told) throw new Error(told);
    };
    const onFailure = (error) => fail(`${endpoint} does not serve: ${error.message}`);
    await repeat(attempt, () => true, onFailure);
  }
}

// Follows a stream until `count` messages have come: kills the node that streams after
// `killAfter` of them, and goes on at another one from the last token. `stream` subscribes at a node
// with a token until the stream ends, calls back for each message and gives the last token.
export async function followOverAKill({ stream, token, count, killAfter, fail }) {
  const seen = [];
  let killed = false;
  const last = ENDPOINTS.length - 1;
  let node = last;
  while (seen.length < count) {
    const here = node;
    token = await stream(here, token, seen, () => {
      if (seen.length < killAfter || killed) return;
      killed = true;
      process.kill(PIDS[here], "SIGKILL");
    });
    // The one that was killed is the last of the list.
    node = (node + 1) % ENDPOINTS.length;
    if (node === last) node = 0;
    if (seen.length < count) await sleep(LOOK_INTERVAL_MS);
  }
  if (!killed) fail("no node was killed");
  return seen;
}
