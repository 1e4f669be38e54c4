//! Calls of peers to a replica: to take entries, to vote, to campaign, to install a snapshot.

use std::{future::ready, task::Poll};

use conclave_storage::{
    log::{Entry, LogId, Vote},
    state::VerifiedSnapshot,
};
use futures::{Stream, StreamExt as _, future::BoxFuture, poll};
use openraft::{
    raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest},
    storage::Snapshot,
};
use tokio::task::spawn_blocking;

use crate::{
    APPENDS_UNANSWERED_MAX, AppendRequest, AppendResponse, PeerError, Replica, SnapshotOffer,
    VoteRequest, VoteResponse,
    convert::{
        SnapshotMeta, StoredMembers, entry_in, log_id_in, log_id_out, members_in, vote_in, vote_out,
    },
    snapshot::offer::SnapshotData,
};

impl Replica {
    /// Takes the appends of one stream. They begin in their order, several before the first is
    /// synced; the responses leave in it. A request that is an error is passed on in its turn.
    pub fn on_appends<E: Send + 'static>(
        &self,
        requests: impl Stream<Item = Result<AppendRequest, E>> + Send + 'static,
    ) -> impl Stream<Item = Result<Result<AppendResponse, PeerError>, E>> + Send + 'static {
        let replica = self.clone();
        let append = move |request: Result<AppendRequest, E>| {
            let replica = replica.clone();
            begun(async move { Ok(replica.on_append(request?).await) })
        };
        requests.then(append).buffered(APPENDS_UNANSWERED_MAX)
    }

    /// Takes entries from the leader. The engine has them when this was polled once.
    async fn on_append(&self, request: AppendRequest) -> Result<AppendResponse, PeerError> {
        self.inner.participation.check()?;
        let entry = |entry: Entry| entry_in(entry, &*self.inner.codec);
        let entries = request
            .entries
            .into_iter()
            .map(entry)
            .collect::<Result<_, _>>();
        let rpc = AppendEntriesRequest {
            vote: vote_in(request.vote),
            prev_log_id: request.previous.map(log_id_in),
            entries: entries.map_err(|error| PeerError::Failed(error.to_string()))?,
            leader_commit: request.committed.map(log_id_in),
        };
        let response = self.inner.raft.append_entries(rpc).await.map_err(failed)?;
        if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
            self.inner.contact.note();
        }
        Ok(match response {
            AppendEntriesResponse::Success => AppendResponse::Success,
            AppendEntriesResponse::PartialSuccess(upto) => {
                AppendResponse::Partial(upto.as_ref().map(log_id_out))
            }
            AppendEntriesResponse::Conflict => AppendResponse::Conflict,
            AppendEntriesResponse::HigherVote(vote) => AppendResponse::HigherVote(vote_out(&vote)),
        })
    }

    /// Answers a request for a vote.
    ///
    /// # Errors
    /// [`PeerError::Failed`] if the replica has stopped.
    pub async fn on_vote(&self, request: VoteRequest) -> Result<VoteResponse, PeerError> {
        self.inner.participation.check()?;
        let last = request.last.map(log_id_in);
        let mut rpc = openraft::raft::VoteRequest::new(vote_in(request.vote), last);
        rpc.leadership_transfer = request.leader_transfer;
        let response = match request.pre_vote {
            true => self.inner.raft.pre_vote(rpc).await,
            false => self.inner.raft.vote(rpc).await,
        }
        .map_err(failed)?;
        Ok(VoteResponse {
            vote: vote_out(&response.vote),
            granted: response.vote_granted,
            last: response.last_log_id.as_ref().map(log_id_out),
        })
    }

    /// Campaigns because a leader that steps down asks for it.
    ///
    /// # Errors
    /// [`PeerError::Failed`] if it does not: its log is behind, or another node leads by now.
    pub async fn on_timeout_now(
        &self,
        from: Vote,
        to: u64,
        last: Option<LogId>,
    ) -> Result<(), PeerError> {
        self.inner.participation.check()?;
        if self.inner.config.witness {
            return Err(failed("a witness does not lead"));
        }
        let request = TransferLeaderRequest::new(vote_in(from), to, last.map(log_id_in));
        self.inner
            .raft
            .handle_transfer_leader(request)
            .await
            .map_err(failed)?
            .map_err(failed)
    }

    /// Installs a snapshot whose file was verified; returns this node's vote.
    ///
    /// # Errors
    /// [`PeerError::BadSnapshot`] if the file is not a whole state of this version, and
    /// [`PeerError::Failed`] if it cannot be installed; the old state stands.
    pub async fn on_snapshot(&self, offer: SnapshotOffer) -> Result<Vote, PeerError> {
        self.inner.participation.check()?;
        self.may_install(offer.last.index)?;
        // Before the engine hears of it: to the engine a snapshot that fails is a broken disk.
        let newest = self.inner.config.versions.newest;
        let verifying = spawn_blocking(move || VerifiedSnapshot::new(offer.file, newest));
        let verified = verifying.await.map_err(failed)?;
        let verified = verified.map_err(|error| PeerError::BadSnapshot(error.to_string()))?;
        let membership = members_in(offer.members).map_err(failed)?;
        let last_membership = StoredMembers::new(offer.members_at.map(log_id_in), membership);
        let meta = SnapshotMeta {
            last_log_id: Some(log_id_in(offer.last)),
            last_membership,
        };
        let snapshot = Snapshot {
            meta,
            snapshot: SnapshotData::Received(verified),
        };
        let vote = vote_in(offer.vote);
        let response = self.inner.raft.install_full_snapshot(vote, snapshot).await;
        response
            .map(|response| vote_out(&response.vote))
            .map_err(failed)
    }
}

fn failed(error: impl std::fmt::Display) -> PeerError {
    PeerError::Failed(error.to_string())
}

/// Polls a future once and returns it, so that futures begin in the order of the calls.
async fn begun<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> BoxFuture<'static, T> {
    // Within a budget of the runtime the first poll might do nothing.
    let mut future = Box::pin(tokio::task::unconstrained(future));
    match poll!(&mut future) {
        Poll::Ready(result) => Box::pin(ready(result)),
        Poll::Pending => future,
    }
}
