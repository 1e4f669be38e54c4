//! Permissions: whether a caller may have made an event, derived from the command and from what was
//! published before.

use conclave_core::{
    AccountId, AccountRole, Command, ConversationId, Event, Grant, MemberRole, Operation, Origin,
};

use super::Observer;

impl Observer {
    /// Returns whether `asker` may have made this event with this command.
    pub(super) fn may(&self, asker: Option<AccountId>, command: &Command, event: &Event) -> bool {
        match event {
            Event::PasswordChanged { account, .. } => {
                let resets = matches!(command.operation, Operation::ResetPassword { .. });
                asker == Some(*account) || (resets && self.is_admin(asker))
            }
            Event::AccountSuspended { account, .. } => {
                self.is_admin(asker) && asker != Some(*account)
            }
            Event::PasswordRehashed { account, .. } => matches!(
                &command.operation,
                Operation::OpenSession { account: of, .. } if of == account
            ),
            Event::DisplayNameChanged { account, .. }
            | Event::BlockChanged { account, .. }
            | Event::PositionAdvanced { account, .. }
            | Event::ReactionChanged { account, .. }
            | Event::MessageHidden { account, .. } => asker == Some(*account),
            Event::ConversationOpened {
                members: (a, b), ..
            } => [Some(*a), Some(*b)].contains(&asker),
            Event::MessageSent {
                conversation, by, ..
            } => match &command.operation {
                Operation::PostByWebhook { token, .. } => {
                    let mut known = self.webhooks.values();
                    let found = known
                        .find(|known| (known.0, known.1, known.2) == (*token, *conversation, *by));
                    found.is_some_and(|(.., maker)| {
                        !self.suspended.contains(maker)
                            && self.governs(Some(*maker), *conversation, MemberRole::Moderator)
                    })
                }
                _ => asker == Some(*by),
            },
            Event::MessageEdited {
                conversation,
                sequence,
                ..
            } => asker.is_some() && self.conversations[conversation].sender(*sequence) == asker,
            Event::MessageDeleted {
                conversation,
                sequence,
                ..
            } => {
                let own = self.conversations[conversation].sender(*sequence) == asker;
                own || self.governs(asker, *conversation, MemberRole::Moderator)
            }
            Event::SetupOffered { .. } => !self.is_governed(),
            Event::InviteCreated { .. }
            | Event::InviteRemoved { .. }
            | Event::AccountRoleChanged { .. }
            | Event::AccountLimitsChanged { .. } => self.is_admin(asker),
            Event::JoinTokenCreated { .. } | Event::LeaderPreferred { .. } => {
                self.is_operator(command)
            }
            Event::JoinTokenRemoved { .. } => {
                let is_used_up = matches!(
                    command.operation,
                    Operation::AdmitNode { .. }
                        | Operation::ExchangeAuthority { is_final: true, .. }
                );
                is_used_up || self.is_operator(command)
            }
            Event::OperatorCreated { by: Some(_), .. } => self.is_operator(command),
            Event::OperatorCreated { by: None, .. } => match command.operation {
                Operation::MakeFirstOperator { .. } => self.operators.is_empty(),
                _ => matches!(command.operation, Operation::ResetOperators { .. }),
            },
            Event::OperatorRemoved { .. } => match command.operation {
                Operation::ResetOperators { .. } => true,
                _ => self.operators.len() > 1 && self.is_operator(command),
            },
            Event::NodeAdmitted { .. }
            | Event::NodeRetired { .. }
            | Event::AuthorityExchanged { .. } => asker.is_none(),
            Event::LoginFailed { .. }
            | Event::LoginForgiven { .. }
            | Event::LoginKnown { .. }
            | Event::LoginForgotten { .. } => asker.is_none(),
            Event::InviteUsed { .. }
            | Event::AccountCreated { .. }
            | Event::AccountDeleted { .. } => self.may_govern(asker, command, event),
            Event::SessionOpened { .. }
            | Event::SessionRenewed { .. }
            | Event::SessionClosed { .. }
            | Event::SessionForgotten { .. } => self.may_open(asker, command, event),
            _ => self.may_in_room(asker, command, event),
        }
    }

    /// Returns whether the command shows an operator's credential, outside of any session.
    fn is_operator(&self, command: &Command) -> bool {
        let outside = matches!(command.origin, Origin::Once(_));
        match &command.operation {
            Operation::ByOperator { credential, .. } => {
                outside && self.operators.values().any(|known| known == credential)
            }
            _ => false,
        }
    }

    fn is_admin(&self, account: Option<AccountId>) -> bool {
        account.is_some_and(|id| {
            self.roles.get(&id) == Some(&AccountRole::Admin) && !self.suspended.contains(&id)
        })
    }

    fn governs(&self, account: Option<AccountId>, room: ConversationId, least: MemberRole) -> bool {
        let role = self.conversations[&room].role(account);
        role.is_some_and(|role| role >= least)
    }

    fn may_govern(&self, asker: Option<AccountId>, command: &Command, event: &Event) -> bool {
        match (event, &command.operation) {
            (Event::InviteUsed { .. }, Operation::CreateAccount { grant, .. }) => {
                matches!(grant, Grant::Invite(_))
            }
            (Event::AccountCreated { role, .. }, Operation::CreateAccount { grant, .. }) => {
                let role_of_grant = match grant {
                    Grant::Setup(token) if self.setup == Some(*token) => AccountRole::Admin,
                    Grant::Setup(_) => return false,
                    Grant::Admin(session) => {
                        let by = self.open.get(session).map(|(of, _)| *of);
                        if !self.is_admin(by) {
                            return false;
                        }
                        AccountRole::User
                    }
                    Grant::Open | Grant::Invite(_) => AccountRole::User,
                };
                *role == role_of_grant
            }
            (Event::AccountCreated { role, .. }, Operation::CreateBot { .. }) => {
                self.is_admin(asker) && *role == AccountRole::Bot
            }
            (Event::AccountCreated { role, .. }, Operation::CreateWebhook { .. }) => {
                *role == AccountRole::Bot
            }
            (Event::AccountDeleted { account }, operation) => {
                let removes = matches!(operation, Operation::RemoveAccount { .. });
                let deletes = matches!(operation, Operation::DeleteAccount { .. });
                self.hooks_gone.contains(account)
                    || (deletes && asker == Some(*account))
                    || (removes && self.is_admin(asker))
            }
            _ => false,
        }
    }

    fn may_open(&self, asker: Option<AccountId>, command: &Command, event: &Event) -> bool {
        match (event, &command.operation) {
            (Event::SessionOpened { account, .. }, Operation::OpenSession { account: of, .. }) => {
                account == of
            }
            (Event::SessionOpened { .. }, Operation::CreateBot { .. }) => self.is_admin(asker),
            (Event::SessionRenewed { session, .. }, _) => {
                matches!(command.origin, Origin::Session { session: own, .. } if own == *session)
            }
            (Event::SessionForgotten { .. }, Operation::OpenSession { .. }) => true,
            (Event::SessionClosed { session, .. }, operation) => {
                let owner = self.open.get(session).map(|(of, _)| *of);
                match operation {
                    Operation::OpenSession { account, .. } => owner == Some(*account),
                    Operation::RemoveAccount { .. }
                    | Operation::SetSuspended { .. }
                    | Operation::EndSessions { .. }
                    | Operation::ResetPassword { .. } => self.is_admin(asker),
                    _ => asker.is_some() && owner == asker,
                }
            }
            _ => false,
        }
    }

    fn may_in_room(&self, asker: Option<AccountId>, command: &Command, event: &Event) -> bool {
        let operation = &command.operation;
        let creates_webhook = matches!(operation, Operation::CreateWebhook { .. });
        match event {
            Event::RoomCreated { .. } => asker.is_some(),
            Event::MemberJoined {
                conversation,
                account,
                ..
            } => {
                let seen = &self.conversations[conversation];
                let creates = matches!(operation, Operation::CreateRoom { .. });
                let open = creates || seen.public || seen.invited.contains(account);
                creates_webhook || (asker == Some(*account) && open)
            }
            Event::MemberLeft {
                conversation,
                account,
                by,
            } => {
                let seen = &self.conversations[conversation];
                let removes = matches!(operation, Operation::RemoveAccount { .. });
                let greater = seen.role(asker) > seen.role(Some(*account));
                let allowed = asker == Some(*account)
                    || self.hooks_gone.contains(account)
                    || (removes && self.is_admin(asker))
                    || (greater && self.governs(asker, *conversation, MemberRole::Moderator));
                allowed && asker == Some(*by)
            }
            Event::MemberRoleChanged {
                conversation, role, ..
            } => {
                let mut roles = self.conversations[conversation].members.values();
                let inherits = !roles.any(|role| *role == MemberRole::Owner);
                (inherits && *role == MemberRole::Owner)
                    || self.governs(asker, *conversation, MemberRole::Owner)
            }
            Event::MemberInvited {
                conversation,
                account,
                by,
            } => {
                let least = match self.conversations[conversation].public {
                    true => MemberRole::Member,
                    false => MemberRole::Moderator,
                };
                let unwanted = self.blocks.contains(&(*account, *by));
                asker == Some(*by) && !unwanted && self.governs(asker, *conversation, least)
            }
            Event::TopicChanged { conversation, .. }
            | Event::InvitationRemoved { conversation, .. }
            | Event::WebhookCreated { conversation, .. } => {
                self.governs(asker, *conversation, MemberRole::Moderator)
            }
            Event::WebhookDeleted { webhook } => {
                let (_, room, ..) = self.webhooks[webhook];
                let members = self.conversations[&room].members.keys();
                let hooks: Vec<_> = self.webhooks.values().map(|(_, _, id, _)| id).collect();
                let mut people =
                    members.filter(|id| !hooks.contains(id) && !self.hooks_gone.contains(id));
                people.next().is_none()
                    || self.is_admin(asker)
                    || self.governs(asker, room, MemberRole::Moderator)
            }
            other => panic!("{other:?} is not about a room"),
        }
    }
}
