//! Examines the database file of a node: how long it is, how much of it holds nothing, and whether
//! it can become smaller while the node serves.
//!
//! Only the head of the file is read, as the file format of SQLite describes it. Nothing is locked,
//! so it is what the file was at the last checkpoint.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path};

use super::findings::{Findings, Level};

const CHECK: &str = "database";
const MACHINE: &str = "this machine";
/// Name of the file in a data directory.
const FILE: &str = "state.db";

/// Length of the head of a database file, in bytes, and how it begins.
const HEAD_BYTES: usize = 100;
const MAGIC: &[u8] = b"SQLite format 3\0";
/// Share of a file that may hold nothing without a word, in per cent, and the least that is worth
/// one, in bytes.
const FREE_PERCENT: u64 = 25;
const FREE_BYTES_MIN: u64 = 64 << 20;

/// What the head of the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    /// Length of the file, in bytes.
    bytes: u64,
    /// Bytes in it that hold nothing.
    free_bytes: u64,
    /// Whether pages that hold nothing are given back to the file system.
    shrinks: bool,
}

/// Adds the finding of the database in this data directory; none if there is no database yet, as on
/// a witness that has just joined.
pub(super) fn examine(data: &Path, findings: &mut Findings) {
    match look(&data.join(FILE)) {
        Ok(room) => judge(room, findings),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => findings.add(
            CHECK,
            Level::Unknown,
            MACHINE,
            format!("cannot read {FILE}: {error}"),
            "run this as a user that may read the data directory",
        ),
    }
}

fn judge(room: Room, findings: &mut Findings) {
    let (mib, free_mib) = (room.bytes >> 20, room.free_bytes >> 20);
    let sentence = format!("{FILE} has {mib} MiB, of which {free_mib} MiB hold nothing");
    let is_much = room.free_bytes >= FREE_BYTES_MIN
        && room.free_bytes.saturating_mul(100) > room.bytes.saturating_mul(FREE_PERCENT);
    match is_much && !room.shrinks {
        false => findings.well(CHECK, MACHINE, sentence),
        true => findings.add(
            CHECK,
            Level::Warning,
            MACHINE,
            format!("{sentence}, and it does not become smaller by itself"),
            "make it anew once, while the node is stopped: Retention in docs/operations.md",
        ),
    }
}

fn look(path: &Path) -> io::Result<Room> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut head = [0; HEAD_BYTES];
    file.read_exact_at(&mut head, 0)?;
    if !head.starts_with(MAGIC) {
        let why = "it is no database";
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    let number =
        |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let page_bytes = match u16::from_be_bytes([head[16], head[17]]) {
        1 => 65_536,
        bytes => u64::from(bytes),
    };
    Ok(Room {
        bytes,
        free_bytes: u64::from(number(36)) * page_bytes,
        // A file with pointers to its pages, which are moved when it is asked for.
        shrinks: number(52) != 0 && number(64) != 0,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Writes the head of a file with pages of 4 KiB, `free` of which hold nothing.
    fn written(free: u32, shrinks: bool) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let mut head = vec![0; 4096];
        head[..16].copy_from_slice(MAGIC);
        head[16..18].copy_from_slice(&4096_u16.to_be_bytes());
        head[36..40].copy_from_slice(&free.to_be_bytes());
        head[52..56].copy_from_slice(&u32::from(shrinks).to_be_bytes());
        head[64..68].copy_from_slice(&u32::from(shrinks).to_be_bytes());
        let path = directory.path().join(FILE);
        fs::write(&path, head).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(100_000 * 4096).unwrap();
        directory
    }

    fn found(directory: &Path) -> Vec<(Level, String)> {
        let mut findings = Findings::default();
        examine(directory, &mut findings);
        let found = findings.0.into_iter();
        found.map(|found| (found.level, found.sentence)).collect()
    }

    #[test]
    fn a_file_that_is_half_empty_and_cannot_shrink_is_a_warning() {
        let half = "state.db has 390 MiB, of which 195 MiB hold nothing";
        let well = vec![(Level::Well, half.to_owned())];
        assert_eq!(found(written(50_000, true).path()), well);
        let sentence = format!("{half}, and it does not become smaller by itself");
        let warning = vec![(Level::Warning, sentence)];
        assert_eq!(found(written(50_000, false).path()), warning);
        // A little is always free.
        assert_eq!(found(written(16_000, false).path())[0].0, Level::Well);
    }

    #[test]
    fn a_file_that_is_no_database_is_unknown_and_none_is_nothing() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(found(directory.path()), []);
        let path = directory.path().join(FILE);
        for bytes in [&b"short"[..], &[0; 4096]] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(found(directory.path())[0].0, Level::Unknown);
        }
    }
}
