// The request numbers of one session, taken one by one over all tabs.
//
// Always true: no two requests of this browser get the same number with the same nonce.

import type { Clock } from "../base/time";
import type { TakenNumber, TakesNumbers } from "../net/call";
import type { Keep } from "./keep";

/** Pause while the oldest message under way is too far behind. */
const PAUSE_MS = 100;

export class Numbers implements TakesNumbers {
  constructor(
    private readonly keep: Keep,
    readonly session: number,
    private readonly clock: Clock,
  ) {}

  async take(above = 0n): Promise<TakenNumber> {
    for (;;) {
      const key = await this.keep.takeNumber(this.session, above);
      if (key) {
        return { key, restart: (last) => this.keep.restart(this.session, last) };
      }
      await this.clock.sleep(PAUSE_MS);
    }
  }
}
