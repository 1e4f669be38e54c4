// The owner of what this browser keeps: messages on their way, drafts, muted conversations.
//
// These are kept by the number of an account. Another cluster at the same address has accounts with the
// same numbers; the time at which an account was created stays with it, also through a restore.
//
// Always true: what one person left behind is neither shown nor sent under the name of another.

/**
 * Returns whether what is kept under the number of an account is this account's, and keeps from now on
 * that it is. What an earlier page kept counts as the account's own.
 */
export function claim(
  storage: Pick<Storage, "getItem" | "setItem"> | null,
  account: { readonly id: number; readonly createdAtMs: number },
): boolean {
  const key = `conclave.owner.${account.id}`;
  const own = String(account.createdAtMs);
  try {
    const before = storage?.getItem(key) ?? own;
    storage?.setItem(key, own);
    return before === own;
  } catch {
    // The browser keeps nothing here.
    return true;
  }
}
