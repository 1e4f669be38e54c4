//! A process that is killed at any moment loses no entry that was reported as on disk.

mod log_support;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use conclave_storage::log::LogStore;
use log_support::{append, append_here, entry, id, open};

const ROUNDS: u64 = 20;
const DIRECTORY: &str = "CONCLAVE_TEST_LOG_DIRECTORY";
const PREFIX: &str = "on disk: ";

/// Runs as the child: appends until it is killed, and prints each entry that is on disk.
#[test]
#[ignore = "runs only as the child of the test below"]
fn child_appends_until_it_is_killed() {
    let Ok(dir) = std::env::var(DIRECTORY) else {
        return;
    };
    let log = open(dir.as_ref());
    let mut index = log.state().last.map_or(1, |last| last.index + 1);
    loop {
        let entries = vec![entry(1, index, (index % 700) as usize)];
        match index % 3 {
            0 => append(&log, entries),
            _ => append_here(&log, entries),
        }
        // Not `println`, whose output the test harness would hold back.
        let told = writeln!(std::io::stdout(), "{PREFIX}{index}");
        told.expect("the parent reads until it kills this process");
        index += 1;
    }
}

fn start_child(dir: &std::path::Path) -> Child {
    let this = std::env::current_exe().expect("a test binary knows its path");
    Command::new(this)
        .args([
            "--exact",
            "child_appends_until_it_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(DIRECTORY, dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts")
}

#[test]
fn a_killed_process_loses_no_synced_entry() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut acked = 0;
    for round in 0..ROUNDS {
        let mut child = start_child(dir.path());
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut next = || loop {
            let line = lines.next()?.expect("lines are text");
            if let Some((_, index)) = line.split_once(PREFIX) {
                return Some(index.parse::<u64>().expect("it is a number"));
            }
        };
        // Killed after a number of answers that differs each time; the point within a frame, a
        // segment change or a sync depends on the machine.
        for _ in 0..(round * 37) % 101 + 1 {
            acked = next().expect("the child goes on until it is killed");
        }
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        while let Some(index) = next() {
            acked = index;
        }
        let log = open(dir.path());
        let last = log.state().last.expect("there are entries").index;
        assert!(last >= acked, "{acked} was on disk, the log ends at {last}");
        let all = log.read(0..u64::MAX, usize::MAX).expect("it can be read");
        assert_eq!(all.len() as u64, last, "the log has a gap");
        for (found, index) in all.iter().zip(1..) {
            assert_eq!(found.id, id(1, index));
            assert_eq!(*found, entry(1, index, (index % 700) as usize));
        }
    }
}
