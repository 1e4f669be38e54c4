//! Requests of operators: each goes to one node, once, so that the answer is that node's own.

use conclave_wire::v1;
use futures::future::join_all;

use crate::{
    CallError, Client,
    attempts::Attempts,
    rpc::{Kind, Rpc},
};

impl Client {
    /// Returns the cluster's status as the node at `endpoint` sees it. Works without a quorum.
    ///
    /// # Errors
    /// [`CallError::NotDone`] if that node does not answer.
    pub async fn cluster_status(
        &self,
        endpoint: &str,
    ) -> Result<v1::GetClusterStatusResponse, CallError> {
        let request = v1::GetClusterStatusRequest::default();
        self.ask_at(endpoint, request).await
    }

    /// Returns the cluster's status as every known node sees it, with the node's address.
    pub async fn cluster_statuses(
        &self,
    ) -> Vec<(String, Result<v1::GetClusterStatusResponse, CallError>)> {
        let asked = self.endpoints().into_iter().map(async |endpoint| {
            let status = self.cluster_status(&endpoint).await;
            (endpoint, status)
        });
        join_all(asked).await
    }

    /// Returns a digest of everything that the node at `endpoint` has applied, once it has reached
    /// `min_applied_index`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn state_digest(
        &self,
        endpoint: &str,
        min_applied_index: u64,
    ) -> Result<v1::GetStateDigestResponse, CallError> {
        let request = v1::GetStateDigestRequest {
            min_applied_index,
            without_rows: false,
        };
        self.ask_at(endpoint, request).await
    }

    /// Returns what the node at `endpoint` counts and the digest of its decisions, and leaves out
    /// the digest of its rows: the node need not read them.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn state_counts(
        &self,
        endpoint: &str,
    ) -> Result<v1::GetStateDigestResponse, CallError> {
        let request = v1::GetStateDigestRequest {
            min_applied_index: 0,
            without_rows: true,
        };
        self.ask_at(endpoint, request).await
    }

    /// Makes the node at `endpoint` begin a check of the whole cluster (`check_id` 0; a check under
    /// way goes on), or returns the progress of the check `check_id`. Ask again until it is
    /// finished.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_ALLOWED`; `NO_SUCH_CHECK`: that node has restarted meanwhile.
    pub async fn check_cluster(
        &self,
        endpoint: &str,
        check_id: u64,
    ) -> Result<v1::CheckClusterResponse, CallError> {
        let request = v1::CheckClusterRequest { check_id };
        self.ask_at(endpoint, request).await
    }

    /// Changes which lines the log of the node at `endpoint` has, unless `filter` is empty; returns
    /// the filter in use. It holds until the node starts again or reads its settings again.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_AN_OPERATOR`, `LOG_FILTER_INVALID`.
    pub async fn change_log_filter(
        &self,
        endpoint: &str,
        filter: &str,
    ) -> Result<String, CallError> {
        let request = v1::ChangeLogFilterRequest {
            filter: filter.to_owned(),
        };
        Ok(self.ask_at(endpoint, request).await?.filter)
    }

    async fn ask_at<R: Rpc>(&self, endpoint: &str, request: R) -> Result<R::Answer, CallError> {
        let timeouts = self.shared.timeouts;
        let mut attempts = Attempts::new(timeouts.total);
        let node = match self.shared.nodes.at(endpoint) {
            Ok(node) => node,
            Err(error) => {
                attempts.last = error.to_string();
                return Err(attempts.give_up(Kind::Read, None));
            }
        };
        let Some(limit) = attempts.begin(&node, timeouts.attempt) else {
            return Err(attempts.give_up(Kind::Read, None));
        };
        match self.attempt(&node, request, limit).await {
            Ok(answer) => Ok(answer),
            Err(failure) => {
                attempts.note(&failure, true);
                let refusal = failure.next(Kind::Read, false).refusal();
                Err(refusal.unwrap_or_else(|| attempts.give_up(Kind::Read, None)))
            }
        }
    }
}
