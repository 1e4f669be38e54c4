//! Names the argument of the command line that caused a refusal.
//!
//! Always true: the words for a refusal begin with the argument that caused it, if one did, as the
//! user typed it. A secret, a text and a long value are named by the argument alone.

use conclave_client::Reason;
use std::sync::OnceLock;

use clap::{Arg, ArgMatches, Command, parser::ValueSource};

/// Maximum length of a value that is repeated, in bytes. A longer one is named by its argument.
const SHOWN_BYTES_MAX: usize = 64;

/// Maximum number of values of one kind that are repeated. The rest is left out.
const SHOWN_MAX: usize = 3;

/// Kinds of arguments that a server may refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The name of an existing account.
    Account,
    /// The name of an account or operator to create.
    NewName,
    /// The name of a room.
    Room,
    /// A person, a room or the number of a conversation.
    Conversation,
    /// A message by its ID.
    Message,
    /// The text of a message.
    Text,
    /// A text of one line: a topic, a display name, a label.
    Line,
    Reaction,
    Query,
    Pattern,
    Password,
    /// An invite's code.
    Code,
    SetupToken,
    Session,
    /// The number of an invite.
    Invite,
    Webhook,
    /// The ID of a token for machines.
    JoinToken,
    Operator,
    Node,
    /// The address of a node.
    Address,
    /// A lifetime, or a number of uses.
    Lifetime,
    /// A limit of what one account may do.
    Limit,
    Role,
    /// The key of a repeated request.
    Key,
    /// A position in the log.
    Position,
    /// A value that no server checks: an output format, a flag, a file, a number that is checked
    /// before.
    Unjudged,
}

/// The kinds of the arguments, by the command and the name of the field. An empty command means
/// any.
const KINDS: &[(&str, &str, Kind)] = &[
    ("account create", "name", Kind::NewName),
    ("bot create", "name", Kind::NewName),
    ("webhook create", "name", Kind::NewName),
    ("operator create", "name", Kind::NewName),
    ("operator revoke", "name", Kind::Operator),
    ("webhook delete", "id", Kind::Webhook),
    ("invite revoke", "id", Kind::Invite),
    ("token revoke", "id", Kind::JoinToken),
    ("cluster transfer-leader", "to", Kind::Node),
    ("", "name", Kind::Account),
    ("", "names", Kind::Account),
    ("", "user", Kind::Account),
    ("", "room", Kind::Room),
    ("", "to", Kind::Conversation),
    ("", "with", Kind::Conversation),
    ("", "message", Kind::Message),
    ("", "messages", Kind::Message),
    ("", "before", Kind::Message),
    ("", "reply_to", Kind::Message),
    ("send", "file", Kind::Text),
    ("", "stdin_as_one", Kind::Text),
    ("", "text", Kind::Text),
    ("", "topic", Kind::Line),
    ("", "display_name", Kind::Line),
    ("", "label", Kind::Line),
    ("", "reaction", Kind::Reaction),
    ("", "query", Kind::Query),
    ("", "pattern", Kind::Pattern),
    ("", "password_stdin", Kind::Password),
    ("", "invite", Kind::Code),
    ("", "setup_token", Kind::SetupToken),
    ("", "end", Kind::Session),
    ("", "node", Kind::Node),
    ("", "peer_address", Kind::Address),
    ("", "client_address", Kind::Address),
    ("", "old", Kind::Node),
    ("", "new", Kind::Node),
    ("", "replaces", Kind::Node),
    ("", "days", Kind::Lifetime),
    ("", "uses", Kind::Lifetime),
    ("", "ttl", Kind::Lifetime),
    ("", "set", Kind::Limit),
    ("token create", "role", Kind::Unjudged),
    ("", "role", Kind::Role),
    ("", "again", Kind::Key),
    ("", "since", Kind::Position),
];

/// Returns the kinds of arguments that may have caused a refusal, the most probable first; empty if
/// no argument did.
fn causes(reason: Reason) -> &'static [Kind] {
    use Kind::*;
    match reason {
        Reason::NoSuchAccount => &[Account, Conversation, Query],
        Reason::NoSuchConversation => &[Room, Conversation, Message, Query],
        Reason::RecipientGone | Reason::Blocked => &[Conversation, Account],
        Reason::NotAMember => &[Account],
        Reason::Oneself | Reason::AccountSuspended => &[Account, Conversation],
        Reason::NotAllowed => &[Room, Conversation, Message, Webhook],
        Reason::LastOfItsKind => &[Account, Room],
        Reason::NameTaken => &[NewName, Room],
        Reason::NameAlike => &[NewName, Line],
        Reason::NameEmpty | Reason::NameTooLong | Reason::NameCharacter => {
            &[NewName, Account, Room, Conversation, Operator, Query]
        }
        Reason::WrongCredentials => &[Account, Password],
        Reason::PasswordCharacter | Reason::PasswordTooShort | Reason::PasswordTooLong => {
            &[Password]
        }
        Reason::TextEmpty | Reason::TextTooLong => &[Text],
        Reason::LineInvalid => &[Line],
        Reason::ReactionInvalid => &[Reaction],
        Reason::QueryInvalid => &[Query],
        Reason::PatternInvalid => &[Pattern],
        Reason::NoSuchMessage | Reason::MessageGone | Reason::NotYourMessage => &[Message],
        Reason::ListTooLong | Reason::ListEmpty => &[Message, Account],
        Reason::RequestTooLong => &[Text, Line, Query],
        Reason::InviteInvalid | Reason::CodeInvalid => &[Code, Invite],
        Reason::SetupTokenInvalid => &[SetupToken],
        Reason::InviteOutOfRange | Reason::JoinTokenOutOfRange => &[Lifetime],
        Reason::NoSuchSession => &[Session],
        Reason::NoSuchWebhook => &[Webhook],
        Reason::TokenIdInvalid | Reason::JoinTokenInvalid => &[JoinToken],
        Reason::LastOperator => &[Operator],
        Reason::AccountLimitInvalid => &[Limit],
        Reason::RoleMissing => &[Role],
        Reason::RequestReused | Reason::RequestTooOld | Reason::RequestOutOfRange => &[Key],
        Reason::ResumeTokenInvalid => &[Position],
        Reason::AddressInvalid | Reason::AddressTaken => &[Address],
        Reason::NoSuchNode
        | Reason::NodeNumberTaken
        | Reason::NodeNumberTooFar
        | Reason::NodeUnreachable
        | Reason::NodeRetired
        | Reason::NotTakenOver
        | Reason::LastVoter
        | Reason::LearnerBehind
        | Reason::WouldLoseQuorum
        | Reason::WouldLoseAuthority => &[Node],
        _ => &[],
    }
}

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

fn kind_of(path: &str, id: &str) -> Option<Kind> {
    let is_it = |command: &str| command.is_empty() || command == path;
    let found = KINDS.iter().find(|(of, name, _)| *name == id && is_it(of));
    found.map(|(_, _, kind)| *kind)
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
    use std::collections::BTreeSet;

    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    /// Commands that run or prepare nodes, or send no request.
    const ALONE: [&str; 7] = [
        "serve",
        "up",
        "demo",
        "bench",
        "trust",
        "completions",
        "cluster recover",
    ];

    /// Arguments that no server checks.
    const UNJUDGED: [&str; 25] = [
        "output",
        "limit",
        "stale",
        "yes",
        "everyone",
        "at_once",
        "unread",
        "peek",
        "follow",
        "remove",
        "own",
        "private",
        "watch",
        "file",
        "data",
        "endpoints",
        "fingerprint",
        "ca_file",
        "operator_file",
        "timeout",
        "zone",
        "force",
        "dry_run",
        "wait",
        "plain",
    ];

    fn leaves(path: &str, command: &Command, found: &mut Vec<(String, Vec<String>)>) {
        for inner in command.get_subcommands() {
            let path = format!("{path} {}", inner.get_name());
            leaves(path.trim(), inner, found);
        }
        if !command.has_subcommands() {
            let ids = command.get_arguments();
            let ids = ids.map(|argument| argument.get_id().to_string()).collect();
            found.push((path.to_owned(), ids));
        }
    }

    #[test]
    fn every_argument_is_listed_as_server_checked_or_not() {
        let mut found = Vec::new();
        leaves("", &Cli::command(), &mut found);
        assert!(found.len() > 50, "{}", found.len());
        let all: BTreeSet<&String> = found.iter().flat_map(|(_, ids)| ids).collect();
        let listed = KINDS.iter().map(|(_, id, _)| id).chain(&UNJUDGED);
        let gone: Vec<_> = listed
            .filter(|id| !all.contains(&(**id).to_owned()))
            .collect();
        assert_eq!(gone, Vec::<&&str>::new());
        let mut unknown = Vec::new();
        for (path, ids) in found {
            if ALONE.iter().any(|alone| path.starts_with(alone)) {
                continue;
            }
            let is_unknown =
                |id: &String| kind_of(&path, id).is_none() && !UNJUDGED.contains(&id.as_str());
            let ids = ids.into_iter().filter(is_unknown);
            unknown.extend(ids.map(|id| format!("{path}: {id}")));
        }
        assert_eq!(unknown, Vec::<String>::new());
    }

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
