// The credential of an operator while the page of the cluster is open, and what is done with it.
//
// It is 256 bits that may change the machines. A person types it or names its file; it is in a
// private field of one object and goes to the node that served the page, by a call without cookies.
// It is never in storage, in the address, in another tab, or at another node: a node of another
// address accepts no such header from a page.
//
// Always true: it is gone after HELD_MS, when the page of the cluster is left, when the document is
// hidden away, and when the cluster does not know it.

import type { Client } from "@connectrpc/connect";
import { createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { signal } from "@preact/signals";
import { clusterStrings } from "../base/cluster";
import { randomBytes } from "../base/random";
import { AdminService } from "../gen/conclave/v1/admin_pb";
import type { CheckClusterResponse } from "../gen/conclave/v1/admin_pb";
import type { CallOptions } from "../wire/services";
import { CallError, toFailure } from "../wire/problem";

/** How long a credential is held. A person who goes away leaves it for no longer. */
export const HELD_MS = 10 * 60_000;
const CREDENTIAL = /^conclave-operator-1\.[A-Za-z0-9_-]{43}$/;
/** Longest file that is read: a credential is a line. */
const FILE_BYTES_MAX = 1024;
const CALL_MS = 20_000;
const CHECK_PAUSE_MS = 500;

type Admin = Client<typeof AdminService>;
type Change = Parameters<Admin["changeMembers"]>[0]["change"];

/** Returns whether a text is a credential, white space around it or not. */
export function isCredential(text: string): boolean {
  return CREDENTIAL.test(text.trim());
}

/** Reads a credential from a file that a person has chosen. */
export async function readCredential(file: Blob): Promise<string> {
  return file.size > FILE_BYTES_MAX ? "" : (await file.text()).trim();
}

export class Operator {
  /** When the credential is forgotten, in milliseconds since 1970; 0: none is held. */
  readonly until = signal(0);
  #credential = "";
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly origin: string,
    private readonly now: () => number = Date.now,
    private readonly ask: typeof fetch = (input, init) => fetch(input, init),
  ) {}

  /** Holds a credential once the cluster knows it. */
  async hold(text: string): Promise<void> {
    this.forget();
    const credential = text.trim();
    if (!isCredential(credential)) throw new CallError("CREDENTIAL_INVALID", clusterStrings.credentialBad);
    await this.#call(credential, (admin, options) => admin.listOperators({}, options));
    this.#credential = credential;
    this.until.value = this.now() + HELD_MS;
    this.#timer = setTimeout(() => this.forget(), HELD_MS);
  }

  forget(): void {
    clearTimeout(this.#timer);
    this.#credential = "";
    this.until.value = 0;
  }

  /** Forgets what is held for too long: a timer stands still while the machine sleeps. */
  look(): void {
    if (this.until.peek() > 0 && this.now() >= this.until.peek()) this.forget();
  }

  /** Returns the node that leads afterwards; 0 asks for any other node. */
  async transfer(node: number): Promise<number> {
    const { leaderNodeId } = await this.#held((admin, options) =>
      admin.transferLeader({ nodeId: BigInt(node) }, options),
    );
    return Number(leaderNodeId);
  }

  changeMembers(change: Change, dryRun: boolean) {
    return this.#held((admin, options) =>
      admin.changeMembers({ ...(change ? { change } : {}), dryRun }, options),
    );
  }

  /** Makes the command for one machine; returns it with the moment at which it ends. */
  async joinCommand(learner: boolean): Promise<{ command: string; untilMs: number }> {
    const request = { requestId: randomBytes(16), secret: randomBytes(32), learner };
    const made = await this.#held((admin, options) => admin.createJoinToken(request, options));
    const plain = made.plain ? " --plain" : "";
    const command = `conclave serve --join ${made.peerAddresses.join(",")} --token ${made.token}${plain}`;
    return { command, untilMs: Number(made.expiresAtMs) };
  }

  /** Checks the cluster, and tells how far it is until it is finished or given up. */
  async check(tell: (progress: CheckClusterResponse) => void, signal: AbortSignal): Promise<void> {
    let checkId = 0n;
    while (!signal.aborted) {
      const progress = await this.#held((admin, options) => admin.checkCluster({ checkId }, options));
      if (signal.aborted) return;
      tell(progress);
      if (progress.finished) return;
      checkId = progress.checkId;
      await new Promise((resolve) => setTimeout(resolve, CHECK_PAUSE_MS));
    }
  }

  async #held<T>(attempt: (admin: Admin, options: CallOptions) => Promise<T>): Promise<T> {
    this.look();
    if (!this.#credential) throw new CallError("NOT_AN_OPERATOR", clusterStrings.forgotten);
    return this.#call(this.#credential, attempt);
  }

  async #call<T>(credential: string, attempt: (admin: Admin, options: CallOptions) => Promise<T>): Promise<T> {
    const transport = createGrpcWebTransport({
      baseUrl: this.origin,
      fetch: (input, init) => {
        const headers = new Headers(init?.headers);
        headers.set("x-conclave-page", "1");
        headers.set("authorization", `Operator ${credential}`);
        return this.ask(input, { ...init, headers, credentials: "omit", cache: "no-store", redirect: "error" });
      },
    });
    try {
      const options = { timeoutMs: CALL_MS, signal: AbortSignal.timeout(CALL_MS) };
      return await attempt(createClient(AdminService, transport), options);
    } catch (error) {
      const failure = toFailure(error);
      if (failure.kind !== "problem") throw new CallError("OUTCOME_UNKNOWN", clusterStrings.noAnswer);
      if (failure.reason === "NOT_AN_OPERATOR") this.forget();
      throw new CallError(failure.reason, failure.sentence, failure.waitMs);
    }
  }
}
