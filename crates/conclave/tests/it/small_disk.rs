//! A disk of a few megabytes that tests fill.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

/// Number of bytes that are written at once when the disk is filled.
const BLOCK_BYTES: usize = 4096;

/// A file system in memory; unmounted when dropped.
pub(crate) struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// Mounts a disk of this many mebibytes. Returns `None` if this machine does not allow it.
    pub(crate) fn mount(at: &Path, mebibytes: u32) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={mebibytes}m"))
            .arg("conclave-test")
            .arg(at);
        let mounted = mount.output().is_ok_and(|ended| ended.status.success());
        mounted.then(|| Self { at: at.to_owned() })
    }

    /// Fills the disk to the last byte; again, if a node has given up its reserve since.
    pub(crate) fn fill(&self) {
        let mut options = OpenOptions::new();
        let mut file = options
            .create(true)
            .append(true)
            .open(self.ballast())
            .unwrap();
        while file.write_all(&[b'x'; BLOCK_BYTES]).is_ok() {}
    }

    /// Removes what [`Self::fill`] has written.
    pub(crate) fn make_room(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Unmounts lazily, so that it succeeds also if a process that is being killed still has a
        // file open.
        let mut unmount = Command::new("umount");
        let gone = unmount.arg("--lazy").arg(&self.at).status();
        if !std::thread::panicking() {
            assert!(gone.is_ok_and(|status| status.success()));
        }
    }
}
