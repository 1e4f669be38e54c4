//! Tables say what the figures say, also where runs differ or are missing.

use super::*;
use crate::results::{Kill, Machine};

fn system(name: &str) -> System {
    let text = || "as it is".to_owned();
    System {
        name: name.to_owned(),
        version: text(),
        settings: text(),
        synced: text(),
        replicated: text(),
        retries: text(),
    }
}

fn run(system: &str, round: u64, per_second: f64) -> Run {
    Run {
        system: system.to_owned(),
        round,
        callers: 16,
        per_second,
        p50_us: 1000,
        p99_us: 4000,
        server_cpu_us: 100.0,
        client_cpu_us: 10.0,
        busiest_server_share: 0.5,
        disk_bytes: 4096.0,
        network_bytes: 900.0,
        memory_mib: vec![vec![1.0, 2.0], vec![30.0, 20.0]],
        other_cpu_percent: 3.0,
        errors: 0,
        verified: Some(true),
    }
}

fn results() -> Results {
    let machine = Machine {
        cores: 2,
        processor: "a processor".to_owned(),
        memory_mib: 4096,
        kernel: "6.1".to_owned(),
        file_system: "ext4".to_owned(),
    };
    let gap = |number, gap_ms| Kill {
        system: "etcd".to_owned(),
        number,
        gap_ms,
    };
    Results {
        day: "2026-11-27".to_owned(),
        command: "bench/peers/run rounds".to_owned(),
        machine,
        nodes: 3,
        payload_bytes: 100,
        warm_up_seconds: 1.0,
        seconds: 5.0,
        rounds: 3,
        other_cpu_percent_max: 15.0,
        systems: ["Conclave", "etcd"].map(system).to_vec(),
        runs: vec![
            run("Conclave", 1, 2000.0),
            run("etcd", 1, 1000.0),
            run("Conclave", 2, 900.0),
            run("etcd", 2, 300.0),
            run("Conclave", 3, 1500.0),
            run("etcd", 3, 1500.0),
        ],
        kills: vec![gap(1, 300.0), gap(2, 700.0)],
    }
}

#[test]
fn a_ratio_is_the_median_of_the_ratios_of_rounds() {
    // The medians of both would give 1.5.
    assert!(ratios(&results()).contains("| etcd | **2.00** (1.00–3.00) |"));
}

#[test]
fn a_run_whose_messages_were_not_all_there_is_named() {
    let mut results = results();
    assert!(!figures(&results).contains("NO"));
    results.runs[1].verified = Some(false);
    assert!(figures(&results).contains("NO"));
    results.runs[1].verified = None;
    assert!(figures(&results).contains("cannot be asked"));
}

#[test]
fn each_part_has_its_text_and_pictures() {
    let made = make(&PARTS.map(|name| (name.to_owned(), results())).into());
    assert_eq!(made.texts.len(), PARTS.len() + 1);
    assert!(made.texts["kills"].contains("| etcd | 2 | 300 | 500 | 700 | 700 |"));
    for (name, text) in &made.texts {
        for (_, rest) in text
            .match_indices("](performance/")
            .map(|(at, it)| text.split_at(at + it.len()))
        {
            let file = rest.split(')').next().unwrap();
            assert!(made.pictures.contains_key(file), "{name}: {file}");
        }
    }
    assert_eq!(make(&BTreeMap::new()).texts["long"], MISSING);
}
