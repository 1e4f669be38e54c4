//! Callers in a closed loop: each waits for its answer before it sends again.
//!
//! The same loop drives every system but Conclave, whose own command does the same work.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::{
    machine::{self, Sample},
    systems::Caller,
};

/// Longest time for one operation.
const OPERATION_LIMIT: Duration = Duration::from_secs(10);
/// Pause of a caller after a failure, so that a dead server does not keep a core busy.
const AFTER_FAILURE: Duration = Duration::from_millis(50);
/// Parts of a run between which the counters are read.
const PARTS: u32 = 20;
/// Longest time between two readings of the counters.
const PART_MAX: Duration = Duration::from_secs(5);

/// What the callers saw.
pub(crate) struct Load {
    /// Acknowledged operations of the measured time.
    pub(crate) acked: u64,
    /// Acknowledged operations, with those of the warm-up.
    pub(crate) acked_all: u64,
    /// Failed operations and those without an answer in time, with those of the warm-up.
    pub(crate) errors: u64,
    /// Times until the answers of the measured time, in microseconds.
    pub(crate) latencies: Histogram<u64>,
    /// Counters of the machine from the begin to the end of the measured time.
    pub(crate) samples: Vec<Sample>,
    /// Bytes that the servers wrote to disk in that time.
    pub(crate) disk_bytes: u64,
}

#[derive(Default)]
struct Shared {
    measured: AtomicBool,
    stop: AtomicBool,
    next: AtomicU64,
    acked: AtomicU64,
    errors: AtomicU64,
    first_error: Mutex<Option<String>>,
}

impl Shared {
    fn remember(&self, error: String) {
        let mut first = self
            .first_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(error);
    }
}

/// Runs the load.
pub(crate) async fn run(
    caller: &Caller,
    callers: u64,
    (warm_up, measured): (Duration, Duration),
    servers: &[u32],
) -> anyhow::Result<Load> {
    let shared = Arc::new(Shared::default());
    let mut tasks = JoinSet::new();
    for number in 0..callers {
        tasks.spawn(one_caller(shared.clone(), caller.clone(), number));
    }
    tokio::time::sleep(warm_up).await;
    let disk = |sample: &Sample| -> u64 {
        servers
            .iter()
            .map(|id| machine::disk_bytes(sample, *id))
            .sum()
    };
    let mut samples = vec![Sample::take()?];
    let disk_before = disk(&samples[0]);
    shared.measured.store(true, Relaxed);
    let begin = samples[0].at;
    let part = (measured / PARTS).min(PART_MAX);
    while begin.elapsed() < measured {
        tokio::time::sleep(part.min(measured.saturating_sub(begin.elapsed()))).await;
        samples.push(Sample::take()?);
    }
    shared.measured.store(false, Relaxed);
    let last = samples.last().context("there is a sample")?;
    let disk_bytes = disk(last).saturating_sub(disk_before);
    shared.stop.store(true, Relaxed);
    let mut latencies = histogram();
    for part in tasks.join_all().await {
        latencies.add(part)?;
    }
    if let Some(error) = &*shared
        .first_error
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
    {
        eprintln!("  the first of the failures: {error}");
    }
    Ok(Load {
        acked: latencies.len(),
        acked_all: shared.acked.load(Relaxed),
        errors: shared.errors.load(Relaxed),
        latencies,
        samples,
        disk_bytes,
    })
}

async fn one_caller(shared: Arc<Shared>, caller: Caller, number: u64) -> Histogram<u64> {
    let mut latencies = histogram();
    while !shared.stop.load(Relaxed) {
        let message = shared.next.fetch_add(1, Relaxed);
        let began = Instant::now();
        let sent = tokio::time::timeout(OPERATION_LIMIT, caller.send(number, message)).await;
        let error = match sent {
            Ok(Ok(())) => {
                shared.acked.fetch_add(1, Relaxed);
                if shared.measured.load(Relaxed) {
                    let us = began.elapsed().as_micros();
                    latencies.saturating_record(u64::try_from(us).unwrap_or(u64::MAX));
                }
                continue;
            }
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("no answer within {OPERATION_LIMIT:?}"),
        };
        shared.errors.fetch_add(1, Relaxed);
        shared.remember(error);
        tokio::time::sleep(AFTER_FAILURE).await;
    }
    latencies
}

fn histogram() -> Histogram<u64> {
    const LATENCY_MAX_US: u64 = 60_000_000;
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("these bounds are valid")
}

/// Makes a message: text as people write it, different for each number.
pub(crate) fn payload(number: u64, bytes: u64) -> Vec<u8> {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut text = format!("message {number:012} ").into_bytes();
    while text.len() < bytes {
        text.extend_from_slice(b"the quick brown fox jumps over the lazy dog ");
    }
    text.truncate(bytes);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_size_and_differs() {
        assert_eq!(payload(7, 100).len(), 100);
        assert_ne!(payload(7, 100), payload(8, 100));
        assert_eq!(payload(7, 5).len(), 5);
    }
}
