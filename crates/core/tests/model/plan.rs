//! Random clients: their requests, the order in which these arrive, and how often.
//!
//! A plan is a list of small numbers, so that a failing one shrinks well. It becomes a log by
//! asking the clients, which learn the numbers of their sessions from the answers.

use conclave_core::{
    Accepted, AccountId, Batch, Command, ConversationId, Decision, Digest, MessageRef, OnceId,
    Origin, Rejection, Sequence, SessionId, Timestamp,
};
use proptest::prelude::*;

use super::generated_command::what;
pub(crate) use super::generated_command::{RoomCommand, What};
use crate::support::Memory;

/// Greater than every digest that a client chooses.
const OTHER_DIGEST: u64 = 1 << 32;
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// One step of a plan.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// The leader's clock moves; the next request is in a new entry.
    Tick(i64),
    /// A client makes a request, which arrives `late` steps later; the session's numbers skip
    /// `skip`.
    Ask {
        who: usize,
        what: What,
        late: usize,
        skip: u64,
    },
    /// A request that arrived before arrives again, or another one under its number.
    Again { which: usize, same: bool },
}

/// Kinds of plans, by what can go wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Weather {
    /// Everything happens within the memory of answers, once.
    Calm,
    /// Days pass, numbers skip; every request still arrives once.
    Slow,
    /// Requests also arrive again, and in the wrong place.
    Wild,
}

/// A log, with its decisions and state.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) batches: Vec<Batch>,
    pub(crate) decisions: Vec<Vec<Decision>>,
    pub(crate) state: Memory,
}

/// Returns plans of up to `steps` steps.
pub(crate) fn plan(weather: Weather, steps: usize) -> impl Strategy<Value = Vec<Step>> {
    let ms = |ms: u64| i64::try_from(ms).expect("a month of milliseconds fits");
    let tick = match weather {
        // All the ticks of a plan together stay below the time for which a closed session is
        // remembered.
        Weather::Calm => prop::sample::select(vec![0, 1, 1000, -1000, -ms(HOUR)]).boxed(),
        Weather::Slow | Weather::Wild => {
            let rare = vec![-ms(HOUR), ms(HOUR), ms(11 * MINUTE), ms(DAY), ms(29 * DAY)];
            prop_oneof![
                9 => prop::sample::select(vec![1, 1000]),
                1 => prop::sample::select(rare),
            ]
            .boxed()
        }
    };
    let skip = match weather {
        Weather::Calm => Just(0u64).boxed(),
        Weather::Slow | Weather::Wild => prop_oneof![15 => Just(0u64), 1 => 0u64..260].boxed(),
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
    let steps = prop::collection::vec(step, 1..steps);
    (prop::bool::weighted(0.8), steps).prop_map(|(settled, steps)| {
        let before = if settled { settle() } else { Vec::new() };
        before.into_iter().chain(steps).collect()
    })
}

/// Returns the first steps: three accounts with a session each, the last one an administrator's,
/// meet in a room and write to each other, so that most later requests are possible.
fn settle() -> Vec<Step> {
    let by = |who, what| Step::Ask {
        who,
        what,
        late: 0,
        skip: 0,
    };
    let login = |account| What::Login {
        account,
        version: 1,
    };
    let in_lobby = |command| What::Room(0, command);
    let steps = [
        by(0, What::OfferSetup),
        by(0, What::Create(0, 11)),
        by(0, What::Create(1, 11)),
        by(0, What::Create(2, 0)),
        Step::Tick(0),
        by(0, login(2)),
        by(0, login(1)),
        by(0, login(0)),
        Step::Tick(0),
        by(0, in_lobby(RoomCommand::Create(true))),
        by(1, in_lobby(RoomCommand::Join)),
        by(0, What::SendTo(0)),
        by(2, What::Send(1)),
        Step::Tick(0),
    ];
    steps.into()
}

/// Runs a plan and returns its history.
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
pub(super) struct Clients {
    clock: u64,
    requests: u64,
    /// Sessions that answers have named, and the last request number of each.
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
            date: Timestamp(self.clock),
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
            (
                Ok(Accepted::SessionOpened { session, .. } | Accepted::BotCreated { session, .. }),
                _,
            ) if !self.sessions.iter().any(|(known, _)| known == session) => {
                self.sessions.push((*session, 0));
            }
            (Ok(Accepted::AccountCreated { account }), _) => self.accounts.push(*account),
            (
                Ok(
                    Accepted::MessageSent { conversation, .. }
                    | Accepted::RoomEntered { conversation },
                ),
                _,
            ) => {
                self.conversation_last = self.conversation_last.max(conversation.0);
            }
            (Err(Rejection::SessionExpired), Origin::Session { session, .. }) => {
                self.sessions.retain(|(known, _)| *known != session);
            }
            _ => {}
        }
    }

    /// Returns the account that a small number stands for: 0 is the newest one that a client knows.
    pub(super) fn account(&self, back: u64) -> AccountId {
        let newest_first = self.accounts.iter().rev();
        let known = newest_first.copied().nth(back as usize);
        known.unwrap_or(AccountId(back))
    }

    /// Returns the conversation that a small number stands for: 0 is the newest one that a client
    /// knows.
    pub(super) fn conversation(&self, back: u64) -> ConversationId {
        ConversationId(self.conversation_last.saturating_sub(back))
    }

    fn command(&mut self, who: usize, what: &What, skip: u64) -> Command {
        self.requests += 1;
        let known = self.sessions.len();
        let origin = if !what.is_inside() {
            Origin::Once(OnceId(u128::from(self.requests).to_be_bytes()))
        } else if known == 0 {
            Origin::Session {
                // A node that knows a session's token has seen the session opened, so no request
                // can name a session that is still to come.
                session: SessionId(u64::MAX),
                number: self.requests,
            }
        } else {
            // The newest sessions, so that most requests are possible.
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
            operation: what.operation(self),
        }
    }

    /// Returns the number from which the client's next request derives its values.
    pub(super) fn number(&self) -> u64 {
        self.requests
    }

    /// Returns the newest session that a client knows, or one that does not exist.
    pub(super) fn session(&self, back: usize) -> SessionId {
        let known = self.sessions.iter().rev().nth(back);
        known.map_or(SessionId(u64::MAX), |(session, _)| *session)
    }

    pub(super) fn message(&self, (conversation, sequence): (u64, u64)) -> MessageRef {
        MessageRef {
            conversation: self.conversation(conversation),
            sequence: Sequence(sequence),
        }
    }
}
