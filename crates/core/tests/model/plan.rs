//! Random clients: what they want, in which order it arrives, and how often.
//!
//! A plan is a list of small numbers, so that a failing one shrinks well. It becomes a log by
//! asking the clients, who learn the numbers of their sessions from the answers.

use conclave_core::{
    Accepted, AccountId, AccountName, Batch, Command, ConversationId, Decision, Digest, MessageRef,
    MessageText, OnceId, Operation, Origin, Progress, Recipient, Rejection, Sequence, SessionId,
    Timestamp, TokenHash,
};
use proptest::prelude::*;

use crate::support::Memory;

const NAMES: [&str; 4] = ["ann", "Bea", "cyd", "ANN"];
/// Greater than every digest that a client chooses.
const OTHER_DIGEST: u64 = 1 << 32;
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// The clock of whoever leads moves; the next request is in a new entry.
    Tick(i64),
    /// A client wants something; the request arrives `late` steps later, and the session's
    /// numbers skip `skip`.
    Ask {
        who: usize,
        what: What,
        late: usize,
        skip: u64,
    },
    /// A request that arrived before arrives again, or another one under its number.
    Again { which: usize, same: bool },
}

/// What a client wants.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Create(usize),
    Login {
        account: u64,
        version: u64,
    },
    Logout,
    DeleteAccount,
    Send(usize),
    SendIn(u64),
    Advance {
        conversation: u64,
        delivered: u64,
        read: u64,
    },
    Delete {
        messages: Vec<(u64, u64)>,
        for_everyone: bool,
    },
    /// Something that belongs in a session, outside of one; or the other way round.
    Misplaced(bool),
}

/// How wild a plan may be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Weather {
    /// Everything happens within the memory of answers, once.
    Calm,
    /// Days pass, numbers skip; every request still arrives once.
    Slow,
    /// Requests also arrive again, and in the wrong place.
    Wild,
}

/// A log, and what came of it.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) batches: Vec<Batch>,
    pub(crate) decisions: Vec<Vec<Decision>>,
    pub(crate) state: Memory,
}

pub(crate) fn what(weather: Weather) -> impl Strategy<Value = What> {
    let misplaced = if matches!(weather, Weather::Wild) {
        1
    } else {
        0
    };
    let conversation = prop_oneof![5 => Just(0u64), 1 => 1u64..4];
    let sequence = prop_oneof![9 => 1u64..4, 1 => 0u64..9];
    prop_oneof![
        5 => (0..NAMES.len()).prop_map(What::Create),
        8 => (0u64..3, prop_oneof![9 => Just(1u64), 1 => 0u64..3])
            .prop_map(|(account, version)| What::Login { account, version }),
        1 => Just(What::Logout),
        2 => Just(What::DeleteAccount),
        12 => (0..NAMES.len()).prop_map(What::Send),
        6 => conversation.clone().prop_map(What::SendIn),
        6 => (conversation.clone(), 0u64..6, 0u64..6).prop_map(
            |(conversation, delivered, read)| What::Advance { conversation, delivered, read }
        ),
        9 => (prop::collection::vec((conversation, sequence), 0..3), any::<bool>()).prop_map(
            |(messages, for_everyone)| What::Delete { messages, for_everyone }
        ),
        misplaced => any::<bool>().prop_map(What::Misplaced),
    ]
}

/// Up to `steps` steps.
pub(crate) fn plan(weather: Weather, steps: usize) -> impl Strategy<Value = Vec<Step>> {
    let ms = |ms: u64| i64::try_from(ms).expect("a month of milliseconds fits");
    let tick = match weather {
        // All the ticks of a plan together stay below what a closed session is remembered.
        Weather::Calm => prop::sample::select(vec![0, 1, 1000, -1000, -ms(HOUR)]).boxed(),
        Weather::Slow | Weather::Wild => {
            let times = vec![
                1,
                1000,
                -ms(HOUR),
                ms(HOUR),
                ms(11 * MINUTE),
                ms(DAY),
                ms(29 * DAY),
            ];
            prop::sample::select(times).boxed()
        }
    };
    let skip = match weather {
        Weather::Calm => Just(0u64).boxed(),
        Weather::Slow | Weather::Wild => prop_oneof![15 => Just(0u64), 1 => 0u64..200].boxed(),
    };
    let ask = (
        0usize..8,
        what(weather),
        prop_oneof![3 => Just(0usize), 1 => 0usize..6],
        skip,
    );
    let ask = ask.prop_map(|(who, what, late, skip)| Step::Ask {
        who,
        what,
        late,
        skip,
    });
    let again = if matches!(weather, Weather::Wild) {
        10
    } else {
        0
    };
    let step = prop_oneof![
        10 => tick.prop_map(Step::Tick),
        25 => ask,
        again => (0usize..64, prop::bool::weighted(0.9))
            .prop_map(|(which, same)| Step::Again { which, same }),
    ];
    prop::collection::vec(step, 1..steps)
}

/// Lets the clients act.
pub(crate) fn play(steps: &[Step]) -> History {
    let mut clients = Clients::default();
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::Tick(ms) => {
                clients.end_entry();
                clients.clock = clients.clock.saturating_add_signed(*ms);
            }
            Step::Ask {
                who,
                what,
                late,
                skip,
            } => {
                let command = clients.command(*who, what, *skip);
                clients.on_the_way.push((at + late, command));
            }
            Step::Again { which, same } => {
                if !clients.arrived.is_empty() {
                    let mut command = clients.arrived[which % clients.arrived.len()].clone();
                    if !same {
                        command.digest.0 += OTHER_DIGEST;
                    }
                    clients.on_the_way.push((at, command));
                }
            }
        }
        clients.deliver(at);
    }
    clients.deliver(usize::MAX);
    clients.end_entry();
    clients.history
}

#[derive(Default)]
struct Clients {
    clock: u64,
    requests: u64,
    /// Sessions that answers told of, and the number that each used last.
    sessions: Vec<(SessionId, u64)>,
    accounts: Vec<AccountId>,
    conversation_last: u64,
    on_the_way: Vec<(usize, Command)>,
    arrived: Vec<Command>,
    entry: Vec<Command>,
    history: History,
}

impl Clients {
    fn deliver(&mut self, now: usize) {
        let all = std::mem::take(&mut self.on_the_way);
        let (due, later) = all.into_iter().partition(|(at, _)| *at <= now);
        self.on_the_way = later;
        let due: Vec<(usize, Command)> = due;
        for (_, command) in due {
            self.arrived.push(command.clone());
            self.entry.push(command);
        }
    }

    fn end_entry(&mut self) {
        let batch = Batch {
            proposed_at: Timestamp(self.clock),
            commands: std::mem::take(&mut self.entry),
        };
        let decisions = self.history.state.run(&batch);
        for (command, decision) in batch.commands.iter().zip(&decisions) {
            self.learn(command, decision);
        }
        self.history.batches.push(batch);
        self.history.decisions.push(decisions);
    }

    fn learn(&mut self, command: &Command, decision: &Decision) {
        match (&decision.answer, command.origin) {
            (Ok(Accepted::SessionOpened { session, .. }), _)
                if !self.sessions.iter().any(|(known, _)| known == session) =>
            {
                self.sessions.push((*session, 0));
            }
            (Ok(Accepted::AccountCreated { account }), _) => self.accounts.push(*account),
            (Ok(Accepted::MessageSent { conversation, .. }), _) => {
                self.conversation_last = self.conversation_last.max(conversation.0);
            }
            (Err(Rejection::SessionExpired), Origin::Session { session, .. }) => {
                self.sessions.retain(|(known, _)| *known != session);
            }
            _ => {}
        }
    }

    /// What a small number means: 0 is the newest account that a client knows.
    fn account(&self, back: u64) -> AccountId {
        let newest_first = self.accounts.iter().rev();
        let known = newest_first.copied().nth(back as usize);
        known.unwrap_or(AccountId(back))
    }

    /// What a small number means: 0 is the newest conversation that a client knows.
    fn conversation(&self, back: u64) -> ConversationId {
        ConversationId(self.conversation_last.saturating_sub(back))
    }

    fn command(&mut self, who: usize, what: &What, skip: u64) -> Command {
        self.requests += 1;
        let inside = match what {
            What::Create(_) | What::Login { .. } => false,
            What::Misplaced(inside) => *inside,
            _ => true,
        };
        let known = self.sessions.len();
        let origin = if !inside {
            Origin::Once(OnceId(u128::from(self.requests).to_be_bytes()))
        } else if known == 0 {
            Origin::Session {
                // A node that knows a session's token has seen it opened, so nobody can ask in
                // one that is still to come.
                session: SessionId(u64::MAX),
                number: self.requests,
            }
        } else {
            // The newest ones, so that what is tried is mostly possible.
            let (session, number) = &mut self.sessions[known - 1 - who % known.min(4)];
            *number += 1 + skip;
            Origin::Session {
                session: *session,
                number: *number,
            }
        };
        Command {
            origin,
            digest: Digest(self.requests),
            operation: self.operation(what),
        }
    }

    fn operation(&self, what: &What) -> Operation {
        let text = || MessageText::new(format!("message {}", self.requests)).expect("it is short");
        let name = |which: &usize| AccountName::new(NAMES[*which]).expect("it is a name");
        let created = |which: &usize| Operation::CreateAccount {
            name: name(which),
            password_hash: "$argon2id$".to_owned(),
        };
        match what {
            What::Create(which) => created(which),
            What::Login { account, version } => {
                let mut token = [0; 32];
                token[..8].copy_from_slice(&self.requests.to_be_bytes());
                Operation::OpenSession {
                    account: self.account(*account),
                    password_version: *version,
                    token: TokenHash(token),
                }
            }
            What::Logout => Operation::CloseSession,
            What::DeleteAccount => Operation::DeleteAccount,
            What::Send(which) => Operation::SendMessage {
                to: Recipient::Account(name(which)),
                text: text(),
            },
            What::SendIn(conversation) => Operation::SendMessage {
                to: Recipient::Conversation(self.conversation(*conversation)),
                text: text(),
            },
            What::Advance {
                conversation,
                delivered,
                read,
            } => Operation::AdvancePosition {
                conversation: self.conversation(*conversation),
                progress: Progress {
                    delivered: Sequence(*delivered),
                    read: Sequence(*read),
                },
            },
            What::Delete {
                messages,
                for_everyone,
            } => Operation::DeleteMessages {
                messages: messages.iter().map(|named| self.message(*named)).collect(),
                for_everyone: *for_everyone,
            },
            What::Misplaced(true) => created(&0),
            What::Misplaced(false) => Operation::DeleteAccount,
        }
    }

    fn message(&self, (conversation, sequence): (u64, u64)) -> MessageRef {
        MessageRef {
            conversation: self.conversation(conversation),
            sequence: Sequence(sequence),
        }
    }
}
