//! The session that `login` leaves for the other commands.
//!
//! Always true: the file is readable by its owner alone, from its first byte on, and is either the
//! old one or the new one as a whole. A file that others can read is not used.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use etcetera::BaseStrategy as _;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::errors::{CommandError, EXIT_FAILED, EXIT_PERMISSION};

/// File mode: readable and writable by the owner alone.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// The mode bits that give access to other users.
const OTHERS: u32 = 0o077;

/// A session, and the nodes where it is used.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Credentials {
    /// The nodes, as `HOST:PORT`.
    pub(crate) endpoints: Vec<String>,
    /// Name of the account.
    pub(crate) user: String,
    /// Token of the session: a secret.
    pub(crate) token: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({} at {:?})", self.user, self.endpoints)
    }
}

/// The secret by which clusters recognise this device.
#[derive(Serialize, Deserialize)]
struct Device {
    /// 32 random bytes in URL-safe base64.
    secret: String,
}

/// Returns the path of the credentials file.
///
/// # Errors
/// If there is no home directory.
pub(crate) fn path() -> Result<PathBuf, CommandError> {
    Ok(directory()?.join("credentials.json"))
}

/// Returns the secret by which a cluster recognises this device, and makes it if there is none.
/// `None` if it cannot be kept: then a log-in comes from an unknown device.
pub(crate) fn device_secret() -> Option<[u8; 32]> {
    device_secret_in(&directory().ok()?.join("device.json"))
}

fn device_secret_in(path: &Path) -> Option<[u8; 32]> {
    match load_private::<Device>(path) {
        Ok(Some(device)) => URL_SAFE_NO_PAD.decode(device.secret).ok()?.try_into().ok(),
        Ok(None) => {
            let secret = conclave_client::new_device_secret();
            let device = Device {
                secret: URL_SAFE_NO_PAD.encode(secret),
            };
            replace(path, &device).is_ok().then_some(secret)
        }
        Err(_) => None,
    }
}

/// Returns the directory in which this program keeps the user's files.
///
/// # Errors
/// If there is no home directory.
pub(crate) fn directory() -> Result<PathBuf, CommandError> {
    let base = etcetera::choose_base_strategy().map_err(|error| {
        let hint = "set HOME or XDG_CONFIG_HOME";
        CommandError::new(EXIT_FAILED, error.to_string(), hint)
    })?;
    Ok(base.config_dir().join("conclave"))
}

/// Reads the credentials file; `None` if there is none.
///
/// # Errors
/// If others can read the file, or `login` did not write it.
pub(crate) fn load(path: &Path) -> Result<Option<Credentials>, CommandError> {
    load_private(path)
}

fn load_private<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, CommandError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path, &error)),
    };
    // The metadata is that of the open file: another process may replace the file in between.
    let metadata = file
        .metadata()
        .map_err(|error| failed("read", path, &error))?;
    if metadata.permissions().mode() & OTHERS != 0 {
        return Err(CommandError::new(
            EXIT_PERMISSION,
            format!("{} can be read by others", path.display()),
            format!(
                "run: chmod 600 '{}', and log in again if another user may have read it",
                path.display()
            ),
        ));
    }
    let credentials = serde_json::from_reader(io::BufReader::new(file)).map_err(|error| {
        CommandError::new(
            EXIT_FAILED,
            format!("{} is damaged: {error}", path.display()),
            "delete the file and log in again: conclave login NAME",
        )
    })?;
    Ok(Some(credentials))
}

/// Replaces the credentials file.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn save(path: &Path, credentials: &Credentials) -> Result<(), CommandError> {
    replace(path, credentials)
}

/// Makes the file that is to replace the one at `path`, without its content: a caller opens a
/// session only if its credentials can be kept.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn reserve(path: &Path) -> Result<Reserved, CommandError> {
    Reserved::new(path).map_err(|error| failed("write", path, &error))
}

/// A file without its content, with its final permissions, beside the one that it replaces. It is
/// removed when this is dropped.
pub(crate) struct Reserved {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
}

impl Reserved {
    fn new(path: &Path) -> io::Result<Self> {
        let directory = path.parent().expect("the file is in a directory");
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(directory)?;
        fs::set_permissions(directory, Permissions::from_mode(DIRECTORY_MODE))?;
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let temporary = PathBuf::from(name);
        // A killed process with the same number may have left it.
        let _ = fs::remove_file(&temporary);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&temporary)?;
        Ok(Self {
            path: path.to_owned(),
            temporary,
            file,
        })
    }

    /// Writes the content and puts the file in its place.
    ///
    /// # Errors
    /// If the file cannot be written; then the old file is as it was.
    pub(crate) fn fill(mut self, content: &impl Serialize) -> Result<(), CommandError> {
        self.write(content)
            .map_err(|error| failed("write", &self.path, &error))
    }

    fn write(&mut self, content: &impl Serialize) -> io::Result<()> {
        self.file.write_all(&serde_json::to_vec_pretty(content)?)?;
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.path)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        // It no longer exists if it was put in its place.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Replaces a file that only the user can read.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn replace(path: &Path, content: &impl Serialize) -> Result<(), CommandError> {
    reserve(path)?.fill(content)
}

/// Removes the credentials file if there is one.
///
/// # Errors
/// If the file cannot be removed.
pub(crate) fn remove(path: &Path) -> Result<(), CommandError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed("remove", path, &error))
        }
        _ => Ok(()),
    }
}

pub(crate) fn failed(verb: &str, path: &Path, error: &io::Error) -> CommandError {
    CommandError::new(
        EXIT_FAILED,
        format!("cannot {verb} {}: {error}", path.display()),
        "check the permissions of the directory, or set XDG_CONFIG_HOME to another one",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(token: &str) -> Credentials {
        Credentials {
            endpoints: vec!["127.0.0.1:7400".to_owned()],
            user: "alice".to_owned(),
            token: token.to_owned(),
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn saved_credentials_are_loaded_and_private_to_their_owner() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("conclave").join("credentials.json");
        assert_eq!(load(&path).unwrap(), None);
        for token in ["first", "second"] {
            save(&path, &credentials(token)).unwrap();
            assert_eq!(load(&path).unwrap(), Some(credentials(token)));
        }
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        let files = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(files, 1, "no temporary file is left");
        let reserved = reserve(&path).unwrap();
        assert_eq!(mode(&reserved.temporary), 0o600);
        drop(reserved);
        let files = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(files, 1, "what was not filled is gone");
        assert_eq!(load(&path).unwrap(), Some(credentials("second")));
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(load(&path).unwrap(), None);
    }

    #[test]
    fn a_device_keeps_its_secret() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("conclave").join("device.json");
        let secret = device_secret_in(&path).expect("it can be kept");
        assert_eq!(device_secret_in(&path), Some(secret));
        assert_eq!(mode(&path), 0o600);
        let other = home.path().join("other").join("device.json");
        assert_ne!(device_secret_in(&other), Some(secret));
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(device_secret_in(&path), None, "others can read it");
    }

    #[test]
    fn a_file_that_others_can_read_is_not_used() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("conclave").join("credentials.json");
        save(&path, &credentials("secret")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let refused = load(&path).unwrap_err();
        assert_eq!(refused.exit(), EXIT_PERMISSION);
        assert!(!refused.to_string().contains("secret"));
    }

    #[test]
    fn a_damaged_file_is_an_error_with_a_hint() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("credentials.json");
        fs::write(&path, "{").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(load(&path).unwrap_err().exit(), EXIT_FAILED);
    }

    #[test]
    fn a_token_is_not_in_a_debug_dump() {
        assert!(!format!("{:?}", credentials("secret")).contains("secret"));
    }
}
