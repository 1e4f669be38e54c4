//! Has operations decided one after the other, as a leader that is alone would, at the dates that
//! the caller sets.
//!
//! Always true: what an entry shows as its date is the date that was set, to the millisecond; log
//! time grows by what messages are apart at most, and never as fast as dates.

use std::{path::Path, sync::Arc};

use conclave_core::{
    Accepted, AccessOperation, AccountId, Answer, Batch, Command, Digest, LoginKeys, Now, OnceId,
    Operation, Origin, Rejection, SessionId, SessionLabel, Timestamp, TokenHash,
    limits::{DATE_STANDS_MS, DATE_STEADY_MS, LOG_TIME_MAX_MS},
};
use conclave_storage::{
    log::LogId,
    state::{Entry, Options, Payload, State},
};

use super::{accepted, refused};
use crate::{error::ImportError, plan::PersonId};

/// Entries in one transaction of the database.
const TRANSACTION_ENTRIES: usize = 2000;
/// How far dates go back first, if they are to go back a little.
const STEP_BACK_MS: u64 = 2 * DATE_STANDS_MS;
/// The first date that can be set: some seconds of 1970, so that there is room for a step back.
const DATE_FIRST_MS: u64 = STEP_BACK_MS + DATE_STANDS_MS;

/// An account and its session.
#[derive(Clone, Copy)]
struct Login {
    account: AccountId,
    session: Option<SessionId>,
    /// Number of its last request.
    number: u64,
}

/// The state that is built.
pub(super) struct Machine {
    state: State,
    index: u64,
    seed: [u8; 32],
    counter: u64,
    date: Timestamp,
    logins: Vec<Option<Login>>,
}

impl Machine {
    pub(super) fn open(
        directory: &Path,
        seed: [u8; 32],
        people: usize,
    ) -> Result<Self, ImportError> {
        Ok(Self {
            state: State::open(directory, Options::default())?,
            index: 0,
            seed,
            counter: 0,
            date: Timestamp(DATE_FIRST_MS),
            logins: vec![None; people],
        })
    }

    /// Sets the date of what is decided from now on.
    pub(super) fn set_date(&mut self, at_ms: u64) {
        self.date = Timestamp(at_ms.clamp(DATE_FIRST_MS, LOG_TIME_MAX_MS));
    }

    /// Has an operation outside of sessions decided.
    pub(super) fn once(&mut self, operation: Operation) -> Result<Answer, ImportError> {
        let [id, _] = self.random();
        self.run(Origin::Once(OnceId(id)), operation)
    }

    /// Has an operation of an account decided, which gets a session if it has none.
    pub(super) fn by(
        &mut self,
        person: PersonId,
        operation: Operation,
    ) -> Result<Answer, ImportError> {
        loop {
            let (session, is_new) = self.session(person)?;
            let number = self.login(person).number;
            let origin = Origin::Session { session, number };
            let answer = self.run(origin, operation.clone())?;
            // Years of log time may have passed since it was opened.
            if answer == Err(Rejection::SessionExpired) && !is_new {
                self.login(person).session = None;
                continue;
            }
            return Ok(answer);
        }
    }

    /// Remembers the account of a person.
    pub(super) fn know(
        &mut self,
        person: PersonId,
        account: AccountId,
        session: Option<SessionId>,
    ) {
        self.logins[person as usize] = Some(Login {
            account,
            session,
            number: 0,
        });
    }

    /// Returns a token that is used for nothing.
    pub(super) fn token(&mut self) -> TokenHash {
        let [low, high] = self.random();
        let mut token = [0; 32];
        token[..16].copy_from_slice(&low);
        token[16..].copy_from_slice(&high);
        TokenHash(token)
    }

    /// Writes everything and copies the state to a file.
    pub(super) fn finish(&mut self, snapshot: &Path) -> Result<(), ImportError> {
        self.state.write()?;
        self.state.reader().snapshot_to(snapshot)?;
        Ok(())
    }

    fn login(&mut self, person: PersonId) -> &mut Login {
        let login = self.logins[person as usize].as_mut();
        login.expect("accounts are made before they do anything")
    }

    /// Returns an open session, and whether it was opened for this.
    fn session(&mut self, person: PersonId) -> Result<(SessionId, bool), ImportError> {
        let login = self.login(person);
        login.number += 1;
        if let Some(session) = login.session {
            return Ok((session, false));
        }
        let account = login.account;
        let token = self.token();
        let label = SessionLabel::new("import");
        let operation = Operation::Access(AccessOperation::OpenSession {
            account,
            password_version: 1,
            token,
            label: label.map_err(|rejection| refused("the label of a session", rejection))?,
            keys: LoginKeys::default(),
            renewed_hash: None,
        });
        match self.once(operation)? {
            Ok(Accepted::SessionOpened { session, .. }) => {
                let login = self.login(person);
                (login.session, login.number) = (Some(session), 1);
                Ok((session, true))
            }
            answer => {
                accepted("a session for an account", answer)?;
                Err(refused("a session for an account", Rejection::NotAllowed))
            }
        }
    }

    fn run(&mut self, origin: Origin, operation: Operation) -> Result<Answer, ImportError> {
        if let Some((log_time, date)) = step_back(self.state.now(), self.date) {
            self.apply(log_time, date, Vec::new())?;
        }
        let (log_time, date) = stamp(self.state.now(), self.date);
        self.counter += 1;
        let command = Command {
            origin,
            digest: Digest(self.counter),
            operation,
        };
        let mut answers = self.apply(log_time, date, vec![command])?;
        assert_eq!(self.state.now().date, self.date, "the date is another one");
        Ok(answers.pop().expect("each command has an answer"))
    }

    fn apply(
        &mut self,
        proposed_at: Timestamp,
        date: Timestamp,
        commands: Vec<Command>,
    ) -> Result<Vec<Answer>, ImportError> {
        self.index += 1;
        let entry = Entry {
            id: LogId {
                term: 1,
                node: 1,
                index: self.index,
            },
            payload: Payload::Commands(Arc::new(Batch {
                proposed_at,
                date,
                commands,
            })),
        };
        let results = self.state.decide(&[entry])?;
        if self.state.entries_unwritten() >= TRANSACTION_ENTRIES {
            self.state.write()?;
        }
        Ok(results
            .into_iter()
            .flat_map(|result| result.answers)
            .collect())
    }

    fn random(&mut self) -> [[u8; 16]; 2] {
        self.counter += 1;
        let hash = blake3::keyed_hash(&self.seed, &self.counter.to_le_bytes());
        let (halves, _) = hash.as_bytes().as_chunks::<16>();
        [halves[0], halves[1]]
    }
}

/// Returns the stamps of an entry that comes first, because a small step back in dates is taken for
/// another leader's reading of the clocks.
fn step_back(now: Now, want: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let back = now.date.0.checked_sub(want.0)?;
    let is_small = (1..=DATE_STANDS_MS).contains(&back);
    let far = Timestamp(want.0.saturating_sub(STEP_BACK_MS));
    is_small.then_some((now.log_time, far))
}

/// Returns the stamps with which an entry has exactly this date.
fn stamp(now: Now, want: Timestamp) -> (Timestamp, Timestamp) {
    let ahead = want.0.saturating_sub(now.date.0);
    let log_time = match ahead <= DATE_STEADY_MS {
        // So near a date is taken from the time that has passed.
        true => now.log_time.plus_ms(ahead),
        false => now.log_time,
    };
    (log_time, want)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_date_is_reached_exactly_and_in_order() {
        let start = 1_700_000_000_000;
        let mut now = Now::default();
        let steps = [0, 1, 999, 1000, 1001, 5000, 5001, 10_000, 86_400_000];
        let forth = steps.iter().map(|step| start + step);
        let back = steps.iter().map(|step| start - step);
        let again = steps.iter().rev().map(|step| start + step);
        let first = DATE_FIRST_MS;
        let edges = [
            first,
            first + 5000,
            first,
            LOG_TIME_MAX_MS,
            first + 1,
            first,
        ];
        for want in forth.chain(back).chain(again).chain(edges) {
            let want = Timestamp(want);
            if let Some((log_time, date)) = step_back(now, want) {
                now = now.at(log_time, date);
            }
            let (log_time, date) = stamp(now, want);
            let next = now.at(log_time, date);
            assert_eq!(next.date, want);
            assert!(next.log_time >= now.log_time);
            assert!(next.log_time.0 - now.log_time.0 <= DATE_STEADY_MS);
            now = next;
        }
    }
}
