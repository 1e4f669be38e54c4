//! What documents promise: their links lead somewhere, and what they name exists.

use crate::{File, Problem, numbered};

/// Lines of a notebook entry: one page.
const NOTEBOOK_LINES_MAX: usize = 70;

/// Finds relative links to files that do not exist, or to headings that a file has not.
///
/// `exists` answers for a path relative to the root, files and folders alike.
pub fn links(file: &File, files: &[File], exists: impl Fn(&str) -> bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    let rule = "a link leads somewhere";
    for (line, target) in targets(&file.text) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
        let path = if path.is_empty() {
            file.path.clone()
        } else {
            resolve(&file.path, path)
        };
        if !exists(&path) {
            let cure = format!("`{path}` does not exist");
            problems.push(Problem::new(&file.path, line, rule, cure));
        } else if !anchor.is_empty()
            && path.ends_with(".md")
            && let Some(other) = files.iter().find(|other| other.path == path)
            && !anchors(&other.text).iter().any(|one| one == anchor)
        {
            let cure = format!("`{path}` has no heading `#{anchor}`");
            problems.push(Problem::new(&file.path, line, rule, cure));
        }
    }
    problems
}

/// Returns the anchors of a document's headings, as code forges make them.
pub fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for (_, line) in prose(text) {
        let title = line.trim_start_matches('#');
        let level = line.len() - title.len();
        if !(1..=6).contains(&level) || !title.starts_with(' ') {
            continue;
        }
        let anchor: String = title
            .trim()
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        // The second heading of the same name is `name-1`.
        let same = |one: &&String| {
            let rest = one.strip_prefix(anchor.as_str());
            rest.is_some_and(|rest| {
                rest.is_empty()
                    || rest
                        .strip_prefix('-')
                        .is_some_and(|n| n.parse::<u32>().is_ok())
            })
        };
        match anchors.iter().filter(same).count() {
            0 => anchors.push(anchor),
            count => anchors.push(format!("{anchor}-{count}")),
        }
    }
    anchors
}

/// Finds `docs/….md` paths in code for which there is no document.
pub fn named_documents(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (line, content) in numbered(text) {
        for (start, _) in content.match_indices("docs/") {
            let rest = &content[start..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"/-_.".contains(c));
            let name = rest[..end.unwrap_or(rest.len())].trim_end_matches('.');
            if name.ends_with(".md") && !exists(name) {
                problems.push(Problem::new(
                    path,
                    line,
                    "what code refers to exists",
                    format!("`{name}` does not exist"),
                ));
            }
        }
    }
    problems
}

/// Finds tests that a row of the requirements names in backticks and that do not exist.
///
/// A name is `path::test_name`: the last part is the function, the part before it the end of a
/// file's or module's name, or of a folder's.
pub fn promised_tests(path: &str, text: &str, files: &[File]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (line, content) in numbered(text).filter(|(_, line)| line.trim_start().starts_with('|')) {
        for name in content.split('`').skip(1).step_by(2) {
            let Some((place, test)) = name.rsplit_once("::") else {
                continue;
            };
            let function = format!("fn {test}(");
            let module = place
                .rsplit("::")
                .next()
                .unwrap_or(place)
                .trim_end_matches(".rs");
            let found = files.iter().any(|file| {
                file.path.ends_with(".rs") && at(file, module) && file.text.contains(&function)
            });
            if !found {
                problems.push(Problem::new(
                    path,
                    line,
                    "a requirement names a test that exists",
                    format!("there is no test `{test}` in `{place}`"),
                ));
            }
        }
    }
    problems
}

/// Finds what is true on one machine only.
pub fn foreign_paths(path: &str, text: &str) -> Vec<Problem> {
    // In parts, so that this file does not contain what it looks for.
    let foreign = [["/wo", "rk/"], ["/ro", "ot/"]].map(|parts| parts.concat());
    let mut problems = Vec::new();
    for (line, content) in numbered(text) {
        if let Some(found) = foreign.iter().find(|one| starts_a_path(content, one)) {
            problems.push(Problem::new(
                path,
                line,
                "the tree works on every machine",
                format!("`{found}` is of one machine: name it relative to the root, or leave it"),
            ));
        }
    }
    problems
}

/// Finds packages that a lock file takes from anywhere but the public index of its kind.
pub fn lock_sources(path: &str, text: &str) -> Vec<Problem> {
    let (key, public) = match path.rsplit('/').next() {
        Some("Cargo.lock") => (
            "source = \"",
            "registry+https://github.com/rust-lang/crates.io-index",
        ),
        Some("package-lock.json") => ("\"resolved\": \"", "https://registry.npmjs.org/"),
        _ => return Vec::new(),
    };
    numbered(text)
        .filter(|(_, line)| {
            let source = line.trim_start().strip_prefix(key);
            source.is_some_and(|source| !source.starts_with(public))
        })
        .map(|(line, _)| {
            let cure = format!("lock it again without a mirror; it must start with {public}");
            Problem::new(path, line, "packages come from the public index", cure)
        })
        .collect()
}

/// Finds notebook entries without a date in the name, or longer than a page.
pub fn notebook(path: &str, text: &str) -> Vec<Problem> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let lines = text.lines().count();
    let mut problems = Vec::new();
    if !dated(name) {
        let cure = "name it YYYY-MM-DD-topic.md";
        problems.push(Problem::new(path, 1, "a notebook entry has a date", cure));
    }
    if lines > NOTEBOOK_LINES_MAX {
        let cure = "keep question, numbers and decision";
        problems.push(Problem::new(
            path,
            lines,
            "a notebook entry is one page",
            cure,
        ));
    }
    problems
}

/// Returns the targets of all links `[text](target)` outside code, with their lines.
fn targets(text: &str) -> impl Iterator<Item = (usize, &str)> {
    prose(text).flat_map(|(number, line)| {
        // Odd parts are code in backticks.
        line.split('`').step_by(2).flat_map(move |part| {
            part.match_indices("](").filter_map(move |(start, _)| {
                let rest = &part[start + 2..];
                let target = rest[..rest.find(')')?].split_whitespace().next()?;
                Some((number, target.trim_matches(['<', '>'])))
            })
        })
    })
}

/// Returns the lines outside fenced code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    numbered(text).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// Resolves a relative link: `docs/a.md` and `../b/c` give `b/c`.
fn resolve(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// Returns whether a module may be in a file: by the file's or a folder's name, or as a module
/// inside.
fn at(file: &File, module: &str) -> bool {
    let module = module.rsplit('/').next().unwrap_or(module);
    let path = file.path.trim_end_matches(".rs");
    path.split('/').any(|part| part == module)
        || file.text.contains(&format!("mod {module} {{"))
        || module
            .strip_prefix("conclave_")
            .is_some_and(|part| at(file, part))
}

/// Returns whether an absolute path begins in this line, not one that merely contains these
/// letters.
fn starts_a_path(line: &str, path: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || "._-~}/*".contains(c);
    line.match_indices(path)
        .any(|(start, _)| !line[..start].ends_with(inside))
}

fn dated(name: &str) -> bool {
    let shape = "dddd-dd-dd-";
    let topic = name
        .get(shape.len()..)
        .and_then(|rest| rest.strip_suffix(".md"));
    topic.is_some_and(|topic| !topic.is_empty())
        && shape
            .chars()
            .zip(name.chars())
            .all(|(want, is)| match want {
                'd' => is.is_ascii_digit(),
                dash => is == dash,
            })
}

#[cfg(test)]
#[path = "documents_tests.rs"]
mod tests;
