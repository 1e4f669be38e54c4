//! A password that is asked for again in a session, before what cannot be undone.
//!
//! Always true: it is counted for the session alone, so guesses elsewhere keep nobody from it, and
//! guesses in a stolen session have to wait. What is proposed then carries the version of the
//! password that was verified: a change in between refuses it.

use std::net::SocketAddr;

use conclave_core::{OnceId, Rejection};
use conclave_replica::rows;
use conclave_wire::Problem;
use tonic::metadata::MetadataMap;

use crate::{
    auth::{
        hash_queue::{Turn, Work},
        sessions::log_in_first,
        throttle::keys_of_session,
    },
    context::shared::Shared,
    deadline::Deadline,
    random,
};

/// The owner of a session, and whether the password was right.
pub(crate) struct Again {
    pub(crate) row: rows::AccountRow,
    pub(crate) session: rows::SessionRow,
    pub(crate) verified: bool,
    /// For what else has to be hashed.
    pub(crate) turn: Turn,
}

impl Again {
    /// The version of the password that was verified. A retry (of a request whose `number` the
    /// session has used) may show a password that its first attempt has made wrong: it gets
    /// version 0, which no password has, so that nothing but its first answer can come of it.
    ///
    /// # Errors
    /// [`Rejection::WrongCredentials`] if the password is wrong and this is no retry.
    pub(crate) fn version(&self, number: u64) -> Result<u64, Rejection> {
        match self.verified {
            true => Ok(self.row.password_version),
            false if number <= self.session.request_last => Ok(0),
            false => Err(Rejection::WrongCredentials),
        }
    }
}

impl Shared {
    /// Verifies the password of the session that a request carries.
    ///
    /// # Errors
    /// [`Problem::LoginThrottled`] after many wrong ones in this session; [`Problem::GoingAway`] on
    /// a node without a vote; as every call.
    pub(crate) async fn password_again(
        &self,
        metadata: &MetadataMap,
        remote: Option<SocketAddr>,
        password: String,
    ) -> Result<Again, Problem> {
        self.only_where_believed()?;
        let deadline = Deadline::of(metadata);
        let read = |reader: &rows::Reader, session: &rows::SessionRow| {
            Ok((reader.account(session.account)?, session.clone()))
        };
        let (row, session) = self.read_in_session(metadata, None, read).await?;
        let row = row.ok_or_else(|| log_in_first("the account was deleted"))?;
        let keys = keys_of_session(&row.name.to_ascii_lowercase(), remote, session.id);
        // A retry counts again: what would name it is known to whoever has the database.
        let once = OnceId(random::bytes()?);
        let hash = Some(row.password_hash.clone());
        let tried = self
            .try_password(once, keys, Work::Again, password, hash, deadline)
            .await?;
        Ok(Again {
            row,
            session,
            verified: tried.verified,
            turn: tried.turn,
        })
    }
}
