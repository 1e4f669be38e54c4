//! Writes accounts and the ways to them: invites, the setup token, and what is held against
//! attempts to log in.

use conclave_core::{
    AccessEvent, Account, AccountEvent, AccountId, ConversationId, Event, Invite, Kind, Throttle,
};

use super::Memory;

impl Memory {
    pub(super) fn write_account(&mut self, event: &Event) {
        match event {
            Event::Account(AccountEvent::Created {
                account,
                name,
                role,
                ..
            }) => {
                let next = self.account_last.next();
                assert_eq!(*account, next, "a number is skipped or reused");
                self.account_last = *account;
                let before = self.names.insert(name.key(), *account);
                assert_eq!(before, None, "a name was given twice");
                self.looks.insert(*account, name.skeleton());
                let row = Account {
                    id: *account,
                    password_version: 1,
                    role: *role,
                    suspended: false,
                };
                self.accounts.insert(*account, row);
                self.end_setup();
            }
            Event::Account(AccountEvent::Deleted { account }) => self.delete_account(*account),
            Event::Account(AccountEvent::PasswordChanged {
                account,
                password_version,
                ..
            }) => self.account_mut(*account).password_version = *password_version,
            Event::Account(AccountEvent::Suspended { account, suspended }) => {
                self.account_mut(*account).suspended = *suspended;
                self.end_setup();
            }
            Event::Account(AccountEvent::PasswordRehashed { account, .. })
            | Event::Account(AccountEvent::DisplayNameChanged { account, .. }) => {
                self.account_mut(*account);
            }
            Event::Account(AccountEvent::RoleChanged { account, role }) => {
                self.account_mut(*account).role = *role;
                self.end_setup();
            }
            Event::Account(AccountEvent::BlockChanged {
                account,
                other,
                blocked,
            }) => {
                let changed = match blocked {
                    true => self.blocks.insert((*account, *other)),
                    false => self.blocks.remove(&(*account, *other)),
                };
                assert!(changed, "a block did not change");
            }
            other => panic!("{other:?} is not about an account"),
        }
    }

    pub(super) fn write_admission(&mut self, event: &Event) {
        match event {
            Event::Access(AccessEvent::SetupOffered { token }) => self.setup_token = Some(*token),
            Event::Access(AccessEvent::InviteCreated {
                invite,
                code,
                expires_at,
                uses,
                ..
            }) => {
                assert_eq!(*invite, self.invite_last.next(), "a number is skipped");
                self.invite_last = *invite;
                let row = Invite {
                    id: *invite,
                    expires_at: *expires_at,
                    uses_left: *uses,
                };
                self.invites.insert(*invite, (row, *code));
            }
            Event::Access(AccessEvent::InviteUsed { invite, uses_left }) => {
                let row = self.invites.get_mut(invite).expect("it was made");
                row.0.uses_left = *uses_left;
                if *uses_left == 0 {
                    self.invites.remove(invite);
                }
            }
            Event::Access(AccessEvent::InviteRemoved { invite }) => {
                self.invites.remove(invite).expect("it was made");
            }
            Event::Access(AccessEvent::LoginFailed {
                key,
                failures,
                not_before,
                at,
            }) => {
                let row = Throttle {
                    failures: *failures,
                    not_before: *not_before,
                    failed_at: *at,
                };
                self.throttles.insert(*key, row);
            }
            Event::Access(AccessEvent::LoginForgiven { key }) => {
                self.throttles
                    .remove(key)
                    .expect("something was held against it");
            }
            Event::Access(AccessEvent::LoginKnown { account, place, at }) => {
                self.places.insert(*place, (*account, *at));
            }
            Event::Access(AccessEvent::LoginForgotten { account, place }) => {
                let gone = self.places.remove(place).map(|(of, _)| of);
                assert_eq!(gone, Some(*account), "a place was not known");
            }
            other => panic!("{other:?} is not about access"),
        }
    }

    fn delete_account(&mut self, account: AccountId) {
        self.accounts.remove(&account).expect("it was created");
        self.names.retain(|_, id| *id != account);
        self.looks.remove(&account);
        self.allowances.remove(&account);
        self.blocks
            .retain(|(by, of)| *by != account && *of != account);
        self.invitations.retain(|(_, invited)| *invited != account);
        self.places.retain(|_, (of, _)| *of != account);
        let mine = |(_, member): &(ConversationId, AccountId)| *member == account;
        let left: Vec<_> = self.members.keys().copied().filter(mine).collect();
        for (conversation, _) in left {
            let kind = self.conversations[&conversation].kind;
            assert!(
                matches!(kind, Kind::Direct(..)),
                "it had to leave its rooms before"
            );
            self.remove_member(conversation, account);
        }
        self.hidden.retain(|(_, _, member)| *member != account);
    }

    fn end_setup(&mut self) {
        if self.admins_now() > 0 {
            self.setup_token = None;
        }
    }

    fn account_mut(&mut self, account: AccountId) -> &mut Account {
        self.accounts.get_mut(&account).expect("the account exists")
    }
}
