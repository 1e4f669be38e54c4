//! Restores of small backups: what a directory holds afterwards, what is refused, and what an
//! interrupted or failed restore leaves.

use bytes::Bytes;
use conclave_storage::{
    backup::Packer,
    log::LogId,
    state::{self, Contents, Entry, Options, Payload, State},
};

use super::*;

/// Returns the bytes of a backup of a state with this many entries.
fn backup(entries: u64) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let mut state = State::open(directory.path(), Options::default()).unwrap();
    let entry = |index| Entry {
        id: LogId {
            term: 4,
            node: 2,
            index,
        },
        payload: match index {
            1 => Payload::Membership {
                bytes: Bytes::from_static(b"members of another cluster"),
                nodes: BTreeSet::from([2, 3, 9]),
            },
            2 => Payload::Commands(Arc::new(Batch {
                proposed_at: Timestamp(1_000),
                date: Timestamp(1_000),
                commands: Vec::new(),
            })),
            _ => Payload::Blank,
        },
    };
    state
        .apply(&(1..=entries).map(entry).collect::<Vec<_>>())
        .unwrap();
    let file = directory.path().join("snapshot");
    let made = state.reader().snapshot_to(&file).unwrap();
    let contents = Contents::of(&file).unwrap();
    let rows = contents.rows.into_iter();
    let head = Head {
        cluster: "old".to_owned(),
        node: 3,
        last: contents.applied.last.unwrap(),
        made_at_ms: 1_000,
        schema: state::SCHEMA_VERSION,
        program: "0.1.0".to_owned(),
        bytes: made.bytes,
        digest: contents.digest,
        chain: contents.chain,
        rows: rows.map(|(name, rows)| (name.to_owned(), rows)).collect(),
    };
    let packer = Packer::new(&head, File::open(&file).unwrap());
    packer.map(Result::unwrap).collect::<Vec<_>>().concat()
}

fn restored(backup: &[u8], directory: &Path) -> Result<Restored, RestoreError> {
    let mut seen = (0, 0);
    let done = restore(backup, directory, &mut |done, total| {
        assert!(done > seen.0 && done <= total, "it only grows");
        seen = (done, total);
    });
    assert!(
        done.is_err() || (seen.0 == seen.1 && seen.0 > 0),
        "to the end"
    );
    done
}

fn names(directory: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(directory).unwrap();
    let name = |item: io::Result<fs::DirEntry>| item.unwrap().file_name().into_string().unwrap();
    names.map(name).collect()
}

#[test]
fn a_restored_directory_is_the_first_node_of_a_new_cluster() {
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().join("made");
    let done = restored(&backup(7), &directory).unwrap();
    assert_eq!((done.node, &*done.backup.cluster), (1, "old"));
    let claim = Claim::take(&directory).unwrap();
    let stored = claim.stored().unwrap().unwrap();
    assert_eq!((&stored.cluster_id, stored.node), (&done.cluster_id, 1));
    assert!(!stored.joined, "it makes the cluster");
    let secret = ClusterSecret::load(&directory).unwrap().unwrap();
    assert_eq!(secret.cluster_id(), done.cluster_id);
    let survivor =
        Survivor::open(&directory, Arc::new(WireCodec::of(VersionRange::BUILD))).unwrap();
    let standing = survivor.standing().clone();
    survivor.close();
    assert_eq!(standing.applied.map(|last| last.index), Some(7));
    let last = standing.last.unwrap();
    assert_eq!((last.term, last.node, last.index), (5, 1, 8));
    assert_eq!(
        standing.vote.map(|vote| (vote.term, vote.node)),
        Some((5, 1))
    );
    assert_eq!(standing.members.voters, [BTreeSet::from([1])]);
    let left = names(&directory);
    assert!(
        !left.iter().any(|name| name.starts_with("restoring")),
        "{left:?}"
    );
    // Two clusters of one backup are two.
    let other = restored(&backup(7), &data.path().join("other")).unwrap();
    assert_ne!(other.cluster_id, done.cluster_id);
}

#[test]
fn a_directory_with_anything_in_it_is_left_as_it_is() {
    let backup = backup(3);
    for name in ["identity.json", "state.db", "a file of a person", "secret"] {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join(name), "kept").unwrap();
        let refused = restored(&backup, data.path()).unwrap_err();
        assert!(
            matches!(refused, RestoreError::NotEmpty { .. }),
            "{refused}"
        );
        assert_eq!(fs::read_to_string(data.path().join(name)).unwrap(), "kept");
    }
    let data = tempfile::tempdir().unwrap();
    let held = Claim::take(data.path()).unwrap();
    let refused = restored(&backup, data.path()).unwrap_err();
    assert!(matches!(
        refused,
        RestoreError::Identity(IdentityError::InUse { .. })
    ));
    drop(held);
    // What a new file system has is nothing.
    fs::create_dir(data.path().join("lost+found")).unwrap();
    // A copy of an earlier node is not this one's, and stays.
    let copy = data.path().join("before-recover-1");
    fs::create_dir(&copy).unwrap();
    fs::write(copy.join("identity.json"), "kept").unwrap();
    restored(&backup, data.path()).unwrap();
    assert!(copy.join("identity.json").exists());
}

#[test]
fn a_restore_that_was_interrupted_anywhere_is_begun_again() {
    let backup = backup(3);
    let whole = tempfile::tempdir().unwrap();
    restored(&backup, whole.path()).unwrap();
    // Killed before the identity was written: the mark is there, and any of the other files.
    let data = tempfile::tempdir().unwrap();
    for name in [
        "restoring",
        "restoring.db",
        "restoring.db-journal",
        "imported.json",
        // Of a node that an earlier version has started in between.
        "damaged.json",
        "state.db",
        "secret",
    ] {
        fs::write(data.path().join(name), "half").unwrap();
    }
    fs::create_dir(data.path().join("log")).unwrap();
    restored(&backup, data.path()).unwrap();
    assert_eq!(names(data.path()), names(whole.path()));
    // Killed after it: the node is whole, and nothing is removed.
    fs::write(data.path().join("restoring"), "").unwrap();
    let refused = restored(&backup, data.path()).unwrap_err();
    assert!(
        matches!(refused, RestoreError::NotEmpty { .. }),
        "{refused}"
    );
    Survivor::open(data.path(), Arc::new(WireCodec::of(VersionRange::BUILD)))
        .unwrap()
        .close();
}

#[test]
fn a_damaged_backup_leaves_an_empty_directory() {
    let backup = backup(3);
    let data = tempfile::tempdir().unwrap();
    let mut damaged = backup.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 8;
    for wrong in [
        &damaged[..],
        &backup[..backup.len() - 1],
        b"",
        b"SQLite format 3\0",
    ] {
        let refused = restored(wrong, data.path()).unwrap_err();
        assert!(matches!(refused, RestoreError::Backup(_)), "{refused}");
        assert_eq!(names(data.path()), BTreeSet::from(["lock".to_owned()]));
    }
    let text = String::from_utf8_lossy(&backup).into_owned();
    assert!(
        text.starts_with("conclave backup 1\ncluster: old\n"),
        "people can read the head"
    );
}

#[test]
fn a_database_that_is_not_that_of_the_head_is_refused() {
    // Both are whole, and the head of one announces the database of the other.
    let (three, four) = (backup(3), backup(4));
    let head_of = |backup: &[u8]| {
        conclave_storage::backup::Unpacker::open(backup)
            .unwrap()
            .head()
            .clone()
    };
    let mut unpacker = conclave_storage::backup::Unpacker::open(&three[..]).unwrap();
    let mut database = Vec::new();
    while let Some(block) = unpacker.next_block().unwrap() {
        database.extend(block);
    }
    let forged = Head {
        bytes: database.len() as u64,
        ..head_of(&four)
    };
    let packer = Packer::new(&forged, &database[..]);
    let forged: Vec<u8> = packer.map(Result::unwrap).collect::<Vec<_>>().concat();
    let data = tempfile::tempdir().unwrap();
    let refused = restored(&forged, data.path()).unwrap_err();
    assert!(
        matches!(refused, RestoreError::Backup(BackupError::Differs)),
        "{refused}"
    );
}

#[test]
fn a_backup_with_other_tables_names_the_program_to_use() {
    let bytes = backup(3);
    let head = conclave_storage::backup::Unpacker::open(&bytes[..])
        .unwrap()
        .head()
        .clone();
    let other = Head {
        schema: head.schema + 1,
        program: "9.9.9".to_owned(),
        bytes: 0,
        ..head
    };
    let packer = Packer::new(&other, io::empty());
    let file: Vec<u8> = packer.map(Result::unwrap).collect::<Vec<_>>().concat();
    let data = tempfile::tempdir().unwrap();
    let refused = restore(&file[..], data.path(), &mut |_, _| {}).unwrap_err();
    assert!(
        refused.to_string().contains("version 9.9.9 made it"),
        "{refused}"
    );
}
