//! The clock of the system, for what is compared or noted outside of the log.
//!
//! Nothing that the log decides depends on it.

use std::time::SystemTime;

/// Returns what the clock of this machine says: right or wrong, and set at any time.
pub(crate) fn system_time() -> SystemTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "pauses of a process and notes for people, not what is decided"
    )]
    SystemTime::now()
}
