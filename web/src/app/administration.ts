// What administrators do. Read with the pages that need it, not with the first view.
//
// Always true: every function either has done what it says, or throws a CallError for people.

import { createClient } from "@connectrpc/connect";
import { toBase64Url } from "../base/bytes";
import { randomBytes } from "../base/random";
import { AccountRole } from "../gen/conclave/v1/account_pb";
import { AdminService } from "../gen/conclave/v1/admin_pb";
import type { Services } from "../wire/services";
import type { Actions } from "./actions";

const admin = ({ transport }: Services) => createClient(AdminService, transport);

export class Administration {
  constructor(private readonly actions: Actions) {}

  async setAdministrator(name: string, administrator: boolean): Promise<void> {
    const role = administrator ? AccountRole.ADMIN : AccountRole.USER;
    await this.actions.change((services, options, request) =>
      admin(services).setAccountRole({ request, name, role }, options),
    );
  }

  async setSuspended(name: string, suspended: boolean): Promise<void> {
    await this.actions.change((services, options, request) =>
      admin(services).setSuspended({ request, name, suspended }, options),
    );
  }

  async endSessions(name: string): Promise<void> {
    await this.actions.change((services, options, request) =>
      admin(services).endSessions({ request, name }, options),
    );
  }

  /** Gives an account a random password, and returns it. */
  async resetPassword(name: string): Promise<string> {
    const newPassword = toBase64Url(randomBytes(15));
    await this.actions.change((services, options, request) =>
      admin(services).resetPassword({ request, name, newPassword }, options),
    );
    return newPassword;
  }

  async removeAccount(name: string): Promise<void> {
    await this.actions.change((services, options, request) =>
      admin(services).removeAccount({ request, name }, options),
    );
  }

  /** Makes a bot; returns its token, which is shown once. */
  async createBot(name: string): Promise<string> {
    const token = randomBytes(32);
    await this.actions.change((services, options, request) =>
      admin(services).createBot({ request, name, token }, options),
    );
    return toBase64Url(token);
  }

  /** Makes an invite; returns its code, which is shown once. */
  async createInvite(uses: number, ttlSeconds: number): Promise<string> {
    const code = randomBytes(16);
    await this.actions.change((services, options, request) =>
      admin(services).createInvite({ request, code, uses, ttlSeconds: BigInt(ttlSeconds) }, options),
    );
    return toBase64Url(code);
  }

  async listInvites() {
    const answer = await this.actions.caller.read((services, options) =>
      admin(services).listInvites({}, options),
    );
    return answer.invites;
  }

  async revokeInvite(inviteId: bigint): Promise<void> {
    await this.actions.change((services, options, request) =>
      admin(services).revokeInvite({ request, inviteId }, options),
    );
  }

  async clusterStatus() {
    return this.actions.caller.read(
      (services, options) => admin(services).getClusterStatus({}, options),
      3000,
    );
  }
}
