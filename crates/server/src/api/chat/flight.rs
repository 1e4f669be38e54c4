//! Messages of one stream that are proposed together, and what comes of them.
//!
//! Always true: rate and places are taken for each message as in the call for one message; messages
//! that were proposed together land together, in their order.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use conclave_core::{Accepted, Command, allowance::price};
use conclave_replica::{OpenSpan, Outcome, SpanKind, within};
use conclave_wire::{
    Problem,
    v1::{self, send_message_result::Outcome as Shown},
};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use crate::{
    auth::{
        account_limiters::CommandPermit,
        credential::Credential,
        sessions::{Admitted, KnownSession},
    },
    base::deadline::Deadline,
    context::{access::accepted, node_context::NodeContext},
};

/// Bytes of messages that are proposed together.
const FLIGHT_BYTES_MAX: usize = 256 * 1024;
/// Maximum time for the outcome of what was proposed.
const OUTCOME_LIMIT: Duration = Duration::from_secs(5);
/// Name of the spans of messages that are proposed together.
const GROUP: &str = "conclave.v1.ChatService/SendMessages";

/// A message that has no result yet.
pub(super) struct Message {
    pub(super) number: u64,
    pub(super) bytes: usize,
    /// What is to be proposed, or the refusal of what cannot be.
    pub(super) command: Result<Command, Problem>,
}

impl Message {
    /// Returns the result of a message that has landed, or the problem of one that has none. Takes
    /// the next outcome if the message was proposed.
    pub(super) fn result(
        &self,
        session: &KnownSession,
        outcomes: &mut impl Iterator<Item = Outcome>,
    ) -> Result<Shown, Problem> {
        let command = match &self.command {
            Ok(command) => command,
            Err(problem) => return Ok(refused(problem)),
        };
        let outcome = outcomes.next();
        let outcome = outcome.ok_or(Problem::OutcomeUnknown { waited_ms: 0 })?;
        if let Err(rejection) = &outcome.answer {
            let price = price(&command.operation);
            session.of_account.note_refused(&price, rejection);
        }
        match sent(&outcome) {
            Ok(sent) => Ok(Shown::Sent(sent)),
            Err(problem) if is_lasting(&problem) => Ok(refused(&problem)),
            Err(problem) => Err(problem),
        }
    }
}

/// Places that commands take while they are under way.
pub(super) struct Places {
    of_account: CommandPermit,
    _of_session: Admitted,
    _of_node: OwnedSemaphorePermit,
}

impl Places {
    /// Takes places for so many messages of a session, or for some of them.
    pub(super) fn take(
        shared: &NodeContext,
        session: &KnownSession,
        wanted: usize,
    ) -> Result<Self, Problem> {
        let of_session = session.admit_up_to(u32::try_from(wanted).unwrap_or(u32::MAX))?;
        let wanted = usize::try_from(of_session.count()).unwrap_or(usize::MAX);
        let free = shared.commands.available_permits();
        let of_account = session.of_account.admit_up_to(wanted, free)?;
        let count = u32::try_from(of_account.count()).unwrap_or(u32::MAX);
        let of_node = shared.commands.clone().try_acquire_many_owned(count);
        Ok(Self {
            of_account,
            _of_session: of_session,
            _of_node: of_node.map_err(|_| Problem::Busy)?,
        })
    }

    /// Takes the messages that may be proposed now; returns them, and why the next one may not.
    pub(super) fn board(
        &self,
        waiting: &mut VecDeque<Message>,
        shared: &NodeContext,
        session: &KnownSession,
    ) -> (Vec<Message>, Option<Problem>) {
        let count = self.of_account.count();
        let mut messages = Vec::with_capacity(count);
        let mut bytes = 0;
        while messages.len() < count
            && bytes < FLIGHT_BYTES_MAX
            && let Some(message) = waiting.pop_front()
        {
            if let Ok(command) = &message.command {
                let limiters = &shared.sessions.account_limiters;
                let price = price(&command.operation);
                if let Err(problem) = limiters.check_rate(&session.of_account, &price) {
                    waiting.push_front(message);
                    return (messages, Some(problem));
                }
            }
            bytes += message.bytes;
            messages.push(message);
        }
        (messages, None)
    }
}

/// Messages that are proposed together.
pub(super) struct Flight {
    /// Number, bytes, and the refusal of each that is not proposed.
    messages: Vec<(u64, usize, Option<Problem>)>,
    commands: Vec<Command>,
    memory: Option<OwnedSemaphorePermit>,
    places: Places,
}

/// Messages whose flight is over.
pub(super) struct Landed {
    pub(super) messages: Vec<Message>,
    pub(super) memory: Option<OwnedSemaphorePermit>,
    pub(super) outcomes: Result<Vec<Outcome>, Problem>,
}

impl Flight {
    pub(super) fn of(
        messages: Vec<Message>,
        memory: Option<OwnedSemaphorePermit>,
        places: Places,
    ) -> Self {
        let mut commands = Vec::with_capacity(messages.len());
        let messages = messages.into_iter().map(|message| {
            let refused = message.command.map(|command| commands.push(command)).err();
            (message.number, message.bytes, refused)
        });
        Self {
            messages: messages.collect(),
            commands,
            memory,
            places,
        }
    }

    /// Proposes the messages, and waits for what comes of them.
    pub(super) async fn fly(self, shared: Arc<NodeContext>, credential: Credential) -> Landed {
        let deadline = Deadline::after(OUTCOME_LIMIT);
        let outcomes = match self.commands.is_empty() {
            true => Ok(Vec::new()),
            false => {
                let outcomes = shared.propose_all_proven(&self.commands, &credential, deadline);
                match span_of_group(&shared) {
                    None => outcomes.await,
                    Some(span) => {
                        let outcomes = Box::pin(within(vec![span.inside()], outcomes)).await;
                        span.close(Instant::now(), outcomes.is_err(), Vec::new());
                        outcomes
                    }
                }
            }
        };
        drop(self.places);
        let mut commands = self.commands.into_iter();
        let lost = || Problem::OutcomeUnknown { waited_ms: 0 };
        let messages = self
            .messages
            .into_iter()
            .map(|(number, bytes, refused)| Message {
                number,
                bytes,
                command: match refused {
                    Some(problem) => Err(problem),
                    None => commands.next().ok_or_else(lost),
                },
            });
        Landed {
            messages: messages.collect(),
            memory: self.memory,
            outcomes,
        }
    }
}

/// Opens the span of messages that a stream proposes together, if they are traced: the stream
/// itself goes on for hours.
fn span_of_group(shared: &NodeContext) -> Option<OpenSpan> {
    let trace = shared.tracer.as_ref()?.begin(|| None)?;
    Some(trace.open(GROUP, SpanKind::Server, Instant::now()))
}

/// Returns what the sender of a message gets, or the refusal of the rules.
pub(super) fn sent(outcome: &Outcome) -> Result<v1::SendMessageResponse, Problem> {
    accepted(outcome, |accepted| match accepted {
        Accepted::MessageSent {
            conversation,
            sequence,
            sent_at,
            position,
        } => Some(v1::SendMessageResponse {
            conversation_id: conversation.0,
            sequence: sequence.0,
            position: position.0,
            sent_at_ms: sent_at.0,
        }),
        _ => None,
    })
}

/// Returns whether the same message is refused whenever it is asked for. A number that is refused
/// is not of this kind: the message has to come again under another one, before those behind it.
fn is_lasting(problem: &Problem) -> bool {
    matches!(
        problem,
        Problem::Refused {
            request_last: None,
            ..
        }
    )
}

fn refused(problem: &Problem) -> Shown {
    let reason = problem.reason();
    Shown::Refused(v1::Refusal {
        code: u32::try_from(i32::from(reason.code())).unwrap_or(0),
        reason: reason.name().to_owned(),
        sentence: problem.to_string(),
    })
}
