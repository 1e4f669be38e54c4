//! Examines a data directory and the disk below it, on the machine of a node.
//!
//! Always true: nothing of the node is changed; one file of this program is written beside its
//! files and removed again, for a few seconds at most.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, Instant},
};

use super::findings::{Findings, Level};

const MACHINE: &str = "this machine";

/// Bytes that are written before each sync: about an entry of the log.
const SYNC_BYTES: usize = 4096;
/// Number of syncs, and the longest time for all of them.
const SYNCS: usize = 100;
const SYNCS_LIMIT: Duration = Duration::from_secs(10);
/// Sync latencies at p99 that are worth a warning, and that make leaders lose their followers.
const SYNC_WARNING: Duration = Duration::from_millis(25);
const SYNC_CRITICAL: Duration = Duration::from_millis(250);

/// Share of the disk that should be free, in per cent.
const FREE_PERCENT: u64 = 10;

/// Number of files that are looked at.
const FILES_MAX: usize = 10_000;
/// Depth to which directories are entered.
const DEPTH_MAX: usize = 3;
/// Permissions that let others than the owner read or write.
const OTHERS: u32 = 0o077;

/// Adds the findings of this data directory.
pub(super) fn examine(data: &Path, findings: &mut Findings) {
    let directory = match fs::metadata(data) {
        Ok(found) if found.is_dir() => found,
        Ok(_) => return cannot_read(data, "it is no directory", findings),
        Err(error) => return cannot_read(data, &error.to_string(), findings),
    };
    files(data, directory.uid(), directory.mode(), findings);
    space(data, findings);
    syncs(data, findings);
}

fn cannot_read(data: &Path, why: &str, findings: &mut Findings) {
    findings.add(
        "files",
        Level::Unknown,
        MACHINE,
        format!("{}: {why}", data.display()),
        "name the data directory of a node, as a user that may read it",
    );
}

fn files(data: &Path, owner: u32, mode: u32, findings: &mut Findings) {
    if mode & OTHERS != 0 {
        return findings.add(
            "files",
            Level::Warning,
            MACHINE,
            format!(
                "{} can be entered by other users (mode {:o}): it has the secrets of the node",
                data.display(),
                mode & 0o777
            ),
            "chmod 700 the directory",
        );
    }
    let mut left = FILES_MAX;
    match foreign(data, owner, DEPTH_MAX, &mut left) {
        Ok(None) => findings.well(
            "files",
            MACHINE,
            "the files belong to the node's user alone",
        ),
        Ok(Some(file)) => findings.add(
            "files",
            Level::Critical,
            MACHINE,
            format!("{file} belongs to another user than its directory"),
            "give it to the user that runs the node (chown): the node may be unable to open it",
        ),
        Err(error) => cannot_read(data, &error.to_string(), findings),
    }
}

/// Returns the first file that belongs to another user than `owner`.
fn foreign(
    directory: &Path,
    owner: u32,
    depth: usize,
    left: &mut usize,
) -> io::Result<Option<String>> {
    for entry in fs::read_dir(directory)? {
        let Some(next) = left.checked_sub(1) else {
            break;
        };
        *left = next;
        let entry = entry?;
        let about = match entry.metadata() {
            // The node removes files while this looks.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            about => about?,
        };
        if about.uid() != owner {
            return Ok(Some(entry.path().display().to_string()));
        }
        if about.is_dir()
            && depth > 1
            && let Some(found) = foreign(&entry.path(), owner, depth - 1, left)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn space(data: &Path, findings: &mut Findings) {
    let found = match rustix::fs::statvfs(data) {
        Ok(found) => found,
        Err(error) => return cannot_read(data, &error.to_string(), findings),
    };
    let percent = |free: u64, all: u64| free.saturating_mul(100) / all.max(1);
    let (space, files) = (
        percent(found.f_bavail, found.f_blocks),
        percent(found.f_favail, found.f_files),
    );
    // File systems without a fixed number of files report none at all.
    let few_files = found.f_files > 0 && files < FREE_PERCENT;
    let sentence = format!("{space} % of the disk is free");
    if space < FREE_PERCENT {
        findings.add(
            "space",
            Level::Warning,
            MACHINE,
            sentence,
            "make room, or give the node a greater disk",
        );
    } else if few_files {
        findings.add(
            "space",
            Level::Warning,
            MACHINE,
            format!("{files} % of the disk's files (inodes) are free"),
            "remove files of others from this disk, or make its file system anew with more",
        );
    } else {
        findings.well("space", MACHINE, sentence);
    }
}

fn syncs(data: &Path, findings: &mut Findings) {
    let mut took = match sync_times(data) {
        Ok(took) => took,
        Err(error) => {
            return findings.add(
                "sync",
                Level::Unknown,
                MACHINE,
                format!("cannot write to {}: {error}", data.display()),
                "run this as the user of the node, and see whether the disk is full",
            );
        }
    };
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() * percent).div_ceil(100).max(1) - 1];
    let (median, p99) = (at(50), at(99));
    let sentence = format!(
        "a sync of {SYNC_BYTES} bytes takes {:.1} ms at the median, {:.1} ms at p99 ({} syncs)",
        median.as_secs_f64() * 1e3,
        p99.as_secs_f64() * 1e3,
        took.len()
    );
    let level = match p99 {
        _ if p99 > SYNC_CRITICAL => Level::Critical,
        _ if p99 > SYNC_WARNING => Level::Warning,
        _ => return findings.well("sync", MACHINE, sentence),
    };
    findings.add(
        "sync",
        level,
        MACHINE,
        sentence,
        "give the node a disk of its own, a local SSD at best: each message waits for a sync on a \
         majority",
    );
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a sync takes is measured"
)]
fn sync_times(data: &Path) -> io::Result<Vec<Duration>> {
    let mut file = tempfile::Builder::new()
        .prefix("doctor-")
        .tempfile_in(data)?;
    let block = [0x5a; SYNC_BYTES];
    let began = Instant::now();
    let mut took = Vec::with_capacity(SYNCS);
    while took.len() < SYNCS && began.elapsed() < SYNCS_LIMIT {
        let before = Instant::now();
        file.write_all(&block)?;
        file.as_file().sync_data()?;
        took.push(before.elapsed());
    }
    Ok(took)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn level(findings: &Findings, check: &str) -> Option<Level> {
        let mut found = findings.0.iter().filter(|finding| finding.check == check);
        found.next().map(|finding| finding.level)
    }

    #[test]
    fn a_directory_of_the_node_alone_is_well_and_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        fs::create_dir(directory.path().join("log")).unwrap();
        let mut findings = Findings::default();
        examine(directory.path(), &mut findings);
        assert_eq!(level(&findings, "files"), Some(Level::Well), "{findings:?}");
        assert!(level(&findings, "space").is_some() && level(&findings, "sync").is_some());
        let left: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn a_directory_that_others_may_enter_is_a_warning() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut findings = Findings::default();
        examine(directory.path(), &mut findings);
        assert_eq!(level(&findings, "files"), Some(Level::Warning));
    }

    #[test]
    fn files_of_another_user_are_found_in_directories_below() {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("log");
        fs::create_dir(&below).unwrap();
        fs::write(below.join("a"), "").unwrap();
        let owner = fs::metadata(&below).unwrap().uid();
        let look = |owner, mut left| foreign(directory.path(), owner, DEPTH_MAX, &mut left);
        assert_eq!(look(owner, 100).unwrap(), None);
        assert!(look(owner + 1, 100).unwrap().is_some());
        assert_eq!(look(owner + 1, 0).unwrap(), None, "bounded");
    }

    #[test]
    fn a_directory_that_is_not_there_is_unknown() {
        let mut findings = Findings::default();
        examine(Path::new("/nowhere/at/all"), &mut findings);
        assert_eq!(level(&findings, "files"), Some(Level::Unknown));
        assert_eq!(findings.worst(), Level::Unknown);
    }
}
