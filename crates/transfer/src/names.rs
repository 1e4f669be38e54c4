//! Gives everything that is imported a name that the rules allow and that nothing else has.
//!
//! The rule, which docs/export.md states: characters that a name cannot have become `-`, several in
//! a row one; what is longer than a name can be is cut; a name that is taken, or that looks like
//! one that is taken, gets `-2`, `-3` and so on.
//!
//! Always true: the same names in the same order get the same result.

use std::collections::HashSet;

use conclave_core::{AccountName, RoomName, limits::NAME_BYTES_MAX, name};

/// Names that are given already.
#[derive(Default)]
pub(crate) struct Names {
    accounts: HashSet<String>,
    looks: HashSet<String>,
    rooms: HashSet<String>,
}

impl Names {
    /// Gives an account a name that is as near to `wish` as can be.
    pub(crate) fn account(&mut self, wish: &str) -> AccountName {
        let core = allowed(wish, "account");
        for number in 1.. {
            let Ok(name) = AccountName::new(numbered(&core, number)) else {
                continue;
            };
            let (key, look) = (name.key(), name.skeleton());
            if !self.accounts.contains(&key) && !self.looks.contains(&look) {
                self.accounts.insert(key);
                self.looks.insert(look);
                return name;
            }
        }
        unreachable!("there are more numbers than names")
    }

    /// Gives a room a name that is as near to `wish` as can be.
    pub(crate) fn room(&mut self, wish: &str) -> RoomName {
        let core = allowed(wish, "room");
        for number in 1.. {
            let Ok(name) = RoomName::new(numbered(&core, number)) else {
                continue;
            };
            if self.rooms.insert(name.key()) {
                return name;
            }
        }
        unreachable!("there are more numbers than names")
    }
}

fn allowed(wish: &str, otherwise: &str) -> String {
    let mut core = String::new();
    for character in wish.chars() {
        match name::is_allowed(character) {
            true => core.push(character),
            false if core.ends_with('-') => {}
            false => core.push('-'),
        }
    }
    let changed = core.len() != wish.len() || core != wish;
    // What stands at the ends for nothing is left out; what the owner wrote stays.
    let core = match changed {
        true => core.trim_matches('-').to_owned(),
        false => core,
    };
    match core.is_empty() {
        true => otherwise.to_owned(),
        false => core,
    }
}

fn numbered(core: &str, number: u64) -> String {
    let end = match number {
        1 => String::new(),
        number => format!("-{number}"),
    };
    // ASCII alone is left, so any place is one between characters.
    let length = core.len().min(NAME_BYTES_MAX - end.len());
    format!("{}{end}", &core[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_if_it_can_be_and_is_free() {
        let mut names = Names::default();
        let long = "n".repeat(60);
        for (wish, given) in [
            ("alice", "alice"),
            ("Alice", "Alice-2"),
            ("a1ice", "a1ice-3"),
            ("aIice", "aIice-4"),
            ("-odd_.", "-odd_."),
            ("José Núñez", "Jos-N-ez"),
            ("日本", "account"),
            ("", "account-2"),
            ("a@b.example", "a-b.example"),
            (&long[..], &"n".repeat(32)),
            (&long[..], &format!("{}-2", "n".repeat(30))),
        ] {
            assert_eq!(names.account(wish).as_str(), given, "{wish}");
        }
    }

    #[test]
    fn rooms_that_look_alike_keep_their_names() {
        let mut names = Names::default();
        for (wish, given) in [
            ("general", "general"),
            ("genera1", "genera1"),
            ("General", "General-2"),
            ("töpfe", "t-pfe"),
            ("#", "room"),
        ] {
            assert_eq!(names.room(wish).as_str(), given, "{wish}");
        }
    }

    #[test]
    fn many_equal_wishes_get_names_that_differ() {
        let mut names = Names::default();
        let given: HashSet<String> = (0..2000).map(|_| names.account("bob").key()).collect();
        assert_eq!(given.len(), 2000);
    }
}
