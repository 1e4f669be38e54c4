//! Measures the cost of a process: its CPU time and its memory, as the system counts them.

use std::fs;

/// Returns the CPU time of a process so far, in user and system mode.
pub(crate) fn cpu_us(process: &str) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    Some(ticks(&stat)? * 1_000_000 / rustix::param::clock_ticks_per_second())
}

/// Returns the memory that a process has to itself, and its part of what it shares, in KiB.
pub(crate) fn memory_kib(process: &str) -> Option<u64> {
    kib(
        "Pss:",
        &fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?,
    )
}

/// Returns the memory of a process that is not swapped out, in KiB: what it shares counts whole.
pub(crate) fn resident_kib(process: &str) -> Option<u64> {
    kib(
        "VmRSS:",
        &fs::read_to_string(format!("/proc/{process}/status")).ok()?,
    )
}

/// Parses `utime + stime` in a line of `/proc/…/stat`. The program's name may have spaces and
/// brackets.
fn ticks(stat: &str) -> Option<u64> {
    const FIELDS_BEFORE_UTIME: usize = 11;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(FIELDS_BEFORE_UTIME);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// Parses the line with this name of a file in `/proc` with amounts in KiB.
fn kib(name: &str, text: &str) -> Option<u64> {
    let mut lines = text.lines();
    let rest = lines.find_map(|line| line.strip_prefix(name))?;
    rest.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_time_is_parsed_behind_any_process_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 31 11 0 0 20 0 9";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks("7 (short) S 1"), None);
        assert!(cpu_us("self").is_some());
    }

    #[test]
    fn the_memory_of_a_process_is_parsed_from_its_smaps() {
        let rollup = "5580-7ffc ---p 0 0 [rollup]\nRss:  9 kB\nPss:     1234 kB\nPss_Dirty: 5 kB\n";
        assert_eq!(kib("Pss:", rollup), Some(1234));
        assert_eq!(kib("Pss:", "Rss: 9 kB\n"), None);
        assert!(memory_kib("self").is_some_and(|kib| kib > 0));
        assert!(resident_kib("self").is_some_and(|kib| kib > 0));
    }
}
