//! Puts a snapshot in the place of the state.
//!
//! The order: verify the snapshot; put it beside the state as `state.db.new`, synced; close every
//! connection, so that SQLite empties the write-ahead log into the old database; make sure that
//! the log is gone; rename. A write-ahead log must never meet a database that it does not belong
//! to: that is why it goes before the name changes.
//!
//! Always true: a crash at any point leaves the old state or the new one, whole.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use conclave_core::ClusterVersion;
use rusqlite::OptionalExtension as _;

use super::contents::Contents;
use crate::{
    fault::Fault,
    files::{remove_if_there, with_suffix},
    state::{
        Applied, InstallError, State,
        database::{self, NEW},
        integrity::digest,
        meta,
        write::writer::{Writer, checkpoint},
    },
};

/// How long running reads may take to end. Snapshots that are being made end by themselves.
const READERS_WAIT: Duration = Duration::from_secs(10);

/// A snapshot that was found to be whole, of a version that this build can use, and what its maker
/// has sealed.
#[derive(Debug)]
pub struct VerifiedSnapshot(PathBuf);

impl VerifiedSnapshot {
    /// Checks every page and every row of this file, which nothing may change any more. `newest` is
    /// the newest cluster version that this build applies.
    ///
    /// # Errors
    /// [`InstallError::Unreadable`], [`InstallError::Refused`] and [`InstallError::Damaged`]: it
    /// cannot be used. Its maker must make another one.
    pub fn new(snapshot: PathBuf, newest: ClusterVersion) -> Result<Self, InstallError> {
        verify(&snapshot, newest)?;
        Ok(Self(snapshot))
    }

    /// Returns what it holds.
    ///
    /// # Errors
    /// See [`Contents::of`].
    pub fn contents(&self) -> Result<Contents, InstallError> {
        Contents::of(&self.0)
    }

    pub(super) fn into_path(self) -> PathBuf {
        self.0
    }
}

impl State {
    /// Replaces the state by a snapshot; a verified one is used up. Readers wait, and then
    /// read the new state.
    ///
    /// # Errors
    /// See [`InstallError`].
    pub fn install(&mut self, snapshot: &Path) -> Result<Applied, InstallError> {
        let newest = self.options.versions.newest;
        self.install_verified(&VerifiedSnapshot::new(snapshot.to_owned(), newest)?)
    }

    /// Replaces the state by a snapshot that is verified already.
    ///
    /// # Errors
    /// See [`InstallError`].
    pub fn install_verified(
        &mut self,
        snapshot: &VerifiedSnapshot,
    ) -> Result<Applied, InstallError> {
        let VerifiedSnapshot(snapshot) = snapshot;
        let new = with_suffix(&self.path, NEW);
        if !self.pool.pause(READERS_WAIT) {
            return Err(InstallError::Busy);
        }
        if let Err(error) = bring(snapshot, &new) {
            self.pool.resume();
            self.pool.note_io(&error);
            return Err(InstallError::Unreadable(error));
        }
        let (exchanged, reopened) = self.exchange_alone(&new);
        if reopened.is_ok() {
            self.pool.resume();
        } else {
            self.pool.close();
        }
        // A damaged state may show only when it is closed.
        match &exchanged {
            Err(InstallError::Close(error)) => self.pool.note(error),
            Err(InstallError::Swap(error)) => self.pool.note_io(error),
            _ => {}
        }
        let reopened = reopened.map_err(|error| error.settled(&self.path));
        match &reopened {
            Err(crate::state::OpenError::Disk(failure)) => {
                self.pool.remember(failure.fault, failure.why.clone());
            }
            Err(error) if error.is_damage() => {
                self.pool.remember(Fault::Damage, error.to_string());
            }
            _ => {}
        }
        exchanged?;
        reopened.map_err(InstallError::Reopen)?;
        Ok(self.applied.clone())
    }

    /// Exchanges the state and opens what is there then, while no checkpoint is under way.
    fn exchange_alone(
        &mut self,
        new: &Path,
    ) -> (
        Result<(), InstallError>,
        Result<(), crate::state::OpenError>,
    ) {
        let mut writer = self.writer.take();
        // The snapshot has what is decided here and not yet written.
        writer.iter_mut().for_each(Writer::roll_back);
        let mut alone = self.checkpointer.alone();
        alone.close();
        let exchanged = self.exchange(writer, new);
        let opened = Writer::open(&self.path, &self.options);
        drop(alone);
        (exchanged, opened.and_then(|writer| self.take_over(writer)))
    }

    /// Closes the old state and renames the new one.
    fn exchange(&self, writer: Option<Writer>, new: &Path) -> Result<(), InstallError> {
        let writer = writer.ok_or(InstallError::Busy)?;
        if !checkpoint(&writer.connection, "TRUNCATE").map_err(InstallError::Close)? {
            return Err(InstallError::Busy);
        }
        writer
            .connection
            .close()
            .map_err(|(_, error)| InstallError::Close(error))?;
        let exchange = || {
            remove_if_there(&with_suffix(&self.path, "-wal"))?;
            remove_if_there(&with_suffix(&self.path, "-shm"))?;
            database::sync_directory_of(&self.path)?;
            fs::rename(new, &self.path)?;
            database::sync_directory_of(&self.path)
        };
        exchange().map_err(InstallError::Swap)
    }

    fn take_over(&mut self, writer: Writer) -> Result<(), crate::state::OpenError> {
        let found = meta::load_applied(&writer.connection)?;
        // After an exchange that has failed they are decided again.
        self.unwritten.retain(|entry| Some(entry.id) > found.last);
        if self.unwritten.is_empty() {
            self.applied = found;
        }
        self.writer = Some(writer);
        self.synced_through = None;
        Ok(())
    }
}

/// Puts the snapshot beside the state, synced. Copies it if it lies on another file system.
fn bring(snapshot: &Path, new: &Path) -> io::Result<()> {
    match fs::rename(snapshot, new) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            fs::copy(snapshot, new)?;
            fs::remove_file(snapshot)?;
        }
        other => other?,
    }
    File::options()
        .read(true)
        .write(true)
        .open(new)?
        .sync_all()?;
    database::sync_directory_of(new)
}

fn refused(why: impl Into<String>) -> InstallError {
    InstallError::Refused(why.into())
}

/// Refuses whatever is not a whole snapshot that this build can bring to its own version.
fn verify(snapshot: &Path, newest: ClusterVersion) -> Result<(), InstallError> {
    verify_header(snapshot)?;
    let connection = database::open_read_only(snapshot).map_err(InstallError::Damaged)?;
    database::check_kind(&connection).map_err(|error| refused(error.to_string()))?;
    let verdict: String = connection
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(InstallError::Damaged)?;
    if verdict != "ok" {
        return Err(refused(verdict));
    }
    if !meta::has_entries(&connection).map_err(InstallError::Damaged)? {
        return Err(refused("it holds no entry"));
    }
    let version = meta::cluster_version_of(&connection).map_err(InstallError::Damaged)?;
    if version > newest {
        let why = format!("it needs cluster version {version}; this build applies up to {newest}");
        return Err(refused(why));
    }
    let sql = "SELECT digest FROM seal WHERE id = 1";
    let seal: Option<[u8; 32]> = connection
        .query_row(sql, [], |row| row.get(0))
        .optional()
        .map_err(InstallError::Damaged)?;
    let found = digest::of_rows(&connection, &mut || true).map_err(InstallError::Damaged)?;
    if found.is_none_or(|(found, _)| seal != Some(found)) {
        return Err(refused("its rows do not match its digest"));
    }
    Ok(())
}

/// Looks at what SQLite would not refuse: a missing end, or a write-ahead log that is elsewhere.
fn verify_header(snapshot: &Path) -> Result<(), InstallError> {
    let mut file = File::open(snapshot).map_err(InstallError::Unreadable)?;
    let mut header = [0; 100];
    file.read_exact(&mut header)
        .map_err(InstallError::Unreadable)?;
    let length = file.metadata().map_err(InstallError::Unreadable)?.len();
    if &header[..16] != b"SQLite format 3\0" {
        return Err(refused("it is not a database"));
    }
    if header[18..20] != [1, 1] {
        return Err(refused("it needs a write-ahead log"));
    }
    // 1 stands for 65536, which does not fit.
    let page_bytes = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        bytes => u64::from(bytes),
    };
    let pages = u32::from_be_bytes([header[28], header[29], header[30], header[31]]);
    if length != page_bytes * u64::from(pages) {
        return Err(refused("its length is wrong"));
    }
    Ok(())
}
