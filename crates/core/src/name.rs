//! The names of accounts, rooms and operators: what people call each other, and where they meet.
//!
//! Always true: 1 to [`NAME_BYTES_MAX`] bytes of ASCII letters, digits, `.`, `_` and `-`. Names
//! that differ only in case are the same name. ASCII on purpose: how Unicode folds case changes
//! between versions, and a log must mean the same for ever.

use serde::{Deserialize, Serialize};

use crate::{Rejection, limits::NAME_BYTES_MAX};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes `name` if it is a valid name.
            ///
            /// # Errors
            /// [`Rejection::NameEmpty`], [`Rejection::NameTooLong`] or
            /// [`Rejection::NameCharacter`].
            pub fn new(name: impl Into<String>) -> Result<Self, Rejection> {
                checked(name.into()).map(Self)
            }

            /// Returns the name as it was written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Returns the form in which names are compared: lower case.
            #[must_use]
            pub fn key(&self) -> String {
                self.0.to_ascii_lowercase()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A valid account name as its owner wrote it.
    AccountName
}
name! {
    /// A valid room name as its creator wrote it, without the `#` that people put before it.
    RoomName
}
name! {
    /// A valid name of an operator: an entry in the list of operators, which may run the cluster.
    OperatorName
}

impl AccountName {
    /// Returns the form in which looks are compared: see [`skeleton`].
    #[must_use]
    pub fn skeleton(&self) -> String {
        skeleton(&self.0)
    }
}

/// Returns the same for names that are easily taken for each other: the digits one and zero look
/// like letters, and so does a capital `I`; `rn` looks like `m` and `vv` like `w`; and signs at the
/// end are taken for those of a sentence. A rule of ASCII alone, the same for ever.
#[must_use]
pub fn skeleton(written: &str) -> String {
    let trimmed = written.trim_end_matches(['.', '_', '-']);
    let core = if trimmed.is_empty() { written } else { trimmed };
    let letters = core.chars().map(|character| match character {
        'I' | '1' => 'l',
        '0' => 'o',
        other => other.to_ascii_lowercase(),
    });
    let letters: String = letters.collect();
    letters.replace("rn", "m").replace("vv", "w")
}

impl OperatorName {
    /// Returns the name of the operator that a new cluster has, and that a reset leaves.
    #[must_use]
    pub fn first() -> Self {
        Self("operator".to_owned())
    }
}

fn checked(name: String) -> Result<String, Rejection> {
    if name.is_empty() {
        return Err(Rejection::NameEmpty);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(Rejection::NameTooLong {
            bytes: name.len() as u64,
        });
    }
    match name.chars().find(|c| !is_allowed(*c)) {
        Some(character) => Err(Rejection::NameCharacter { character }),
        None => Ok(name),
    }
}

/// Returns whether `character` may stand in a name.
#[must_use]
pub fn is_allowed(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_1_to_32_letters_digits_and_three_signs() {
        for good in ["a", "Alice", "x.y_z-9", &"n".repeat(32), "-", "."] {
            assert!(AccountName::new(good).is_ok(), "{good}");
        }
        assert_eq!(AccountName::new(""), Err(Rejection::NameEmpty));
        let long = AccountName::new("n".repeat(33));
        assert_eq!(long, Err(Rejection::NameTooLong { bytes: 33 }));
        for bad in ["a b", "é", "a\0", "a/b", "*", "a\n"] {
            assert!(
                matches!(AccountName::new(bad), Err(Rejection::NameCharacter { .. })),
                "{bad}"
            );
        }
    }

    #[test]
    fn confusable_names_have_the_same_look() {
        let alike = [
            ["alice", "aIice"],
            ["alice", "a1ice"],
            ["bob", "b0b"],
            ["modem", "modern"],
            ["will", "vvi1l"],
            ["bob", "bob."],
            ["bob", "bob_-"],
            ["Ilya", "llya"],
        ];
        for [one, other] in alike {
            assert_eq!(skeleton(one), skeleton(other), "{one} {other}");
        }
        let different = [
            ["ilya", "llya"],
            ["bob", "bob2"],
            ["bob", "_bob"],
            ["bob.s", "bob_s"],
            [".", "-"],
            ["p2", "p3"],
        ];
        for [one, other] in different {
            assert_ne!(skeleton(one), skeleton(other), "{one} {other}");
        }
        let name = AccountName::new("B0b.").unwrap();
        assert_eq!(
            skeleton(&name.skeleton()),
            name.skeleton(),
            "once more changes nothing"
        );
    }

    #[test]
    fn names_that_differ_only_in_case_share_a_key() {
        let keys = ["ALICE", "alice", "aLiCe"].map(|name| AccountName::new(name).unwrap().key());
        assert!(keys.iter().all(|key| key == "alice"));
    }
}
