//! Runs every story in `tests/scripts` and compares its output with the output in the file.
//!
//! A story is a text file. Its first line is a sentence, the rule that it tells. Then come blocks:
//! lines to run (see `language`), `---`, their output, an empty line. Lines that start with `#` are
//! for the reader.
//!
//! `UPDATE=1 cargo test -p conclave-core --test scripts` writes the current output into the files:
//! read the difference before you keep it.

#![allow(clippy::too_many_lines, reason = "a test tells its story in one piece")]

mod language;
mod support;

use std::{fs, path::PathBuf};

use language::World;

/// Minimum number of stories: with fewer, the files were not found.
const SCRIPTS_MIN: usize = 20;

#[test]
fn every_script_produces_its_recorded_output() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let update = std::env::var_os("UPDATE").is_some_and(|value| value == "1");
    let entries = fs::read_dir(&folder).expect("the folder of scripts exists");
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(
        paths.len() >= SCRIPTS_MIN,
        "only {} scripts were found",
        paths.len()
    );

    let mut failures = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let told = fs::read_to_string(&path).unwrap();
        match retell(&told) {
            Err(error) => failures.push(format!("{name}: {error}")),
            Ok(happened) if happened == told => {}
            Ok(happened) if update => fs::write(&path, happened).unwrap(),
            Ok(happened) => failures.push(difference(&name, &told, &happened)),
        }
    }
    assert!(
        failures.is_empty(),
        "\n{}\n(UPDATE=1 rewrites them)",
        failures.join("\n")
    );
}

#[test]
fn a_script_with_different_output_fails() {
    let told = "# Alice exists.\n\ncreate alice\n---\n= AccountCreated account=7:alice\n";
    let happened = retell(told).unwrap();
    assert_ne!(told, happened);
    assert!(difference("x", told, &happened).contains("x:5"));
    assert!(
        retell("create alice\n---\n").is_err(),
        "it does not start with a sentence"
    );
    assert!(
        retell("# A.\n\nalice#1 logout\n---\n").is_err(),
        "no account is called alice"
    );
}

/// Returns the story with its current outputs.
fn retell(told: &str) -> Result<String, String> {
    let mut lines = told.lines();
    let first = lines.next().unwrap_or_default();
    if !(first.starts_with("# ") && first.ends_with('.')) {
        return Err("the first line is not a sentence".to_owned());
    }
    let mut world = World::default();
    let mut text = format!("{first}\n");
    let mut block = Vec::new();
    while let Some(line) = lines.next() {
        if line == "---" {
            let output = world.run(&block)?;
            text += &format!("---\n{output}");
            block.clear();
            let after = lines.find(|line| line.is_empty());
            text += after.map_or("", |_| "\n");
            continue;
        }
        text += &format!("{line}\n");
        if !line.is_empty() && !line.starts_with('#') {
            block.push(line);
        }
    }
    match block.first() {
        Some(line) => Err(format!("`---` is missing after {line:?}")),
        None => Ok(text),
    }
}

fn difference(name: &str, told: &str, happened: &str) -> String {
    let (mut told, mut happened) = (told.lines(), happened.lines());
    let mut number = 0;
    loop {
        number += 1;
        let (told, happened) = (told.next(), happened.next());
        if told != happened || told.is_none() {
            let (told, happened) = (told.unwrap_or("(end)"), happened.unwrap_or("(end)"));
            return format!("{name}:{number}\n  told:     {told}\n  happened: {happened}");
        }
    }
}
