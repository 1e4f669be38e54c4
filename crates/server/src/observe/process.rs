//! The process as the system sees it, under the names that all exporters give to these figures.
//!
//! It reads `/proc`; a figure that the system does not give is left out.

use std::{fmt, fs};

use super::page::Page;
use crate::connections::descriptors;

/// Figures of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Process {
    cpu_seconds: Option<f64>,
    threads: Option<u64>,
    virtual_bytes: Option<u64>,
    resident_bytes: Option<u64>,
    started_at_seconds: Option<f64>,
    descriptors: Option<u64>,
    descriptors_max: Option<u64>,
}

/// Writes the figures of this process.
pub(super) fn write(page: &mut Page<'_>) -> fmt::Result {
    let now = Process::now();
    page.counters(
        "process_cpu_seconds_total",
        "Processor time that the process has used, in seconds.",
        now.cpu_seconds.map(|seconds| ([], seconds)),
    )?;
    page.gauges(
        "process_start_time_seconds",
        "Time at which the process was started, in seconds since 1970.",
        now.started_at_seconds.map(|seconds| ([], seconds)),
    )?;
    for (name, help, value) in [
        (
            "process_resident_memory_bytes",
            "Memory of the process that is in use, in bytes.",
            now.resident_bytes,
        ),
        (
            "process_virtual_memory_bytes",
            "Memory that the process has reserved, in bytes.",
            now.virtual_bytes,
        ),
        ("process_threads", "Threads of the process.", now.threads),
        (
            "process_open_fds",
            "Open file descriptors, connections included.",
            now.descriptors,
        ),
        (
            "process_max_fds",
            "File descriptors that the process may have open.",
            now.descriptors_max,
        ),
    ] {
        page.gauges(name, help, value.map(|value| ([], value)))?;
    }
    Ok(())
}

impl Process {
    fn now() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let system = fs::read_to_string("/proc/stat").unwrap_or_default();
        Self {
            descriptors: descriptors::open(),
            descriptors_max: descriptors::allowed(),
            ..Self::of(
                &stat,
                &system,
                rustix::param::clock_ticks_per_second(),
                rustix::param::page_size(),
            )
        }
    }

    /// Reads the line of a process and the lines of the system, as `/proc` has them.
    fn of(stat: &str, system: &str, ticks_per_second: u64, page_bytes: usize) -> Self {
        // The name of the program, in parentheses, may hold anything.
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        let fields: Vec<&str> = fields.split_whitespace().collect();
        // The first field after the name is the third of the manual, proc_pid_stat(5).
        let field = |number: usize| -> Option<u64> { fields.get(number - 3)?.parse().ok() };
        #[expect(
            clippy::cast_precision_loss,
            reason = "a time in hundredths of a second"
        )]
        let seconds = |ticks: u64| ticks as f64 / ticks_per_second.max(1) as f64;
        let booted = system.lines().find_map(|line| line.strip_prefix("btime "));
        let booted: Option<f64> = booted.and_then(|at| at.trim().parse().ok());
        Self {
            cpu_seconds: field(14)
                .zip(field(15))
                .map(|(user, kernel)| seconds(user + kernel)),
            threads: field(20),
            virtual_bytes: field(23),
            resident_bytes: field(24).map(|pages| pages.saturating_mul(page_bytes as u64)),
            started_at_seconds: booted.zip(field(22)).map(|(at, after)| at + seconds(after)),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_process_is_read_whatever_the_program_is_called() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 1000 \
                    1048576 64 18446744073709551615";
        let system = "cpu 1 2 3\nbtime 1700000000\nprocesses 9\n";
        let process = Process::of(stat, system, 100, 4096);
        let expected = Process {
            cpu_seconds: Some(3.0),
            threads: Some(9),
            virtual_bytes: Some(1_048_576),
            resident_bytes: Some(64 * 4096),
            started_at_seconds: Some(1_700_000_010.0),
            ..Process::default()
        };
        assert_eq!(process, expected);
        assert_eq!(Process::of("", "", 100, 4096), Process::default());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_figures_of_this_process_are_there() {
        let process = Process::now();
        assert!(process.resident_bytes > Some(0) && process.threads > Some(0));
        assert!(process.descriptors > Some(2) && process.started_at_seconds > Some(1e9));
    }
}
