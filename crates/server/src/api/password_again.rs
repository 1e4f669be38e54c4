//! Asks for the password again in a session, before a call that cannot be undone.
//!
//! Always true: failures count for the session alone, so guesses elsewhere do not keep the owner
//! from these calls, and guesses in a stolen session have to wait. The command that follows carries
//! the version of the password that was verified, so a password change in between refuses it.

use conclave_core::{OnceId, Rejection};
use conclave_storage::state as rows;
use conclave_wire::Problem;

use crate::{
    auth::{
        hash_queue::{Turn, Work},
        passwords::Priority,
        sessions::log_in_first,
        throttle::keys_of_session,
    },
    base::random,
    context::{
        call::{Call, Freshness},
        node_context::NodeContext,
        try_password::Guess,
    },
};

/// Owner of a session, and whether the password was right.
pub(crate) struct Again {
    pub(crate) row: rows::AccountRow,
    /// Greatest number that the session has used.
    request_last: u64,
    pub(crate) verified: bool,
    /// Turn for whatever else the call has to hash.
    pub(crate) turn: Turn,
}

impl Again {
    /// Returns the version of the password that was verified. A retry (of a request whose `number`
    /// the session has used) may carry a password that its first attempt has made wrong: it gets
    /// version 0, which no password has, so that its only possible outcome is its first answer.
    ///
    /// # Errors
    /// [`Rejection::WrongCredentials`] if the password is wrong and this is no retry.
    pub(crate) fn version(&self, number: u64) -> Result<u64, Rejection> {
        match self.verified {
            true => Ok(self.row.password_version),
            false if number <= self.request_last => Ok(0),
            false => Err(Rejection::WrongCredentials),
        }
    }
}

impl NodeContext {
    /// Verifies the password of the call's session.
    ///
    /// # Errors
    /// [`Problem::LoginThrottled`] after many wrong passwords in this session;
    /// [`Problem::GoingAway`] on a node without a vote; otherwise the problems of every call.
    pub(crate) async fn password_again(
        &self,
        call: &Call,
        password: String,
    ) -> Result<Again, Problem> {
        self.only_where_trusted()?;
        let read = |reader: &rows::Reader, session: &rows::SessionRow| {
            let last = reader.request_last(session.id)?;
            Ok((reader.account(session.account)?, session.clone(), last))
        };
        let (row, session, request_last) =
            self.read_in_session(call, Freshness::Latest, read).await?;
        let row = row.ok_or_else(|| log_in_first("the account was deleted"))?;
        let keys = keys_of_session(&row.name.to_ascii_lowercase(), call.address, session.id);
        // A retry counts again: a reader of the database knows everything that could name it.
        let once = OnceId(random::bytes()?);
        let guess = Guess {
            password,
            hash: Some(row.password_hash.clone()),
            priority: Priority::Prompt,
        };
        let tried = self.try_password(once, keys, Work::Again, guess, call.into());
        let tried = tried.await?;
        Ok(Again {
            row,
            request_last,
            verified: tried.verified,
            turn: tried.turn,
        })
    }
}
