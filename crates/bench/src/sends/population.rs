//! The accounts that send, their sessions, and the conversations to which they send.
//!
//! On nodes that were started here each session belongs to an account for a program (a bot), made
//! by the administrator: that costs an entry in the log and no password hash, so that 100 000
//! sessions take seconds and not an hour. A message of a bot takes the same path as one of a
//! person. On nodes that ran before, accounts have passwords, and the limits of accounts hold.

use std::time::Duration;

use conclave_client::{
    BuildError, CallError, Client, Reason,
    core::{
        AccountName, Recipient, RoomName,
        limits::{ROOM_MEMBERS_MAX, ROOMS_PER_ACCOUNT_MAX},
    },
};
use futures::{Stream, StreamExt as _, stream};
use tokio::time::Instant;

use super::options::{Happening, Mode, Options, Step};
use crate::{
    error::{BenchError, failed},
    scratch::{random_bytes, random_word},
};

/// Messages under way on one connection: the client library has at most 128 for each session, and a
/// node takes 200 calls of one connection.
const PER_CONNECTION: u64 = 64;
/// Requests of the administrator under way at once: what one session may have.
const BOTS_AT_ONCE: usize = 128;
/// Requests of many sessions under way at once.
const AT_ONCE: usize = 256;
/// Passwords that are hashed at once: a node hashes on half of its cores.
const PASSWORDS_AT_ONCE: usize = 4;
/// Longest time for one account or room, with all its calls: nodes that are busy with what is being
/// made may be slow.
const PATIENCE: Duration = Duration::from_secs(120);
/// Maximum number of sessions that send on streams: a node takes 1024 streams of messages.
pub const SESSIONS_WITH_STREAM_MAX: u64 = 1000;
/// Maximum number of sessions on nodes that ran before: each costs two hashes of a password.
pub const SESSIONS_WITH_PASSWORD_MAX: u64 = 1024;

/// A conversation, and a session that may read it.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) to: Recipient,
    pub(super) reader: usize,
}

/// A session that sends to a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) session: usize,
    pub(super) conversation: usize,
}

/// All sessions, all conversations, and which sends to which.
#[derive(Debug)]
pub(super) struct Population {
    clients: Vec<Client>,
    tokens: Vec<String>,
    pub(super) conversations: Vec<Conversation>,
    slots: Vec<Slot>,
}

/// Returns the least number of sessions that can be in so many rooms.
#[must_use]
pub fn sessions_for(rooms: u64) -> u64 {
    rooms.div_ceil(ROOMS_PER_ACCOUNT_MAX).max(1)
}

/// Returns whether so many rooms take so many sessions.
#[must_use]
pub fn fits(rooms: u64, sessions: u64) -> bool {
    rooms == 0 || (sessions_for(rooms)..=rooms * ROOM_MEMBERS_MAX).contains(&sessions)
}

/// Spreads the pairs of a session and a room so that every session sends and every room gets
/// messages.
fn slots(sessions: usize, rooms: usize) -> Vec<Slot> {
    let conversations = if rooms == 0 { sessions } else { rooms };
    let pair = |number| Slot {
        session: number % sessions,
        conversation: number % conversations,
    };
    (0..sessions.max(conversations)).map(pair).collect()
}

impl Population {
    /// Makes the accounts, their sessions and the rooms.
    pub(super) async fn make(
        options: &Options,
        anonymous: &Client,
        root: Option<&Client>,
        endpoints: &[String],
        tell: &dyn Fn(Happening),
    ) -> Result<Self, BenchError> {
        let sessions = index(options.sessions);
        let rooms = index(options.rooms);
        let run = u32::from_ne_bytes(random_bytes()?);
        let name = |number: usize| format!("bench-{run:x}-{number}");
        let mut accounts = match root {
            Some(root) => bots(root, sessions, &name, tell).await?,
            None => people(anonymous, sessions, &name, tell).await?,
        };
        // The last account only receives.
        let names: Vec<String> = accounts.iter().skip(1).map(|made| made.0.clone()).collect();
        accounts.truncate(sessions);
        let tokens: Vec<String> = accounts.into_iter().map(|made| made.1).collect();
        let clients = clients(options, anonymous, endpoints, &tokens)?;
        let room_name = |number: usize| format!("bench-{run:x}-{number}");
        let conversations = if rooms == 0 {
            let made = names.into_iter().enumerate().map(|(reader, next)| {
                let next = AccountName::new(next).map_err(CallError::from)?;
                let to = Recipient::Account(next);
                Ok(Conversation { to, reader })
            });
            made.collect::<Result<_, CallError>>()?
        } else {
            let made = (0..rooms).map(|room| {
                let name = RoomName::new(room_name(room)).map_err(CallError::from)?;
                let to = Recipient::Room(name);
                let reader = room % sessions;
                Ok(Conversation { to, reader })
            });
            made.collect::<Result<_, CallError>>()?
        };
        let population = Self {
            clients,
            tokens,
            conversations,
            slots: slots(sessions, rooms),
        };
        if rooms > 0 {
            population.fill_rooms(&room_name, tell).await?;
        }
        Ok(population)
    }

    /// Makes the rooms, each by its first session, and lets the others join.
    async fn fill_rooms(
        &self,
        name: &impl Fn(usize) -> String,
        tell: &dyn Fn(Happening),
    ) -> Result<(), BenchError> {
        let (made, joined) = self.slots.split_at(self.conversations.len());
        let making = made.iter().map(async |slot| {
            let client = &self.clients[slot.session];
            let room = name(slot.conversation);
            patiently(async |_| made_before(client.create_room(&room, "", false).await)).await
        });
        let making = stream::iter(making).buffer_unordered(AT_ONCE);
        drain(making, Step::Rooms, made.len(), tell).await?;
        let joining = joined.iter().map(async |slot| {
            let client = &self.clients[slot.session];
            let room = name(slot.conversation);
            patiently(async |_| client.join_room(&room).await.map(drop)).await
        });
        let joining = stream::iter(joining).buffer_unordered(AT_ONCE);
        drain(joining, Step::Members, joined.len(), tell).await?;
        Ok(())
    }

    /// Returns the number of sessions.
    pub(super) fn sessions(&self) -> usize {
        self.clients.len()
    }

    /// Returns the session and the conversation of the message with this number.
    pub(super) fn slot(&self, number: u64) -> Slot {
        let slots = self.slots.len() as u64;
        self.slots[index(number % slots)]
    }

    /// Returns the client of the message with this number, and its recipient.
    pub(super) fn sender(&self, number: u64) -> (&Client, &Recipient) {
        let Slot {
            session,
            conversation,
        } = self.slot(number);
        (&self.clients[session], &self.conversations[conversation].to)
    }

    /// Returns the token of a session that may read this conversation.
    pub(super) fn reader(&self, conversation: usize) -> &str {
        &self.tokens[self.conversations[conversation].reader]
    }

    /// Returns a client of a session that may read this conversation.
    pub(super) fn reading_client(&self, conversation: usize) -> &Client {
        &self.clients[self.conversations[conversation].reader]
    }
}

/// Repeats a call that was not answered, for as long as [`PATIENCE`]; the call gets the number of
/// the attempt.
async fn patiently<T>(
    mut call: impl AsyncFnMut(u32) -> Result<T, CallError>,
) -> Result<T, CallError> {
    let deadline = Instant::now() + PATIENCE;
    let mut attempt = 0;
    loop {
        match call(attempt).await {
            Err(CallError::NotDone { .. } | CallError::Unknown { .. })
                if Instant::now() < deadline =>
            {
                attempt += 1;
            }
            ended => return ended,
        }
    }
}

/// Takes a name of this run that is in use for one that an attempt without an answer has made.
fn made_before<T>(made: Result<T, CallError>) -> Result<(), CallError> {
    match made {
        Err(CallError::Refused {
            reason: Reason::NameTaken,
            ..
        }) => Ok(()),
        made => made.map(drop),
    }
}

/// Name and token of an account.
type Account = (String, String);

/// Makes accounts for programs, one more than sessions, so that every session has a recipient.
async fn bots(
    root: &Client,
    sessions: usize,
    name: &impl Fn(usize) -> String,
    tell: &dyn Fn(Happening),
) -> Result<Vec<Account>, BenchError> {
    let making = (0..=sessions).map(async |number| {
        patiently(async |attempt| {
            // The token of an account whose answer was lost is lost, too: another takes its place.
            let name = match attempt {
                0 => name(number),
                again => format!("{}-{again}", name(number)),
            };
            let made = root.create_bot(&name).await?;
            Ok((name, made.token))
        })
        .await
    });
    let making = stream::iter(making).buffered(BOTS_AT_ONCE);
    drain(making, Step::Sessions, sessions + 1, tell).await
}

/// Makes accounts with a password, one more than sessions, and logs in.
async fn people(
    anonymous: &Client,
    sessions: usize,
    name: &impl Fn(usize) -> String,
    tell: &dyn Fn(Happening),
) -> Result<Vec<Account>, BenchError> {
    if sessions as u64 > SESSIONS_WITH_PASSWORD_MAX {
        return Err(failed("so many passwords take too long"));
    }
    let password = random_word()?;
    let making = (0..=sessions).map(async |number| {
        let name = name(number);
        let made = patiently(async |_| anonymous.create_account(&name, &password).await);
        made_before(made.await)?;
        let token = match number < sessions {
            true => anonymous.login(&name, &password).await?.token,
            false => String::new(),
        };
        Ok((name, token))
    });
    let making = stream::iter(making).buffered(PASSWORDS_AT_ONCE);
    drain(making, Step::Sessions, sessions + 1, tell).await
}

/// Returns a client for each session; many sessions share a connection.
fn clients(
    options: &Options,
    anonymous: &Client,
    endpoints: &[String],
    tokens: &[String],
) -> Result<Vec<Client>, BuildError> {
    let calls = match options.mode {
        Mode::Unary => options.concurrency,
        // A stream is a call that does not end.
        Mode::Stream => options.concurrency.max(options.sessions),
    };
    let connections = calls.div_ceil(PER_CONNECTION).max(1);
    let connection = |number: u64| {
        let mut own = endpoints.to_vec();
        if options.spread {
            own.rotate_left(index(number) % endpoints.len());
        }
        let builder = Client::builder().trusting_like(anonymous).endpoints(own);
        builder.total_timeout(options.timeout).build()
    };
    let connections: Vec<Client> = (0..connections).map(connection).collect::<Result<_, _>>()?;
    let own = tokens.iter().enumerate().map(|(number, token)| {
        let connection = &connections[number % connections.len()];
        connection.with_token(token)
    });
    own.collect()
}

/// Runs all requests, and tells how many are done.
async fn drain<T>(
    requests: impl Stream<Item = Result<T, CallError>>,
    step: Step,
    total: usize,
    tell: &dyn Fn(Happening),
) -> Result<Vec<T>, BenchError> {
    let mut requests = std::pin::pin!(requests);
    let mut done = Vec::with_capacity(total);
    while let Some(answer) = requests.next().await {
        done.push(answer?);
        let (done, total) = (done.len() as u64, total as u64);
        tell(Happening::Step { step, done, total });
    }
    Ok(done)
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("what is counted here fits into memory")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_session_sends_and_every_room_gets_messages() {
        for (sessions, rooms) in [(1, 0), (5, 0), (1, 7), (40, 10_000), (100, 100), (1000, 30)] {
            let slots = slots(sessions, rooms);
            let senders: BTreeSet<usize> = slots.iter().map(|slot| slot.session).collect();
            let targets: BTreeSet<usize> = slots.iter().map(|slot| slot.conversation).collect();
            let conversations = if rooms == 0 { sessions } else { rooms };
            assert_eq!((senders.len(), targets.len()), (sessions, conversations));
            // The session that makes a room reads it: the first slots are the makers.
            for (room, slot) in slots.iter().take(rooms).enumerate() {
                assert_eq!((slot.conversation, slot.session), (room, room % sessions));
            }
        }
    }

    #[test]
    fn rooms_and_sessions_must_fit_each_other() {
        assert_eq!((sessions_for(0), sessions_for(256)), (1, 1));
        assert_eq!((sessions_for(257), sessions_for(10_000)), (2, 40));
        assert!(fits(0, 1) && fits(10_000, 40) && fits(10_000, 100_000));
        assert!(!fits(10_000, 39), "an account is in 256 rooms at most");
        assert!(!fits(2, 40_001), "a room has 20 000 members at most");
    }
}
