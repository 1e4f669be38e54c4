//! Every error of the system or of SQLite means the right thing for the data.

use std::os::unix::fs::symlink;

use rusqlite::Connection;
use rustix::io::Errno;

use super::*;

/// Reading it at 0 is an I/O error, as of a disk that does not give a sector.
const UNREADABLE: &str = "/proc/self/mem";

#[test]
fn errors_of_the_operating_system_are_never_damage() {
    let table = [
        (Errno::NOSPC, Fault::Full),
        (Errno::DQUOT, Fault::Full),
        (Errno::IO, Fault::Failed),
        (Errno::ROFS, Fault::Failed),
        (Errno::NXIO, Fault::Failed),
        (Errno::NODEV, Fault::Failed),
        (Errno::STALE, Fault::Failed),
        (Errno::TIMEDOUT, Fault::Failed),
        (Errno::UCLEAN, Fault::Failed),
        (Errno::BADMSG, Fault::Failed),
        (Errno::NOTCONN, Fault::Failed),
        (Errno::FBIG, Fault::Failed),
        (Errno::ACCESS, Fault::Refused),
        (Errno::PERM, Fault::Refused),
        (Errno::NOENT, Fault::Refused),
        (Errno::ISDIR, Fault::Refused),
        (Errno::NOTDIR, Fault::Refused),
        (Errno::MFILE, Fault::Elsewhere),
        (Errno::NFILE, Fault::Elsewhere),
        (Errno::NOMEM, Fault::Elsewhere),
        (Errno::INTR, Fault::Elsewhere),
        (Errno::AGAIN, Fault::Elsewhere),
    ];
    for (errno, fault) in table {
        assert_eq!(of_io(&io::Error::from(errno)), fault, "{errno:?}");
    }
    for number in 1..=133 {
        let error = io::Error::from_raw_os_error(number);
        assert_ne!(of_io(&error), Fault::Damage, "{error}");
    }
    // What this program has read itself, and found to be other bytes, or too few.
    for kind in [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof] {
        assert_eq!(of_io(&kind.into()), Fault::Damage);
    }
    assert_eq!(of_io(&io::Error::other("a thread ended")), Fault::Elsewhere);
}

fn sqlite(code: i32) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
}

#[test]
fn each_sqlite_error_code_maps_to_one_fault() {
    let table = [
        (ffi::SQLITE_FULL, Fault::Full),
        (ffi::SQLITE_IOERR, Fault::Failed),
        (ffi::SQLITE_IOERR_READ, Fault::Failed),
        (ffi::SQLITE_IOERR_WRITE, Fault::Failed),
        (ffi::SQLITE_IOERR_FSYNC, Fault::Failed),
        (ffi::SQLITE_IOERR_DIR_FSYNC, Fault::Failed),
        (ffi::SQLITE_IOERR_TRUNCATE, Fault::Failed),
        (ffi::SQLITE_IOERR_FSTAT, Fault::Failed),
        (ffi::SQLITE_IOERR_CORRUPTFS, Fault::Failed),
        (ffi::SQLITE_IOERR_SHMSIZE, Fault::Failed),
        (ffi::SQLITE_IOERR_SHORT_READ, Fault::Damage),
        (ffi::SQLITE_IOERR_DATA, Fault::Damage),
        (ffi::SQLITE_IOERR_NOMEM, Fault::Elsewhere),
        (ffi::SQLITE_IOERR_SHMMAP, Fault::Elsewhere),
        (ffi::SQLITE_CANTOPEN, Fault::Refused),
        (ffi::SQLITE_CANTOPEN_ISDIR, Fault::Refused),
        (ffi::SQLITE_PERM, Fault::Refused),
        (ffi::SQLITE_READONLY, Fault::Refused),
        (ffi::SQLITE_READONLY_DBMOVED, Fault::Refused),
        (ffi::SQLITE_CORRUPT, Fault::Damage),
        (ffi::SQLITE_CORRUPT_INDEX, Fault::Damage),
        (ffi::SQLITE_NOTADB, Fault::Damage),
        (ffi::SQLITE_ERROR, Fault::Damage),
        (ffi::SQLITE_CONSTRAINT, Fault::Damage),
        (ffi::SQLITE_MISMATCH, Fault::Damage),
        (ffi::SQLITE_BUSY, Fault::Elsewhere),
        (ffi::SQLITE_BUSY_SNAPSHOT, Fault::Elsewhere),
        (ffi::SQLITE_LOCKED, Fault::Elsewhere),
        (ffi::SQLITE_PROTOCOL, Fault::Elsewhere),
        (ffi::SQLITE_NOMEM, Fault::Elsewhere),
        (ffi::SQLITE_INTERRUPT, Fault::Elsewhere),
        (ffi::SQLITE_ABORT_ROLLBACK, Fault::Elsewhere),
        (ffi::SQLITE_MISUSE, Fault::Elsewhere),
        (ffi::SQLITE_NOLFS, Fault::Elsewhere),
        (ffi::SQLITE_AUTH, Fault::Elsewhere),
    ];
    for (code, fault) in table {
        assert_eq!(of_sqlite(&sqlite(code)), fault, "{}", sqlite(code));
    }
    let rows = rusqlite::Error::QueryReturnedNoRows;
    assert_eq!(of_sqlite(&rows), Fault::Damage);
}

/// Returns a database of some pages.
fn database(directory: &Path) -> std::path::PathBuf {
    let path = directory.join("state.db");
    let made = Connection::open(&path).unwrap();
    made.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(100000));")
        .unwrap();
    path
}

#[test]
fn an_unreadable_page_is_a_disk_failure_despite_sqlite_corrupt() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    symlink(UNREADABLE, &path).unwrap();
    let error = Connection::open(&path).unwrap_err();
    let (fault, why) = judge(&path, &error);
    assert_eq!(fault, Fault::Failed, "{error}: {why}");
    // As SQLite says it in the middle of a statement, and as its check of a file says it.
    let (fault, why) = judge(&path, &sqlite(ffi::SQLITE_CORRUPT));
    assert_eq!(fault, Fault::Failed);
    assert!(why.contains("os error 5"), "{why}");
    let verdict = "Tree 2 page 17: unable to get the page. error code=8458".to_owned();
    assert_eq!(judge_damage(&path, verdict).0, Fault::Failed);
    // The same words of a file that can be read to its end.
    let directory = tempfile::tempdir().unwrap();
    let sound = database(directory.path());
    let (fault, why) = judge(&sound, &sqlite(ffi::SQLITE_CORRUPT));
    assert_eq!(fault, Fault::Damage);
    assert_eq!(why, sqlite(ffi::SQLITE_CORRUPT).to_string());
    // A file that is gone gives nothing back.
    let gone = directory.path().join("gone");
    assert_eq!(judge(&gone, &sqlite(ffi::SQLITE_NOTADB)).0, Fault::Damage);
}

#[test]
fn an_unreadable_write_ahead_log_is_a_disk_failure_not_damage() {
    let directory = tempfile::tempdir().unwrap();
    let path = database(directory.path());
    symlink(UNREADABLE, directory.path().join("state.db-wal")).unwrap();
    let behind = "the database ends at entry 1 and has had entry 2".to_owned();
    assert_eq!(judge_damage(&path, behind).0, Fault::Failed);
}

#[test]
fn a_failed_write_is_probed_and_the_probe_leaves_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = database(directory.path());
    // There is room, so it was the disk.
    let (fault, _) = judge(&path, &sqlite(ffi::SQLITE_IOERR_WRITE));
    assert_eq!(fault, Fault::Failed);
    let left = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, 1, "the probe is gone");
    // Only of the system is believed that there is no room, or that it is not allowed.
    let quota = io::Error::from(Errno::DQUOT);
    let (fault, why) = settled(Fault::Failed, &quota, "disk I/O error".to_owned());
    assert_eq!(fault, Fault::Full);
    assert!(why.starts_with("disk I/O error: "), "{why}");
    let many = io::Error::from(Errno::MFILE);
    let (fault, _) = settled(Fault::Damage, &many, String::new());
    assert_eq!(fault, Fault::Damage, "no descriptor says nothing");
}

#[test]
fn the_fault_is_found_inside_wrapped_errors() {
    let io = || io::Error::from(Errno::IO);
    let wrapped = [
        io::Error::other(io()),
        io::Error::other(io::Error::other(Arc::new(io()))),
        io::Error::other(crate::state::OpenError::Io {
            path: "/data/state.db".into(),
            source: io(),
        }),
        io::Error::other(crate::log::OpenError::Io {
            action: "read",
            path: "/data/log".into(),
            source: io(),
        }),
        io::Error::other(crate::state::OpenError::Sqlite(sqlite(
            ffi::SQLITE_IOERR_FSYNC,
        ))),
    ];
    for error in wrapped {
        let found = DiskFailure::in_causes(&error).map(|found| found.fault);
        assert_eq!(found, Some(Fault::Failed), "{error:?}");
    }
    let damaged = crate::state::OpenError::Sqlite(sqlite(ffi::SQLITE_CORRUPT));
    assert_eq!(DiskFailure::in_causes(&damaged), None);
}
