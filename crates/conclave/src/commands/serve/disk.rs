//! Words for a disk that does not read, write or sync.
//!
//! Always true: nothing here says that the data is damaged, and nothing is changed.

use std::path::Path;

use conclave_server::{DiskFailure, Fault};

use crate::errors::{CommandError, EXIT_FAILED};

/// Reports what the disk under the data directory has refused, and what the operator can do.
pub(super) fn failed(data: &Path, failure: &DiskFailure) -> CommandError {
    let (data, why) = (data.display(), &failure.why);
    let (sentence, hint) = match failure.fault {
        Fault::Full => (
            format!("the disk of {data} is full: {why}"),
            "make room on it, or raise its quota, and start the node again: nothing acknowledged \
             is lost",
        ),
        Fault::Refused => (
            format!("the files of {data} cannot be used: {why}"),
            "the data was left as it is: run the node as the user that owns its files, on a file \
             system that can be written to, and start it again",
        ),
        Fault::Failed | Fault::Damage | Fault::Elsewhere => (
            format!("the disk of {data} failed: {why}"),
            "the data was left as it is: check the disk and its file system (dmesg), repair or \
             replace it, and start the node again; a machine whose disk is lost begins with an \
             empty directory and a join token",
        ),
    };
    CommandError::new(EXIT_FAILED, sentence, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_disk_fault_has_its_own_error_text() {
        let told = |fault| {
            let failure = DiskFailure::of(fault, "the log: refused").unwrap();
            failed(Path::new("/data"), &failure).to_string()
        };
        assert_eq!(
            told(Fault::Failed),
            "the disk of /data failed: the log: refused"
        );
        assert_eq!(
            told(Fault::Full),
            "the disk of /data is full: the log: refused"
        );
        assert_eq!(
            told(Fault::Refused),
            "the files of /data cannot be used: the log: refused"
        );
        assert_eq!(DiskFailure::of(Fault::Damage, ""), None);
    }
}
