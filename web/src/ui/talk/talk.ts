// What rows and panels ask of the conversation that they stand in.

import type { Message } from "../../wire/values";

export interface TalkActions {
  reply(message: Message): void;
  edit(message: Message): void;
  askDelete(message: Message): void;
  /** Shows a message of this conversation by its number. */
  jump(sequence: number): void;
  /** Opens the direct conversation with an account. */
  person(name: string): void;
}
