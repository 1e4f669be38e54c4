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

/** Returns a function that runs `action` once, `ms` after the first of its calls. */
export function soon(ms: number, action: () => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  return () => {
    timer ??= setTimeout(() => {
      timer = undefined;
      action();
    }, ms);
  };
}
