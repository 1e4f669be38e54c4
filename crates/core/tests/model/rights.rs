//! Permissions: whether a caller may have made an event, derived from the command and from what was
//! published before.

use conclave_core::{
    AccessEvent, AccessOperation, AccountEvent, AccountId, AccountOperation, AccountRole,
    AdminOperation, ClusterEvent, ClusterOperation, Command, ConversationEvent, ConversationId,
    Event, Grant, MemberRole, MessageEvent, Operation, Origin, RoomEvent, RoomOperation,
    SentMessage, SessionEvent,
};

use super::Observer;

impl Observer {
    /// Returns whether `asker` may have made this event with this command.
    pub(super) fn may(&self, asker: Option<AccountId>, command: &Command, event: &Event) -> bool {
        match event {
            Event::Account(AccountEvent::PasswordChanged { account, .. }) => {
                let resets = matches!(
                    command.operation,
                    Operation::Admin(AdminOperation::ResetPassword { .. })
                );
                asker == Some(*account) || (resets && self.is_admin(asker))
            }
            Event::Account(AccountEvent::Suspended { account, .. }) => {
                self.is_admin(asker) && asker != Some(*account)
            }
            Event::Account(AccountEvent::PasswordRehashed { account, .. }) => matches!(
                &command.operation,
                Operation::Access(AccessOperation::OpenSession { account: of, .. }) if of == account
            ),
            Event::Account(AccountEvent::DisplayNameChanged { account, .. })
            | Event::Account(AccountEvent::BlockChanged { account, .. })
            | Event::Conversation(ConversationEvent::PositionAdvanced { account, .. })
            | Event::Message(MessageEvent::ReactionChanged { account, .. })
            | Event::Message(MessageEvent::Hidden { account, .. }) => asker == Some(*account),
            Event::Conversation(ConversationEvent::Opened {
                members: (a, b), ..
            }) => [Some(*a), Some(*b)].contains(&asker),
            Event::Message(MessageEvent::Sent(SentMessage {
                conversation, by, ..
            })) => match &command.operation {
                Operation::Access(AccessOperation::PostByWebhook { token, .. }) => {
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
            Event::Message(MessageEvent::Edited {
                conversation,
                sequence,
                ..
            }) => asker.is_some() && self.conversations[conversation].sender(*sequence) == asker,
            Event::Message(MessageEvent::Deleted {
                conversation,
                sequence,
                ..
            }) => {
                let own = self.conversations[conversation].sender(*sequence) == asker;
                own || self.governs(asker, *conversation, MemberRole::Moderator)
            }
            Event::Access(AccessEvent::SetupOffered { .. }) => !self.is_governed(),
            Event::Access(AccessEvent::InviteCreated { .. })
            | Event::Access(AccessEvent::InviteRemoved { .. })
            | Event::Account(AccountEvent::RoleChanged { .. })
            | Event::Account(AccountEvent::LimitsChanged { .. }) => self.is_admin(asker),
            Event::Cluster(ClusterEvent::JoinTokenCreated { .. })
            | Event::Cluster(ClusterEvent::AckPolicyChanged { .. })
            | Event::Cluster(ClusterEvent::RetentionChanged { .. })
            | Event::Cluster(ClusterEvent::LeaderPreferred { .. }) => self.is_operator(command),
            Event::Conversation(ConversationEvent::Forgotten { .. }) => matches!(
                command.operation,
                Operation::Cluster(ClusterOperation::ForgetMessages { .. })
            ),
            Event::Cluster(ClusterEvent::JoinTokenRemoved { .. }) => {
                let is_used_up = matches!(
                    command.operation,
                    Operation::Cluster(ClusterOperation::AdmitNode { .. })
                        | Operation::Cluster(ClusterOperation::RotateAuthority {
                            is_final: true,
                            ..
                        })
                );
                is_used_up || self.is_operator(command)
            }
            Event::Cluster(ClusterEvent::OperatorCreated { by: Some(_), .. }) => {
                self.is_operator(command)
            }
            Event::Cluster(ClusterEvent::OperatorCreated { by: None, .. }) => {
                match command.operation {
                    Operation::Cluster(ClusterOperation::MakeFirstOperator { .. }) => {
                        self.operators.is_empty()
                    }
                    _ => matches!(
                        command.operation,
                        Operation::Cluster(ClusterOperation::ResetOperators { .. })
                    ),
                }
            }
            Event::Cluster(ClusterEvent::OperatorRemoved { .. }) => match command.operation {
                Operation::Cluster(ClusterOperation::ResetOperators { .. }) => true,
                _ => self.operators.len() > 1 && self.is_operator(command),
            },
            Event::Cluster(ClusterEvent::NodeAdmitted { .. })
            | Event::Cluster(ClusterEvent::NodeRetired { .. })
            | Event::Cluster(ClusterEvent::VersionRaised { .. })
            | Event::Cluster(ClusterEvent::AuthorityRotated { .. }) => asker.is_none(),
            Event::Access(AccessEvent::LoginFailed { .. })
            | Event::Access(AccessEvent::LoginForgiven { .. })
            | Event::Access(AccessEvent::LoginKnown { .. })
            | Event::Access(AccessEvent::LoginForgotten { .. }) => asker.is_none(),
            Event::Access(AccessEvent::InviteUsed { .. })
            | Event::Account(AccountEvent::Created { .. })
            | Event::Account(AccountEvent::Deleted { .. }) => {
                self.may_govern(asker, command, event)
            }
            Event::Session(SessionEvent::Opened { .. })
            | Event::Session(SessionEvent::Renewed { .. })
            | Event::Session(SessionEvent::Closed { .. })
            | Event::Session(SessionEvent::Forgotten { .. }) => {
                self.may_open(asker, command, event)
            }
            _ => self.may_in_room(asker, command, event),
        }
    }

    /// Returns whether the command shows an operator's credential, outside of any session.
    fn is_operator(&self, command: &Command) -> bool {
        let outside = matches!(command.origin, Origin::Once(_));
        match &command.operation {
            Operation::Cluster(ClusterOperation::ByOperator { credential, .. }) => {
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
            (
                Event::Access(AccessEvent::InviteUsed { .. }),
                Operation::Access(AccessOperation::CreateAccount { grant, .. }),
            ) => {
                matches!(grant, Grant::Invite(_))
            }
            (
                Event::Account(AccountEvent::Created { role, .. }),
                Operation::Access(AccessOperation::CreateAccount { grant, .. }),
            ) => {
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
            (
                Event::Account(AccountEvent::Created { role, .. }),
                Operation::Admin(AdminOperation::CreateBot { .. }),
            ) => self.is_admin(asker) && *role == AccountRole::Bot,
            (
                Event::Account(AccountEvent::Created { role, .. }),
                Operation::Room(RoomOperation::CreateWebhook { .. }),
            ) => *role == AccountRole::Bot,
            (Event::Account(AccountEvent::Deleted { account }), operation) => {
                let removes = matches!(
                    operation,
                    Operation::Admin(AdminOperation::RemoveAccount { .. })
                );
                let deletes = matches!(
                    operation,
                    Operation::Account(AccountOperation::DeleteAccount { .. })
                );
                self.hooks_gone.contains(account)
                    || (deletes && asker == Some(*account))
                    || (removes && self.is_admin(asker))
            }
            _ => false,
        }
    }

    fn may_open(&self, asker: Option<AccountId>, command: &Command, event: &Event) -> bool {
        match (event, &command.operation) {
            (
                Event::Session(SessionEvent::Opened { account, .. }),
                Operation::Access(AccessOperation::OpenSession { account: of, .. }),
            ) => account == of,
            (
                Event::Session(SessionEvent::Opened { .. }),
                Operation::Admin(AdminOperation::CreateBot { .. }),
            ) => self.is_admin(asker),
            (Event::Session(SessionEvent::Renewed { session, .. }), _) => {
                matches!(command.origin, Origin::Session { session: own, .. } if own == *session)
            }
            (
                Event::Session(SessionEvent::Forgotten { .. }),
                Operation::Access(AccessOperation::OpenSession { .. }),
            ) => true,
            (Event::Session(SessionEvent::Closed { session, .. }), operation) => {
                let owner = self.open.get(session).map(|(of, _)| *of);
                match operation {
                    Operation::Access(AccessOperation::OpenSession { account, .. }) => {
                        owner == Some(*account)
                    }
                    Operation::Admin(AdminOperation::RemoveAccount { .. })
                    | Operation::Admin(AdminOperation::SetSuspended { .. })
                    | Operation::Admin(AdminOperation::EndSessions { .. })
                    | Operation::Admin(AdminOperation::ResetPassword { .. }) => {
                        self.is_admin(asker)
                    }
                    _ => asker.is_some() && owner == asker,
                }
            }
            _ => false,
        }
    }

    fn may_in_room(&self, asker: Option<AccountId>, command: &Command, event: &Event) -> bool {
        let operation = &command.operation;
        let creates_webhook = matches!(
            operation,
            Operation::Room(RoomOperation::CreateWebhook { .. })
        );
        match event {
            Event::Room(RoomEvent::Created { .. }) => asker.is_some(),
            Event::Room(RoomEvent::MemberJoined {
                conversation,
                account,
                ..
            }) => {
                let seen = &self.conversations[conversation];
                let creates =
                    matches!(operation, Operation::Room(RoomOperation::CreateRoom { .. }));
                let open = creates || seen.public || seen.invited.contains(account);
                creates_webhook || (asker == Some(*account) && open)
            }
            Event::Room(RoomEvent::MemberLeft {
                conversation,
                account,
                by,
            }) => {
                let seen = &self.conversations[conversation];
                let removes = matches!(
                    operation,
                    Operation::Admin(AdminOperation::RemoveAccount { .. })
                );
                let greater = seen.role(asker) > seen.role(Some(*account));
                let allowed = asker == Some(*account)
                    || self.hooks_gone.contains(account)
                    || (removes && self.is_admin(asker))
                    || (greater && self.governs(asker, *conversation, MemberRole::Moderator));
                allowed && asker == Some(*by)
            }
            Event::Room(RoomEvent::MemberRoleChanged {
                conversation, role, ..
            }) => {
                let mut roles = self.conversations[conversation].members.values();
                let inherits = !roles.any(|role| *role == MemberRole::Owner);
                (inherits && *role == MemberRole::Owner)
                    || self.governs(asker, *conversation, MemberRole::Owner)
            }
            Event::Room(RoomEvent::MemberInvited {
                conversation,
                account,
                by,
            }) => {
                let least = match self.conversations[conversation].public {
                    true => MemberRole::Member,
                    false => MemberRole::Moderator,
                };
                let unwanted = self.blocks.contains(&(*account, *by));
                asker == Some(*by) && !unwanted && self.governs(asker, *conversation, least)
            }
            Event::Room(RoomEvent::RetentionChanged { conversation, .. }) => {
                self.governs(asker, *conversation, MemberRole::Owner)
            }
            Event::Room(RoomEvent::TopicChanged { conversation, .. })
            | Event::Room(RoomEvent::InvitationRemoved { conversation, .. })
            | Event::Room(RoomEvent::WebhookCreated { conversation, .. }) => {
                self.governs(asker, *conversation, MemberRole::Moderator)
            }
            Event::Room(RoomEvent::WebhookDeleted { webhook }) => {
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
