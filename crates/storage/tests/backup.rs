//! Backups: what was packed is unpacked to the same, no bit of the file may change, and the state
//! of a backup begins another cluster.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod state_support;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read as _,
    path::Path,
    thread,
};

use conclave_core::VersionRange;
use conclave_storage::{
    backup::{FORMAT_VERSION, Head, Packer, UnpackError, Unpacker},
    log::LogId,
    state::{Contents, Options, State, VerifiedSnapshot},
};
use state_support::*;

fn head(bytes: u64) -> Head {
    Head {
        cluster: "a1b2.1-c3".to_owned(),
        node: 3,
        last: LogId {
            term: 5,
            node: u64::MAX,
            index: 4711,
        },
        made_at_ms: 1_764_000_000_000,
        schema: 10,
        program: "0.1.0".to_owned(),
        bytes,
        digest: [7; 32],
        chain: [0xa9; 32],
        rows: BTreeMap::from([("accounts".to_owned(), 2), ("messages".to_owned(), 50)]),
    }
}

fn packed(head: &Head, database: &[u8]) -> Vec<u8> {
    let mut packer = Packer::new(head, database);
    let mut file = Vec::new();
    for piece in packer.by_ref() {
        let piece = piece.unwrap();
        assert!(piece.len() < 257 * 1024, "a piece is small");
        file.extend(piece);
    }
    assert!(packer.is_over() && packer.left() == 0);
    file
}

fn unpacked(file: &[u8]) -> Result<(Head, Vec<u8>), UnpackError> {
    let mut unpacker = Unpacker::open(file)?;
    let mut database = Vec::new();
    while let Some(block) = unpacker.next_block()? {
        database.extend(block);
    }
    assert!(unpacker.next_block()?.is_none(), "it stays over");
    Ok((unpacker.head().clone(), database))
}

/// Returns bytes that cannot be packed.
fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new()
        .finalize_xof()
        .read_exact(&mut bytes)
        .unwrap();
    bytes
}

#[test]
fn a_backup_is_unpacked_to_what_was_packed() {
    let text = b"the same words again and again, ".repeat(40_000);
    for database in [
        vec![],
        vec![1],
        noise(256 * 1024),
        noise(600_000),
        text.clone(),
    ] {
        let head = head(database.len() as u64);
        let file = packed(&head, &database);
        assert_eq!(unpacked(&file).unwrap(), (head, database));
    }
    let file = packed(&head(text.len() as u64), &text);
    assert!(file.len() < text.len() / 10, "{}", file.len());
    let first = file.split(|byte| *byte == b'\n').next().unwrap();
    assert_eq!(
        first,
        format!("conclave backup {FORMAT_VERSION}").as_bytes()
    );
}

#[test]
fn a_database_that_is_shorter_than_announced_is_an_error() {
    let (head, database) = (head(600_000), noise(599_999));
    let mut packer = Packer::new(&head, &database[..]);
    let pieces: Vec<_> = packer.by_ref().collect();
    assert!(pieces.last().unwrap().is_err());
    assert!(packer.next().is_none() && !packer.is_over());
}

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    // Two blocks: one that is packed, and a short one that cannot be.
    let mut database = b"a page of a database ".repeat(13_000);
    database.truncate(256 * 1024);
    database.extend(noise(200));
    let file = packed(&head(database.len() as u64), &database);
    unpacked(&file).unwrap();
    assert!(file.len() < 3_000, "{}", file.len());
    let refuse = |file: &[u8], what: &str| {
        assert!(unpacked(file).is_err(), "{what}");
    };
    for length in 0..file.len() {
        refuse(&file[..length], &format!("cut to {length} bytes"));
    }
    refuse(&[&file[..], b"\0"].concat(), "a byte more");
    refuse(&[&file[..], &file[..]].concat(), "the same file again");
    thread::scope(|scope| {
        for half in file.chunks(file.len().div_ceil(2)).enumerate() {
            let (half, bytes) = (half.0 * file.len().div_ceil(2), half.1.len());
            let file = &file;
            scope.spawn(move || {
                let mut flipped = file.clone();
                for place in half..half + bytes {
                    for bit in 0..8 {
                        flipped[place] ^= 1 << bit;
                        refuse(&flipped, &format!("bit {bit} of byte {place}"));
                        flipped[place] ^= 1 << bit;
                    }
                }
            });
        }
    });
}

#[test]
fn blocks_in_another_order_or_missing_are_found() {
    let database = noise(3 * 256 * 1024);
    let head = head(database.len() as u64);
    let mut packer = Packer::new(&head, &database[..]);
    let pieces: Vec<Vec<u8>> = packer.by_ref().map(Result::unwrap).collect();
    assert_eq!(pieces.len(), 5, "the head, three blocks, the end");
    for order in [
        [0, 2, 1, 3, 4].as_slice(),
        &[0, 1, 1, 3, 4],
        &[0, 1, 2, 4],
        &[0, 4],
    ] {
        let file: Vec<u8> = order
            .iter()
            .flat_map(|piece| pieces[*piece].clone())
            .collect();
        let refused = unpacked(&file).unwrap_err();
        assert!(
            matches!(refused, UnpackError::Damaged { .. }),
            "{order:?}: {refused}"
        );
    }
}

#[test]
fn another_file_and_another_version_are_told_apart_from_damage() {
    for other in [
        &b""[..],
        b"SQLite format 3\0",
        b"conclave backup x\n",
        b"conclave backup +1\n",
    ] {
        let refused = unpacked(other).unwrap_err();
        assert!(matches!(refused, UnpackError::NotABackup), "{refused}");
    }
    let newer = unpacked(b"conclave backup 2\nwhatever follows").unwrap_err();
    assert!(
        matches!(newer, UnpackError::Version { found: 2 }),
        "{newer}"
    );
    // A head without an end is not read for ever.
    let endless = [
        &b"conclave backup 1\n"[..],
        &b"key: value\n".repeat(100_000),
    ]
    .concat();
    let refused = unpacked(&endless).unwrap_err();
    assert!(
        matches!(refused, UnpackError::Damaged { at, .. } if at < 100_000),
        "{refused}"
    );
}

/// Returns a state with messages, and a snapshot of it.
fn source(directory: &Path) -> (State, std::path::PathBuf) {
    let mut state = State::open(directory, Options::default()).unwrap();
    people(&mut state, &["ann", "bea"]);
    for number in 1..=50 {
        accept(&mut state, vec![ask(1, number, say("bea", "hello"))]);
    }
    let file = directory.join("snapshot");
    state.reader().snapshot_to(&file).unwrap();
    (state, file)
}

#[test]
fn contents_are_those_of_the_state() {
    let directory = tempfile::tempdir().unwrap();
    let (state, file) = source(directory.path());
    let (found, expected) = (Contents::of(&file).unwrap(), digest(&state));
    assert_eq!(found.applied, state.applied());
    assert_eq!(
        (found.digest, found.chain),
        (expected.digest, expected.chain)
    );
    assert_eq!((found.rows["messages"], found.rows["accounts"]), (50, 2));
    assert_eq!(found.rows["sessions"], 2);
    assert_eq!(
        VerifiedSnapshot::new(file, VersionRange::BUILD.newest)
            .unwrap()
            .contents()
            .unwrap(),
        found
    );
}

#[test]
fn the_state_of_another_cluster_has_people_and_no_sessions() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (state, file) = source(one.path());
    let before = Contents::of(&file).unwrap();
    let moved = two.path().join("unpacked");
    fs::copy(&file, &moved).unwrap();
    let verified = VerifiedSnapshot::new(moved, VersionRange::BUILD.newest).unwrap();
    let last = verified.begin_cluster(two.path()).unwrap();
    assert_eq!(Some(last), state.applied().last);
    let mut begun = State::open(two.path(), Options::default()).unwrap();
    assert_eq!(begun.applied().last, Some(last));
    assert_eq!(begun.applied().log_time, state.applied().log_time);
    // Everything but what belongs to one cluster is the same.
    let again = two.path().join("again");
    begun.reader().snapshot_to(&again).unwrap();
    let after = Contents::of(&again).unwrap();
    let gone = [
        "sessions",
        "answers",
        "membership",
        "operators",
        "cluster_nodes",
    ];
    for (table, rows) in &before.rows {
        let expected = if gone.contains(table) { 0 } else { *rows };
        assert_eq!(after.rows[table], expected, "{table}");
    }
    assert_eq!(after.chain, before.chain);
    // Neither the session nor its number comes back.
    let refused = apply(&mut begun, vec![ask(1, 51, say("bea", "hello"))]);
    assert!(refused.answers[0].is_err());
    accept(&mut begun, vec![once(900, login(1))]);
    accept(&mut begun, vec![ask(3, 1, say("bea", "hello again"))]);
    assert!(!two.path().join("unpacked").exists());
    let mut mark = Vec::new();
    File::open(two.path().join("state.db"))
        .unwrap()
        .read_to_end(&mut mark)
        .unwrap();
    assert!(mark.starts_with(b"SQLite format 3\0"));
}
