//! Files of one crate import each other in one direction only, as `imports.rs` reads them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    File, Problem,
    imports::{Imports, by_crate, imports},
};

/// Finds circles of imports between the files of each crate; a circle is named at its first file,
/// with what ties it.
pub fn circles(files: &[&File]) -> Vec<Problem> {
    let crates = by_crate(files);
    crates.values().flat_map(|of| circles_of(of)).collect()
}

fn circles_of(files: &[&File]) -> Vec<Problem> {
    let arrows = imports(files);
    let reached: BTreeMap<&str, BTreeSet<&str>> = arrows
        .keys()
        .map(|from| (*from, reached(&arrows, from)))
        .collect();
    let mut named: BTreeSet<&str> = BTreeSet::new();
    let mut problems = Vec::new();
    for (from, all) in &reached {
        if named.contains(from) || !all.contains(from) {
            continue;
        }
        let comes_back = |to: &&&str| reached.get(**to).is_some_and(|back| back.contains(from));
        let circle: BTreeSet<&str> = all.iter().filter(comes_back).copied().collect();
        named.extend(&circle);
        let ties = circle.iter().flat_map(|one| {
            let within = arrows[one].iter().filter(|(to, _)| circle.contains(*to));
            within.map(move |(to, names)| {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                format!("{one} takes {} from {to}", names.join(", "))
            })
        });
        let ties: Vec<String> = ties.collect();
        problems.push(Problem::new(
            from,
            1,
            "files import each other in one direction",
            format!("move down what both need: {}", ties.join("; ")),
        ));
    }
    problems
}

/// Returns all files to which the arrows lead from one, however far.
fn reached<'a>(arrows: &Imports<'a>, from: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut next: VecDeque<&str> = VecDeque::from([from]);
    while let Some(file) = next.pop_front() {
        for to in arrows.get(file).into_iter().flat_map(BTreeMap::keys) {
            if found.insert(*to) {
                next.push_back(to);
            }
        }
    }
    found
}

#[cfg(test)]
#[path = "circles_tests.rs"]
mod tests;
