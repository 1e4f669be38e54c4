//! The house rules, applied to the whole tree.
//!
//! A failure lists every problem with its place and its cure. The rules themselves, each with a
//! bad sample, are in `src/`.

use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
};

use conclave_tidy::{
    FLOORS, File, Problem, arrows, circles, clocks, columns, commands, comments, crowded,
    drawn_floors, floors, forbidden_dependencies, forbidden_names, foreign_paths, front_page,
    grpc_inside, hash_order, header, hidden_subjects, length, links, lock_sources, long_test_names,
    named_documents, named_paths, notebook, promised_tests, read_tree, routes, story,
    undocumented_calls, unicode_tables,
};

static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("this crate is two folders below the root")
        .to_owned()
});

static FILES: LazyLock<Vec<File>> =
    LazyLock::new(|| read_tree(&ROOT).expect("the tree can be read"));

fn exists(path: &str) -> bool {
    ROOT.join(path).exists()
}

/// Returns all files of one kind in one part of the tree; there must be some.
fn files(folder: &str, ending: &str) -> Vec<&'static File> {
    let files: Vec<&File> = FILES
        .iter()
        .filter(|file| file.path.starts_with(folder) && file.path.ends_with(ending))
        .collect();
    assert!(
        !files.is_empty(),
        "there is no `{ending}` in `{folder}`: the rule looks nowhere"
    );
    files
}

/// Returns all sources in Rust, also those that only measure.
fn rust() -> Vec<&'static File> {
    [files("crates/", ".rs"), files("bench/", ".rs")].concat()
}

/// Fails with all problems that a rule finds.
fn check(files: &[&File], rule: impl Fn(&File) -> Vec<Problem>) {
    let problems: Vec<String> = files
        .iter()
        .flat_map(|file| rule(file))
        .map(|problem| problem.to_string())
        .collect();
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn arrows_between_crates_run_one_way() {
    check(&files("crates/", "Cargo.toml"), |file| {
        arrows(&file.path, &file.text)
    });
}

#[test]
fn external_crates_stay_in_their_homes() {
    check(&files("crates/", "Cargo.toml"), |file| {
        forbidden_dependencies(&file.path, &file.text)
    });
}

#[test]
fn files_of_a_crate_import_each_other_in_one_direction() {
    let problems = circles(&files("crates/", ".rs"));
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn floors_import_from_those_below_only() {
    let files = files("crates/", ".rs");
    let problems = FLOORS
        .iter()
        .flat_map(|(folder, order)| floors(&files, folder, order));
    let problems: Vec<String> = problems.map(|problem| problem.to_string()).collect();
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn the_architecture_shows_the_floors() {
    check(&files("docs/architecture", ".md"), |file| {
        let drawn = |(_, order): &(&str, &[&str])| drawn_floors(&file.path, &file.text, order);
        FLOORS.iter().flat_map(drawn).collect()
    });
}

#[test]
fn folders_hold_few_files() {
    let problems = crowded(&files("crates/", ".rs"));
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn every_file_opens_with_its_promise() {
    check(&rust(), |file| header(&file.path, &file.text));
}

#[test]
fn every_script_opens_with_its_story() {
    let scripts = files("crates/", ".txt");
    let scripts: Vec<&File> = scripts
        .into_iter()
        .filter(|file| file.path.contains("/tests/scripts/"))
        .collect();
    check(&scripts, |file| story(&file.path, &file.text));
}

#[test]
fn lines_fit_the_screen() {
    check(&rust(), |file| columns(&file.path, &file.text));
}

#[test]
fn files_are_short_or_say_why_not() {
    check(&rust(), |file| length(&file.path, &file.text));
}

#[test]
fn sentences_have_concrete_subjects() {
    for (folder, ending) in [("", ".rs"), ("", ".proto"), ("", ".md")] {
        let mut files = files(folder, ending);
        // The list itself.
        files.retain(|file| file.path != "crates/tidy/src/english.rs");
        check(&files, |file| hidden_subjects(&file.path, &file.text));
    }
}

#[test]
fn test_names_are_short() {
    check(&rust(), |file| long_test_names(&file.path, &file.text));
}

#[test]
fn names_contain_no_forbidden_words() {
    check(&files("crates/", ".rs"), |file| {
        forbidden_names(&file.path, &file.text)
    });
}

#[test]
fn the_rules_and_the_state_use_no_clock_and_no_randomness() {
    let mut both = files("crates/core/src/", ".rs");
    both.extend(files("crates/storage/src/", ".rs"));
    check(&both, |file| {
        // What the log and the search index measure never goes into the state.
        let beside = ["crates/storage/src/log", "crates/storage/src/search"];
        let measures = beside.iter().any(|name| file.path.starts_with(name));
        clocks(&file.path, &file.text, measures)
    });
}

#[test]
fn the_rules_use_no_hash_order() {
    check(&files("crates/core/src/", ".rs"), |file| {
        hash_order(&file.path, &file.text)
    });
}

#[test]
fn replicated_decisions_use_no_unicode_table() {
    // Words of a search are found by each node for itself; they decide nothing.
    let search = ["crates/core/src/query", "crates/core/src/words"];
    let mut decided = files("crates/core/src/", ".rs");
    decided.retain(|file| !search.iter().any(|name| file.path.starts_with(name)));
    decided.extend(files("crates/storage/src/state/", ".rs"));
    decided.extend(files("crates/wire/src/batch/", ".rs"));
    check(&decided, |file| unicode_tables(&file.path, &file.text));
}

#[test]
fn grpc_stays_at_the_edges_of_the_server() {
    check(&files("crates/server/src/", ".rs"), |file| {
        grpc_inside(&file.path, &file.text)
    });
}

#[test]
fn links_lead_somewhere() {
    let front = [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "bench/peers/README.md",
    ];
    let mut documents = files("docs/", ".md");
    documents.extend(
        FILES
            .iter()
            .filter(|file| front.contains(&file.path.as_str())),
    );
    check(&documents, |file| links(file, &FILES, exists));
}

/// Returns the documents about the tree of today: an entry of the notebook names what was there on
/// its day.
fn documents_of_today() -> Vec<&'static File> {
    let mut documents = files("docs/", ".md");
    documents.retain(|file| !file.path.starts_with("docs/notebook/"));
    let front = ["README.md", "CONTRIBUTING.md", "bench/peers/README.md"];
    documents.extend(
        FILES
            .iter()
            .filter(|file| front.contains(&file.path.as_str())),
    );
    documents
}

#[test]
fn paths_that_documents_name_exist() {
    check(&documents_of_today(), |file| {
        named_paths(&file.path, &file.text, exists)
    });
}

#[test]
fn commands_of_developers_name_what_is_there() {
    check(&documents_of_today(), |file| commands(file, &FILES));
}

#[test]
fn paths_through_the_code_are_short_and_have_no_loop() {
    check(&files("docs/architecture.md", ""), |file| {
        routes(&file.path, &file.text)
    });
}

#[test]
fn documents_that_code_names_exist() {
    let code: Vec<&File> = FILES
        .iter()
        // The rules name documents that need not exist, and in their bad samples must not.
        .filter(|file| !file.path.starts_with("crates/tidy/"))
        .filter(|file| {
            [".rs", ".proto", ".toml"]
                .iter()
                .any(|end| file.path.ends_with(end))
        })
        .collect();
    check(&code, |file| {
        named_documents(&file.path, &file.text, exists)
    });
}

#[test]
fn the_protocol_explains_itself() {
    check(&files("proto/", ".proto"), |file| {
        comments(&file.path, &file.text)
    });
}

#[test]
fn every_call_is_on_the_page_about_the_protocol() {
    let page = FILES.iter().find(|file| file.path == "docs/protocol.md");
    let page = page.expect("there is a page about the protocol");
    check(&files("proto/conclave/v1/", ".proto"), |file| {
        undocumented_calls(&file.path, &file.text, &page.text)
    });
}

#[test]
fn front_pages_name_files_that_exist() {
    check(&files("crates/", "src/lib.rs"), |file| {
        front_page(&file.path, &file.text, exists)
    });
}

#[test]
fn requirements_name_tests_that_exist() {
    // There may be no such document yet; once there is one, it must be true.
    let table: Vec<&File> = FILES
        .iter()
        .filter(|file| file.path == "docs/requirements.md")
        .collect();
    check(&table, |file| {
        promised_tests(&file.path, &file.text, &FILES)
    });
}

#[test]
fn no_file_names_a_machine_specific_path() {
    check(&FILES.iter().collect::<Vec<_>>(), |file| {
        foreign_paths(&file.path, &file.text)
    });
}

#[test]
fn packages_come_from_the_public_indexes() {
    let locks: Vec<&File> = FILES
        .iter()
        .filter(|file| file.path.contains("lock"))
        .collect();
    assert!(
        locks.iter().any(|file| file.path == "Cargo.lock"),
        "Cargo.lock is committed"
    );
    check(&locks, |file| lock_sources(&file.path, &file.text));
}

#[test]
fn notebook_entries_have_a_date_and_one_page() {
    let entries: Vec<&File> = FILES
        .iter()
        .filter(|file| file.path.starts_with("docs/notebook/"))
        .collect();
    check(&entries, |file| notebook(&file.path, &file.text));
}
