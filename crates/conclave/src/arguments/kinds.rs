//! The kinds of the arguments, and the reasons for which a server refuses each kind.
//!
//! Always true: every argument of a command that sends a request has a kind, or is listed among
//! those that no server checks.

use conclave_client::Reason;

/// Kinds of arguments that a server may refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
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
    /// How long messages are kept, or how many.
    Retention,
    /// A cluster version.
    Version,
    /// Which lines a log has.
    LogFilter,
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
    ("cluster retention", "set", Kind::Retention),
    ("room retention", "set", Kind::Retention),
    ("", "set", Kind::Limit),
    ("cluster upgrade finalize", "version", Kind::Version),
    ("node log-level", "filter", Kind::LogFilter),
    ("token create", "role", Kind::Unjudged),
    ("cluster ack", "voters", Kind::Unjudged),
    ("", "role", Kind::Role),
    ("", "again", Kind::Key),
    ("audit", "since", Kind::Unjudged),
    ("", "since", Kind::Position),
];

/// Returns the kinds of arguments that may have caused a refusal, the most probable first; empty if
/// no argument did.
pub(super) fn causes(reason: Reason) -> &'static [Kind] {
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
        Reason::RetentionOutOfRange | Reason::RetentionTooLong => &[Retention],
        Reason::LogFilterInvalid => &[LogFilter],
        Reason::VersionUnsupported => &[Version],
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
        | Reason::NodeIsWitness
        | Reason::TooFewFullNodes
        | Reason::LearnerBehind
        | Reason::WouldLoseQuorum
        | Reason::WouldLoseAuthority => &[Node],
        _ => &[],
    }
}

/// Returns the kind of an argument of the command `path`; `None` if the table has none.
pub(super) fn kind_of(path: &str, id: &str) -> Option<Kind> {
    let is_it = |command: &str| command.is_empty() || command == path;
    let found = KINDS.iter().find(|(of, name, _)| *name == id && is_it(of));
    found.map(|(_, _, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{Command, CommandFactory as _};

    use super::*;
    use crate::cli::Cli;

    /// Commands that run or prepare nodes, or send no request.
    const ALONE: [&str; 10] = [
        "serve",
        "up",
        "demo",
        "bench",
        "trust",
        "completions",
        "manual",
        "export",
        "import",
        "cluster recover",
    ];

    /// Arguments that no server checks.
    const UNJUDGED: [&str; 31] = [
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
        "within",
        "restart",
        "scratch",
        "actor",
        "act",
        "until",
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
}
