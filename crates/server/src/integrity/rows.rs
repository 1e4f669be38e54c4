//! Reads digests of rows for a comparison of all nodes (`walk.rs`), on each of them.
//!
//! Always true: a digest after an agreed entry is remembered, so that each node judges itself by it
//! (`digests.rs`); and reads of clients never wait for a connection that this uses.

use std::{sync::Arc, time::Duration};

use conclave_replica::RowsAt;
use conclave_storage::state::{RANGES_MAX, RangeDigests, ReadError, Reader, RowRange};
use conclave_wire::{Problem, peer};

use crate::{context::node_context::NodeContext, protocol::problems};

/// How long a node may take to reach the entry after which it reads rows.
const REACH_LIMIT: Duration = Duration::from_secs(3);

/// Part of a comparison that runs on every node.
impl NodeContext {
    /// Reads rows after entry `index`: exactly after it, or after a later one.
    pub(crate) async fn rows_asked(
        self: &Arc<Self>,
        ranges: Vec<RowRange>,
        index: u64,
        exact: bool,
    ) -> Result<RowsAt, Problem> {
        match exact {
            true => self.rows_at(ranges, index).await,
            false => self.rows_after(ranges, index).await.map(RowsAt::Read),
        }
    }

    /// Returns digests of rows after entry `index` or a later one.
    async fn rows_after(
        self: &Arc<Self>,
        ranges: Vec<RowRange>,
        index: u64,
    ) -> Result<RangeDigests, Problem> {
        let reached = self.replica.wait_applied(index, REACH_LIMIT).await;
        reached.map_err(|error| problems::of_read(&error))?;
        self.read_slowly(move |reader| reader.digest_ranges(&ranges))
            .await
    }

    /// Returns digests of rows exactly after entry `index`, and remembers them for the comparison
    /// of this node with the others.
    async fn rows_at(&self, ranges: Vec<RowRange>, index: u64) -> Result<RowsAt, Problem> {
        let ids: Vec<u64> = ranges.iter().map(RowRange::id).collect();
        let found = self.replica.rows_at(index, ranges, REACH_LIMIT).await;
        let found = found.map_err(|error| problems::of_read(&error))?;
        if let RowsAt::Read(found) = &found {
            for (id, digest) in ids.iter().zip(&found.digests) {
                self.compared.note(found.index, *id, *digest);
            }
        }
        Ok(found)
    }

    /// Reads rows beside the reads of clients, on a connection that these do not use.
    pub(crate) async fn read_slowly<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, Problem> {
        let reader = self.replica.reader();
        let read = tokio::task::spawn_blocking(move || read(&reader)).await;
        let read = read.map_err(|_| Problem::GoingAway)?;
        read.map_err(|error| problems::of_rows(&error))
    }
}

/// Parses the ranges that a peer asks for; `None` if one is malformed or there are too many.
pub(crate) fn ranges_in(ranges: &[peer::RowRange]) -> Option<Vec<RowRange>> {
    let range =
        |range: &peer::RowRange| RowRange::decoded(range.table, &range.after_key, &range.until_key);
    let ranges = ranges.iter().map(range).collect::<Option<Vec<_>>>();
    ranges.filter(|ranges| ranges.len() <= RANGES_MAX)
}

/// Returns the message for a peer.
pub(crate) fn rows_out(found: &RowsAt) -> peer::DigestRowsResponse {
    match found {
        RowsAt::Read(found) => peer::DigestRowsResponse {
            applied_index: found.index,
            passed: false,
            digests: found.digests.iter().map(|d| d.to_vec().into()).collect(),
        },
        RowsAt::Passed { applied } => peer::DigestRowsResponse {
            applied_index: *applied,
            passed: true,
            digests: Vec::new(),
        },
    }
}

/// Parses a peer's answer; `None` if it is malformed.
pub(crate) fn rows_in(response: peer::DigestRowsResponse) -> Option<RowsAt> {
    if response.passed {
        return Some(RowsAt::Passed {
            applied: response.applied_index,
        });
    }
    let digests = response.digests.iter().map(|d| d[..].try_into().ok());
    let digests = digests.collect::<Option<Vec<_>>>()?;
    Some(RowsAt::Read(RangeDigests {
        index: response.applied_index,
        digests,
    }))
}

/// Returns the message for a peer.
pub(crate) fn range_out(range: &RowRange) -> peer::RowRange {
    let (table, after_key, until_key) = range.encoded();
    peer::RowRange {
        table,
        after_key: after_key.into(),
        until_key: until_key.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_answer_of_a_peer_is_no_answer() {
        let told = |digest: Vec<u8>| peer::DigestRowsResponse {
            digests: vec![digest.into()],
            ..peer::DigestRowsResponse::default()
        };
        assert!(matches!(rows_in(told(vec![7; 32])), Some(RowsAt::Read(_))));
        assert!(rows_in(told(vec![7; 31])).is_none());
    }

    #[test]
    fn malformed_or_too_many_ranges_of_a_peer_are_refused() {
        let all = peer::RowRange::default();
        assert!(ranges_in(&vec![all.clone(); RANGES_MAX]).is_some());
        assert!(ranges_in(&vec![all; RANGES_MAX + 1]).is_none());
        let strange = peer::RowRange {
            after_key: vec![1].into(),
            ..peer::RowRange::default()
        };
        assert!(ranges_in(&[strange]).is_none());
    }
}
