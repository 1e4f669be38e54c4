//! openraft's own acceptance tests for a log, against ours.
//!
//! The suite also applies entries with gaps between them, which our state refuses as a broken
//! promise; so beside the real log stands the least state that can be.

use std::{io, sync::Arc};

use conclave_storage::log::{self, SegmentLog};
use futures::{Stream, TryStreamExt as _};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder, StorageError,
    storage::{EntryResponder, RaftStateMachine, Snapshot},
    testing::log::{StoreBuilder, Suite},
};
use tempfile::TempDir;

use crate::{
    Codec, CodecError, Member, Members,
    convert::{Decided, Leader, LogId, SnapshotMeta, StoredMembers, TypeConfig},
    log::store::Log,
};

/// Members as text: the suite needs some format, not ours.
pub(crate) struct TextCodec;

impl Codec for TextCodec {
    fn encode_batch(&self, batch: &conclave_core::Batch) -> bytes::Bytes {
        conclave_wire::batch::encode(batch)
    }

    fn decode_batch(&self, bytes: &bytes::Bytes) -> Result<conclave_core::Batch, CodecError> {
        let newest = conclave_core::VersionRange::BUILD.newest;
        let decoded = conclave_wire::batch::decode(bytes.clone(), newest);
        decoded.map_err(|error| CodecError(error.into()))
    }

    fn encode_members(&self, members: &Members) -> bytes::Bytes {
        let sets = members
            .voters
            .iter()
            .map(|set| set.iter().map(u64::to_string).collect::<Vec<_>>().join(","));
        let nodes = members
            .nodes
            .keys()
            .map(u64::to_string)
            .collect::<Vec<_>>()
            .join(",");
        format!("{}|{nodes}", sets.collect::<Vec<_>>().join(";")).into()
    }

    fn decode_members(&self, bytes: &bytes::Bytes) -> Result<Members, CodecError> {
        let text = String::from_utf8(bytes.to_vec()).map_err(|error| CodecError(error.into()))?;
        let (sets, nodes) = text
            .split_once('|')
            .ok_or_else(|| CodecError(io::Error::other("no separator").into()))?;
        let numbers = |list: &str| -> Vec<u64> {
            list.split(',')
                .filter_map(|number| number.parse().ok())
                .collect()
        };
        let voters = sets.split(';').filter(|set| !set.is_empty());
        Ok(Members {
            voters: voters
                .map(|set| numbers(set).into_iter().collect())
                .collect(),
            nodes: numbers(nodes)
                .into_iter()
                .map(|node| (node, Default::default()))
                .collect(),
        })
    }
}

/// Remembers what was applied last, and nothing else.
#[derive(Clone, Default)]
struct Least {
    last: Option<LogId>,
    members: StoredMembers,
}

impl Least {
    fn snapshot(&self) -> Snapshot<Leader, u64, Member, ()> {
        let (last_log_id, last_membership) = (self.last, self.members.clone());
        Snapshot {
            meta: SnapshotMeta {
                last_log_id,
                last_membership,
            },
            snapshot: (),
        }
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Least {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> io::Result<Snapshot<Leader, u64, Member, ()>> {
        Ok(self.snapshot())
    }
}

impl RaftStateMachine<TypeConfig> for Least {
    type SnapshotData = ();
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembers)> {
        Ok((self.last, self.members.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            self.last = Some(entry.log_id);
            if let EntryPayload::Membership(members) = entry.payload {
                self.members = StoredMembers::new(Some(entry.log_id), members);
            }
            if let Some(responder) = responder {
                responder.send(Decided::default());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, (): ()) -> io::Result<()> {
        *self = Self {
            last: meta.last_log_id,
            members: meta.last_membership.clone(),
        };
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> io::Result<Option<Snapshot<Leader, u64, Member, ()>>> {
        Ok(self.last.is_some().then(|| self.snapshot()))
    }
}

struct Builder;

impl StoreBuilder<TypeConfig, Log, Least, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, Log, Least), StorageError<TypeConfig>> {
        let directory = TempDir::new().unwrap();
        let options = log::Options {
            segment_bytes: 1 << 20,
            ..log::Options::default()
        };
        let log = SegmentLog::open(&directory.path().join("log"), options).unwrap();
        Ok((
            directory,
            Log::new(Arc::new(log), Arc::new(TextCodec)),
            Least::default(),
        ))
    }
}

#[test]
fn the_log_passes_the_openraft_test_suite() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(Suite::test_all(Builder)).unwrap();
}
