//! Quarantines damaged data, and counts how often that happened.
//!
//! Always true: files are moved, never copied and never changed; so a move that a crash has
//! interrupted can be continued.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::identity::peers_file::PeersFile;

/// Maximum number of directories with damaged data, and of repairs within [`LATELY`] after which
/// the machine is assumed to be the cause: after a fourth the data would only be damaged again.
pub(crate) const KEPT_MAX: usize = 3;
/// How long a repair counts.
const LATELY: Duration = Duration::from_secs(3600);

/// Prefix of the names of the directories, before their number.
const NAME: &str = "damaged-";
/// File in which the damage is described for people.
const WHY: &str = "why";
/// Prefixes of the files of the database, and of what is made from it.
const STATE: [&str; 3] = ["state.", "search.", "installed."];
/// Prefixes of everything else that belongs to a node and not to its machine.
const REST: [&str; 5] = ["identity.json", "joining", "instance", "log", "snapshots"];

/// Returns whether a node has used this directory.
pub(super) fn was_used(directory: &Path) -> bool {
    let used = |name: &str| directory.join(name).exists();
    used("log") || used("state.db") || PeersFile::is_there(directory)
}

/// Returns how many repairs there were within the last hour.
pub(super) fn lately(directory: &Path) -> io::Result<usize> {
    #[expect(
        clippy::disallowed_methods,
        reason = "compared with the times of files only"
    )]
    let now = SystemTime::now();
    let mut count = 0;
    for (_, path) in all(directory)? {
        let at = fs::metadata(path)?.modified()?;
        // After a clock was set back, each still counts.
        let age = now.duration_since(at).unwrap_or_default();
        count += usize::from(age < LATELY);
    }
    Ok(count)
}

/// Returns the number of the next directory.
pub(super) fn next(directory: &Path) -> io::Result<u64> {
    Ok(all(directory)?.last().map_or(1, |(number, _)| number + 1))
}

/// Moves the database away.
pub(super) fn move_state(directory: &Path, number: u64, why: &str) -> io::Result<()> {
    move_named(directory, number, why, &STATE)
}

/// Moves away everything that a node made here. The cluster's secret and the peers file stay.
pub(super) fn move_all(directory: &Path, number: u64, why: &str) -> io::Result<()> {
    move_named(directory, number, why, &[&STATE[..], &REST].concat())
}

fn move_named(directory: &Path, number: u64, why: &str, names: &[&str]) -> io::Result<()> {
    let target = directory.join(format!("{NAME}{number}"));
    let mut maker = fs::DirBuilder::new();
    maker.recursive(true).mode(0o700).create(&target)?;
    for item in fs::read_dir(directory)? {
        let item = item?;
        let name = item.file_name();
        let is_meant = |prefix: &&str| name.to_string_lossy().starts_with(*prefix);
        if names.iter().any(is_meant) {
            fs::rename(item.path(), target.join(&name))?;
        }
    }
    fs::write(target.join(WHY), format!("{why}\n"))?;
    File::open(&target)?.sync_all()?;
    File::open(directory)?.sync_all()?;
    let kept = all(directory)?;
    let too_many = kept.len().saturating_sub(KEPT_MAX);
    for (_, oldest) in &kept[..too_many] {
        fs::remove_dir_all(oldest)?;
    }
    Ok(())
}

/// Returns how many directories with damaged data there are.
pub(crate) fn kept(directory: &Path) -> io::Result<usize> {
    Ok(all(directory)?.len())
}

/// Returns the directories with damaged data, oldest first.
fn all(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for item in fs::read_dir(directory)? {
        let item = item?;
        let name = item.file_name();
        let number = number_in(&name.to_string_lossy());
        found.extend(number.map(|number| (number, item.path())));
    }
    found.sort_unstable();
    Ok(found)
}

/// Returns whether this is the name of a directory with damaged data.
pub(crate) fn is_quarantine(name: &str) -> bool {
    number_in(name).is_some()
}

fn number_in(name: &str) -> Option<u64> {
    name.strip_prefix(NAME)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarantine_keeps_the_newest_and_leaves_node_files_in_place() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let stays = ["secret", "secret.copy", "peers.json", "lock", "node.log"];
        for name in stays {
            fs::write(directory.join(name), name).unwrap();
        }
        for number in 1..=5 {
            assert_eq!(next(directory).unwrap(), number);
            for name in ["identity.json", "state.db", "state.db-wal", "state.mark"] {
                fs::write(directory.join(name), number.to_string()).unwrap();
            }
            fs::create_dir(directory.join("log")).unwrap();
            fs::write(directory.join("log/1.segment"), "x").unwrap();
            assert!(was_used(directory));
            match number {
                // Half of it was moved before a crash.
                3 => {
                    move_state(directory, number, "a test").unwrap();
                    move_all(directory, number, "a test").unwrap();
                }
                _ => move_all(directory, number, "a test").unwrap(),
            }
            for gone in ["identity.json", "state.db", "log"] {
                assert!(!directory.join(gone).exists(), "{gone}");
            }
        }
        let kept: Vec<u64> = all(directory)
            .unwrap()
            .into_iter()
            .map(|(n, _)| n)
            .collect();
        assert_eq!(kept, [3, 4, 5]);
        assert!(is_quarantine("damaged-3") && !is_quarantine("damaged.json"));
        assert_eq!(lately(directory).unwrap(), KEPT_MAX);
        let third = directory.join("damaged-3");
        assert_eq!(fs::read_to_string(third.join("state.db-wal")).unwrap(), "3");
        assert!(third.join("log/1.segment").exists());
        assert_eq!(fs::read_to_string(third.join(WHY)).unwrap(), "a test\n");
        assert!(stays.iter().all(|name| directory.join(name).exists()));
    }
}
