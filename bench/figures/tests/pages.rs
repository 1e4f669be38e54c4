//! The pages about speed and scale say what their files of figures say.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

fn docs() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs")).to_owned()
}

fn check(made: BTreeMap<PathBuf, String>) {
    for (path, text) in made {
        let committed = fs::read_to_string(&path).unwrap_or_default();
        let name = path.display();
        assert!(
            committed == text,
            "{name} is old: run `cargo run -p conclave-figures`"
        );
    }
}

#[test]
fn the_page_about_speed_agrees_with_its_figures() {
    check(conclave_figures::performance::files(&docs()).unwrap());
}

#[test]
fn the_page_about_scale_agrees_with_its_figures() {
    check(conclave_figures::scale::files(&docs()).unwrap());
}
