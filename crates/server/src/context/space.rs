//! Measures how much room the disk of this node has.
//!
//! Below a mark the cluster refuses commands that store more: `space_watch.rs` decides that. A
//! reserve file keeps room for what a node must write in any case: votes, entries that were
//! accepted, deletions. The node removes it when the disk is nearly full and makes it again when
//! there is room. A node whose disk is full accepts no entries from the leader, but still votes and
//! answers.
//!
//! Always true: the reserve is only made where there is far more room than it takes.

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
/// mark.
const AGAIN_PART: u64 = 4;
/// Maximum size of the reserve, which is otherwise a quarter of the mark.
const RESERVE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Size in bytes of the pieces in which the reserve is written.
const PIECE_BYTES: usize = 64 * 1024;
/// Name of the reserve file.
const RESERVE: &str = "reserve";

/// What the node knows of its disk space.
pub(crate) struct Space {
    data: PathBuf,
    /// Configured mark.
    mark: Option<u64>,
    free: AtomicU64,
    is_low: AtomicBool,
    is_full: AtomicBool,
    refuses: AtomicBool,
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

    /// Returns whether there is too little room; `before` is the previous answer.
    fn is_low(self, before: bool) -> bool {
        match before {
            true => self.free < self.mark.saturating_add(self.mark / AGAIN_PART),
            false => self.free < self.mark,
        }
    }

    /// Returns whether the room of the reserve is needed.
    fn is_short(self) -> bool {
        self.free < self.reserve / 2
    }

    /// Returns whether there is room for the reserve.
    fn has_room_for_reserve(self) -> bool {
        self.free
            > self
                .mark
                .saturating_add(self.mark / AGAIN_PART + self.reserve)
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
            is_leaving: AtomicBool::default(),
        }
    }

    /// Returns the bytes that are free for this node.
    pub(crate) fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    /// Returns whether this disk has less room than the mark.
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
    pub(crate) fn look(&self) -> io::Result<()> {
        let disk = Disk::of(&self.data, self.mark)?;
        let reserve = self.data.join(RESERVE);
        let has_reserve = reserve.exists();
        self.free.store(disk.free, Ordering::Relaxed);
        let was_low = self.is_low();
        let is_low = disk.is_low(was_low);
        self.is_low.store(is_low, Ordering::Relaxed);
        if is_low != was_low {
            match is_low {
                true => tracing::warn!(free_bytes = disk.free, "the disk is nearly full"),
                false => tracing::info!(free_bytes = disk.free, "the disk has room again"),
            }
        }
        if disk.is_short() && has_reserve {
            tracing::warn!("the disk is full: the reserve is given up");
            std::fs::remove_file(&reserve)?;
        } else if !has_reserve && disk.reserve > 0 && disk.has_room_for_reserve() {
            make(&reserve, disk.reserve).inspect_err(|_| {
                // A partial reserve is of no use.
                let _ = std::fs::remove_file(&reserve);
            })?;
        }
        let is_full = disk.is_short() && !has_reserve;
        self.is_full.store(is_full, Ordering::Relaxed);
        Ok(())
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

    #[test]
    fn the_low_space_mark_scales_with_the_disk_and_has_hysteresis() {
        let large = Disk::sized(0, 1 << 40, None);
        assert_eq!((large.mark, large.reserve), (512 * MIB, 64 * MIB));
        let small = Disk::sized(0, 100 * MIB, None);
        assert_eq!(small.mark, 10 * MIB);
        let at = |free| Disk::sized(free, 100 * MIB, Some(40 * MIB));
        assert!(at(39 * MIB).is_low(false) && !at(40 * MIB).is_low(false));
        assert!(at(49 * MIB).is_low(true) && !at(50 * MIB).is_low(true));
        assert!(at(4 * MIB).is_short() && !at(5 * MIB).is_short());
        assert!(at(61 * MIB).has_room_for_reserve() && !at(60 * MIB).has_room_for_reserve());
        assert!(
            !Disk::sized(0, 100 * MIB, Some(0)).is_low(false),
            "0 switches it off"
        );
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
