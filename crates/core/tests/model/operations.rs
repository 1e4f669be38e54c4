//! The operations that the requests of a client become.

use conclave_core::{
    AccessOperation, AccountName, AccountOperation, AdminOperation, AuthorityId, ClusterOperation,
    ClusterVersion, ConversationId, DisplayName, Grant, InviteId, JoinCredential, JoinTokenId,
    LoginKeys, MessageOperation, MessageText, NodeId, Operation, OperatorName, OperatorRequest,
    Progress, Reaction, Recipient, RetentionChange, RoomName, RoomOperation, RoomRetention,
    Sequence, SessionLabel, ThrottleKey, TokenHash, Topic, WebhookId, limits::RETENTION_AGE_MS_MIN,
};

use super::{
    generated_command::{
        Government, NAMES, OPERATORS, Operate, PROGRAMS, REACTIONS, ROOMS, RoomCommand, What,
    },
    plan::Clients,
};

const SETUP: TokenHash = TokenHash([255; 32]);

impl What {
    pub(super) fn operation(&self, clients: &Clients) -> Operation {
        match self {
            Self::Create(which, grant) => create(clients, *which, *grant),
            Self::Login { account, version } => Operation::Access(AccessOperation::OpenSession {
                account: clients.account(*account),
                password_version: *version,
                token: token(clients.number()),
                label: SessionLabel::default(),
                keys: keys(*account as usize, *version as usize),
                renewed_hash: (*account == 2).then(|| "$argon2id$renewed".to_owned()),
            }),
            Self::Try(which, place) => Operation::Access(AccessOperation::TryPassword {
                keys: keys(*which, *place),
            }),
            Self::OfferSetup => Operation::Access(AccessOperation::OfferSetup { token: SETUP }),
            Self::Admit(which) => Operation::Cluster(ClusterOperation::AdmitNode {
                credential: match which {
                    3 => JoinCredential::Secret { voter: true },
                    which => JoinCredential::Token(TokenHash([150 + which; 32])),
                },
                known_last: NodeId(u64::from(*which)),
                newest: (*which % 2 == 1).then_some(ClusterVersion(u32::from(*which))),
            }),
            Self::Raise(to) => Operation::Cluster(ClusterOperation::RaiseVersion {
                to: ClusterVersion(*to),
                asked: (1..=9).map(NodeId).collect(),
            }),
            Self::Forget(first) => Operation::Cluster(ClusterOperation::ForgetMessages {
                conversations: (*first..first + 3).map(ConversationId).collect(),
            }),
            Self::Retire(node) => Operation::Cluster(ClusterOperation::RetireNode {
                node: NodeId(*node),
            }),
            Self::Rotate(generation, which, is_final) => {
                Operation::Cluster(ClusterOperation::RotateAuthority {
                    generation: *generation,
                    authority: AuthorityId([*which; 32]),
                    is_final: *is_final,
                })
            }
            Self::Post(back) => Operation::Access(AccessOperation::PostByWebhook {
                token: program_token(*back as usize % PROGRAMS.len()),
                text: text(clients),
                keyed: *back % 2 == 1,
            }),
            Self::Logout => Operation::Account(AccountOperation::CloseSession),
            Self::DeleteAccount | Self::Misplaced(false) => {
                Operation::Account(AccountOperation::DeleteAccount {
                    password_version: 1,
                })
            }
            Self::ChangePassword(version) => Operation::Account(AccountOperation::ChangePassword {
                password_version: *version,
                password_hash: "$argon2id$".to_owned(),
            }),
            Self::Display => Operation::Account(AccountOperation::SetDisplayName {
                display_name: DisplayName::default(),
            }),
            Self::Block(which, blocked) => Operation::Account(AccountOperation::SetBlock {
                name: any_account_name(*which),
                blocked: *blocked,
            }),
            Self::EndSession(back) => Operation::Account(AccountOperation::EndSession {
                session: clients.session(*back),
            }),
            Self::Room(room, command) => command.operation(room_name(*room)),
            Self::Govern(command) => command.operation(clients),
            Self::Operate(credential, command) => command.operation(*credential),
            Self::DeleteWebhook(webhook) => Operation::Room(RoomOperation::DeleteWebhook {
                webhook: WebhookId(*webhook),
            }),
            Self::Misplaced(true) => create(clients, 0, 11),
            _ => self.about_message(clients),
        }
    }

    fn about_message(&self, clients: &Clients) -> Operation {
        let send = |to, reply_to: Option<u64>| {
            Operation::Message(MessageOperation::SendMessage {
                to,
                text: text(clients),
                reply_to: reply_to.map(Sequence),
                action: clients.number().is_multiple_of(2),
            })
        };
        match self {
            Self::Send(which) => send(Recipient::Account(any_account_name(*which)), None),
            Self::SendIn(conversation, reply) => {
                let to = Recipient::Conversation(clients.conversation(*conversation));
                send(to, Some(*reply).filter(|reply| *reply > 2))
            }
            Self::SendTo(room) => send(Recipient::Room(room_name(*room)), None),
            Self::Edit(message) => Operation::Message(MessageOperation::EditMessage {
                message: clients.message(*message),
                text: text(clients),
            }),
            Self::React(message, which, present) => {
                Operation::Message(MessageOperation::SetReaction {
                    message: clients.message(*message),
                    reaction: Reaction::new(REACTIONS[*which]).expect("it is a reaction"),
                    present: *present,
                })
            }
            Self::Advance {
                conversation,
                delivered,
                read,
            } => {
                let progress = Progress {
                    delivered: Sequence(*delivered),
                    read: Sequence(*read),
                };
                Operation::Message(MessageOperation::AdvancePositions {
                    positions: vec![(clients.conversation(*conversation), progress)],
                })
            }
            Self::Delete {
                messages,
                for_everyone,
            } => Operation::Message(MessageOperation::DeleteMessages {
                messages: messages
                    .iter()
                    .map(|named| clients.message(*named))
                    .collect(),
                for_everyone: *for_everyone,
            }),
            other => unreachable!("{other:?} is not about a message"),
        }
    }
}

impl RoomCommand {
    fn operation(&self, name: RoomName) -> Operation {
        match self {
            Self::Create(public) => Operation::Room(RoomOperation::CreateRoom {
                name,
                topic: Topic::default(),
                public: *public,
            }),
            Self::Join => Operation::Room(RoomOperation::JoinRoom { name }),
            Self::Leave => Operation::Room(RoomOperation::LeaveRoom { name }),
            Self::Invite(who) => Operation::Room(RoomOperation::InviteToRoom {
                name,
                account: any_account_name(*who),
            }),
            Self::Kick(who) => Operation::Room(RoomOperation::KickFromRoom {
                name,
                account: any_account_name(*who),
            }),
            Self::Topic => Operation::Room(RoomOperation::SetTopic {
                name,
                topic: Topic::default(),
            }),
            Self::Keep(age, messages) => Operation::Room(RoomOperation::SetRoomRetention {
                name,
                retention: RoomRetention {
                    age_ms: (*age < 9).then_some(age * RETENTION_AGE_MS_MIN),
                    messages: (*messages < 9).then_some(*messages),
                },
            }),
            Self::Role(who, role) => Operation::Room(RoomOperation::SetMemberRole {
                name,
                account: any_account_name(*who),
                role: *role,
            }),
            Self::Webhook(which) => Operation::Room(RoomOperation::CreateWebhook {
                name,
                account: program(*which),
                token: program_token(*which),
            }),
        }
    }
}

impl Government {
    fn operation(&self, clients: &Clients) -> Operation {
        match self {
            Self::Role(who, role) => Operation::Admin(AdminOperation::SetAccountRole {
                name: any_account_name(*who),
                role: *role,
            }),
            Self::Remove(who) => Operation::Admin(AdminOperation::RemoveAccount {
                name: any_account_name(*who),
            }),
            Self::Suspend(who, suspended) => Operation::Admin(AdminOperation::SetSuspended {
                name: any_account_name(*who),
                suspended: *suspended,
            }),
            Self::EndSessions(who) => Operation::Admin(AdminOperation::EndSessions {
                name: any_account_name(*who),
            }),
            Self::ResetPassword(who) => Operation::Admin(AdminOperation::ResetPassword {
                name: any_account_name(*who),
                password_hash: "$argon2id$reset".to_owned(),
            }),
            Self::Bot(which) => Operation::Admin(AdminOperation::CreateBot {
                name: program(*which),
                token: token(clients.number()),
            }),
            Self::Invite(code) => Operation::Admin(AdminOperation::CreateInvite {
                code: TokenHash([100 + *code; 32]),
                ttl_ms: 1000 * 60 * u64::from(*code),
                uses: 2,
            }),
            Self::Revoke(invite) => Operation::Admin(AdminOperation::RevokeInvite {
                invite: InviteId(*invite),
            }),
        }
    }
}

impl Operate {
    /// Returns the operation with this credential. The credentials are few: 0 is the first
    /// operator's.
    fn operation(&self, credential: u8) -> Operation {
        let token = TokenHash([160 + credential; 32]);
        let of = |which: u8| TokenHash([150 + which; 32]);
        let request = match self {
            Self::First => {
                return Operation::Cluster(ClusterOperation::MakeFirstOperator { token });
            }
            Self::Reset => return Operation::Cluster(ClusterOperation::ResetOperators { token }),
            Self::JoinToken(which) => OperatorRequest::CreateJoinToken {
                token: of(*which),
                ttl_ms: 1000 * 60 * u64::from(*which),
                voter: which % 2 == 0,
            },
            Self::RevokeToken(which) => OperatorRequest::RevokeJoinToken {
                id: JoinTokenId::of(&of(*which)),
            },
            Self::Prefer(node) => OperatorRequest::PreferLeader {
                node: (*node > 0).then_some(NodeId(*node)),
            },
            Self::Ack(policy) => OperatorRequest::SetAckPolicy { policy: *policy },
            Self::Keep(age, messages, more) => OperatorRequest::SetRetention {
                change: RetentionChange {
                    age_ms: Some(age * RETENTION_AGE_MS_MIN),
                    messages: Some(*messages),
                    rooms_may_exceed: Some(*more),
                    total_messages: None,
                },
            },
            Self::Add(which) => OperatorRequest::CreateOperator {
                name: operator(*which),
                token: TokenHash([160 + *which as u8; 32]),
            },
            Self::Remove(which) => OperatorRequest::RevokeOperator {
                name: operator(*which),
            },
        };
        Operation::Cluster(ClusterOperation::ByOperator {
            credential: token,
            request,
        })
    }
}

fn operator(which: usize) -> OperatorName {
    OperatorName::new(OPERATORS[which]).expect("it is a name")
}

/// Creates an account, mostly with the grant that is open to every caller.
fn create(clients: &Clients, which: usize, grant: u64) -> Operation {
    Operation::Access(AccessOperation::CreateAccount {
        name: any_account_name(which),
        password_hash: "$argon2id$".to_owned(),
        grant: match grant {
            0..=2 => Grant::Setup(SETUP),
            3 | 4 => Grant::Invite(TokenHash([100 + grant as u8 - 2; 32])),
            5 => Grant::Admin(clients.session(0)),
            _ => Grant::Open,
        },
    })
}

fn text(clients: &Clients) -> MessageText {
    let number = clients.number();
    let name = NAMES[number as usize % NAMES.len()];
    MessageText::new(format!("message {number} for @{name}")).expect("it is short")
}

fn any_account_name(which: usize) -> AccountName {
    let all = NAMES.iter().chain(&PROGRAMS);
    let name = all.cycle().nth(which).expect("a cycle does not end");
    AccountName::new(*name).expect("it is a name")
}

fn program(which: usize) -> AccountName {
    AccountName::new(PROGRAMS[which]).expect("it is a name")
}

fn program_token(which: usize) -> TokenHash {
    TokenHash([200 + which as u8; 32])
}

fn room_name(which: usize) -> RoomName {
    RoomName::new(ROOMS[which]).expect("it is a name")
}

/// Returns the keys of an attempt on an account from one of a few places.
fn keys(which: usize, place: usize) -> LoginKeys {
    let key = |kind: u8| ThrottleKey([kind + which as u8 + 16 * place as u8; 16]);
    LoginKeys {
        account: ThrottleKey([which as u8; 16]),
        address: ThrottleKey([9; 16]),
        pair: key(64),
        device: (place == 2).then(|| key(128)),
        session: (place == 3).then(|| key(192)),
    }
}

fn token(number: u64) -> TokenHash {
    let mut token = [0; 32];
    token[..8].copy_from_slice(&number.to_be_bytes());
    TokenHash(token)
}
