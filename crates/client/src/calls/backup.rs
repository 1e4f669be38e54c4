//! A backup as a node streams it, for operators.
//!
//! Always true: a backup that ends with `None` was given to its last byte by one node; a stream
//! that breaks is an error, and is not continued on another node, whose file would be another one.

use std::time::Duration;

use bytes::Bytes;
use conclave_wire::v1;
use tokio::time::timeout;
use tonic::Streaming;

use crate::{
    CallError, Client, Freshness,
    attempts::Attempts,
    nodes::Node,
    random,
    retry_decision::Failure,
    rpc::{self, Kind},
};

/// Time that a node may take to begin beyond that of an attempt: it waits about as long itself for
/// the credential to be confirmed.
const BEGIN_EXTRA: Duration = Duration::from_millis(500);
/// Time without a response after which a node counts as gone; it gives a sign of life every second.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// A backup that is being streamed.
#[derive(Debug)]
pub struct Backup {
    stream: Streaming<v1::TakeBackupResponse>,
    attempts: Attempts,
    node: String,
}

/// The next part of a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupPart {
    /// Next bytes of the file; may be empty.
    pub data: Bytes,
    /// Bytes of the database that have come so far.
    pub done: u64,
    /// Length of the database in bytes; 0 while the node makes the snapshot.
    pub total: u64,
}

impl Client {
    /// Makes a node stream a backup of at most `bytes_per_second` (0: the node's own rate). Asks
    /// the nodes in turn until one begins, those that do not lead first, and each once.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_AN_OPERATOR`.
    pub async fn take_backup(
        &self,
        freshness: Freshness,
        bytes_per_second: u64,
    ) -> Result<Backup, CallError> {
        let nodes = &self.shared.nodes;
        let mut attempts = Attempts::new(self.shared.timeouts.total);
        // A backup costs the leader more than the others: callers wait for it.
        let leader = nodes.pick();
        let mut tried = vec![leader.address.clone()];
        let mut last = Some(leader);
        loop {
            let node = nodes.pick_untried(&tried, random::number());
            let Some(node) = node.or_else(|| last.take()) else {
                return Err(attempts.give_up(Kind::Read, None));
            };
            tried.push(node.address.clone());
            let limit = self.shared.timeouts.attempt + BEGIN_EXTRA;
            let Some(limit) = attempts.begin(&node, limit) else {
                return Err(attempts.give_up(Kind::Read, None));
            };
            let request = v1::TakeBackupRequest {
                read: Some(freshness.options()),
                bytes_per_second,
            };
            match self.begin_backup(&node, request, limit).await {
                Ok(stream) => {
                    return Ok(Backup {
                        stream,
                        attempts,
                        node: node.address.clone(),
                    });
                }
                Err(failure) => {
                    attempts.note(&failure, true);
                    if let Some(refused) = failure.next(Kind::Read, false).refusal() {
                        return Err(refused);
                    }
                }
            }
        }
    }

    async fn begin_backup(
        &self,
        node: &Node,
        request: v1::TakeBackupRequest,
        limit: Duration,
    ) -> Result<Streaming<v1::TakeBackupResponse>, Failure> {
        let request = self.operator_request(request);
        let mut service = rpc::backups(node.channel.clone());
        match timeout(limit, service.take_backup(request)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(Failure::from_status(&status)),
            Err(_) => Err(Failure::Silent),
        }
    }
}

impl Backup {
    /// Returns the address of the node that makes it.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Returns the next part; `None` once the node has given all of it.
    ///
    /// # Errors
    /// [`CallError::NotDone`] if the stream breaks, and what the node refuses.
    pub async fn next(&mut self) -> Result<Option<BackupPart>, CallError> {
        let failure = match timeout(SILENCE_MAX, self.stream.message()).await {
            Ok(Ok(response)) => {
                return Ok(response.map(|response| BackupPart {
                    data: response.data,
                    done: response.bytes_done,
                    total: response.bytes_total,
                }));
            }
            Ok(Err(status)) => Failure::from_status(&status),
            Err(_) => Failure::Silent,
        };
        self.attempts.note(&failure, true);
        Err(failure
            .next(Kind::Read, false)
            .refusal()
            .unwrap_or_else(|| self.attempts.give_up(Kind::Read, None)))
    }
}
