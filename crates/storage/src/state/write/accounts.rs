//! Writes accounts, blocks, and what allows log-ins and new accounts: the setup token, invites,
//! failed log-ins.

use conclave_core::{
    AccessEvent, Account, AccountEvent, AccountId, AccountName, AccountRole, Timestamp,
};
use rusqlite::params;

use crate::state::{
    ApplyError,
    column::{account_role_number, stored},
    write::{sweep::Orphan, writer::Writer},
};

impl Writer {
    pub(super) fn write_account(&mut self, event: &AccountEvent) -> Result<(), ApplyError> {
        match event {
            AccountEvent::Created {
                account,
                name,
                password_hash,
                role,
                at,
            } => self.create_account(*account, name, password_hash, *role, *at),
            AccountEvent::Deleted { account } => self.delete_account(*account),
            AccountEvent::PasswordChanged {
                account,
                password_hash,
                password_version,
            } => {
                let sql = "UPDATE accounts SET password_hash = ?2, password_version = ?3
                    WHERE id = ?1";
                let (id, version) = (stored(account.0), stored(*password_version));
                self.change_one(sql, params![id, password_hash, version])?;
                if let Some(known) = self.caches.get_mut().accounts.get_mut(account) {
                    known.password_version = *password_version;
                }
                Ok(())
            }
            AccountEvent::PasswordRehashed {
                account,
                password_hash,
            } => {
                let sql = "UPDATE accounts SET password_hash = ?2 WHERE id = ?1";
                self.change_one(sql, params![stored(account.0), password_hash])
            }
            AccountEvent::Suspended { account, suspended } => {
                let (role, before) = self.standing_of(*account)?;
                let sql = "UPDATE accounts SET suspended = ?2 WHERE id = ?1";
                self.change_one(sql, params![stored(account.0), suspended])?;
                self.count_admin(role, before, -1);
                self.count_admin(role, *suspended, 1);
                if let Some(known) = self.caches.get_mut().accounts.get_mut(account) {
                    known.suspended = *suspended;
                }
                Ok(())
            }
            AccountEvent::DisplayNameChanged {
                account,
                display_name,
            } => {
                let sql = "UPDATE accounts SET display_name = ?2 WHERE id = ?1";
                self.change_one(sql, params![stored(account.0), display_name.as_str()])
            }
            AccountEvent::RoleChanged { account, role } => {
                let (before, suspended) = self.standing_of(*account)?;
                let sql = "UPDATE accounts SET role = ?2 WHERE id = ?1";
                let number = account_role_number(*role);
                self.change_one(sql, params![stored(account.0), number])?;
                self.count_admin(before, suspended, -1);
                self.count_admin(*role, suspended, 1);
                if let Some(known) = self.caches.get_mut().accounts.get_mut(account) {
                    known.role = *role;
                }
                Ok(())
            }
            AccountEvent::BlockChanged {
                account,
                other,
                blocked,
            } => {
                let sql = match blocked {
                    true => "INSERT INTO blocks (account, other) VALUES (?1, ?2)",
                    false => "DELETE FROM blocks WHERE account = ?1 AND other = ?2",
                };
                self.change_one(sql, [account.0, other.0].map(stored))?;
                let caches = self.caches.get_mut();
                caches.blocks.insert((*account, *other), *blocked);
                Ok(())
            }
            AccountEvent::LimitsChanged { limits } => self.write_account_limits(*limits),
        }
    }

    /// Returns the role of an account, and whether it is suspended.
    fn standing_of(&self, account: AccountId) -> Result<(AccountRole, bool), ApplyError> {
        let sql = "SELECT role, suspended FROM accounts WHERE id = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let standing = statement.query_row([stored(account.0)], |row| {
            Ok((crate::state::column::account_role(row, 0)?, row.get(1)?))
        })?;
        Ok(standing)
    }

    /// Counts that an account of this standing has come (1) or gone (-1).
    fn count_admin(&mut self, role: AccountRole, suspended: bool, more: i64) {
        if role == AccountRole::Admin && !suspended {
            self.meta.admins = self.meta.admins.saturating_add_signed(more);
            if self.meta.admins > 0 {
                self.meta.setup_token = None;
            }
        }
    }

    fn create_account(
        &mut self,
        account: AccountId,
        name: &AccountName,
        password_hash: &str,
        role: AccountRole,
        at: Timestamp,
    ) -> Result<(), ApplyError> {
        let sql = "INSERT INTO accounts
                (id, name, key, skeleton, password_hash, password_version, created_at, role,
                    display_name, suspended)
            VALUES (?1, ?2, ?3, ?7, ?4, 1, ?5, ?6, '', 0)";
        let key = name.key();
        let (id, since) = (stored(account.0), stored(at.0));
        let number = account_role_number(role);
        let skeleton = name.skeleton();
        let row = params![
            id,
            name.as_str(),
            key,
            password_hash,
            since,
            number,
            skeleton
        ];
        self.change_one(sql, row)?;
        self.meta.account_last = account;
        self.meta.accounts += 1;
        self.count_admin(role, false, 1);
        let row = Account {
            id: account,
            password_version: 1,
            role,
            suspended: false,
        };
        let caches = self.caches.get_mut();
        caches.accounts.insert(account, row);
        caches.keys.insert(key, account);
        Ok(())
    }

    /// Removes the account at once, and notes it for the sweep: the number of its direct
    /// conversations, and of the accounts that have blocked or invited it, has no bound. Readers
    /// look for the account before they show any of that. Its rooms it has left before.
    fn delete_account(&mut self, account: AccountId) -> Result<(), ApplyError> {
        let id = stored(account.0);
        let (role, suspended) = self.standing_of(account)?;
        let sql = "SELECT key FROM accounts WHERE id = ?1";
        let key: String = self
            .connection
            .prepare_cached(sql)?
            .query_row([id], |row| row.get(0))?;
        self.change_one("DELETE FROM accounts WHERE id = ?1", [id])?;
        self.forget_allowance(account)?;
        self.meta.accounts -= 1;
        self.count_admin(role, suspended, -1);
        // At most `LOGIN_PLACES_MAX`.
        self.run("DELETE FROM login_places WHERE account = ?1", [id])?;
        let caches = self.caches.get_mut();
        caches.accounts.remove(&account);
        caches.keys.remove(key.as_str());
        self.add_orphan(Orphan::Account(account))
    }

    pub(super) fn write_access(&mut self, event: &AccessEvent) -> Result<(), ApplyError> {
        match event {
            AccessEvent::SetupOffered { token } => {
                self.meta.setup_token = Some(*token);
                Ok(())
            }
            AccessEvent::InviteCreated {
                invite,
                code,
                by,
                expires_at,
                uses,
            } => {
                let sql = "INSERT INTO invites (id, code, by_account, expires_at, uses_left)
                    VALUES (?1, ?2, ?3, ?4, ?5)";
                let [id, made_by, until] = [invite.0, by.0, expires_at.0].map(stored);
                self.change_one(sql, params![id, code.0, made_by, until, uses])?;
                self.meta.invite_last = *invite;
                self.meta.invites += 1;
                Ok(())
            }
            AccessEvent::InviteUsed { invite, uses_left } if *uses_left > 0 => {
                let sql = "UPDATE invites SET uses_left = ?2 WHERE id = ?1";
                self.change_one(sql, params![stored(invite.0), uses_left])
            }
            AccessEvent::InviteUsed { invite, .. } | AccessEvent::InviteRemoved { invite } => {
                self.change_one("DELETE FROM invites WHERE id = ?1", [stored(invite.0)])?;
                self.meta.invites -= 1;
                Ok(())
            }
            AccessEvent::LoginFailed {
                key,
                failures,
                not_before,
                at,
            } => {
                let gone = self.run("DELETE FROM throttles WHERE key = ?1", [key.0])?;
                let sql = "INSERT INTO throttles (key, failures, not_before, failed_at)
                    VALUES (?1, ?2, ?3, ?4)";
                let [until, since] = [not_before.0, at.0].map(stored);
                self.change_one(sql, params![key.0, failures, until, since])?;
                self.meta.throttles = self.meta.throttles + 1 - gone as u64;
                Ok(())
            }
            AccessEvent::LoginKnown { account, place, at } => {
                let sql = "INSERT INTO login_places (place, account, used_at)
                    VALUES (?1, ?2, ?3)
                    ON CONFLICT (place) DO UPDATE SET account = ?2, used_at = ?3";
                let [of, since] = [account.0, at.0].map(stored);
                self.change_one(sql, params![place.0, of, since])
            }
            AccessEvent::LoginForgotten { account, place } => {
                let sql = "DELETE FROM login_places WHERE account = ?1 AND place = ?2";
                self.change_one(sql, params![stored(account.0), place.0])
            }
            AccessEvent::LoginForgiven { key } => {
                self.change_one("DELETE FROM throttles WHERE key = ?1", [key.0])?;
                self.meta.throttles -= 1;
                Ok(())
            }
        }
    }
}
