//! Names the argument of the command line that caused a refusal.
//!
//! Always true: the words for a refusal begin with the argument that caused it, if one did, as the
//! user typed it. A secret, a text and a long value are named by the argument alone.

mod kinds;

use std::sync::OnceLock;

use clap::{Arg, ArgMatches, Command, parser::ValueSource};
use conclave_client::Reason;

use kinds::{Kind, causes, kind_of};

/// Maximum length of a value that is repeated, in bytes. A longer one is named by its argument.
const SHOWN_BYTES_MAX: usize = 64;

/// Maximum number of values of one kind that are repeated. The rest is left out.
const SHOWN_MAX: usize = 3;

/// The arguments that the user gave to a command.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// The kind of each argument, and the words for it.
    arguments: Vec<(Kind, String)>,
}

/// The arguments of this process.
static GIVEN: OnceLock<Given> = OnceLock::new();

/// Keeps the arguments of this process, once.
pub(crate) fn remember(given: Given) {
    // A second value would come from the same command line.
    let _ = GIVEN.set(given);
}

/// Returns the words for the argument of this process that caused a refusal; `None` if no argument
/// did.
pub(crate) fn blamed(reason: Reason) -> Option<String> {
    GIVEN.get()?.blamed(reason)
}

impl Given {
    /// Collects the arguments of the innermost command.
    pub(crate) fn of(command: &Command, matches: &ArgMatches) -> Self {
        let (mut command, mut matches) = (command, matches);
        let mut path = Vec::new();
        while let Some((name, inner)) = matches.subcommand() {
            let Some(found) = command.find_subcommand(name) else {
                break;
            };
            (command, matches) = (found, inner);
            path.push(name);
        }
        let path = path.join(" ");
        let words = |argument: &Arg| {
            let kind = kind_of(&path, argument.get_id().as_str()).unwrap_or(Kind::Unjudged);
            let words = match kind {
                Kind::Unjudged => None,
                Kind::Password => Some(words_of(kind, argument, matches))
                    .flatten()
                    .or_else(|| Some("the password".to_owned())),
                _ => words_of(kind, argument, matches),
            };
            words.map(|words| (kind, words))
        };
        Self {
            arguments: command.get_arguments().filter_map(words).collect(),
        }
    }

    fn blamed(&self, reason: Reason) -> Option<String> {
        causes(reason).iter().find_map(|cause| {
            let of_it = self.arguments.iter().filter(|(kind, _)| kind == cause);
            let words: Vec<&str> = of_it.map(|(_, words)| words.as_str()).collect();
            (!words.is_empty()).then(|| words.join(", "))
        })
    }
}

/// Returns the words for an argument; `None` if it was not given.
fn words_of(kind: Kind, argument: &Arg, matches: &ArgMatches) -> Option<String> {
    let id = argument.get_id().as_str();
    let source = matches.value_source(id);
    if !matches!(
        source,
        Some(ValueSource::CommandLine | ValueSource::EnvVariable)
    ) {
        return None;
    }
    let is_hidden = matches!(
        kind,
        Kind::Text | Kind::Password | Kind::Code | Kind::SetupToken
    );
    let values: Vec<String> = match matches.get_raw(id) {
        Some(values) if argument.get_action().takes_values() => {
            values.map(|value| value.to_string_lossy().into()).collect()
        }
        _ => Vec::new(),
    };
    // Lines of stdin are named by their numbers instead.
    if kind == Kind::Text && values == ["-"] {
        return None;
    }
    let shown = shown(&values).filter(|_| !is_hidden || argument.get_id() == "file");
    Some(match (argument.get_long(), shown) {
        (Some(long), Some(shown)) => format!("--{long} {shown}"),
        (Some(long), None) => format!("--{long}"),
        (None, Some(shown)) => shown,
        (None, None) => id.to_uppercase(),
    })
}

/// Formats values as they are typed in a shell; `None` if they are long.
fn shown(values: &[String]) -> Option<String> {
    let is_long = |value: &String| value.len() > SHOWN_BYTES_MAX;
    if values.is_empty() || values.iter().take(SHOWN_MAX).any(is_long) {
        return None;
    }
    let quoted = values.iter().take(SHOWN_MAX).map(|value| quoted(value));
    let mut words: Vec<String> = quoted.collect();
    if values.len() > SHOWN_MAX {
        words.push("…".to_owned());
    }
    Some(words.join(" "))
}

fn quoted(value: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "._-+:/@,=%".contains(c);
    match !value.is_empty() && value.chars().all(is_plain) {
        true => value.to_owned(),
        false => format!("'{}'", value.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    fn blamed(line: &[&str], reason: Reason) -> Option<String> {
        let command = Cli::command();
        let line = [&["conclave"], line].concat();
        let matches = command.clone().try_get_matches_from(line).unwrap();
        Given::of(&command, &matches).blamed(reason)
    }

    #[test]
    fn a_refusal_names_the_argument_that_caused_it() {
        let long = "x".repeat(100);
        let cases: &[(&[&str], Reason, &str)] = &[
            (&["send", "bob", "hi"], Reason::NoSuchAccount, "bob"),
            (
                &["send", "#ops", "hi"],
                Reason::NoSuchConversation,
                "'#ops'",
            ),
            (&["send", "bob", "hi"], Reason::TextTooLong, "TEXT"),
            (
                &["send", "bob", "--stdin-as-one"],
                Reason::TextEmpty,
                "--stdin-as-one",
            ),
            (
                &["send", "bob", "--file", "a b"],
                Reason::TextTooLong,
                "--file 'a b'",
            ),
            (
                &["send", "bob", "x", "--reply-to", "3.1"],
                Reason::NoSuchMessage,
                "--reply-to 3.1",
            ),
            (
                &["send", "bob", "x", "--again", "1:2"],
                Reason::RequestReused,
                "--again 1:2",
            ),
            (
                &["read", "--with", "#ops"],
                Reason::NoSuchConversation,
                "--with '#ops'",
            ),
            (
                &["read", "--with", "bob"],
                Reason::NoSuchAccount,
                "--with bob",
            ),
            (&["edit", "3.1", "x"], Reason::NotYourMessage, "3.1"),
            (&["edit", "3.1", "x"], Reason::TextEmpty, "TEXT"),
            (
                &["delete", "3.1", "3.2", "3.3", "3.4"],
                Reason::NoSuchMessage,
                "3.1 3.2 3.3 …",
            ),
            (&["react", "3.1", "a b"], Reason::ReactionInvalid, "'a b'"),
            (&["search", "from:", "x"], Reason::QueryInvalid, "from: x"),
            (&["room", "create", "ops"], Reason::NameTaken, "ops"),
            (
                &["room", "create", "ops", "--topic", "x"],
                Reason::LineInvalid,
                "--topic x",
            ),
            (
                &["room", "topic", "ops", &long],
                Reason::LineInvalid,
                "TOPIC",
            ),
            (
                &["room", "join", "#ops"],
                Reason::NoSuchConversation,
                "'#ops'",
            ),
            (
                &["room", "invite", "ops", "bob"],
                Reason::NoSuchAccount,
                "bob",
            ),
            (&["room", "invite", "ops", "bob"], Reason::NotAllowed, "ops"),
            (&["room", "kick", "ops", "bob"], Reason::NotAMember, "bob"),
            (
                &["room", "role", "ops", "bob", "owner"],
                Reason::LastOfItsKind,
                "bob",
            ),
            (&["room", "list", "[x"], Reason::PatternInvalid, "'[x'"),
            (&["account", "create", "bob"], Reason::NameTaken, "bob"),
            (
                &["account", "create", "a b"],
                Reason::NameCharacter,
                "'a b'",
            ),
            (
                &["account", "create", "bob"],
                Reason::PasswordTooShort,
                "the password",
            ),
            (
                &["account", "create", "bob", "--password-stdin"],
                Reason::PasswordTooShort,
                "--password-stdin",
            ),
            (
                &["account", "create", "bob", "--invite", "s3"],
                Reason::InviteInvalid,
                "--invite",
            ),
            (
                &["account", "create", "bob", "--setup-token", "s3"],
                Reason::SetupTokenInvalid,
                "--setup-token",
            ),
            (
                &["account", "display-name", "ann"],
                Reason::NameAlike,
                "ann",
            ),
            (&["account", "block", "eve"], Reason::NoSuchAccount, "eve"),
            (&["account", "suspend", "eve"], Reason::NoSuchAccount, "eve"),
            (
                &["account", "require-password", "eve"],
                Reason::NoSuchAccount,
                "eve",
            ),
            (
                &["account", "role", "bob", "user"],
                Reason::LastOfItsKind,
                "bob",
            ),
            (&["account", "list", "a["], Reason::PatternInvalid, "'a['"),
            (&["login", "bob"], Reason::WrongCredentials, "bob"),
            (
                &["login", "bob", "--label", "x"],
                Reason::LineInvalid,
                "--label x",
            ),
            (&["passwd"], Reason::WrongCredentials, "the password"),
            (&["passwd"], Reason::PasswordTooShort, "the password"),
            (
                &["presence", "ann", "bob"],
                Reason::NoSuchAccount,
                "ann bob",
            ),
            (
                &["sessions", "--end", "7"],
                Reason::NoSuchSession,
                "--end 7",
            ),
            (&["webhook", "create", "ops", "ci"], Reason::NameTaken, "ci"),
            (
                &["webhook", "create", "ops", "ci"],
                Reason::NotAllowed,
                "ops",
            ),
            (&["webhook", "delete", "7"], Reason::NoSuchWebhook, "7"),
            (&["bot", "create", "ci"], Reason::NameTaken, "ci"),
            (&["invite", "revoke", "7"], Reason::InviteInvalid, "7"),
            (
                &["token", "create", "--ttl", "2d"],
                Reason::JoinTokenOutOfRange,
                "--ttl 2d",
            ),
            (&["token", "revoke", "x"], Reason::TokenIdInvalid, "x"),
            (&["cluster", "remove", "9"], Reason::NoSuchNode, "9"),
            (&["operator", "revoke", "ann"], Reason::LastOperator, "ann"),
        ];
        for (line, reason, expected) in cases {
            let told = blamed(line, *reason);
            assert_eq!(told.as_deref(), Some(*expected), "{line:?} {reason}");
        }
        // No argument is the cause of these reasons.
        for reason in [
            Reason::RateLimited,
            Reason::QuotaExceeded,
            Reason::RegistrationClosed,
        ] {
            assert_eq!(blamed(&["send", "bob", "hi"], reason), None, "{reason}");
        }
        // Each line of stdin is named by its number instead.
        assert_eq!(blamed(&["send", "bob", "-"], Reason::TextEmpty), None);
    }
}
