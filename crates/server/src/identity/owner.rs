//! Verifies that a command which works on a data directory runs as the user that runs its node.
//!
//! Always true: root is refused like any other user. The files that it would make belong to root,
//! and the node could neither read nor replace them.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use super::node_identity::{self, IdentityError};

/// Refuses a directory whose identity file, or which itself if there is none, belongs to another
/// user than this process. A directory that does not exist belongs to its maker.
///
/// # Errors
/// [`IdentityError::OtherUser`], or [`IdentityError::Io`] if the owner cannot be read.
pub fn check_owner(directory: &Path) -> Result<(), IdentityError> {
    check_as(directory, rustix::process::geteuid().as_raw())
}

fn check_as(directory: &Path, user: u32) -> Result<(), IdentityError> {
    let found = match metadata(&directory.join(node_identity::FILE)) {
        Ok(None) => metadata(directory),
        found => found,
    };
    let found = found.map_err(|source| IdentityError::Io {
        directory: directory.to_owned(),
        source,
    })?;
    match found.map(|found| found.uid()) {
        Some(owner) if owner != user => Err(IdentityError::OtherUser {
            directory: directory.to_owned(),
            owner,
            user,
        }),
        _ => Ok(()),
    }
}

fn metadata(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_works_on_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let own = rustix::process::geteuid().as_raw();
        for has_identity in [false, true] {
            if has_identity {
                fs::write(directory.join(node_identity::FILE), "{}").unwrap();
            }
            assert!(check_owner(directory).is_ok());
            let refused = check_as(directory, own + 1).unwrap_err();
            assert!(
                matches!(&refused, IdentityError::OtherUser { owner, user, .. }
                    if *owner == own && *user == own + 1),
                "{refused}"
            );
        }
        assert!(check_as(&directory.join("new"), own + 1).is_ok());
    }
}
