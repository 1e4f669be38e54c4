// What a person does, as calls: each is made once, whatever nodes die meanwhile.
//
// Always true: every function either has done what it says, or throws a CallError for people.

import { toBase64Url } from "../base/bytes";
import { randomBytes } from "../base/random";
import type { Caller, RequestKey, TakesNumbers } from "../net/call";
import type { CallOptions, Services } from "../wire/services";
import type { Message } from "../wire/values";
import { num, toMessage, toAccount } from "../wire/values";
import type { RoomRole } from "../wire/values";

type Change<T> = (services: Services, options: CallOptions, request: RequestKey) => Promise<T>;

const ref = (message: Message) => ({
  conversationId: BigInt(message.conversation),
  sequence: BigInt(message.sequence),
});

export class Actions {
  constructor(
    readonly caller: Caller,
    private readonly numbers: TakesNumbers,
  ) {}

  change<T>(attempt: Change<T>): Promise<T> {
    return this.caller.change(this.numbers, attempt);
  }

  async edit(message: Message, text: string): Promise<void> {
    await this.change((services, options, request) =>
      services.chat.editMessage({ request, message: ref(message), text }, options),
    );
  }

  async delete(message: Message, forEveryone: boolean): Promise<void> {
    await this.change((services, options, request) =>
      services.chat.deleteMessages({ request, messages: [ref(message)], forEveryone }, options),
    );
  }

  async react(message: Message, reaction: string, present: boolean): Promise<void> {
    await this.change((services, options, request) =>
      services.chat.setReaction({ request, message: ref(message), reaction, present }, options),
    );
  }

  /** Returns the first names of those who gave a reaction. */
  async reactors(message: Message, reaction: string): Promise<readonly string[]> {
    const answer = await this.caller.read((services, options) =>
      services.chat.listReactions({ message: ref(message), reaction, pageSize: 20 }, options),
    );
    return answer.reactors.map(({ accountName }) => accountName);
  }

  async typing(conversation: number): Promise<void> {
    await this.caller.read(
      (services, options) =>
        services.live.setTyping({ conversationId: BigInt(conversation) }, options),
      2000,
    );
  }

  async createRoom(name: string, topic: string, isPrivate: boolean): Promise<number> {
    const answer = await this.change((services, options, request) =>
      services.rooms.createRoom({ request, name, topic, private: isPrivate }, options),
    );
    return num(answer.conversationId);
  }

  async joinRoom(name: string): Promise<number> {
    const answer = await this.change((services, options, request) =>
      services.rooms.joinRoom({ request, name }, options),
    );
    return num(answer.conversationId);
  }

  async leaveRoom(name: string): Promise<void> {
    await this.change((services, options, request) =>
      services.rooms.leaveRoom({ request, name }, options),
    );
  }

  async invite(name: string, accountName: string): Promise<void> {
    await this.change((services, options, request) =>
      services.rooms.inviteToRoom({ request, name, accountName }, options),
    );
  }

  async kick(name: string, accountName: string): Promise<void> {
    await this.change((services, options, request) =>
      services.rooms.kickFromRoom({ request, name, accountName }, options),
    );
  }

  async setTopic(name: string, topic: string): Promise<void> {
    await this.change((services, options, request) =>
      services.rooms.setTopic({ request, name, topic }, options),
    );
  }

  /** Sets what a room keeps: 0 is without a limit, `null` as the cluster. */
  async setRetention(name: string, ageMs: number | null, messages: number | null): Promise<void> {
    const retention = {
      ...(ageMs === null ? {} : { ageMs: BigInt(ageMs) }),
      ...(messages === null ? {} : { messages: BigInt(messages) }),
    };
    await this.change((services, options, request) =>
      services.rooms.setRoomRetention({ request, name, retention }, options),
    );
  }

  async setRole(name: string, accountName: string, role: RoomRole): Promise<void> {
    await this.change((services, options, request) =>
      services.rooms.setMemberRole({ request, name, accountName, role: role as number }, options),
    );
  }

  /** Makes a webhook; returns its path, which is shown once. */
  async createWebhook(name: string, accountName: string): Promise<string> {
    const secret = randomBytes(32);
    await this.change((services, options, request) =>
      services.rooms.createWebhook({ request, name, accountName, secret }, options),
    );
    return `/hooks/${toBase64Url(secret)}`;
  }

  async deleteWebhook(webhookId: bigint): Promise<void> {
    await this.change((services, options, request) =>
      services.rooms.deleteWebhook({ request, webhookId }, options),
    );
  }

  async listWebhooks(name: string) {
    const answer = await this.caller.read((services, options) =>
      services.rooms.listWebhooks({ name }, options),
    );
    return answer.webhooks;
  }

  async search(query: string, pageToken: string) {
    const utcOffsetMinutes = -new Date().getTimezoneOffset();
    const page = await this.caller.read((services, options) =>
      services.chat.searchMessages({ query, pageToken, pageSize: 30, utcOffsetMinutes }, options),
    );
    const found = page.messages.map((message, index) => ({
      message: toMessage(message),
      snippet: page.hits[index]?.snippet.map(({ text, isMatch }) => ({ text, isMatch })) ?? [],
    }));
    return { found, next: page.nextPageToken };
  }

  async setDisplayName(displayName: string): Promise<void> {
    await this.change((services, options, request) =>
      services.accounts.setDisplayName({ request, displayName }, options),
    );
  }

  async changePassword(oldPassword: string, newPassword: string): Promise<void> {
    await this.change((services, options, request) =>
      services.accounts.changePassword({ request, oldPassword, newPassword }, options),
    );
  }

  async deleteAccount(password: string): Promise<void> {
    await this.change((services, options, request) =>
      services.accounts.deleteAccount({ request, password }, options),
    );
  }

  async setBlock(name: string, blocked: boolean): Promise<void> {
    await this.change((services, options, request) =>
      services.accounts.setBlock({ request, name, blocked }, options),
    );
  }

  async listSessions() {
    const answer = await this.caller.read((services, options) =>
      services.sessions.listSessions({}, options),
    );
    return answer.sessions;
  }

  async endSession(sessionId: bigint): Promise<void> {
    await this.change((services, options, request) =>
      services.sessions.endSession({ request, sessionId }, options),
    );
  }

  async signOut(): Promise<void> {
    await this.change((services, options, request) =>
      services.sessions.closeSession({ request }, options),
    );
  }

  async listAccounts(pattern: string) {
    const answer = await this.caller.read((services, options) =>
      services.accounts.listAccounts({ pattern, pageSize: 200 }, options),
    );
    return answer.accounts.map(toAccount);
  }
}
