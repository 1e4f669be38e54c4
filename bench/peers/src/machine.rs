//! What the system counts: CPU, memory and disk of processes, and what others do meanwhile.
//!
//! Everything is read from `/proc`. All servers and callers are descendants of this process, so
//! that what is left of the CPU time, without the kernel's own threads, is work of others.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use conclave_figures::results::Machine;

/// Interval between two looks at a machine that is not idle yet.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Looks in a row at which the machine must be idle.
const IDLE_LOOKS: u32 = 2;
/// The process whose children are the kernel's threads.
const KERNEL: u32 = 2;

/// The counters of the machine at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Instant,
    /// Ticks in which a processor was not idle.
    busy: u64,
    /// Bytes received on the loopback interface.
    pub(crate) network: u64,
    processes: BTreeMap<u32, Process>,
}

#[derive(Clone, Debug)]
struct Process {
    parent: u32,
    ticks: u64,
    resident_pages: u64,
}

impl Sample {
    /// Reads all counters.
    pub(crate) fn take() -> anyhow::Result<Self> {
        let at = Instant::now();
        let stat = fs::read_to_string("/proc/stat")?;
        let busy = busy(&stat).context("failed to parse /proc/stat")?;
        let network = fs::read_to_string("/proc/net/dev")?;
        let network = loopback(&network).context("failed to parse /proc/net/dev")?;
        let mut processes = BTreeMap::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            // A process may end at any moment.
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            if let Some(process) = process(&stat) {
                processes.insert(id, process);
            }
        }
        Ok(Self {
            at,
            busy,
            network,
            processes,
        })
    }

    /// Returns a process with all its descendants.
    pub(crate) fn tree(&self, root: u32) -> BTreeSet<u32> {
        let mut tree = BTreeSet::from([root]);
        loop {
            let before = tree.len();
            for (id, process) in &self.processes {
                if tree.contains(&process.parent) {
                    tree.insert(*id);
                }
            }
            if tree.len() == before {
                return tree;
            }
        }
    }

    /// Returns the children of a process, in the order of their ids.
    pub(crate) fn children(&self, parent: u32) -> Vec<u32> {
        let processes = self.processes.iter();
        let children = processes.filter(|(_, process)| process.parent == parent);
        children.map(|(id, _)| *id).collect()
    }

    /// Returns the CPU time of a process and its descendants, in seconds.
    pub(crate) fn cpu_seconds(&self, root: u32) -> f64 {
        let tree = self.tree(root).into_iter();
        let ticks: u64 = tree
            .map(|id| self.processes.get(&id).map_or(0, |it| it.ticks))
            .sum();
        ticks as f64 / hertz()
    }

    /// Returns the resident memory of a process and its descendants, in MiB.
    pub(crate) fn memory_mib(&self, root: u32) -> f64 {
        let tree = self.tree(root).into_iter();
        let pages: u64 = tree
            .map(|id| self.processes.get(&id).map_or(0, |it| it.resident_pages))
            .sum();
        pages as f64 * rustix::param::page_size() as f64 / (1024.0 * 1024.0)
    }

    /// Returns the CPU time that others used since an earlier sample, in seconds.
    pub(crate) fn others_since(&self, before: &Self) -> f64 {
        let mut known = self.tree(std::process::id());
        known.extend(before.tree(std::process::id()));
        known.extend(self.tree(KERNEL));
        let spent = known.iter().map(|id| {
            let ticks = |sample: &Self| sample.processes.get(id).map_or(0, |it| it.ticks);
            ticks(self).saturating_sub(ticks(before))
        });
        let all = self.busy.saturating_sub(before.busy);
        all.saturating_sub(spent.sum()) as f64 / hertz()
    }

    /// Returns the seconds since an earlier sample.
    pub(crate) fn seconds_since(&self, before: &Self) -> f64 {
        self.at.duration_since(before.at).as_secs_f64()
    }
}

/// Returns the CPU of others between the first and the last sample, in percent of one core. It adds
/// up from sample to sample, so that a process that ends meanwhile is still known.
pub(crate) fn others_percent(samples: &[Sample]) -> f64 {
    let pairs = samples.windows(2);
    let spent: f64 = pairs.map(|pair| pair[1].others_since(&pair[0])).sum();
    match samples {
        [first, .., last] => 100.0 * spent / last.seconds_since(first).max(0.001),
        _ => 0.0,
    }
}

/// Returns the bytes that a process and its descendants had the system write to disk.
pub(crate) fn disk_bytes(sample: &Sample, root: u32) -> u64 {
    let tree = sample.tree(root).into_iter();
    tree.filter_map(|id| {
        let io = fs::read_to_string(format!("/proc/{id}/io")).ok()?;
        let line = io
            .lines()
            .find_map(|line| line.strip_prefix("write_bytes:"))?;
        line.trim().parse::<u64>().ok()
    })
    .sum()
}

/// Waits until the others leave the machine alone.
///
/// # Errors
/// If they do not within the time.
pub(crate) async fn wait_idle(percent_max: f64, limit: Duration) -> anyhow::Result<()> {
    let began = Instant::now();
    let (mut before, mut idle) = (Sample::take()?, 0);
    while idle < IDLE_LOOKS {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let now = Sample::take()?;
        let percent = others_percent(&[before, now.clone()]);
        idle = if percent < percent_max { idle + 1 } else { 0 };
        if idle < IDLE_LOOKS && began.elapsed() > limit {
            bail!(
                "the machine is not idle: after {} s other processes still use {percent:.0} % of \
                 a core; stop them, or allow more with --other-cpu-percent",
                limit.as_secs()
            );
        }
        before = now;
    }
    Ok(())
}

/// Describes the machine.
///
/// # Errors
/// If the data directory is in memory, where syncing costs nothing.
pub(crate) fn describe(directory: &Path) -> anyhow::Result<Machine> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let kib = value(&memory, "MemTotal").unwrap_or_default();
    let kib: u64 = kib.trim_end_matches(" kB").parse().unwrap_or_default();
    let file_system = file_system(&read("/proc/mounts"), &directory.canonicalize()?);
    if ["tmpfs", "ramfs"].contains(&file_system.as_str()) {
        bail!(
            "{} is in memory, where a sync costs nothing; name a directory on a disk with \
             --directory",
            directory.display()
        );
    }
    Ok(Machine {
        cores: std::thread::available_parallelism()?.get() as u64,
        processor: value(&cpu, "model name").unwrap_or_else(|| "unknown processor".to_owned()),
        memory_mib: kib / 1024,
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        file_system,
    })
}

fn hertz() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// Parses the ticks in which a processor worked: all but `idle` and `iowait`.
fn busy(stat: &str) -> Option<u64> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> = fields
        .split_whitespace()
        .filter_map(|it| it.parse().ok())
        .collect();
    // `guest` is part of `user`; `steal` is no work of this machine.
    Some(fields.get(..3)?.iter().sum::<u64>() + fields.get(5..7)?.iter().sum::<u64>())
}

fn loopback(dev: &str) -> Option<u64> {
    let line = dev
        .lines()
        .find_map(|line| line.trim().strip_prefix("lo:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Parses a line of `/proc/…/stat`. The program's name may have spaces and brackets.
fn process(stat: &str) -> Option<Process> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let field = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Process {
        parent: u32::try_from(field(1)?).ok()?,
        ticks: field(11)? + field(12)?,
        resident_pages: field(21)?,
    })
}

/// Finds the file system of a directory: the one with the longest mount point above it.
fn file_system(mounts: &str, directory: &Path) -> String {
    let lines = mounts.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (at, kind) = (fields.next()?, fields.next()?);
        directory
            .starts_with(at)
            .then(|| (at.len(), kind.to_owned()))
    });
    // The last one of the same place covers those before.
    let longest = lines.max_by_key(|(length, _)| *length);
    longest.map_or_else(|| "unknown".to_owned(), |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_parsed() {
        let stat = "cpu  10 1 5 100 7 2 3 50 0 0\ncpu0 1 1 1\n";
        assert_eq!(busy(stat), Some(21));
        let dev = "Inter-|\n face |bytes\n    lo: 1234 5 0\n  eth0: 9 9\n";
        assert_eq!(loopback(dev), Some(1234));
        let stat = "7 (a) b) S 4 7 7 0 -1 0 100 0 0 0 31 11 0 0 20 0 9 0 5 1000 77 0";
        let process = process(stat).unwrap();
        assert_eq!(
            (process.parent, process.ticks, process.resident_pages),
            (4, 42, 77)
        );
    }

    #[test]
    fn the_file_system_is_that_of_the_longest_mount_point() {
        let mounts = "a / ext4 rw\nb /tmp tmpfs rw\nc /tmp/data xfs rw\n";
        let of = |directory: &str| file_system(mounts, Path::new(directory));
        assert_eq!(of("/tmp/data/x"), "xfs");
        assert_eq!(of("/tmp/database"), "tmpfs");
        assert_eq!(of("/var"), "ext4");
    }

    #[test]
    fn the_work_of_this_process_is_not_that_of_others() {
        let before = Sample::take().unwrap();
        let began = Instant::now();
        let mut number = 0_u64;
        while began.elapsed() < Duration::from_millis(200) {
            number = std::hint::black_box(number + 1);
        }
        let after = Sample::take().unwrap();
        let me = std::process::id();
        assert!(after.cpu_seconds(me) - before.cpu_seconds(me) > 0.1);
        assert!(after.memory_mib(me) > 0.5);
    }
}
