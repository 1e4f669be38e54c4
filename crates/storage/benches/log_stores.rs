//! Compares ways to keep the log: appends per second and latency at several numbers of appenders.
//!
//! Each appender waits until its entry is on disk before it appends the next. The figures and what
//! follows from them are in `docs/notebook/2026-11-20-log-store.md`.
#![allow(clippy::print_stdout, reason = "the table is what this program is for")]
#![allow(clippy::disallowed_methods, reason = "it measures time")]
#![allow(clippy::unwrap_used, reason = "a failure ends the measurement")]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use conclave_storage::log::{Completion, Entry, EntryKind, LogId, LogStore, Options, SegmentLog};
use rusqlite::Connection;

const ENTRY_BYTES: usize = 200;
const APPENDERS: [usize; 3] = [1, 16, 64];
const ROUNDS: usize = 3;
const MEASURED: Duration = Duration::from_secs(3);
/// Appends that wait for the SQLite writer.
const QUEUE_MAX: usize = 1024;

/// A store under measurement: takes the bytes of the next entry and the completion that waits for
/// them.
trait Store: Sync {
    fn append(&self, bytes: Bytes, done: Completion);
}

struct Segments {
    log: SegmentLog,
    next: Mutex<u64>,
}

impl Segments {
    fn new(log: SegmentLog) -> Self {
        Self {
            log,
            next: Mutex::new(1),
        }
    }
}

impl Store for Segments {
    fn append(&self, bytes: Bytes, done: Completion) {
        let mut next = self.next.lock().unwrap();
        let id = LogId {
            term: 1,
            node: 1,
            index: *next,
        };
        *next += 1;
        self.log
            .append(
                vec![Entry {
                    id,
                    kind: EntryKind::Commands,
                    bytes,
                }],
                done,
            )
            .unwrap();
    }
}

/// A table in a file of its own, and one thread that commits everything that waits.
struct Sqlite {
    queue: SyncSender<(Bytes, Completion)>,
}

impl Sqlite {
    fn open(dir: &Path) -> Self {
        let connection = Connection::open(dir.join("log.db")).unwrap();
        connection
            .pragma_update(None, "journal_mode", "WAL")
            .unwrap();
        connection
            .pragma_update(None, "synchronous", "FULL")
            .unwrap();
        connection
            .execute_batch("CREATE TABLE log (position INTEGER PRIMARY KEY, bytes BLOB NOT NULL)")
            .unwrap();
        let (queue, inbox) = sync_channel(QUEUE_MAX);
        thread::spawn(move || Self::run(connection, &inbox));
        Self { queue }
    }

    fn run(mut connection: Connection, inbox: &Receiver<(Bytes, Completion)>) {
        let mut position = 0;
        while let Ok(first) = inbox.recv() {
            let batch: Vec<_> = std::iter::once(first).chain(inbox.try_iter()).collect();
            let transaction = connection.transaction().unwrap();
            let mut insert = transaction
                .prepare_cached("INSERT INTO log VALUES (?1, ?2)")
                .unwrap();
            for (bytes, _) in &batch {
                position += 1;
                insert.execute((position, &bytes[..])).unwrap();
            }
            drop(insert);
            transaction.commit().unwrap();
            for (_, done) in batch {
                done(Ok(()));
            }
        }
    }
}

impl Store for Sqlite {
    fn append(&self, bytes: Bytes, done: Completion) {
        self.queue.send((bytes, done)).unwrap();
    }
}

/// Appends from `appenders` threads for a while; returns every latency.
fn measure(store: &dyn Store, appenders: usize) -> Vec<Duration> {
    let stop = AtomicBool::new(false);
    let all = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..appenders {
            scope.spawn(|| {
                let bytes = Bytes::from(vec![7; ENTRY_BYTES]);
                let mut latencies = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let started = Instant::now();
                    let appender = thread::current();
                    let finished = Arc::new(AtomicBool::new(false));
                    let told = Arc::clone(&finished);
                    let done = move |result: std::io::Result<()>| {
                        result.unwrap();
                        told.store(true, Ordering::Release);
                        appender.unpark();
                    };
                    store.append(bytes.clone(), Box::new(done));
                    while !finished.load(Ordering::Acquire) {
                        thread::park();
                    }
                    latencies.push(started.elapsed());
                }
                all.lock().unwrap().extend(latencies);
            });
        }
        thread::sleep(MEASURED);
        stop.store(true, Ordering::Relaxed);
    });
    all.into_inner().unwrap()
}

fn open(name: &str, dir: &Path) -> Box<dyn Store> {
    match name {
        "preallocated" => Box::new(Segments::new(
            SegmentLog::open(dir, Options::default()).unwrap(),
        )),
        "growing" => Box::new(Segments::new(
            SegmentLog::open_growing(dir, Options::default()).unwrap(),
        )),
        _ => Box::new(Sqlite::open(dir)),
    }
}

fn main() {
    println!(
        "{:>12} {:>9} {:>10} {:>8} {:>8}",
        "store", "appenders", "appends/s", "p50 us", "p99 us"
    );
    // Rounds go through all stores in turn, so that a busy minute hits each of them.
    for round in 0..ROUNDS {
        println!("round {}", round + 1);
        for appenders in APPENDERS {
            for name in ["preallocated", "growing", "sqlite"] {
                let dir = tempfile::tempdir().unwrap();
                let store = open(name, dir.path());
                let mut latencies = measure(&*store, appenders);
                latencies.sort_unstable();
                let at = |part: usize| latencies[(latencies.len() - 1) * part / 100].as_micros();
                let rate = latencies.len() as f64 / MEASURED.as_secs_f64();
                println!(
                    "{name:>12} {appenders:>9} {rate:>10.0} {:>8} {:>8}",
                    at(50),
                    at(99)
                );
            }
        }
    }
}
