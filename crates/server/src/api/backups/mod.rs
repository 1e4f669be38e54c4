//! Serves `BackupService`: the bytes of a backup as a stream, for operators.
//!
//! Always true: a stream that ends without an error has given all of the backup, and a caller that
//! does not read loses its stream, and the node's place for a backup with it, after a bounded time.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use conclave_core::AuditAct;
use conclave_wire::{
    Problem,
    v1::{self, backup_service_server::BackupService},
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use crate::{
    api::edge::{self, Answer},
    auth::credential::Credential,
    backup::make::{self, Made},
    context::{
        audit::ToNote,
        backup_state::LastBackup,
        call::{Call, Freshness},
        node_context::NodeContext,
    },
    peer::snapshots::{RateLimiter, SNAPSHOT_BYTES_PER_SECOND},
    protocol::problems,
};

/// How often a caller gets a sign of life while the snapshot is made.
const SIGN_EVERY: Duration = Duration::from_secs(1);
/// Least rate in bytes per second: a slower stream would keep a copy of the state on the disk for
/// longer than an operator can mean.
const RATE_MIN: u64 = 8 * 1024;
/// Least number of bytes in one response: an eighth of a second's at that rate.
const STEP_MIN: usize = 1024;
/// For how long a caller may leave the next piece unread.
const UNREAD_MAX: Duration = Duration::from_secs(30);
/// Responses that wait for the connection: half a megabyte.
const RESPONSES_MAX: usize = 2;

pub(crate) struct Backups {
    pub(crate) shared: Arc<NodeContext>,
}

/// The caller is gone, or has not read for too long.
struct Gone;

/// Why a stream ends early.
enum Failed {
    Problem(Problem),
    Gone,
}

impl From<Gone> for Failed {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

type Response = Result<v1::TakeBackupResponse, Status>;

impl Backups {
    async fn take(
        &self,
        call: Call,
        request: v1::TakeBackupRequest,
    ) -> Result<ReceiverStream<Response>, Problem> {
        let shared = &self.shared;
        if shared.identity.witness {
            // Another node has the state.
            return Err(Problem::GoingAway);
        }
        match Freshness::from(request.read) {
            // This waits for everything that was acknowledged.
            Freshness::Latest => {
                shared.for_operators(&call, "TakeBackup").await?;
            }
            // A cluster that has lost its majority may need a backup most of all.
            Freshness::AtLeast(position) => {
                shared.for_operators_here(&call, "TakeBackup").await?;
                let left = call.deadline.left();
                let reached = shared.replica.wait_applied(position.index(), left).await;
                reached.map_err(|error| problems::of_read(&error))?;
            }
        }
        let place = shared.backups.place.clone().try_acquire_owned();
        let place = place.map_err(|_| Problem::Busy)?;
        let rate = match request.bytes_per_second {
            0 => SNAPSHOT_BYTES_PER_SECOND,
            rate => rate.max(RATE_MIN),
        };
        let (out, responses) = mpsc::channel(RESPONSES_MAX);
        let sending = Sending {
            shared: shared.clone(),
            out,
            rate: RateLimiter::new(rate),
            by: call.credential,
        };
        tokio::spawn(sending.run(place));
        Ok(ReceiverStream::new(responses))
    }
}

/// One stream.
struct Sending {
    shared: Arc<NodeContext>,
    out: mpsc::Sender<Response>,
    rate: RateLimiter,
    by: Credential,
}

impl Sending {
    async fn run(self, place: OwnedSemaphorePermit) {
        let mut stopping = self.shared.stopping.subscribe();
        let outcome = tokio::select! {
            outcome = self.send(place) => outcome,
            _ = stopping.wait_for(|stopping| *stopping) => {
                Err(Failed::Problem(Problem::GoingAway))
            }
        };
        let outcome = match outcome {
            Ok(last) => {
                // The caller has all of it, and waits for nothing more.
                drop(self.out);
                let act = ToNote {
                    act: AuditAct::TakeBackup,
                    target: &format!("node {}", self.shared.identity.node),
                    detail: &format!("log_index={}", last.log_index),
                    problem: None,
                };
                return self.shared.note_act(&self.by, act).await;
            }
            Err(failed) => failed,
        };
        match outcome {
            Failed::Gone => tracing::warn!("a backup was not taken to its end"),
            Failed::Problem(problem) => {
                tracing::warn!(%problem, "failed to make a backup");
                let _ = timeout(UNREAD_MAX, self.out.send(Err(problem.into()))).await;
            }
        }
    }

    /// Sends the backup; returns what it is.
    async fn send(&self, place: OwnedSemaphorePermit) -> Result<LastBackup, Failed> {
        let made = self.made(place).await?;
        let (made, _place) = made;
        let (total, last) = (
            made.head.bytes,
            LastBackup {
                made_at_ms: made.head.made_at_ms,
                log_index: made.head.last.index,
            },
        );
        let mut pieces = made.pack();
        let step = self.rate.step(STEP_MIN, usize::MAX);
        let mut is_whole = false;
        while let Some(piece) = pieces.recv().await {
            let piece = piece.map_err(|error| {
                tracing::error!(%error, "the snapshot for a backup cannot be read");
                broken()
            })?;
            is_whole = piece.is_last;
            let mut bytes = Bytes::from(piece.bytes);
            while !bytes.is_empty() {
                let data = bytes.split_to(step.min(bytes.len()));
                tokio::select! {
                    () = self.rate.take(data.len()) => {}
                    () = self.out.closed() => return Err(Failed::Gone),
                }
                let response = v1::TakeBackupResponse {
                    data,
                    bytes_done: piece.done,
                    bytes_total: total,
                };
                self.tell(response).await?;
            }
        }
        if !is_whole {
            return Err(broken());
        }
        let shared = self.shared.clone();
        let noted = tokio::task::spawn_blocking(move || shared.backups.note(last)).await;
        if let Ok(Err(error)) = noted {
            tracing::warn!(%error, "failed to note the last backup");
        }
        Ok(last)
    }

    /// Makes the snapshot, and tells the caller meanwhile that the node lives. The place is kept
    /// until nothing of the snapshot is left, also if the caller goes away.
    async fn made(
        &self,
        place: OwnedSemaphorePermit,
    ) -> Result<(Made, OwnedSemaphorePermit), Failed> {
        let shared = self.shared.clone();
        let making = async move { (make::make(shared).await, place) };
        let mut making = tokio::spawn(making);
        let mut signs = interval(SIGN_EVERY);
        signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let made = tokio::select! {
                made = &mut making => made,
                _ = signs.tick() => {
                    self.tell(v1::TakeBackupResponse::default()).await?;
                    continue;
                }
                () = self.out.closed() => return Err(Failed::Gone),
            };
            let (made, place) = made.map_err(|_| broken())?;
            let made = made.map_err(|error| {
                tracing::warn!(%error, "the snapshot for a backup was not made");
                Failed::Problem(Problem::from(&error))
            })?;
            return Ok((made, place));
        }
    }

    async fn tell(&self, response: v1::TakeBackupResponse) -> Result<(), Gone> {
        match timeout(UNREAD_MAX, self.out.send(Ok(response))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}

fn broken() -> Failed {
    Failed::Problem(Problem::Broken {
        sentence: "the backup was broken off".to_owned(),
    })
}

#[tonic::async_trait]
impl BackupService for Backups {
    type TakeBackupStream = ReceiverStream<Response>;

    async fn take_backup(
        &self,
        request: Request<v1::TakeBackupRequest>,
    ) -> Answer<Self::TakeBackupStream> {
        edge::answer(request, |call, request| self.take(call, request)).await
    }
}
