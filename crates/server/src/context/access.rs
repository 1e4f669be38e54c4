//! The steps that every call of a client goes through: admission, its session, its reads.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use conclave_core::{
    Accepted, AccountRole, Command, Position, Rejection, Timestamp, TokenHash,
    allowance::{Keeps, Price, keeps, price_at_edge},
};
use conclave_replica::Outcome;
use conclave_storage::state::{self as rows, Reader};
use conclave_wire::{Problem, request::SessionRequest};
use tokio::task::spawn_blocking;

use crate::{
    auth::{
        account_limiters::{AccountLimiter, CommandPermit},
        read_turns::OwnTurn,
        sessions::{KnownSession, session_ended},
    },
    base::deadline::Deadline,
    connections::address::Address,
    context::{
        call::{Call, Freshness},
        draining::Stage,
        node_context::NodeContext,
    },
    protocol::problems::{self, millis},
};

/// How long a read may wait for its turn. A page takes milliseconds, so a read that waits this long
/// is one of too many.
const READ_TURN_LIMIT: Duration = Duration::from_secs(2);
/// How long a read waits for what this node has decided to be written. A writer that needs longer
/// is stuck, on a full disk perhaps, and reads go on without it.
const WRITTEN_LIMIT: Duration = Duration::from_secs(1);
/// Maximum time for which a refusal is held back. Meanwhile it occupies a stream of its caller's
/// own connection, which has only a bounded number of them.
pub(crate) const HELD_BACK_MAX: Duration = Duration::from_secs(1);
/// Result of a read of the database.
type Found<T> = Result<T, rows::ReadError>;

/// A caller whose account is not known: where it is, and until when it waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unknown {
    address: Address,
    pub(crate) deadline: Deadline,
}

impl Unknown {
    /// Makes a caller at an address, as a trusted proxy names it; all without one share one.
    pub(crate) fn at(address: Option<SocketAddr>, deadline: Deadline) -> Self {
        let none = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let address = Address::of(address.map_or(none, |address| address.ip()));
        Self { address, deadline }
    }
}

impl From<&Call> for Unknown {
    fn from(call: &Call) -> Self {
        Self::at(call.address, call.deadline)
    }
}

impl NodeContext {
    /// Refuses calls that arrive while the node is stopping.
    pub(crate) fn refuse_if_stopping(&self) -> Result<(), Problem> {
        if self.is_stopping() {
            Err(Problem::GoingAway)
        } else {
            Ok(())
        }
    }

    /// Refuses calls of clients that belong to another node: this one is a witness, or is drained
    /// or stopping.
    pub(crate) fn refuse_if_away(&self) -> Result<(), Problem> {
        if self.draining.stage() == Stage::Away || self.identity.witness {
            return Err(Problem::GoingAway);
        }
        self.refuse_if_stopping()
    }

    /// Proposes a command and returns its outcome.
    pub(crate) async fn propose(
        &self,
        command: Command,
        deadline: Deadline,
    ) -> Result<Outcome, Problem> {
        self.has_room_for(&command)?;
        let _under_way = self.commands.try_acquire().map_err(|_| Problem::Busy)?;
        let outcome = self.replica.propose(command, deadline.left()).await;
        outcome.map_err(|error| problems::of_propose(&error))
    }

    /// Refuses a command that would store more while the disks are full.
    pub(crate) fn has_room_for(&self, command: &Command) -> Result<(), Problem> {
        match self.space.refuses() && keeps(&command.operation) != Keeps::Nothing {
            true => Err(Problem::NoSpace),
            false => Ok(()),
        }
    }

    /// Proposes a session's command and returns its outcome.
    pub(crate) async fn propose_in_session<R: SessionRequest>(
        &self,
        call: &Call,
        request: R,
    ) -> Result<Outcome, Problem> {
        self.refuse_if_away()?;
        let token = call.credential.session()?;
        let session = self.session(token, call).await?;
        let _admitted = session.admit()?;
        let command = request.into_command(session.id)?;
        let (of_account, price) = (&session.of_account, price_at_edge(&command.operation));
        let _place = self
            .command_permit(of_account, &price, call.deadline)
            .await?;
        let outcome = self.propose_proven(command, call).await?;
        if let Err(rejection) = &outcome.answer {
            of_account.note_refused(&price, rejection);
        }
        Ok(outcome)
    }

    /// Takes one of the account's places among the commands under way, if the account's limits
    /// allow the price of the command.
    pub(crate) async fn command_permit(
        &self,
        of_account: &Arc<AccountLimiter>,
        price: &Price,
        deadline: Deadline,
    ) -> Result<CommandPermit, Problem> {
        match self.sessions.account_limiters.check_rate(of_account, price) {
            Ok(()) => of_account.admit(self.commands.available_permits()),
            Err(problem) => Err(held_back(problem, of_account, deadline).await),
        }
    }

    /// Proposes a session's command whose outcome is only that it was done; returns the log
    /// position of that outcome.
    pub(crate) async fn done_in_session<R: SessionRequest>(
        &self,
        call: &Call,
        request: R,
    ) -> Result<u64, Problem> {
        let outcome = self.propose_in_session(call, request).await?;
        let position = position_of(&outcome);
        accepted(&outcome, |accepted| {
            matches!(accepted, Accepted::Done).then_some(position)
        })
    }

    /// Returns the session of a token, as this node remembers it or as [`Self::find`] finds it.
    pub(crate) async fn session(
        &self,
        token: TokenHash,
        caller: impl Into<Unknown>,
    ) -> Result<KnownSession, Problem> {
        if let Some(known) = self.sessions.get(&token) {
            return Ok(known);
        }
        let read = move |reader: &Reader| reader.session_by_token(&token);
        let session = self.find(caller, read).await?.ok_or_else(session_ended)?;
        Ok(self.sessions.keep(token, session.id, session.account))
    }

    /// Reads a row that another node may have answered for a moment ago, for a caller that is not
    /// known before: if this node does not have it, it waits once until it has applied everything
    /// that was acknowledged.
    pub(crate) async fn find<T: Send + 'static>(
        &self,
        caller: impl Into<Unknown>,
        read: impl Fn(&Reader) -> Found<Option<T>> + Clone + Send + 'static,
    ) -> Result<Option<T>, Problem> {
        let caller = caller.into();
        if let Some(found) = self.read_for(caller, read.clone()).await? {
            return Ok(Some(found));
        }
        self.barrier(caller.deadline).await?;
        self.read_for(caller, read).await
    }

    /// Reads the database for a caller that is not known, in a turn of its address: however much
    /// one address asks for, the reads of accounts wait for few of its look-ups.
    pub(crate) async fn read_for<T: Send + 'static>(
        &self,
        caller: impl Into<Unknown>,
        read: impl FnOnce(&Reader) -> Found<T> + Send + 'static,
    ) -> Result<T, Problem> {
        self.read_in_turn(Some(caller.into()), read).await
    }

    /// Waits until this node has applied everything that was acknowledged before the call.
    pub(crate) async fn barrier(&self, deadline: Deadline) -> Result<(), Problem> {
        let confirmed = self.replica.read_barrier(deadline.left()).await;
        confirmed
            .map(|_| ())
            .map_err(|error| problems::of_read(&error))
    }

    /// Makes the node as fresh as the caller asks for.
    pub(crate) async fn freshen(
        &self,
        freshness: Freshness,
        deadline: Deadline,
    ) -> Result<(), Problem> {
        let position = match freshness {
            Freshness::Latest => return self.barrier(deadline).await,
            Freshness::AtLeast(position) => position,
        };
        self.not_cut_off()?;
        if position == Position(0) {
            return Ok(());
        }
        let reached = self.replica.wait_applied(position.index(), deadline.left());
        reached.await.map_err(|error| problems::of_read(&error))
    }

    /// Reads the database on a thread that may block, once it has what this node has answered.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Found<T> + Send + 'static,
    ) -> Result<T, Problem> {
        self.read_in_turn(None, read).await
    }

    async fn read_in_turn<T: Send + 'static>(
        &self,
        caller: Option<Unknown>,
        read: impl FnOnce(&Reader) -> Found<T> + Send + 'static,
    ) -> Result<T, Problem> {
        // Without a turn, so that many reads wait for one commit.
        self.replica.written().has_decided(WRITTEN_LIMIT).await;
        let own = match caller {
            Some(caller) => {
                let limit = READ_TURN_LIMIT.min(caller.deadline.left());
                let own = self.lookups.take(caller.address, limit).await;
                Some(own.ok_or(Problem::Busy)?)
            }
            None => None,
        };
        let turn = tokio::time::timeout(READ_TURN_LIMIT, self.reads.clone().acquire_owned());
        let turn = turn.await.map_err(|_| Problem::Busy)?;
        let turn = turn.map_err(|_| Problem::GoingAway)?;
        let reader = self.replica.reader();
        let done = spawn_blocking(move || {
            let result = read(&reader);
            drop((turn, own));
            result
        });
        let broken = |_| Problem::Broken {
            sentence: "a read was stopped".to_owned(),
        };
        done.await
            .map_err(broken)?
            .map_err(|error| problems::of_rows(&error))
    }

    /// Reads the database on behalf of the account of the call's session.
    pub(crate) async fn read_in_session<T: Send + 'static>(
        &self,
        call: &Call,
        freshness: impl Into<Freshness>,
        read: impl FnOnce(&Reader, &rows::SessionRow) -> Found<T> + Send + 'static,
    ) -> Result<T, Problem> {
        self.refuse_if_away()?;
        let deadline = call.deadline;
        let token = call.credential.session()?;
        let freshness = freshness.into();
        let known = self.sessions.get(&token);
        let fresh = async {
            self.freshen(freshness, deadline).await?;
            let mut own = match &known {
                Some(known) => {
                    let own = self.turns.take_own(known.account, READ_TURN_LIMIT).await;
                    Some(own.ok_or(Problem::Busy)?)
                }
                // The account is known only after this first read.
                None => None,
            };
            let caller = known.is_none().then(|| call.into());
            let now = self.log_time();
            self.read_in_turn(caller, move |reader| {
                own.iter_mut().for_each(OwnTurn::begins);
                let Some(session) = open_session(reader, &token, now)? else {
                    return Ok(None);
                };
                let whose = (session.id, session.account);
                Ok(Some((whose, read(reader, &session)?)))
            })
            .await
        };
        let result = tokio::time::timeout_at(deadline.instant(), fresh).await;
        let found = result.unwrap_or(Err(Problem::Busy))?;
        let ((session, account), found) = found.ok_or_else(session_ended)?;
        if known.is_none() {
            self.sessions.keep(token, session, account);
        }
        Ok(found)
    }
}

/// Holds a refusal back for the time that it asks the caller to wait, up to [`HELD_BACK_MAX`], and
/// then returns it with the rest of that time: a caller that retries at once is slowed down, and a
/// caller that waits loses nothing. A caller that is refused all the time is held back longer.
pub(crate) async fn held_back(
    mut problem: Problem,
    of_account: &AccountLimiter,
    deadline: Deadline,
) -> Problem {
    if let Problem::RateLimited { wait_ms, .. } = &mut problem {
        let wait = Duration::from_millis(*wait_ms);
        let held = of_account.hold(wait, HELD_BACK_MAX).min(deadline.left());
        tokio::time::sleep(held).await;
        *wait_ms = millis(wait.saturating_sub(held)).max(1);
    }
    problem
}

/// Refuses a session that is not an administrator's.
pub(crate) fn administrators_only(session: &rows::SessionRow) -> Result<(), Rejection> {
    match session.role {
        AccountRole::Admin => Ok(()),
        AccountRole::User | AccountRole::Bot => Err(Rejection::NotAllowed),
    }
}

/// Returns the session of a token if it may be used now. The time is `now` in log time, or the time
/// of the database if that is later.
pub(crate) fn open_session(
    reader: &Reader,
    token: &TokenHash,
    now: Timestamp,
) -> Result<Option<rows::SessionRow>, rows::ReadError> {
    let Some(session) = reader.session_by_token(token)? else {
        return Ok(None);
    };
    let now = reader.applied()?.log_time.max(now);
    let may = |session: &rows::SessionRow| {
        !session.closed && !session.suspended && session.expires_at > now
    };
    Ok(Some(session).filter(may))
}

/// Returns the log position at which an outcome is known.
pub(crate) fn position_of(outcome: &Outcome) -> u64 {
    Position::end_of(outcome.index).0
}

/// Returns what `tell` makes of an accepted outcome, or the refusal of the rules.
pub(crate) fn accepted<T>(
    outcome: &Outcome,
    tell: impl FnOnce(&Accepted) -> Option<T>,
) -> Result<T, Problem> {
    match &outcome.answer {
        // Decided for good, by rules that this build does not know: a node of the later build
        // gives the same answer to the same request.
        Ok(Accepted::Later(_)) => Err(Problem::Behind),
        Ok(accepted) => tell(accepted).ok_or_else(|| unexpected(outcome)),
        Err(rejection) => Err(rejection.clone().into()),
    }
}

/// Returns the problem of an outcome that does not fit the command that was proposed: a broken
/// promise.
fn unexpected(outcome: &Outcome) -> Problem {
    tracing::error!(
        log_index = outcome.index,
        "an answer does not match its request"
    );
    Problem::Broken {
        sentence: "an answer does not match its request".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_delayed_refusal_reports_the_remaining_wait() {
        let of_account = AccountLimiter::default();
        for (wait, held, rest) in [(300, 300, 1), (2_500, 1_000, 1_500)] {
            let limited = Problem::RateLimited {
                sentence: "too many".to_owned(),
                wait_ms: wait,
            };
            let began = Instant::now();
            let told = held_back(limited, &of_account, Deadline::usual()).await;
            let took = began.elapsed().as_millis();
            assert!((held..held + 5).contains(&took), "{took}");
            assert!(matches!(told, Problem::RateLimited { wait_ms, .. } if wait_ms == rest));
        }
        let other = held_back(Problem::Busy, &of_account, Deadline::usual()).await;
        assert_eq!(other, Problem::Busy);
    }
}
