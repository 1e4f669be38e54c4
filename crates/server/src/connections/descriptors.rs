//! File descriptors: how many the process has and may have, and which errors mean that they have
//! run out.

use std::{fs, io};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Number of descriptors assumed where the system sets no limit.
const UNLIMITED: u64 = 1 << 20;

/// Raises the soft limit of this process to the hard one; returns how many descriptors it may have.
pub(crate) fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let (soft, hard) = (limit.current, limit.maximum);
    let wanted = hard.unwrap_or(UNLIMITED);
    if soft.is_none_or(|soft| soft >= wanted) {
        return soft.unwrap_or(UNLIMITED);
    }
    let raised = Rlimit {
        current: Some(wanted),
        maximum: hard,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => wanted,
        Err(error) => {
            tracing::warn!(%error, "failed to raise the limit of open files");
            soft.unwrap_or(UNLIMITED)
        }
    }
}

/// Returns how many descriptors this process may have; `None` if there is no limit.
pub(crate) fn allowed() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Returns how many descriptors are open; `None` if the system does not say.
pub(crate) fn open() -> Option<u64> {
    const DIRECTORY: &str = "/proc/self/fd";
    // Newer kernels say it as the size of the directory, which costs the same for thousands.
    let size = fs::metadata(DIRECTORY).ok()?.len();
    if size > 0 {
        return Some(size);
    }
    let found = fs::read_dir(DIRECTORY).ok()?.count();
    u64::try_from(found).ok()
}

/// Returns whether an error means that descriptors have run out, which passes by itself.
pub(crate) fn ran_out(error: &io::Error) -> bool {
    const EMFILE: i32 = rustix::io::Errno::MFILE.raw_os_error();
    const ENFILE: i32 = rustix::io::Errno::NFILE.raw_os_error();
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}
