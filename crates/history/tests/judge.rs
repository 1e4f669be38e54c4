//! Hand-made histories: each bad one is blamed for what its file name says, and for nothing else.
//!
//! `bad/<property>-<story>.jsonl` must be caught by that property; `good/<story>.jsonl` must hold.
//! The first line of each file describes the story in a sentence.

use std::{collections::BTreeSet, fs, io::BufReader, path::PathBuf};

use conclave_history::{History, Verdict, judge};

/// Returns all histories of one folder, by story.
fn histories(folder: &str) -> Vec<(String, History)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(folder);
    let entries = fs::read_dir(&folder).expect("the folder of histories exists");
    let mut histories: Vec<(String, History)> = entries
        .map(|entry| {
            let path = entry.expect("the folder can be listed").path();
            let story = path
                .file_stem()
                .expect("a file has a name")
                .to_string_lossy()
                .into_owned();
            let file = fs::File::open(&path).expect("the history can be opened");
            let history = History::read_json_lines(BufReader::new(file))
                .unwrap_or_else(|error| panic!("{story}: {error:?}"));
            (story, history)
        })
        .collect();
    histories.sort_by(|one, other| one.0.cmp(&other.0));
    histories
}

fn blamed(verdict: &Verdict) -> Vec<&'static str> {
    let properties = verdict.properties();
    properties
        .into_iter()
        .filter(|(_, found)| found.count > 0)
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn every_bad_history_is_blamed_for_exactly_its_fault() {
    for (story, history) in histories("bad") {
        let (property, _) = story
            .split_once('-')
            .expect("the name starts with the property");
        let verdict = judge(&history);
        assert!(!verdict.holds(), "{story} holds");
        assert_eq!(blamed(&verdict), [property], "{story}: {verdict:#?}");
    }
}

#[test]
fn every_property_has_a_bad_history() {
    let stories = histories("bad");
    let covered: BTreeSet<&str> = stories
        .iter()
        .filter_map(|(story, _)| story.split_once('-'))
        .map(|(name, _)| name)
        .collect();
    let verdict = Verdict::default();
    let properties: BTreeSet<&str> = verdict.properties().map(|(name, _)| name).into();
    assert_eq!(covered, properties);
}

#[test]
fn every_good_history_holds() {
    let histories = histories("good");
    assert!(!histories.is_empty(), "there are good histories");
    for (story, history) in histories {
        let verdict = judge(&history);
        assert!(verdict.holds(), "{story}: {verdict:#?}");
    }
}

#[test]
fn a_history_survives_being_written_and_read() {
    for (story, history) in histories("bad").into_iter().chain(histories("good")) {
        let mut written = Vec::new();
        history
            .write_json_lines(&mut written)
            .expect("memory takes everything");
        let read = History::read_json_lines(written.as_slice()).expect("our own lines are read");
        assert_eq!(read, history, "{story}");
    }
}

#[test]
fn the_verdict_counts_send_outcomes() {
    let stories = histories("good");
    let of = |wanted: &str| {
        let (_, history) = stories
            .iter()
            .find(|(story, _)| story == wanted)
            .expect("the story exists");
        let verdict = judge(history);
        [
            verdict.sent,
            verdict.acked,
            verdict.refused,
            verdict.unknown,
            verdict.unknown_seen,
        ]
    };
    assert_eq!(of("quiet"), [2, 2, 0, 0, 0]);
    assert_eq!(of("refused"), [3, 2, 1, 0, 0]);
    assert_eq!(of("unknown_that_happened"), [3, 2, 0, 1, 1]);
    assert_eq!(of("unknown_that_did_not_happen"), [3, 2, 0, 1, 0]);
    assert_eq!(of("run_that_ended_before_the_answer"), [3, 2, 0, 1, 0]);
}
