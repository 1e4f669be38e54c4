// What the program that runs the demonstration tells, and what it is asked to do.
//
// Always true: every request has a limit of time; an answer of another form is an error, not a
// broken page.

export type Process = "running" | "starting" | "paused" | "killed";

export interface DemoNode {
  readonly node: number;
  readonly leader: boolean;
  readonly process: Process;
  readonly cut_off: boolean;
  readonly slow: boolean;
  readonly skewed: boolean;
}

export interface DemoEvent {
  readonly number: number;
  readonly at_ms: number;
  readonly kind: string;
  readonly node: number | null;
  readonly text: string;
}

/** Acknowledged messages of a fifth of a second, their median latency, and the longest, in µs. */
export type Beat = readonly [acked: number, medianUs: number, worstUs: number];

export interface DemoState {
  readonly at_ms: number;
  readonly nodes: readonly DemoNode[];
  readonly down: number;
  readonly majority: boolean;
  readonly load: { readonly on: boolean; readonly rate: number; readonly rate_max: number; readonly full: boolean };
  readonly counts: { readonly sent: number; readonly acked: number; readonly under_way: number; readonly unknown: number; readonly refused: number };
  readonly found: { readonly verified: number; readonly lost: number; readonly twice: number };
  readonly beat_ms: number;
  readonly beats_first: number;
  readonly beats: readonly Beat[];
  readonly pauses: readonly { readonly from_ms: number; readonly to_ms: number }[];
  readonly story: readonly DemoEvent[];
}

export type Act = "kill" | "start" | "pause" | "resume" | "cut-off" | "join" | "slow" | "fast" | "skew" | "set-right";

const WAIT_MS = 3000;
/** A node that is started reads its log first. */
const START_MS = 40_000;

/** The program said no, or nothing. */
export class ControlError extends Error {
  constructor(readonly status: number, sentence: string) {
    super(sentence);
  }
}

export class Control {
  constructor(
    private readonly origin: string,
    private readonly key: string,
    private readonly send: typeof fetch = (...request) => fetch(...request),
  ) {}

  async state(story: number, beats: number): Promise<DemoState> {
    const state = (await this.ask("GET", `/state?story=${story}&beats=${beats}`, WAIT_MS)) as DemoState;
    if (!Array.isArray(state.nodes) || !Array.isArray(state.beats) || !Array.isArray(state.story)) {
      throw new ControlError(200, "The demo has said something else.");
    }
    return state;
  }

  async account(): Promise<{ readonly name: string; readonly password: string }> {
    return (await this.ask("GET", "/account", WAIT_MS)) as { name: string; password: string };
  }

  async act(node: number, act: Act): Promise<void> {
    await this.ask("POST", `/nodes/${node}/${act}`, START_MS);
  }

  async heal(): Promise<void> {
    await this.ask("POST", "/heal", START_MS);
  }

  async load(on: boolean, rate: number): Promise<void> {
    await this.ask("POST", "/load", WAIT_MS, JSON.stringify({ on, rate }));
  }

  private async ask(method: string, path: string, waitMs: number, body?: string): Promise<unknown> {
    const answer = await this.send(this.origin + path, {
      method,
      headers: { authorization: `Bearer ${this.key}` },
      ...(body === undefined ? {} : { body }),
      cache: "no-store",
      credentials: "omit",
      signal: AbortSignal.timeout(waitMs),
    });
    const value = (await answer.json()) as { error?: unknown };
    if (!answer.ok) {
      throw new ControlError(answer.status, typeof value.error === "string" ? value.error : "The demo has refused it.");
    }
    return value;
  }
}
