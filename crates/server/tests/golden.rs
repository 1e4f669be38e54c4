//! Directories of earlier builds, which every later build opens: their log, their state and their
//! snapshot.
//!
//! `golden/NAME` has the files of one node, without the zeros at their ends, and `manifest.json`
//! has their lengths and what the node said of its state before it stopped. A directory is never
//! changed again; `docs/data.md` says how to make another one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use conclave_core::{ClusterVersion, VersionRange};
use conclave_storage::{
    log::{self, EntryKind, LogStore as _, SegmentLog},
    state::{Entry, OpenError, Options, Payload, State},
};
use conclave_wire::{batch, peer};
use prost::Message as _;
use serde::Deserialize;
use tempfile::TempDir;

/// What is known of a directory.
#[derive(Debug, Deserialize)]
struct Manifest {
    /// Length of each file, by its path.
    files: BTreeMap<String, u64>,
    /// The last entry that the node had applied.
    applied_index: u64,
    /// Digest of all rows then, in hexadecimal digits.
    digest: String,
    /// Digest of all answers and events.
    chain: String,
    messages: u64,
    accounts: u64,
}

/// A copy of a directory, with its files as long as they were.
struct Golden {
    name: String,
    manifest: Manifest,
    directory: TempDir,
}

impl Golden {
    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    fn state(&self) -> State {
        State::open(self.directory.path(), Options::default()).unwrap()
    }

    /// Checks that the state is the one that the node had.
    fn check(&self, state: &State, what: &str) {
        let found = state.reader().digest().unwrap();
        let told = &self.manifest;
        let name = &self.name;
        assert_eq!(
            found.applied.unwrap().index,
            told.applied_index,
            "{name}: {what}"
        );
        assert_eq!(hex(&found.chain), told.chain, "{name}: {what}: the chain");
        assert_eq!(hex(&found.digest), told.digest, "{name}: {what}: the rows");
        let counted = (found.messages, found.accounts);
        assert_eq!(counted, (told.messages, told.accounts), "{name}: {what}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Returns copies of all directories.
fn all() -> Vec<Golden> {
    let mut names: Vec<String> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.len() >= 2, "{names:?}");
    names.into_iter().map(copy).collect()
}

fn copy(name: String) -> Golden {
    let from = root().join(&name);
    let manifest = fs::read(from.join("manifest.json")).unwrap();
    let manifest: Manifest = serde_json::from_slice(&manifest).unwrap();
    let directory = tempfile::tempdir().unwrap();
    for (file, length) in &manifest.files {
        let to = directory.path().join(file);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from.join(file), &to).unwrap();
        let to = fs::File::options().write(true).open(to).unwrap();
        to.set_len(*length).unwrap();
    }
    Golden {
        name,
        manifest,
        directory,
    }
}

/// Reads an entry as a node does that applies it.
fn decoded(entry: log::Entry) -> Entry {
    let payload = match entry.kind {
        EntryKind::Blank => Payload::Blank,
        EntryKind::Commands => {
            let batch = batch::decode(entry.bytes, VersionRange::BUILD.newest).unwrap();
            Payload::Commands(Arc::new(batch))
        }
        EntryKind::Membership => {
            let members = peer::Membership::decode(entry.bytes.clone()).unwrap();
            // The chain has these bytes, so every build must make the same ones again.
            assert_eq!(members.encode_to_vec(), entry.bytes);
            Payload::Membership {
                bytes: entry.bytes,
                nodes: members
                    .members
                    .iter()
                    .map(|m| m.node_id)
                    .collect::<BTreeSet<_>>(),
            }
        }
    };
    Entry {
        id: entry.id,
        payload,
    }
}

/// Returns all entries of a log, oldest first.
fn entries(log: &SegmentLog) -> Vec<log::Entry> {
    let state = log.state();
    let first = state.purged.map_or(0, |purged| purged.index + 1);
    let end = state.last.map_or(0, |last| last.index + 1);
    log.read(first..end, usize::MAX).unwrap()
}

#[test]
fn the_state_of_every_build_is_opened_and_has_the_same_rows() {
    for golden in all() {
        let state = golden.state();
        golden.check(&state, "migrated");
        drop(state);
        golden.check(&golden.state(), "opened again");
    }
}

#[test]
fn the_log_of_every_build_is_decided_as_it_was() {
    for golden in all() {
        let log = SegmentLog::open(&golden.path("log"), log::Options::default()).unwrap();
        let entries = entries(&log);
        assert_eq!(entries[0].id.index, 0, "{}: it is whole", golden.name);
        let directory = tempfile::tempdir().unwrap();
        let mut state = State::open(directory.path(), Options::default()).unwrap();
        let is_applied = |entry: &log::Entry| entry.id.index <= golden.manifest.applied_index;
        let entries: Vec<Entry> = entries
            .into_iter()
            .filter(is_applied)
            .map(decoded)
            .collect();
        state.apply(&entries).unwrap();
        golden.check(&state, "decided again");
    }
}

#[test]
fn the_snapshot_of_every_build_is_installed() {
    let mut installed = 0;
    for golden in all() {
        // The first build could not be asked for one.
        if !golden.path("snapshot").exists() {
            continue;
        }
        installed += 1;
        let directory = tempfile::tempdir().unwrap();
        let mut state = State::open(directory.path(), Options::default()).unwrap();
        state.install(&golden.path("snapshot")).unwrap();
        golden.check(&state, "installed");
    }
    assert!(installed > 0);
}

#[test]
fn a_state_beyond_the_build_is_refused_and_left_as_it_is() {
    let name = newest();
    let golden = copy(name);
    let older = Options {
        versions: VersionRange::BUILD.up_to(ClusterVersion::FIRST),
        ..Options::default()
    };
    let before = fs::read(golden.path("state.db")).unwrap();
    let refused = State::open(golden.directory.path(), older).err().unwrap();
    assert!(
        matches!(refused, OpenError::ClusterVersion { .. }),
        "{refused}"
    );
    assert!(!refused.is_damage(), "{refused}");
    assert_eq!(fs::read(golden.path("state.db")).unwrap(), before);
    golden.check(&golden.state(), "opened by the later build");
}

#[test]
fn the_newest_directory_is_of_the_newest_cluster_version() {
    let golden = copy(newest());
    let found = golden.state().cluster_version();
    assert_eq!(found, Some(VersionRange::BUILD.newest));
}

/// Returns the name of the directory of the newest build.
fn newest() -> String {
    all().pop().unwrap().name
}

/// Adds a snapshot to the directory that `CONCLAVE_GOLDEN` names, made by this build.
#[test]
#[ignore = "it makes a directory for ever: see docs/data.md"]
fn make_the_snapshot_of_a_directory() {
    let name = std::env::var("CONCLAVE_GOLDEN").expect("the name of the directory");
    let golden = copy(name.clone());
    let file = root().join(&name).join("snapshot");
    let made = golden.state().reader().snapshot_to(&file).unwrap();
    let manifest = root().join(&name).join("manifest.json");
    let mut told: serde_json::Value =
        serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    told["files"]["snapshot"] = made.bytes.into();
    fs::write(
        &manifest,
        serde_json::to_string_pretty(&told).unwrap() + "\n",
    )
    .unwrap();
}
