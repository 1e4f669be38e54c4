//! What each node costs: CPU time, memory, and the bytes of its logs.
//!
//! Reads `/proc` and the data directories, so it works only for nodes that were started here.

use std::{collections::BTreeMap, fs, path::Path};

use conclave_local_cluster::LocalCluster;
use serde::Serialize;

use crate::process::{cpu_us, resident_kib};

/// What a node has used up to a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct NodeUse {
    /// Number of the node.
    pub(super) node: u64,
    /// CPU time since the node was first looked at, all its processes together.
    pub(super) cpu_us: u64,
    /// Resident memory; 0 while the node is dead.
    pub(super) rss_kib: u64,
    /// Size of the files of the Raft log.
    pub(super) log_bytes: u64,
    /// Size of the write-ahead logs of the databases.
    pub(super) wal_bytes: u64,
}

/// Looks at the nodes of a cluster; adds up what a node uses before and after a restart.
pub(super) struct Watch<'a> {
    cluster: Option<&'a LocalCluster>,
    cpu: BTreeMap<u64, Cpu>,
}

/// CPU time of a node whose process may change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cpu {
    process: Option<u32>,
    seen_us: u64,
    total_us: u64,
}

impl Cpu {
    fn see(&mut self, process: Option<u32>, now_us: u64) {
        if self.process == process {
            self.total_us += now_us.saturating_sub(self.seen_us);
        } else if self.process.is_some() {
            // Another process of the same node began with nothing.
            self.total_us += now_us;
        }
        self.process = process;
        self.seen_us = now_us;
    }
}

impl<'a> Watch<'a> {
    pub(super) fn new(cluster: Option<&'a LocalCluster>) -> Self {
        Self {
            cluster,
            cpu: BTreeMap::new(),
        }
    }

    /// Returns what each node has used so far; empty for nodes that were not started here.
    pub(super) fn look(&mut self) -> Vec<NodeUse> {
        let Some(cluster) = self.cluster else {
            return Vec::new();
        };
        let nodes = cluster.nodes().into_iter();
        nodes.map(|node| self.look_at(cluster, node)).collect()
    }

    fn look_at(&mut self, cluster: &LocalCluster, node: u64) -> NodeUse {
        let process = cluster.pid(node);
        let path = process.map(|process| process.to_string());
        let of_process = |read: fn(&str) -> Option<u64>| path.as_deref().and_then(read);
        let cpu = self.cpu.entry(node).or_default();
        if let Some(now_us) = of_process(cpu_us) {
            cpu.see(process, now_us);
        }
        let directory = cluster.directory(node);
        let is_log = |name: &str| name.ends_with(".segment");
        let is_wal = |name: &str| name.ends_with("-wal");
        NodeUse {
            node,
            cpu_us: cpu.total_us,
            rss_kib: of_process(resident_kib).unwrap_or_default(),
            log_bytes: bytes_in(&directory.join("log"), is_log),
            wal_bytes: bytes_in(&directory, is_wal),
        }
    }
}

/// Returns the size of the files in a directory with such names. A file that goes away meanwhile
/// counts nothing.
fn bytes_in(directory: &Path, is_meant: impl Fn(&str) -> bool) -> u64 {
    let files = fs::read_dir(directory).into_iter().flatten().flatten();
    let meant = files.filter(|file| file.file_name().to_str().is_some_and(&is_meant));
    meant
        .filter_map(|file| Some(file.metadata().ok()?.len()))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_adds_up_over_a_restart() {
        let mut cpu = Cpu::default();
        cpu.see(Some(7), 500);
        assert_eq!(cpu.total_us, 0, "what was before the first look");
        cpu.see(Some(7), 800);
        cpu.see(Some(9), 50);
        cpu.see(Some(9), 60);
        assert_eq!(cpu.total_us, 300 + 50 + 10);
    }

    #[test]
    fn the_size_of_logs_is_that_of_their_files() {
        let directory = tempfile::tempdir().unwrap();
        for (name, bytes) in [("1.segment", 10), ("2.segment", 5), ("3.tmp", 100)] {
            fs::write(directory.path().join(name), vec![0; bytes]).unwrap();
        }
        let size = bytes_in(directory.path(), |name| name.ends_with(".segment"));
        assert_eq!(size, 15);
        assert_eq!(bytes_in(&directory.path().join("none"), |_| true), 0);
    }
}
