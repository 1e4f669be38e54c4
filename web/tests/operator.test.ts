// The credential of an operator: where it goes, and that it is gone in time.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { HELD_MS, isCredential, Operator, readCredential } from "../src/app/operator";
import { CallError } from "../src/wire/problem";

const CREDENTIAL = `conclave-operator-1.${"A".repeat(43)}`;

/** Answers as a node that knows the credential, with an empty message. */
function node(asked: { url: string; init: RequestInit }[], status = "0") {
  return (async (input: RequestInfo | URL, init: RequestInit = {}) => {
    asked.push({ url: String(input), init });
    const trailer = new TextEncoder().encode(`grpc-status: ${status}\r\n`);
    const frame = (flag: number, bytes: Uint8Array) => [flag, 0, 0, 0, bytes.length, ...bytes];
    const body = new Uint8Array([...frame(0, new Uint8Array()), ...frame(128, trailer)]);
    return new Response(body, { headers: { "content-type": "application/grpc-web+proto" } });
  }) as typeof fetch;
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("it goes to the own node alone, without cookies, and to no other place", async () => {
  const asked: { url: string; init: RequestInit }[] = [];
  const operator = new Operator("https://chat.example", Date.now, node(asked));
  await operator.hold(`  ${CREDENTIAL}\n`);
  await operator.transfer(2);
  expect(asked.length).toBe(2);
  for (const { url, init } of asked) {
    expect(url).toMatch(/^https:\/\/chat\.example\/conclave\.v1\.AdminService\//);
    expect(url).not.toContain("AAAA");
    expect(init).toMatchObject({ credentials: "omit", redirect: "error", cache: "no-store" });
    expect(new Headers(init.headers).get("authorization")).toBe(`Operator ${CREDENTIAL}`);
    expect(new Headers(init.headers).get("x-conclave-page")).toBe("1");
  }
  expect(JSON.stringify(operator)).not.toContain("AAAA");
});

test("it is forgotten in time, by a click, and while the machine slept", async () => {
  const operator = new Operator("https://chat.example", Date.now, node([]));
  await operator.hold(CREDENTIAL);
  expect(operator.until.value).toBeGreaterThan(0);
  vi.advanceTimersByTime(HELD_MS);
  expect(operator.until.value).toBe(0);
  await expect(operator.transfer(1)).rejects.toMatchObject({ reason: "NOT_AN_OPERATOR" });
  await operator.hold(CREDENTIAL);
  operator.forget();
  await expect(operator.transfer(1)).rejects.toBeInstanceOf(CallError);
  let now = 1000;
  const slept = new Operator("https://chat.example", () => now, node([]));
  await slept.hold(CREDENTIAL);
  now += HELD_MS + 1;
  await expect(slept.transfer(1)).rejects.toMatchObject({ reason: "NOT_AN_OPERATOR" });
});

test("what the cluster does not know, or is no credential, is not held", async () => {
  const asked: { url: string; init: RequestInit }[] = [];
  const operator = new Operator("https://chat.example", Date.now, node(asked, "7"));
  await expect(operator.hold(CREDENTIAL)).rejects.toBeInstanceOf(CallError);
  expect(operator.until.value).toBe(0);
  const before = asked.length;
  await expect(operator.hold("a password of mine")).rejects.toMatchObject({ reason: "CREDENTIAL_INVALID" });
  expect(asked.length).toBe(before);
  expect(isCredential(`x${CREDENTIAL}`)).toBe(false);
  expect(await readCredential(new Blob([CREDENTIAL, "\n"]))).toBe(CREDENTIAL);
  expect(await readCredential(new Blob(["x".repeat(2000)]))).toBe("");
});
