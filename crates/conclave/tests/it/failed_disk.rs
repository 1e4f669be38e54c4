//! A node whose disk fails to read or write stops with a clear error, once, and leaves its data as
//! it is; on a working disk it continues as the same node.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use conclave_client::core::{AccountName, Recipient};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::support::{Cluster, until};

/// Path whose first byte cannot be read: an I/O error, as of a disk that does not return a sector.
const UNREADABLE: &str = "/proc/self/mem";
/// File size at which writes fail, in bytes: more than the log of the process has.
const WRITES_END: u64 = 512 * 1024;

/// Checks that a node has logged exactly one error about its disk, and no damage.
fn told_once(log: &str) {
    let lines = |words: &str| log.lines().filter(|line| line.contains(words)).count();
    assert_eq!(lines("the disk has failed"), 1, "{log}");
    let errors: Vec<&str> = log
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    let [error] = errors[..] else {
        panic!("{log}");
    };
    assert!(error.starts_with("error: the disk of "), "{error}");
    assert!(error.contains(" failed: "), "{error}");
    assert_eq!(lines("hint: the data was left as it is"), 1, "{log}");
    for word in ["damage", "it restarts", "panicked"] {
        assert!(!log.contains(word), "{word}: {log}");
    }
}

fn is_untouched(data: &Path) {
    for name in ["damaged.json", "damaged-1"] {
        assert!(!data.join(name).exists(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_disk_writes_stop_the_node_and_quarantine_nothing() {
    let cluster = Cluster::start_with_writes_that_fail(3).await;
    let anonymous = cluster.client();
    for name in ["alice", "bob"] {
        anonymous.create_account(name, "open sesame").await.unwrap();
    }
    let login = anonymous.login("alice", "open sesame").await.unwrap();
    let alice = anonymous.with_token(&login.token).unwrap();
    let bob = Recipient::Account(AccountName::new("bob").unwrap());
    let node = cluster.a_follower().await;
    let pid = i32::try_from(cluster.pid(node)).unwrap();
    let limit = Rlimit {
        current: Some(WRITES_END),
        maximum: None,
    };
    prlimit(Pid::from_raw(pid), Resource::Fsize, limit).unwrap();
    let text = "x".repeat(16 * 1024);
    let talking = async {
        loop {
            // The other nodes still serve.
            alice.send(&bob, text.as_str()).await.unwrap();
        }
    };
    tokio::select! {
        () = talking => {}
        () = cluster.ends(node) => {}
    }
    told_once(&cluster.log(node));
    let data = cluster.directory(node);
    is_untouched(&data);
    alice.send(&bob, "goes on").await.unwrap();
    // On a working disk it is the same node, with the data that it had.
    cluster.start_node(node).await;
    cluster.all_rejoined().await;
    is_untouched(&data);
}

/// Returns the newest segment of a node's log.
fn segment(data: &Path) -> PathBuf {
    let files = fs::read_dir(data.join("log")).unwrap();
    let files = files.map(|item| item.unwrap().path());
    let mut segments: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "segment"))
        .collect();
    segments.sort();
    segments.pop().expect("there is one")
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_files_at_start_are_a_disk_failure_not_damage() {
    let cluster = Cluster::start(3).await;
    let node = cluster.a_follower().await;
    let data = cluster.directory(node);
    let mark = data.join("state.mark");
    until("its state was synced", async || mark.exists().then_some(())).await;
    cluster.stop(node).await;
    for file in [
        segment(&data),
        data.join("state.db"),
        mark,
        data.join("identity.json"),
    ] {
        let well = file.with_extension("well");
        fs::rename(&file, &well).unwrap();
        symlink(UNREADABLE, &file).unwrap();
        let said_before = cluster.log(node).len();
        cluster.try_start_node(node).await.unwrap_err();
        let log = cluster.log(node);
        told_once(&log[said_before..]);
        assert!(log.contains("os error 5"), "{log}");
        is_untouched(&data);
        fs::rename(&well, &file).unwrap();
    }
    cluster.start_node(node).await;
    cluster.all_rejoined().await;
    is_untouched(&data);
}
