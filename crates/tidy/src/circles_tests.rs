//! Tests of circles of imports, and of how imports are read.

use super::*;

fn found(files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<File> = files
        .iter()
        .map(|(path, text)| File {
            path: format!("crates/x/src/{path}"),
            text: (*text).to_owned(),
        })
        .collect();
    let problems = circles(&files.iter().collect::<Vec<_>>());
    problems.into_iter().map(|problem| problem.cure).collect()
}

#[test]
fn two_files_that_import_each_other_are_caught_in_every_form() {
    let b = ("b.rs", "use crate::a::One;");
    for a in [
        "use crate::b::Two;",
        "use super::b::Two;",
        "use crate::{c::Three, b::{self, Two as Other}};",
        "fn f() { crate::b::two() }",
        "use crate::b::*;",
    ] {
        let circle = found(&[("lib.rs", "mod a; mod b; mod c;"), ("a.rs", a), b]);
        assert_eq!(circle.len(), 1, "{a}");
        assert!(circle[0].contains("b.rs takes One from crates/x/src/a.rs"));
    }
}

#[test]
fn a_long_circle_is_one_circle() {
    let circle = found(&[
        ("a.rs", "use crate::b::B;"),
        ("b.rs", "use crate::d::c::C;"),
        ("d/c.rs", "use crate::a::A;"),
        ("e.rs", "use crate::a::A;"),
    ]);
    assert_eq!(circle.len(), 1);
    assert!(!circle[0].contains("e.rs"));
}

#[test]
fn reexports_of_a_folder_are_not_a_circle() {
    let face = "mod one; mod two; pub use one::One; pub(crate) use self::two::Two;";
    let two = "use super::One;";
    assert!(found(&[("d/mod.rs", face), ("d/one.rs", ""), ("d/two.rs", two)]).is_empty());
    // What the folder's own file defines is of the same module.
    let two = "use super::Above;";
    assert!(found(&[("d/mod.rs", face), ("d/two.rs", two)]).is_empty());
}

#[test]
fn a_folder_does_not_hide_a_circle_with_its_neighbour() {
    let circle = found(&[
        ("d/mod.rs", "mod one; fn f() { one::g() }"),
        ("d/one.rs", "use crate::e::E;"),
        ("e.rs", "use crate::d::f;"),
    ]);
    assert_eq!(circle.len(), 1);
}

#[test]
fn imports_in_tests_comments_and_strings_are_ignored() {
    let b = ("b.rs", "use crate::a::One;");
    for a in [
        "// use crate::b::Two;",
        "const A: &str = \"crate::b::Two\";",
        "const A: &str = r#\"crate::b::Two\"#;",
        "#[cfg(test)]\nmod tests { use crate::b::Two; fn f() { { } } }",
        "#[cfg(test)]\nuse crate::b::{Two, Three};",
        "const A: char = '\"'; const B: char = '\\''; // crate::b::Two",
        "use conclave_core::b::Two;",
        "mod b; use conclave_core::{b::Two};",
        "use crate::bb::Two;",
    ] {
        assert!(found(&[("a.rs", a), b]).is_empty(), "{a}");
    }
    // A file that is compiled for tests alone.
    let lib = "mod a; mod b; #[cfg(test)] mod fake;";
    let fake = ("fake.rs", "use crate::a::A;");
    let a = ("a.rs", "use crate::fake::F;");
    assert!(found(&[("lib.rs", lib), a, fake]).is_empty());
}
