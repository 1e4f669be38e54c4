//! Random logs of all commands: requests of four people, whether they are possible or not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "each test binary uses a part")]

use conclave_core::{
    AccessOperation, AccountLimit, AccountOperation, AccountRole, AckPolicy, AdminOperation,
    AuthorityId, ClusterOperation, ClusterVersion, Command, DisplayName, Grant, InviteId,
    JoinCredential, JoinTokenId, LoginKeys, MemberRole, MessageOperation, NodeId, Operation,
    OperatorName, OperatorRequest, Recipient, RetentionChange, RoomOperation, RoomRetention,
    SessionId, ThrottleKey, WebhookId,
    limits::{INVITE_MS_MAX, RETENTION_AGE_MS_MIN},
};
use conclave_storage::state::Entry;
use proptest::prelude::*;

use crate::{read_support::*, state_support::*};

const PEOPLE: [&str; 6] = ["ann", "bea", "cyd", "dan", "eve", "hook"];
const ROOMS: [&str; 2] = ["lobby", "attic"];
const TEXTS: [&str; 4] = ["hi", "@ann and @bea", "look @cyd, @dan @hook", "bye"];
const REACTIONS: [&str; 3] = ["+1", "heart", "?"];

/// A request, as numbers that shrink well.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GeneratedCommand {
    what: u8,
    session: u64,
    who: usize,
    place: u64,
    sequence: u64,
    yes: bool,
    /// Milliseconds that pass before the request; then the next entry begins.
    pause: u64,
}

/// Returns any request of any person.
pub(crate) fn generated_command() -> impl Strategy<Value = GeneratedCommand> {
    let pause = prop_oneof![
        12 => Just(0u64),
        10 => Just(1),
        2 => Just(11 * 60_000),
        1 => Just(25 * 60 * 60_000),
    ];
    // Requests that end sessions and accounts are rare, or little else could happen.
    let what = prop_oneof![
        1 => prop::sample::select(vec![6u8, 10, 11, 13, 24]),
        20 => 0u8..6,
        20 => prop::sample::select(vec![7u8, 8, 9, 12, 14, 15, 35]),
        30 => 16u8..21,
        30 => prop::sample::select(vec![21u8, 22, 23, 24, 25, 26, 27, 28, 29, 30]),
        30 => 31u8..35,
    ];
    let session = prop_oneof![4 => Just(1u64), 8 => 2u64..5, 1 => 5u64..9];
    let message = (
        prop_oneof![8 => 1u64..4, 1 => 4u64..6],
        prop_oneof![8 => 1u64..4, 1 => 4u64..8],
    );
    (
        what,
        session,
        0usize..PEOPLE.len(),
        message,
        any::<bool>(),
        pause,
    )
        .prop_map(
            |(what, session, who, (place, sequence), yes, pause)| GeneratedCommand {
                what,
                session,
                who,
                place,
                sequence,
                yes,
                pause,
            },
        )
}

/// Returns a raise of the cluster version, mostly to the newest one.
fn raise(place: u64) -> Operation {
    Operation::Cluster(ClusterOperation::RaiseVersion {
        to: ClusterVersion(if place == 3 { 2 } else { 3 }),
        asked: (1..=9).map(NodeId).collect(),
    })
}

impl GeneratedCommand {
    fn is_outside(self) -> bool {
        self.what <= 5
    }

    fn operation(self, request: u64) -> Operation {
        let name = || account(PEOPLE[self.who]);
        let room_name = ROOMS[self.place as usize % ROOMS.len()];
        let text = TEXTS[self.sequence as usize % TEXTS.len()];
        let few = (request % 2) as u8;
        let message = message(self.place, self.sequence);
        match self.what {
            0 => create(PEOPLE[self.who]),
            1 => Operation::Access(AccessOperation::CreateAccount {
                name: name(),
                password_hash: "$argon2id$".to_owned(),
                grant: match self.yes {
                    true => Grant::Invite(token(100 + few)),
                    false => Grant::Setup(token(100)),
                },
            }),
            2 => log_in(self.sequence, request),
            3 if self.yes => self.of_operators(),
            3 if self.who > 3 => raise(self.place),
            3 if self.who > 2 => forget(&[1, 2, 3, 4]),
            3 if self.who > 1 => forget(&[]),
            3 => Operation::Access(AccessOperation::TryPassword {
                keys: keys(self.who as u64, 200 + few),
            }),
            4 if self.yes => self.of_operators(),
            4 => match self.sequence % 6 {
                0 => Operation::Cluster(ClusterOperation::RetireNode {
                    node: NodeId(self.place),
                }),
                1 => Operation::Cluster(ClusterOperation::AdmitNode {
                    credential: JoinCredential::Secret { voter: self.yes },
                    known_last: NodeId(self.place),
                    newest: None,
                }),
                2 => Operation::Cluster(ClusterOperation::AdmitNode {
                    credential: JoinCredential::Token(token(150 + self.place as u8 % 4)),
                    known_last: NodeId(0),
                    newest: Some(ClusterVersion(1 + self.place as u32 % 3)),
                }),
                3 => Operation::Cluster(ClusterOperation::RotateAuthority {
                    generation: 1 + self.place % 2,
                    authority: AuthorityId([7; 32]),
                    is_final: self.yes,
                }),
                4 => raise(self.place),
                _ => Operation::Access(AccessOperation::OfferSetup { token: token(100) }),
            },
            5 => post(150 + few, text),
            6..=20 => self.about_people(request),
            35 => self.of_administrators(request),
            21 => create_room(room_name, self.yes),
            22 | 23 => join(room_name),
            24 => leave(room_name),
            25 => invite(room_name, PEOPLE[self.who]),
            26 => kick(room_name, PEOPLE[self.who]),
            27 if self.yes => Operation::Room(RoomOperation::SetRoomRetention {
                name: room(room_name),
                retention: RoomRetention {
                    age_ms: Some(RETENTION_AGE_MS_MIN * (self.place % 3)),
                    messages: (self.sequence < 3).then_some(self.sequence),
                },
            }),
            27 => set_topic(room_name, text),
            28 => webhook(room_name, PEOPLE[self.who], 150 + few),
            29 => Operation::Room(RoomOperation::DeleteWebhook {
                webhook: WebhookId(self.place),
            }),
            30 => set_role(room_name, PEOPLE[self.who], role(self.sequence)),
            31 => edit(self.place, self.sequence, text),
            32 => {
                let reaction = REACTIONS[self.who % REACTIONS.len()];
                react(self.place, self.sequence, reaction, self.yes)
            }
            _ => Operation::Message(MessageOperation::DeleteMessages {
                messages: vec![message],
                for_everyone: self.yes,
            }),
        }
    }

    fn of_operators(self) -> Operation {
        // Seldom a credential that no operator has.
        let credential = token(160 + u8::from(self.who == 5));
        let name = OperatorName::new(["operator", "eva", "EVA"][self.who % 3]).unwrap();
        let other = token(162 + self.place as u8 % 4);
        let join = token(150 + self.place as u8 % 4);
        let request = match self.session {
            1 if self.place == 1 => {
                return Operation::Cluster(ClusterOperation::MakeFirstOperator {
                    token: credential,
                });
            }
            4 if self.who < 3 => OperatorRequest::SetAckPolicy {
                policy: match self.place < 3 {
                    true => AckPolicy::All,
                    false => AckPolicy::Majority,
                },
            },
            3 if self.sequence == 3 => OperatorRequest::PreferLeader {
                node: Some(NodeId(self.place)).filter(|node| node.0 > 1),
            },
            2 | 3 if self.who < 3 => OperatorRequest::SetRetention {
                change: RetentionChange {
                    age_ms: (self.who < 2).then_some(RETENTION_AGE_MS_MIN * self.place),
                    messages: Some(self.place % 4),
                    rooms_may_exceed: Some(self.sequence.is_multiple_of(2)),
                    total_messages: (self.who < 1).then_some(8 * self.place),
                },
            },
            1 | 2 => OperatorRequest::CreateJoinToken {
                token: join,
                ttl_ms: 1 + self.place,
                voter: self.place.is_multiple_of(2),
            },
            3 if self.sequence == 1 => OperatorRequest::RevokeOperator { name },
            3 if self.sequence == 2 => OperatorRequest::RevokeJoinToken {
                id: JoinTokenId::of(&join),
            },
            3 | 4 => OperatorRequest::CreateOperator { name, token: other },
            _ => return Operation::Cluster(ClusterOperation::ResetOperators { token: credential }),
        };
        Operation::Cluster(ClusterOperation::ByOperator {
            credential,
            request,
        })
    }

    fn of_administrators(self, request: u64) -> Operation {
        let name = account(PEOPLE[self.who]);
        // Requests that lock people out are rare, as above.
        match self.sequence {
            1 => Operation::Admin(AdminOperation::EndSessions { name }),
            2 => Operation::Admin(AdminOperation::ResetPassword {
                name,
                password_hash: format!("$argon2id${request}"),
            }),
            3 => Operation::Admin(AdminOperation::SetSuspended {
                name,
                suspended: self.yes,
            }),
            _ => Operation::Admin(AdminOperation::SetAccountLimits {
                values: vec![(AccountLimit::CONVERSATIONS, 100 * self.place)],
            }),
        }
    }

    fn about_people(self, request: u64) -> Operation {
        let name = account(PEOPLE[self.who]);
        let text = TEXTS[self.sequence as usize % TEXTS.len()];
        match self.what {
            6 => Operation::Account(AccountOperation::DeleteAccount {
                password_version: 1,
            }),
            7 => Operation::Account(AccountOperation::ChangePassword {
                password_version: 1,
                password_hash: format!("$argon2id${request}"),
            }),
            8 => Operation::Account(AccountOperation::SetDisplayName {
                display_name: DisplayName::new(text).unwrap(),
            }),
            9 => block(PEOPLE[self.who], self.yes),
            10 => Operation::Account(AccountOperation::CloseSession),
            11 => Operation::Account(AccountOperation::EndSession {
                session: SessionId(self.place),
            }),
            12 => Operation::Admin(AdminOperation::SetAccountRole {
                name,
                role: match self.yes {
                    true => AccountRole::Admin,
                    false => AccountRole::User,
                },
            }),
            13 => Operation::Admin(AdminOperation::RemoveAccount { name }),
            14 => Operation::Admin(AdminOperation::CreateInvite {
                code: token(100 + (request % 2) as u8),
                ttl_ms: self.sequence * INVITE_MS_MAX / 7,
                uses: self.place as u32,
            }),
            15 => match self.sequence % 6 {
                0..=2 => Operation::Admin(AdminOperation::RevokeInvite {
                    invite: InviteId(1 + self.place % 2),
                }),
                _ => Operation::Admin(AdminOperation::CreateInvite {
                    code: token(102),
                    ttl_ms: INVITE_MS_MAX,
                    uses: 1,
                }),
            },
            16 => advance(self.place, self.sequence, self.sequence - 1),
            17 | 18 => {
                let room = room(ROOMS[self.place as usize % ROOMS.len()]);
                let reply_to = self.yes.then_some(self.sequence / 2);
                send(Recipient::Room(room), text, reply_to, self.yes)
            }
            19 => say_in(self.place, text),
            _ => say(PEOPLE[self.who], text),
        }
    }
}

fn role(number: u64) -> MemberRole {
    match number % 3 {
        0 => MemberRole::Member,
        1 => MemberRole::Moderator,
        _ => MemberRole::Owner,
    }
}

/// Returns the keys of an attempt on an account from an address.
fn keys(account: u64, address: u8) -> LoginKeys {
    LoginKeys {
        account: ThrottleKey([account as u8; 16]),
        address: ThrottleKey([address; 16]),
        pair: ThrottleKey([account as u8 ^ address; 16]),
        ..LoginKeys::default()
    }
}

fn log_in(account: u64, request: u64) -> Operation {
    let mut operation = login(account);
    if let Operation::Access(AccessOperation::OpenSession {
        token,
        keys: own,
        renewed_hash,
        ..
    }) = &mut operation
    {
        token.0[8..16].copy_from_slice(&request.to_be_bytes());
        *own = keys(account, 200 + request as u8 % 3);
        *renewed_hash = request
            .is_multiple_of(5)
            .then(|| "$argon2id$new".to_owned());
    }
    operation
}

/// Returns a log in which four people sign up, open rooms, and then make the requests.
pub(crate) fn log(generated: &[GeneratedCommand]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut add = |at: u64, commands: Vec<Command>| {
        entries.push(entry(entries.len() as u64 + 1, batch(at, commands)));
    };
    let setup = Operation::Access(AccessOperation::CreateAccount {
        name: account("ann"),
        password_hash: "$argon2id$".to_owned(),
        grant: Grant::Setup(token(100)),
    });
    let offer = Operation::Access(AccessOperation::OfferSetup { token: token(100) });
    let operator = Operation::Cluster(ClusterOperation::MakeFirstOperator { token: token(160) });
    let mut first = vec![
        once(1 << 100, offer),
        once(1 << 101, setup),
        once(1 << 99, operator),
    ];
    for (number, name) in (2..).zip(&PEOPLE[1..4]) {
        first.push(once(1 << (100 + number), create(name)));
    }
    for number in 1..=4_u64 {
        first.push(once(1 << (110 + number), log_in(number, 0)));
    }
    add(START, first);
    let open = vec![
        ask(1, 1, create_room("lobby", true)),
        ask(1, 2, create_room("attic", false)),
        ask(2, 1, join("lobby")),
        ask(3, 1, join("lobby")),
        ask(1, 4, invite("attic", "bea")),
        ask(1, 5, invite("attic", "dan")),
        ask(2, 2, join("attic")),
        ask(1, 3, say("bea", "hello @bea")),
    ];
    add(START, open);

    let (mut at, mut commands) = (START, Vec::new());
    for (request, generated_command) in (10_u64..).zip(generated) {
        if generated_command.pause > 0 {
            add(at, std::mem::take(&mut commands));
            at += generated_command.pause;
        }
        let operation = generated_command.operation(request);
        commands.push(match generated_command.is_outside() {
            true => once(u128::from(request), operation),
            false => ask(generated_command.session, request, operation),
        });
    }
    add(at, commands);
    entries
}
