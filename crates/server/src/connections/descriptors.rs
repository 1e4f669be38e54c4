//! File descriptors: how many the process may have, and which errors mean that they have run out.

use std::io;

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

/// Returns whether an error means that descriptors have run out, which passes by itself.
pub(crate) fn ran_out(error: &io::Error) -> bool {
    const EMFILE: i32 = rustix::io::Errno::MFILE.raw_os_error();
    const ENFILE: i32 = rustix::io::Errno::NFILE.raw_os_error();
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}
