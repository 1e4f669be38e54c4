//! Bad samples for the rules about documents.

use super::*;

fn file(path: &str, text: &str) -> File {
    File {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}

fn lines(problems: &[Problem]) -> Vec<usize> {
    problems.iter().map(|problem| problem.line).collect()
}

#[test]
fn a_link_to_nowhere_is_caught() {
    let text = "\
[good](../README.md)
[bad](missing.md)
[good](https://example.org/missing.md) and [bad](/absent) again
`[code](missing.md)`
```
[fenced](missing.md)
```
[good](#a-heading) [bad](#no-heading)
## A heading
[bad](../README.md#nowhere) [good](../README.md#what-it-is)
";
    let files = [
        file("README.md", "# What it is?\n"),
        file("docs/a.md", text),
    ];
    let exists = |path: &str| files.iter().any(|file| file.path == path);
    assert_eq!(lines(&links(&files[1], &files, exists)), [2, 3, 8, 10]);
}

#[test]
fn headings_get_the_anchors_that_people_link_to() {
    let text = "# One: two, `three`\n## Same\n## Same\n```\n# not a heading\n```\n#nor this\n";
    assert_eq!(anchors(text), ["one-two-three", "same", "same-1"]);
}

#[test]
fn a_document_that_code_names_and_that_is_missing_is_caught() {
    let text = "//! See `docs/data.md`.\n//! See docs/lost.md.\n";
    let exists = |path: &str| path == "docs/data.md";
    assert_eq!(lines(&named_documents("a.rs", text, exists)), [2]);
}

#[test]
fn a_promised_test_that_is_missing_is_caught() {
    let files = [
        file(
            "crates/core/src/decide/send_message.rs",
            "fn a_retry_is_remembered() {}",
        ),
        file(
            "crates/conclave/tests/cluster.rs",
            "async fn two_nodes_may_die() {}",
        ),
    ];
    let text = "\
| R1 | `decide/send_message::a_retry_is_remembered` |
| R2 | `crates/conclave/tests/cluster.rs::two_nodes_may_die` |
| R3 | `cluster::three_nodes_may_die` |
| R4 | `server::two_nodes_may_die` |
Prose may name `Vec::new` freely.
";
    assert_eq!(
        lines(&promised_tests("docs/requirements.md", text, &files)),
        [3, 4]
    );
}

#[test]
fn a_machine_specific_path_is_caught() {
    let text = [
        "see /wo",
        "rk/main\nsee frame/wo",
        "rk/\n\"/ro",
        "ot/x\"\n./wo",
        "rk/",
    ]
    .concat();
    assert_eq!(lines(&foreign_paths("a.md", &text)), [1, 3]);
}

#[test]
fn a_notebook_entry_without_a_date_or_an_end_is_caught() {
    assert!(notebook("docs/notebook/2030-01-31-timers.md", "short").is_empty());
    for bad in [
        "timers.md",
        "2030-1-31-timers.md",
        "2030-01-31-.md",
        "2030-01-31-timers.txt",
    ] {
        assert_eq!(
            notebook(&format!("docs/notebook/{bad}"), "short").len(),
            1,
            "{bad}"
        );
    }
    let long = "x\n".repeat(NOTEBOOK_LINES_MAX + 1);
    assert_eq!(
        notebook("docs/notebook/2030-01-31-timers.md", &long).len(),
        1
    );
}

#[test]
fn a_package_from_a_mirror_is_caught() {
    let cargo = "\
source = \"registry+https://github.com/rust-lang/crates.io-index\"
source = \"registry+https://mirror.example.org/index\"
source = \"git+https://github.com/example/example\"
";
    assert_eq!(lines(&lock_sources("Cargo.lock", cargo)), [2, 3]);
    let npm = "\"resolved\": \"https://mirror.example.org/a.tgz\",\n";
    assert_eq!(lines(&lock_sources("web/package-lock.json", npm)), [1]);
    assert!(lock_sources("web/other.json", npm).is_empty());
}
