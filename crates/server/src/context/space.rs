//! Measures how much room the disk of this node has.
//!
//! Below a mark the cluster refuses commands that store more: `space_watch.rs` decides that. A
//! reserve file keeps room for what a node must write in any case: votes, entries that were
//! accepted, deletions. The node removes it when the disk is nearly full and makes it again when
//! there is room. A node whose disk is full accepts no entries from the leader, but still votes and
//! answers.
//!
//! Always true: a disk without the reserve has too little room. So a node that gave its reserve up
//! is no reason to accept growth before it has the file again, and making the file never takes a
//! disk below the mark.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use conclave_storage::disk_space;
use rustix::fs::FallocateFlags;

/// Maximum of the mark: half a gibibyte, more than a minute of the fastest writing.
const MARK_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Divisor that gives the mark on a small disk: a tenth of the disk.
const MARK_PART: u64 = 10;
/// Divisor of the mark: the cluster accepts growth again when there is a quarter more room than the
/// mark, beside the reserve.
const AGAIN_PART: u64 = 4;
/// Maximum size of the reserve, which is otherwise a quarter of the mark.
const RESERVE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Size in bytes of the pieces in which the reserve is written.
const PIECE_BYTES: usize = 64 * 1024;
/// Name of the reserve file.
pub(crate) const RESERVE: &str = "reserve";

/// What the node knows of its disk space.
pub(crate) struct Space {
    data: PathBuf,
    /// Configured mark.
    mark: Option<u64>,
    free: AtomicU64,
    is_low: AtomicBool,
    is_full: AtomicBool,
    refuses: AtomicBool,
    /// Whether the reserve could not be made the last time, so that the log says it once.
    lacks_reserve: AtomicBool,
    /// Whether this node leads and is about to transfer leadership: see `cluster/leader/full.rs`.
    is_leaving: AtomicBool,
}

/// Measurements of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Disk {
    free: u64,
    mark: u64,
    reserve: u64,
}

impl Disk {
    fn of(data: &Path, mark: Option<u64>) -> io::Result<Self> {
        let (free, all) = disk_space(data)?;
        Ok(Self::sized(free, all, mark))
    }

    fn sized(free: u64, all: u64, mark: Option<u64>) -> Self {
        let mark = mark.unwrap_or_else(|| MARK_BYTES_MAX.min(all / MARK_PART));
        Self {
            free,
            mark,
            reserve: (mark / 4).min(RESERVE_BYTES_MAX),
        }
    }

    /// Returns whether there is too little room; `before` is the previous answer. Without the
    /// reserve there must be room for it as well.
    fn is_low(self, before: bool, has_reserve: bool) -> bool {
        let again = u64::from(before) * (self.mark / AGAIN_PART);
        let missing = u64::from(!has_reserve) * self.reserve;
        self.free < self.mark.saturating_add(again + missing)
    }

    /// Returns whether the room of the reserve is needed.
    fn is_short(self) -> bool {
        self.free < self.reserve / 2
    }

    /// Returns whether a file of this many bytes keeps the room of the reserve. One that a node has
    /// not finished, or made for a much lower mark, does not.
    fn is_reserve(self, bytes: u64) -> bool {
        bytes >= self.reserve / 2
    }
}

impl Space {
    pub(crate) fn new(data: &Path, mark: Option<u64>) -> Self {
        Self {
            data: data.to_owned(),
            mark,
            free: AtomicU64::new(u64::MAX),
            is_low: AtomicBool::default(),
            is_full: AtomicBool::default(),
            refuses: AtomicBool::default(),
            lacks_reserve: AtomicBool::default(),
            is_leaving: AtomicBool::default(),
        }
    }

    /// Returns the bytes that are free for this node.
    pub(crate) fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    /// Returns whether this disk has too little room: less than the mark, or no reserve.
    pub(crate) fn is_low(&self) -> bool {
        self.is_low.load(Ordering::Relaxed)
    }

    /// Returns whether there is no room for entries of the leader.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// Returns whether the cluster, as this node knows it, refuses commands that store more.
    pub(crate) fn refuses(&self) -> bool {
        self.refuses.load(Ordering::Relaxed)
    }

    /// Records whether another voter is about to become the leader instead of this node. Until then
    /// the mark leaves enough room to go on.
    pub(crate) fn set_leaving(&self, is_leaving: bool) {
        self.is_leaving.store(is_leaving, Ordering::Relaxed);
    }

    /// Records whether the cluster refuses commands that store more; returns the previous value.
    pub(crate) fn set_refuses(&self, refuses: bool) -> bool {
        self.refuses.swap(refuses, Ordering::Relaxed)
    }

    /// Returns whether this disk alone is a reason for the leader to refuse commands that store
    /// more.
    pub(crate) fn is_in_the_way(&self) -> bool {
        self.is_low() && !self.is_leaving.load(Ordering::Relaxed)
    }

    /// Measures the disk; removes the reserve or makes it again.
    ///
    /// # Errors
    /// If the disk cannot be measured or the reserve cannot be removed.
    pub(crate) fn look(&self) -> io::Result<()> {
        self.look_at(Disk::of(&self.data, self.mark)?)
    }

    fn look_at(&self, disk: Disk) -> io::Result<()> {
        let reserve = self.data.join(RESERVE);
        let held = match reserve.metadata() {
            Ok(file) => Some(file.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let has_reserve = held.is_some_and(|bytes| disk.is_reserve(bytes)) || disk.reserve == 0;
        self.free.store(disk.free, Ordering::Relaxed);
        let was_low = self.is_low();
        let mut is_low = disk.is_low(was_low, has_reserve);
        if disk.is_short() && held.is_some() {
            tracing::warn!("the disk is full: the reserve is given up");
            std::fs::remove_file(&reserve)?;
        } else if !is_low && !has_reserve {
            is_low = !self.has_made(&reserve, disk.reserve);
        }
        self.is_low.store(is_low, Ordering::Relaxed);
        if is_low != was_low {
            match is_low {
                true => tracing::warn!(free_bytes = disk.free, "the disk is nearly full"),
                false => tracing::info!(free_bytes = disk.free, "the disk has room again"),
            }
        }
        let is_full = disk.is_short() && held.is_none();
        self.is_full.store(is_full, Ordering::Relaxed);
        Ok(())
    }

    /// Makes the reserve; returns whether it is there now. A disk that refuses it has less room
    /// than it says, for example because of a quota.
    fn has_made(&self, reserve: &Path, bytes: u64) -> bool {
        let made = make(reserve, bytes);
        let lacked = self.lacks_reserve.swap(made.is_err(), Ordering::Relaxed);
        let Err(error) = made else {
            return true;
        };
        // A partial reserve is of no use.
        let _ = std::fs::remove_file(reserve);
        if !lacked {
            tracing::warn!(%error, bytes, "failed to make the reserve file");
        }
        false
    }
}

/// Makes a file of this many allocated bytes.
fn make(path: &Path, bytes: u64) -> io::Result<()> {
    let mut open = OpenOptions::new();
    let mut file: File = open.write(true).create(true).truncate(true).open(path)?;
    match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        // Some file systems cannot allocate.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
        made => return Ok(made?),
    }
    let piece = vec![0; PIECE_BYTES];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(PIECE_BYTES as u64);
        file.write_all(&piece[..usize::try_from(now).unwrap_or(PIECE_BYTES)])?;
        left -= now;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// Returns a disk with a mark of 40 MiB and a reserve of 10 MiB.
    fn disk(free: u64) -> Disk {
        Disk::sized(free, 100 * MIB, Some(40 * MIB))
    }

    #[test]
    fn the_low_space_mark_scales_with_the_disk_and_has_hysteresis() {
        let large = Disk::sized(0, 1 << 40, None);
        assert_eq!((large.mark, large.reserve), (512 * MIB, 64 * MIB));
        let small = Disk::sized(0, 100 * MIB, None);
        assert_eq!(small.mark, 10 * MIB);
        for (before, has_reserve, enough) in [
            (false, true, 40 * MIB),
            (false, false, 50 * MIB),
            (true, true, 50 * MIB),
            (true, false, 60 * MIB),
        ] {
            let is_low = |free| disk(free).is_low(before, has_reserve);
            assert!(is_low(enough - 1) && !is_low(enough), "{enough}");
        }
        assert!(disk(4 * MIB).is_short() && !disk(5 * MIB).is_short());
        assert!(
            !Disk::sized(0, 100 * MIB, Some(0)).is_low(false, true),
            "0 switches it off"
        );
    }

    #[test]
    fn growth_waits_until_the_reserve_is_there_again() {
        let data = tempfile::tempdir().unwrap();
        let reserve = data.path().join(RESERVE);
        let space = Space::new(data.path(), None);
        // What is free, and then: whether it is low, whether it is full, whether it has a reserve.
        for (free, is_low, is_full, has_reserve) in [
            (70, false, false, true),
            (39, true, false, true),
            (4, true, false, false),
            (14, true, false, false),
            (4, true, true, false),
            (49, true, false, false),
            // More than that at which a disk with a reserve has room again.
            (55, true, false, false),
            (59, true, false, false),
            (60, false, false, true),
            (50, false, false, true),
        ] {
            space.look_at(disk(free * MIB)).unwrap();
            let found = (space.is_low(), space.is_full(), reserve.exists());
            assert_eq!(found, (is_low, is_full, has_reserve), "{free} MiB");
        }
    }

    #[test]
    fn a_node_that_starts_without_its_reserve_makes_it_first() {
        let data = tempfile::tempdir().unwrap();
        let reserve = data.path().join(RESERVE);
        let looked = |free: u64| {
            // It has been started again: nothing is known of what was before.
            let space = Space::new(data.path(), None);
            space.look_at(disk(free * MIB)).unwrap();
            space.is_low()
        };
        assert!(
            looked(49),
            "there is no room for the reserve above the mark"
        );
        assert!(!reserve.exists());
        assert!(!looked(50));
        assert_eq!(reserve.metadata().unwrap().len(), 10 * MIB);
        // A node was killed while it made the reserve.
        std::fs::write(&reserve, "half").unwrap();
        assert!(looked(49));
        assert!(!looked(50));
        assert_eq!(reserve.metadata().unwrap().len(), 10 * MIB);
    }

    #[test]
    fn a_disk_that_refuses_the_reserve_has_too_little_room() {
        let data = tempfile::tempdir().unwrap();
        let space = Space::new(&data.path().join("gone"), None);
        space.look_at(disk(90 * MIB)).unwrap();
        assert!(space.is_low());
        std::fs::create_dir(data.path().join("gone")).unwrap();
        space.look_at(disk(90 * MIB)).unwrap();
        assert!(!space.is_low());
    }

    #[test]
    fn the_reserve_is_created_and_the_free_space_measured() {
        let data = tempfile::tempdir().unwrap();
        let space = Space::new(data.path(), Some(MIB));
        space.look().unwrap();
        assert!(space.free() < u64::MAX && !space.is_low() && !space.is_full());
        let reserve = data.path().join(RESERVE);
        assert_eq!(reserve.metadata().unwrap().len(), MIB / 4);
        // No disk has this much.
        let space = Space::new(data.path(), Some(1 << 60));
        space.look().unwrap();
        assert!(space.is_low());
    }
}
