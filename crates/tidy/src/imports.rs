//! Reads which file of a crate takes what from which other file.
//!
//! Read are the paths that begin with `crate`, `self`, `super` or a module that the file declares,
//! in `use` declarations and elsewhere, without comments, texts and what is compiled for tests
//! alone. A name that a file only hands on counts as imported from the file that defines it; the
//! declaration of a module is no import. What a file takes from the file of a folder above it does
//! not count either: `live/hub.rs` may use what `live/mod.rs` defines, with which it is one module.
//! Macros and modules inside a file are read as part of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::File;

/// How many files may hand on one name, one after the other: more than there are.
const HANDED_ON_MAX: usize = 16;

/// From each file to the files from which it takes something, with the names.
pub(crate) type Imports<'a> = BTreeMap<&'a str, BTreeMap<&'a str, BTreeSet<String>>>;

/// Returns the files of each crate, by the path of its folder.
pub(crate) fn by_crate<'a>(files: &[&'a File]) -> BTreeMap<&'a str, Vec<&'a File>> {
    let mut crates: BTreeMap<&str, Vec<&File>> = BTreeMap::new();
    for file in files {
        if let Some((of, _)) = file.path.split_once("/src/") {
            crates.entry(of).or_default().push(file);
        }
    }
    crates
}

/// Reads what the files of one crate take from each other.
pub(crate) fn imports<'a>(files: &[&'a File]) -> Imports<'a> {
    Plan::read(files).arrows()
}

/// A path of names: of a module, or of a thing in it.
type Path = Vec<String>;

/// The modules of a crate.
struct Plan<'a> {
    modules: BTreeMap<Path, Module<'a>>,
}

/// One file.
struct Module<'a> {
    file: &'a str,
    /// The paths that it names, from the root of the crate.
    named: BTreeSet<Path>,
    /// What it has imported under which name; it may hand it on.
    imported: BTreeMap<String, Path>,
}

impl<'a> Plan<'a> {
    fn read(files: &[&'a File]) -> Self {
        let mut read: BTreeMap<Path, (&str, Words)> = files
            .iter()
            .map(|file| {
                let (_, inside) = file.path.split_once("/src/").unwrap_or_default();
                (module_path(inside), (&*file.path, Words::of(&file.text)))
            })
            .collect();
        let tests: Vec<Path> = read
            .iter()
            .flat_map(|(path, (_, words))| {
                let tests = words.test_modules.iter();
                tests.map(|name| [&path[..], std::slice::from_ref(name)].concat())
            })
            .collect();
        read.retain(|path, _| !tests.iter().any(|test| path.starts_with(test)));
        let modules = read.into_iter().map(|(path, (file, words))| {
            let module = words.module(file, &path);
            (path, module)
        });
        Self {
            modules: modules.collect(),
        }
    }

    fn arrows(&self) -> Imports<'a> {
        let mut arrows = Imports::new();
        for (own, module) in &self.modules {
            let above = |file: &str| {
                let lengths = 0..own.len();
                let mut above = lengths.filter_map(|length| self.modules.get(&own[..length]));
                above.any(|module| module.file == file)
            };
            let to = arrows.entry(module.file).or_default();
            for path in &module.named {
                if let Some((target, name)) = self.home(path, HANDED_ON_MAX)
                    && target != module.file
                    && !above(target)
                {
                    to.entry(target).or_default().insert(name);
                }
            }
        }
        arrows
    }

    /// Returns the file that defines what a path names, and the name there.
    fn home(&self, path: &[String], steps: usize) -> Option<(&'a str, String)> {
        let lengths = (0..=path.len()).rev();
        let mut found = lengths.filter_map(|length| {
            let module = self.modules.get(&path[..length])?;
            Some((module, &path[length..]))
        });
        let (module, rest) = found.next()?;
        let Some(name) = rest.first() else {
            let last = path.last().map_or("crate", String::as_str);
            return Some((module.file, last.to_owned()));
        };
        match module.imported.get(name) {
            Some(_) if steps == 0 => None,
            Some(from) => {
                let further = [&from[..], &rest[1..]].concat();
                self.home(&further, steps - 1)
            }
            None => Some((module.file, name.clone())),
        }
    }
}

/// Returns the path of a module: `live/hub.rs` is `live::hub`, `live/mod.rs` is `live`, and
/// `lib.rs` the root.
fn module_path(inside: &str) -> Path {
    let whole = inside.trim_end_matches(".rs");
    let whole = whole.strip_suffix("/mod").unwrap_or(whole);
    match whole {
        "lib" | "main" | "mod" => Path::new(),
        other => other.split('/').map(str::to_owned).collect(),
    }
}

/// The words and marks of a file, without comments, texts and what is for tests alone.
struct Words {
    words: Vec<String>,
    modules: BTreeSet<String>,
    test_modules: BTreeSet<String>,
}

impl Words {
    fn of(text: &str) -> Self {
        let mut words = Vec::new();
        let mut test_modules = BTreeSet::new();
        let all = split(text);
        let mut at = 0;
        while at < all.len() {
            if !is_test_mark(&all[at..]) {
                words.push(all[at].clone());
                at += 1;
                continue;
            }
            let end = end_of_item(&all, at);
            let item = &all[at..end];
            if let [.., module, name, semicolon] = item
                && (module.as_str(), semicolon.as_str()) == ("mod", ";")
            {
                test_modules.insert(name.clone());
            }
            at = end;
        }
        let declared = words.windows(3).filter_map(|three| match three {
            [module, name, end] if module == "mod" && end == ";" => Some(name.clone()),
            _ => None,
        });
        let modules = declared.collect();
        Self {
            words,
            modules,
            test_modules,
        }
    }

    fn module<'a>(&self, file: &'a str, own: &[String]) -> Module<'a> {
        let mut module = Module {
            file,
            named: BTreeSet::new(),
            imported: BTreeMap::new(),
        };
        let words = &self.words;
        let mut at = 0;
        while at < words.len() {
            let imports = words[at] == "use";
            let begin = at + usize::from(imports);
            let goes_on = begin > 0 && words[begin - 1] == "::";
            let mut tree = Tree {
                words,
                at: begin,
                leaves: Vec::new(),
            };
            if !goes_on && tree.begins_here(&self.modules) {
                let mut prefix = own.to_vec();
                tree.read_from(&mut prefix);
                at = tree.at;
            } else if imports && tree.word(1) == "::" {
                // From another crate.
                let end = words[begin..].iter().position(|word| word == ";");
                at = end.map_or(words.len(), |end| begin + end);
            } else {
                at = begin.max(at + 1);
            }
            for (path, name) in tree.leaves {
                if imports && let Some(name) = name {
                    module.imported.insert(name, path.clone());
                }
                module.named.insert(path);
            }
        }
        module
    }
}

/// Reads a path, or what a `use` has in braces.
struct Tree<'a> {
    words: &'a [String],
    at: usize,
    /// The paths, each with the name under which it is known from here on.
    leaves: Vec<(Path, Option<String>)>,
}

impl Tree<'_> {
    fn word(&self, ahead: usize) -> &str {
        self.words.get(self.at + ahead).map_or("", String::as_str)
    }

    fn begins_here(&self, modules: &BTreeSet<String>) -> bool {
        let first = self.word(0);
        let is_ours = ["crate", "self", "super"].contains(&first) || modules.contains(first);
        is_ours && self.word(1) == "::"
    }

    /// Reads what begins at a word of which `prefix` says where that is looked for.
    fn read_from(&mut self, prefix: &mut Path) {
        loop {
            match self.word(0) {
                "crate" => prefix.clear(),
                "self" => {}
                "super" => drop(prefix.pop()),
                "*" => {
                    self.at += 1;
                    self.leaves.push((prefix.clone(), None));
                    return;
                }
                "{" => return self.read_braces(prefix),
                name if is_name(name) => prefix.push(name.to_owned()),
                _ => return,
            }
            self.at += 1;
            if self.word(0) == "::" {
                self.at += 1;
                continue;
            }
            let mut name = prefix.last().cloned();
            if self.word(0) == "as" {
                name = Some(self.word(1).to_owned());
                self.at += 2;
            }
            self.leaves.push((prefix.clone(), name));
            return;
        }
    }

    fn read_braces(&mut self, prefix: &[String]) {
        self.at += 1;
        while !["}", ""].contains(&self.word(0)) {
            let before = self.at;
            self.read_from(&mut prefix.to_vec());
            // A comma, or something that is no path.
            if self.word(0) == "," || self.at == before {
                self.at += 1;
            }
        }
        self.at += 1;
    }
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn is_test_mark(words: &[String]) -> bool {
    let mark = ["#", "[", "cfg", "(", "test", ")", "]"];
    words.len() > mark.len() && words.iter().zip(mark).all(|(word, mark)| word == mark)
}

/// Returns where the item ends that begins at a mark: after its semicolon or its block.
fn end_of_item(words: &[String], begin: usize) -> usize {
    let mut depth = 0;
    let mut is_use = false;
    for (at, word) in words.iter().enumerate().skip(begin) {
        match word.as_str() {
            "use" => is_use = true,
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth -= 1;
                if depth == 0 && word == "}" && !is_use {
                    return at + 1;
                }
            }
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    words.len()
}

/// Returns the words, the double colons and the other marks of a text, without comments and
/// strings.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if first.is_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            end.unwrap_or(rest.len())
        } else if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
            continue;
        } else if first == '"' {
            rest = after_string(&rest[1..]);
            continue;
        } else if first == '\'' {
            rest = &rest[quoted(rest)..];
            continue;
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (word, after) = rest.split_at(length);
        rest = after;
        let is_raw = ["r", "br"].contains(&word) && rest.starts_with(['"', '#']);
        if is_raw {
            let hashes = rest.len() - rest.trim_start_matches('#').len();
            if rest[hashes..].starts_with('"') {
                let end = format!("\"{}", "#".repeat(hashes));
                let inside = &rest[hashes + 1..];
                rest = inside.split_once(&*end).map_or("", |(_, after)| after);
                continue;
            }
        }
        if !word.trim().is_empty() {
            words.push(word.to_owned());
        }
    }
    words
}

fn after_string(inside: &str) -> &str {
    let mut escaped = false;
    for (at, c) in inside.char_indices() {
        match c {
            '"' if !escaped => return &inside[at + 1..],
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    ""
}

/// Returns how long a character in quotes is, or the mark of a lifetime.
fn quoted(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, _))) => {
            let end = rest[at + 1..].find('\'');
            end.map_or(rest.len(), |end| at + 1 + end + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}
