//! What documents say of commands of a developer: packages, targets, tests and recipes exist.
//!
//! Commands of `conclave` itself are run by `crates/conclave/tests/it/readme.rs`.

use crate::{File, Problem, numbered};

/// Finds commands of `cargo` and `just`, in blocks and in sentences, that name what is not there.
pub fn commands(file: &File, files: &[File]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut fenced = false;
    for (line, content) in numbered(&file.text) {
        if content.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        let parts: Vec<&str> = match fenced {
            true => vec![content],
            false => content.split('`').skip(1).step_by(2).collect(),
        };
        for command in parts {
            if let Some(cure) = missing(command, files) {
                let rule = "a command works as it is written";
                problems.push(Problem::new(&file.path, line, rule, cure));
            }
        }
    }
    problems
}

/// Returns what a command names that is not there.
fn missing(command: &str, files: &[File]) -> Option<String> {
    let command = command.split(" #").next().unwrap_or_default();
    let mut words = command.split_whitespace();
    let program = words.find(|word| !word.contains('='))?;
    let words: Vec<&str> = words.collect();
    match program {
        "just" => {
            let recipe = words.first()?;
            (!has_recipe(recipe, files)).then(|| format!("there is no recipe `{recipe}`"))
        }
        "cargo" => missing_of_cargo(&words, files),
        _ => None,
    }
}

fn has_recipe(recipe: &str, files: &[File]) -> bool {
    let justfile = files.iter().find(|file| file.path == "justfile");
    let is_recipe = |line: &str| line.split([' ', ':']).next() == Some(recipe);
    justfile.is_some_and(|justfile| justfile.text.lines().any(is_recipe))
}

fn missing_of_cargo(words: &[&str], files: &[File]) -> Option<String> {
    let of_cargo = words.split(|word| *word == "--").next()?;
    let after = |flag: &str| {
        let at = of_cargo.iter().position(|word| *word == flag)?;
        of_cargo.get(at + 1).copied()
    };
    let package = after("-p")?;
    let Some(folder) = folder_of(package, files) else {
        return Some(format!("there is no package `{package}`"));
    };
    for (flag, place) in [
        ("--test", "tests"),
        ("--bench", "benches"),
        ("--example", "examples"),
    ] {
        let Some(target) = after(flag) else { continue };
        let is_there = [".rs", "/main.rs"].iter().any(|end| {
            let path = format!("{folder}/{place}/{target}{end}");
            files.iter().any(|file| file.path == path)
        });
        if !is_there {
            return Some(format!("`{package}` has no {place} `{target}`"));
        }
    }
    let values = ["-p", "--test", "--bench", "--example"].map(after);
    let filter = of_cargo
        .iter()
        .skip(1)
        .find(|word| !word.starts_with('-') && !values.contains(&Some(**word)))?;
    let is_test = |file: &&File| file.path.starts_with(folder) && file.path.ends_with(".rs");
    let found = files.iter().filter(is_test).any(|file| {
        let module = format!("{}.rs", filter.trim_end_matches("::"));
        file.text.contains(&format!("fn {filter}")) || file.path.ends_with(&format!("/{module}"))
    });
    (words.first() == Some(&"test") && !found)
        .then(|| format!("`{package}` has no test `{filter}`"))
}

/// Returns the folder of a package.
fn folder_of<'a>(package: &str, files: &'a [File]) -> Option<&'a str> {
    let name = format!("name = \"{package}\"");
    let manifests = files.iter().filter_map(|file| {
        let folder = file.path.strip_suffix("/Cargo.toml")?;
        Some((folder, &file.text))
    });
    let is_it = |(_, text): &(&str, &String)| text.lines().any(|line| line == name);
    manifests.into_iter().find(is_it).map(|(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_command_that_names_what_is_missing_is_caught() {
        let text = "\
`cargo test -p conclave-core --test scripts a_retry` and `just check`
`cargo test -p conclave-cure`
`cargo bench -p conclave-core --bench scripts`
`cargo test -p conclave-core --test scripts a_lost_test`
```
just polish   # no recipe
SEED=7 cargo run --release -p conclave-core -- whatever --test nothing
cargo test -p conclave-core once::
```
";
        let files = [
            file("docs/a.md", text),
            file("justfile", "# Recipes.\ncheck:\n    .ci/run\n"),
            file(
                "crates/core/Cargo.toml",
                "[package]\nname = \"conclave-core\"\n",
            ),
            file("crates/core/src/once.rs", ""),
            file(
                "crates/core/tests/scripts.rs",
                "fn a_retry_is_remembered() {}",
            ),
        ];
        let found: Vec<usize> = commands(&files[0], &files)
            .iter()
            .map(|problem| problem.line)
            .collect();
        assert_eq!(found, [2, 3, 4, 6]);
    }
}
