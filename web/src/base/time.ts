// Clocks and waits, passed in wherever something waits, so that tests decide what time it is.
//
// Always true: every wait ends when its signal is aborted.

/** A monotonic clock and waits by it. */
export interface Clock {
  /** Returns milliseconds since an arbitrary start; never runs backwards. */
  now(): number;
  /** Waits; ends early, without an error, when the signal is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const clock: Clock = {
  now: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const end = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      signal?.addEventListener("abort", end);
    }),
};

/**
 * Returns a function that runs `action` once, `ms` after the first of its calls. A call while it
 * runs has it run once more afterwards, so no two runs overlap. While calls go on, the waits before
 * the runs double up to `msMax`; after that time without a run they begin at `ms` again.
 */
export function soon(ms: number, action: () => void | Promise<unknown>, msMax = ms): () => void {
  let state: "idle" | "waiting" | "running" = "idle";
  let again = false;
  let waitMs = ms;
  let endedMs = -Infinity;
  const plan = () => {
    state = "waiting";
    if (clock.now() - endedMs > msMax) waitMs = ms;
    setTimeout(() => void run(), waitMs);
    waitMs = Math.min(waitMs * 2, msMax);
  };
  const run = async () => {
    state = "running";
    try {
      await action();
    } finally {
      state = "idle";
      endedMs = clock.now();
      if (again) plan();
      again = false;
    }
  };
  return () => {
    if (state === "running") again = true;
    else if (state === "idle") plan();
  };
}
