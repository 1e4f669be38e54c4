// The request numbers of one session, taken one by one over all tabs.
//
// A message on its way holds numbers back that are too far ahead of its own.
//
// Always true: taking a number ends within the time of a call, and no two requests of this browser
// get the same number with the same nonce.

import type { Clock } from "../base/time";
import type { TakenNumber, TakesNumbers } from "../net/call";
import { CALL_MS } from "../net/call";
import { CallError } from "../wire/problem";
import type { Keep } from "./keep";

/** Pause while the oldest message under way is too far behind. */
const PAUSE_MS = 100;
const SENTENCE = "An older message is still on its way, and changes wait for it.";

export class Numbers implements TakesNumbers {
  constructor(
    private readonly keep: Keep,
    readonly session: number,
    private readonly clock: Clock,
  ) {}

  async take(above = 0n): Promise<TakenNumber> {
    const end = this.clock.now() + CALL_MS;
    for (;;) {
      const key = await this.keep.takeNumber(this.session, above);
      if (key) {
        return { key, restart: (last) => this.keep.restart(this.session, last) };
      }
      if (this.clock.now() >= end) throw new CallError("MESSAGE_WAITS", SENTENCE, 0, true);
      await this.clock.sleep(PAUSE_MS);
    }
  }
}
