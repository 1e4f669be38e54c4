//! Floors of a folder: a file takes from its own floor and from those below, never from one above.
//!
//! Each folder beside the `mod.rs` or `lib.rs` is a floor. Files beside it belong to none:
//! they are below all floors. `docs/architecture.md` shows the same list with the purpose of each
//! floor. What a file takes is read as for circles of imports.

use crate::{
    File, Problem,
    imports::{by_crate, imports},
    numbered,
};

/// Folders with floors, each with its floors from the top down.
pub const FLOORS: [(&str, &[&str]); 2] = [
    (
        "crates/server/src/",
        &[
            "node",
            "observe",
            "api",
            "http",
            "peer_api",
            "integrity",
            "backup",
            "cluster",
            "context",
            "live",
            "config",
            "connections",
            "peer",
            "auth",
            "tls",
            "identity",
            "protocol",
            "base",
            "files",
        ],
    ),
    (
        "crates/storage/src/state/",
        &["snapshot", "write", "integrity", "read"],
    ),
];

/// Maximum number of files in one folder beside its `mod.rs`, `lib.rs` or `main.rs`.
pub const FILES_MAX: usize = 15;

/// Finds imports from a lower floor to a higher one, and folders that are no floor.
pub fn floors(files: &[&File], folder: &str, order: &[&str]) -> Vec<Problem> {
    let inside: Vec<&File> = files
        .iter()
        .filter(|file| file.path.starts_with(folder))
        .copied()
        .collect();
    let mut problems = unlisted(&inside, folder, order);
    let crates = by_crate(files);
    for (from, taken) in crates.values().flat_map(|of| imports(of)) {
        for (to, names) in taken {
            let (Some(lower), Some(upper)) = (floor(from, folder, order), floor(to, folder, order))
            else {
                continue;
            };
            if lower <= upper {
                continue;
            }
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let names = names.join(", ");
            let (lower, upper) = (name(order, lower), name(order, upper));
            problems.push(Problem::new(
                from,
                1,
                "imports run from a floor to those below it",
                format!(
                    "this file of the floor `{lower}` takes {names} from {to} of the floor \
                     `{upper}` above: move down what both need"
                ),
            ));
        }
    }
    problems
}

/// Returns the floor of a file, counted from the top; `None` for a file that is not in the folder,
/// and for the one that declares the floors.
fn floor(path: &str, folder: &str, order: &[&str]) -> Option<usize> {
    let inside = path.strip_prefix(folder)?;
    match inside.split_once('/') {
        Some((of, _)) => order.iter().position(|floor| *floor == of),
        None if is_head(inside) => None,
        None => Some(order.len()),
    }
}

fn name<'a>(order: &[&'a str], floor: usize) -> &'a str {
    order.get(floor).copied().unwrap_or("below all")
}

fn is_head(file: &str) -> bool {
    ["mod.rs", "lib.rs", "main.rs"].contains(&file)
}

/// Finds folders that are not listed as a floor, and listed floors without a file.
fn unlisted(files: &[&File], folder: &str, order: &[&str]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let folders = files.iter().filter_map(|file| {
        let (of, _) = file.path.strip_prefix(folder)?.split_once('/')?;
        Some((of, &*file.path))
    });
    let mut seen: Vec<&str> = Vec::new();
    for (of, path) in folders {
        if seen.contains(&of) {
            continue;
        }
        seen.push(of);
        if !order.contains(&of) {
            problems.push(Problem::new(
                path,
                1,
                "every folder here is a floor",
                format!("say in crates/tidy/src/floors.rs between which floors `{of}` stands"),
            ));
        }
    }
    for of in order.iter().filter(|of| !seen.contains(of)) {
        problems.push(Problem::new(
            folder,
            1,
            "every floor is a folder",
            format!("remove `{of}` from crates/tidy/src/floors.rs"),
        ));
    }
    problems
}

/// Finds floors that a document does not show: a block of code has to hold one line for each, which
/// begins with its name, in the same order.
pub fn drawn_floors(path: &str, text: &str, order: &[&str]) -> Vec<Problem> {
    let mut blocks: Vec<Vec<&str>> = Vec::new();
    let mut is_code = false;
    for (_, line) in numbered(text) {
        if line.starts_with("```") {
            is_code = !is_code;
            blocks.push(Vec::new());
        } else if is_code
            && let (Some(block), Some(word)) = (blocks.last_mut(), line.split_whitespace().next())
        {
            block.push(word);
        }
    }
    match blocks.iter().any(|block| block == order) {
        true => Vec::new(),
        false => vec![Problem::new(
            path,
            1,
            "the floors are drawn as they are",
            format!("show one line for each in this order: {}", order.join(", ")),
        )],
    }
}

/// Finds folders of a `src` with more than [`FILES_MAX`] files.
pub fn crowded(files: &[&File]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for of in by_crate(files).values() {
        let mut folders: Vec<&str> = of.iter().filter_map(|file| folder_of(&file.path)).collect();
        folders.sort_unstable();
        for same in folders.chunk_by(|one, next| one == next) {
            if same.len() > FILES_MAX {
                problems.push(Problem::new(
                    same[0],
                    1,
                    "a folder holds few files",
                    format!(
                        "{} files stand beside its `mod.rs`, and {FILES_MAX} may: \
                         give those that belong together a folder",
                        same.len()
                    ),
                ));
            }
        }
    }
    problems
}

/// Returns the folder in which a file counts.
fn folder_of(path: &str) -> Option<&str> {
    let (folder, file) = path.rsplit_once('/')?;
    (!is_head(file)).then_some(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDER: &str = "crates/x/src/";
    const ORDER: [&str; 3] = ["top", "middle", "low"];

    fn files(files: &[(&str, &str)]) -> Vec<File> {
        let all = [
            ("lib.rs", "pub use top::a::A;"),
            ("top/a.rs", ""),
            ("middle/b.rs", ""),
        ];
        let all = all.iter().chain([("low/c.rs", "")].iter()).chain(files);
        all.map(|(path, text)| File {
            path: format!("{FOLDER}{path}"),
            text: (*text).to_owned(),
        })
        .collect()
    }

    fn found(more: &[(&str, &str)]) -> Vec<String> {
        let files = files(more);
        let problems = floors(&files.iter().collect::<Vec<_>>(), FOLDER, &ORDER);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_import_from_a_floor_above_names_both_files_and_floors() {
        let upward = found(&[("low/d.rs", "use crate::middle::b::B;")]);
        assert_eq!(upward.len(), 1);
        for part in [
            "crates/x/src/low/d.rs",
            "`low`",
            "B",
            "crates/x/src/middle/b.rs",
            "`middle`",
        ] {
            assert!(upward[0].contains(part), "{} has no {part}", upward[0]);
        }
        let from_below_all = found(&[("shared.rs", "fn f() { crate::low::c::g() }")]);
        assert_eq!(from_below_all.len(), 1);
    }

    #[test]
    fn imports_from_below_and_within_a_floor_are_free() {
        let free = found(&[
            (
                "top/d.rs",
                "use super::a::A; use crate::{low::c::C, middle::b::B, shared::S};",
            ),
            ("low/e.rs", "use crate::shared::S;"),
            ("shared.rs", ""),
        ]);
        assert!(free.is_empty(), "{free:?}");
    }

    #[test]
    fn a_folder_without_a_floor_and_the_reverse_are_caught() {
        assert_eq!(found(&[("cellar/d.rs", "")]).len(), 1);
        let files = files(&[]);
        let files: Vec<&File> = files.iter().collect();
        let order = ["top", "middle", "low", "cellar"];
        assert_eq!(floors(&files, FOLDER, &order).len(), 1);
    }

    #[test]
    fn floors_that_a_document_shows_in_another_order_are_caught() {
        let drawn = |text| drawn_floors("a.md", text, &ORDER).is_empty();
        assert!(drawn(
            "```\nlow\n```\n\n```\ntop  the first\nmiddle  b\nlow  c\n```\n"
        ));
        for bad in [
            "",
            "top\nmiddle\nlow",
            "```\ntop\nlow\nmiddle\n```",
            "```\ntop\nmiddle\n```\n```\nlow\n```",
            "```\ntop\nmiddle\nlow\ncellar\n```",
        ] {
            assert!(!drawn(bad), "{bad}");
        }
    }

    #[test]
    fn a_folder_with_a_sixteenth_file_is_caught() {
        let mut files: Vec<File> = (0..FILES_MAX)
            .map(|number| format!("crates/x/src/a/f{number}.rs"))
            .chain([
                "crates/x/src/a/mod.rs".to_owned(),
                "crates/x/src/a/b/c.rs".to_owned(),
            ])
            .map(|path| File {
                path,
                text: String::new(),
            })
            .collect();
        assert!(crowded(&files.iter().collect::<Vec<_>>()).is_empty());
        files.push(File {
            path: "crates/x/src/a/more.rs".to_owned(),
            text: String::new(),
        });
        let problems = crowded(&files.iter().collect::<Vec<_>>());
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].path, "crates/x/src/a");
    }
}
