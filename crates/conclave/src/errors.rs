//! Ends a command: exit codes, and errors in words for people.
//!
//! Always true: an error is shown once, as `error:` (what happened) and `hint:` (what to do), on
//! stderr, never as a Debug dump. A refusal begins with the argument that caused it.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use conclave_client::{
    ANOTHER_AUTHORITY, BuildError, CallError, NOT_PROVEN, NOT_VALID_NOW, Reason,
};
use conclave_text::shown_lines;

use crate::arguments;

/// The command failed, and no other code says it better.
pub(crate) const EXIT_FAILED: u8 = 1;
/// The command line or the input is wrong.
pub(crate) const EXIT_USAGE: u8 = 2;
/// There is no such account, conversation or message.
pub(crate) const EXIT_NOT_FOUND: u8 = 3;
/// The caller is not logged in, gave a wrong password, or may not do this.
pub(crate) const EXIT_PERMISSION: u8 = 4;
/// The name is taken, or the change is not possible any more.
pub(crate) const EXIT_CONFLICT: u8 = 5;
/// Data is damaged, or the data of nodes differs.
pub(crate) const EXIT_DAMAGED: u8 = 65;
/// No node serves, or no majority. Nothing was changed.
pub(crate) const EXIT_UNAVAILABLE: u8 = 69;
/// The outcome is unknown: the change may or may not have happened.
pub(crate) const EXIT_TEMPORARY: u8 = 75;
/// The user interrupted the command with Ctrl-C.
pub(crate) const EXIT_INTERRUPTED: u8 = 130;

/// Hint for users without a credential: where to get one.
pub(crate) const OPERATOR_HINT: &str = concat!(
    "the first node of a cluster writes one to operator.token in its data directory: name a copy ",
    "with --operator-file FILE, or keep it with: conclave operator use FILE"
);

/// A failure with its exit code, sentence and hint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub(crate) struct CommandError {
    exit: u8,
    sentence: String,
    hint: String,
}

impl CommandError {
    /// Makes a failure that ends the process with `exit`, one of the `EXIT_…` codes.
    pub(crate) fn new(exit: u8, sentence: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            exit,
            sentence: sentence.into(),
            hint: hint.into(),
        }
    }

    /// Returns the same failure with another sentence.
    pub(crate) fn with_sentence(self, sentence: impl Into<String>) -> Self {
        Self {
            sentence: sentence.into(),
            ..self
        }
    }

    /// Returns the exit code.
    pub(crate) fn exit(&self) -> u8 {
        self.exit
    }
}

/// Shows `error` in words and returns its exit code.
pub(crate) fn tell(error: &anyhow::Error) -> ExitCode {
    if reader_is_gone(error) {
        // `conclave read | head` is not a failure.
        return ExitCode::SUCCESS;
    }
    let known = known(error);
    show(&known);
    ExitCode::from(known.exit)
}

/// Shows the error in a command line, or the requested help.
pub(crate) fn tell_usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // If stdout is closed, there is no reader left for the help.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let _ = writeln!(io::stderr(), "{}", shown_lines(&usage(error)));
    ExitCode::from(EXIT_USAGE)
}

fn usage(error: &clap::Error) -> String {
    let text = error.render().to_string();
    text.replace(
        "For more information, try '--help'.",
        "hint: run the command with --help to see what it takes",
    )
}

/// Shows an error.
pub(crate) fn show(error: &CommandError) {
    let CommandError { sentence, hint, .. } = error;
    // A sentence may come from a server, or quote what another person has written.
    let (sentence, hint) = (shown_lines(sentence), shown_lines(hint));
    // If stderr is closed, there is no reader left for the error.
    let _ = writeln!(io::stderr(), "error: {sentence}\nhint: {hint}");
}

/// Shows a note on stderr, which is neither data nor an error.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{}", shown_lines(text));
}

fn known(error: &anyhow::Error) -> CommandError {
    if let Some(known) = error.downcast_ref::<CommandError>() {
        return known.clone();
    }
    if let Some(call) = error.downcast_ref::<CallError>() {
        return call.into();
    }
    if let Some(build) = error.downcast_ref::<BuildError>() {
        return build.into();
    }
    CommandError::new(
        EXIT_FAILED,
        format!("{error:#}"),
        "run the command with --help to see what it needs",
    )
}

/// Returns whether the command failed because the program behind stdout has closed it.
pub(crate) fn reader_is_gone(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

impl From<&BuildError> for CommandError {
    fn from(error: &BuildError) -> Self {
        let hint = match error {
            BuildError::Token => "log in again: conclave login NAME",
            BuildError::Unprotected { .. } => {
                "plain text is sent on loopback only: leave http:// out"
            }
            BuildError::Plain { .. } => {
                "leave http:// out, or forget the cluster: conclave trust forget HOST:PORT"
            }
            BuildError::NoEndpoint
            | BuildError::TooManyEndpoints { .. }
            | BuildError::Address { .. } => {
                "name nodes as HOST:PORT,HOST:PORT with --endpoints or CONCLAVE_ENDPOINTS"
            }
        };
        Self::new(EXIT_USAGE, error.to_string(), hint)
    }
}

impl From<&CallError> for CommandError {
    fn from(error: &CallError) -> Self {
        match error {
            CallError::Refused { reason, sentence } => {
                let (exit, hint) = of_reason(*reason);
                match arguments::blamed(*reason) {
                    Some(argument) => Self::new(exit, format!("{argument}: {sentence}"), hint),
                    None => Self::new(exit, sentence, hint),
                }
            }
            CallError::SessionExpired { sentence, certain } => {
                let hint = if *certain {
                    "log in: conclave login NAME"
                } else {
                    "this request may have been executed; log in (conclave login NAME) and check"
                };
                Self::new(EXIT_PERMISSION, sentence, hint)
            }
            CallError::NotDone {
                nodes, sentence, ..
            } if sentence.contains(ANOTHER_AUTHORITY) => Self::new(
                EXIT_PERMISSION,
                format!("{ANOTHER_AUTHORITY} (tried {})", list(nodes)),
                "an attacker may intercept the connection; if the cluster is a new one: conclave \
                 trust forget HOST:PORT",
            ),
            CallError::NotDone {
                nodes, sentence, ..
            } if sentence.contains(NOT_PROVEN) => Self::new(
                EXIT_PERMISSION,
                format!("{NOT_PROVEN} (tried {})", list(nodes)),
                "use the name in its certificate; a cluster without a certificate \
                 of its operator's is known by --fingerprint instead of --ca-file",
            ),
            CallError::NotDone {
                nodes, sentence, ..
            } if sentence.contains(NOT_VALID_NOW) => Self::new(
                EXIT_PERMISSION,
                format!("{NOT_VALID_NOW} (tried {})", list(nodes)),
                "renew the certificate in the files of --tls-certificate, or correct the clock",
            ),
            CallError::NotDone { nodes, .. } => Self::new(
                EXIT_UNAVAILABLE,
                format!("{error} (tried {})", list(nodes)),
                "nothing was changed; check the cluster with: conclave cluster status",
            ),
            CallError::Unknown { nodes, .. } => Self::new(
                EXIT_TEMPORARY,
                format!("{error} (tried {})", list(nodes)),
                "it may or may not have been executed: check before you repeat it",
            ),
        }
    }
}

fn list(nodes: &[String]) -> String {
    if nodes.is_empty() {
        "no node".to_owned()
    } else {
        nodes.join(", ")
    }
}

/// Returns the exit code and the hint for a refusal.
#[expect(clippy::too_many_lines, reason = "a table: each reason once")]
pub(crate) fn of_reason(reason: Reason) -> (u8, &'static str) {
    match reason {
        Reason::NoSuchAccount => (
            EXIT_NOT_FOUND,
            "list the accounts with: conclave account list",
        ),
        Reason::NoSuchConversation => (
            EXIT_NOT_FOUND,
            "list yours with: conclave conversations, and rooms with: conclave room list",
        ),
        Reason::NoSuchWebhook => (
            EXIT_NOT_FOUND,
            "list a room's webhooks with: conclave webhook list ROOM",
        ),
        Reason::NoSuchSession => (EXIT_NOT_FOUND, "list your sessions with: conclave sessions"),
        Reason::NotAllowed => (
            EXIT_PERMISSION,
            "ask the owner of the room, or an administrator",
        ),
        Reason::Blocked => (
            EXIT_PERMISSION,
            "if you have blocked this account, unblock it with: conclave account unblock NAME",
        ),
        Reason::RegistrationClosed => (
            EXIT_PERMISSION,
            "ask an administrator for an invite, and use it with --invite CODE",
        ),
        Reason::InviteInvalid => (EXIT_PERMISSION, "ask an administrator for another invite"),
        Reason::SetupTokenInvalid => (
            EXIT_PERMISSION,
            "use the token that the server printed last, and only while there is no administrator",
        ),
        Reason::LoginThrottled => (
            EXIT_TEMPORARY,
            "too many log-ins with this name or from here failed: wait as long as it says",
        ),
        Reason::NotAPeer => (
            EXIT_PERMISSION,
            "this is the peer port: name the client port",
        ),
        Reason::LastOfItsKind => (EXIT_CONFLICT, "give the role to another account first"),
        Reason::NotAMember => (
            EXIT_CONFLICT,
            "list the members with: conclave room members ROOM",
        ),
        Reason::MessageGone => (EXIT_CONFLICT, "a deleted message stays deleted"),
        Reason::NoSuchNode => (EXIT_NOT_FOUND, "conclave cluster status lists the nodes"),
        Reason::NoSuchCheck => (EXIT_TEMPORARY, "the node has restarted: check again"),
        Reason::NodeNumberTaken => (
            EXIT_CONFLICT,
            "choose a number that no node has had before; start a node that has moved with \
             its data at its new addresses: it announces them",
        ),
        Reason::NodeNumberTooFar => (EXIT_USAGE, "take the next number, or join with a token"),
        Reason::NodeUnreachable => (
            EXIT_CONFLICT,
            "check that it runs (conclave cluster status), or choose another node",
        ),
        Reason::NotTakenOver => (
            EXIT_CONFLICT,
            "see what its log says, and repeat the command",
        ),
        Reason::JoinTokenInvalid => (
            EXIT_PERMISSION,
            "one machine can join with a token, once and in time: make another with: \
             conclave token create",
        ),
        Reason::NotAnOperator => (EXIT_PERMISSION, OPERATOR_HINT),
        Reason::LastOperator => (
            EXIT_CONFLICT,
            "add another first with: conclave operator create NAME",
        ),
        Reason::TokenIdInvalid => (EXIT_USAGE, "conclave token list shows them"),
        Reason::JoinRefused => (EXIT_PERMISSION, "give all nodes the same --secret-file"),
        Reason::JoinTokenOutOfRange => (EXIT_USAGE, "a token is valid for at most 7 days"),
        Reason::NoAuthorityKey => (
            EXIT_CONFLICT,
            "name the addresses of voters in --join: no machine can join through a learner",
        ),
        Reason::WouldLoseAuthority => (
            EXIT_CONFLICT,
            "a new voter gets the key within seconds: ask again, after `conclave cluster promote` \
             if no other voter is left",
        ),
        Reason::PeerRole => (EXIT_PERMISSION, "ask a node that votes"),
        Reason::AddressTaken => (
            EXIT_CONFLICT,
            "remove the node that has it first, or correct it",
        ),
        Reason::AddressInvalid => (EXIT_USAGE, "write it as HOST:PORT"),
        Reason::LastVoter => (EXIT_CONFLICT, "give another node a vote first"),
        Reason::MembersUnreachable => (
            EXIT_UNAVAILABLE,
            "start the nodes that do not answer, or remove them (conclave cluster remove): such a \
             machine joins again with an empty directory and a new token",
        ),
        Reason::WouldLoseQuorum => (
            EXIT_CONFLICT,
            "start the nodes that are down first (conclave cluster status), or use --force",
        ),
        Reason::LearnerBehind => (EXIT_CONFLICT, "check that it runs, and repeat the command"),
        Reason::TooManyVoters | Reason::TooManyMembers => (EXIT_CONFLICT, "remove a node first"),
        Reason::TooMany => (EXIT_CONFLICT, "remove some that are no longer needed"),
        Reason::QuotaExceeded => (
            EXIT_CONFLICT,
            "delete something, or ask an administrator: conclave cluster limits",
        ),
        Reason::AccountLimitInvalid => (EXIT_USAGE, "conclave cluster limits shows all of them"),
        Reason::Oneself => (EXIT_USAGE, "name another account"),
        Reason::QueryInvalid => (
            EXIT_USAGE,
            "write words, \"a phrase\", word*, from:NAME, in:#ROOM, before: and after:YYYY-MM-DD",
        ),
        Reason::NoSuchMessage => (EXIT_NOT_FOUND, "conclave read shows the IDs of messages"),
        Reason::WrongCredentials => (
            EXIT_PERMISSION,
            "check name and password; create an account with: conclave account create NAME",
        ),
        Reason::NotYourMessage => (
            EXIT_PERMISSION,
            "leave --everyone out to delete it for yourself alone",
        ),
        Reason::NameTaken => (EXIT_CONFLICT, "choose another name"),
        Reason::NameAlike => (
            EXIT_CONFLICT,
            "choose a name that does not look like that of another account",
        ),
        Reason::AccountSuspended => (EXIT_PERMISSION, "ask an administrator"),
        Reason::TooManyAccounts => (EXIT_CONFLICT, "delete accounts that are no longer needed"),
        Reason::RecipientGone => (
            EXIT_CONFLICT,
            "the conversation can be read but not continued",
        ),
        Reason::PasswordCharacter => (
            EXIT_USAGE,
            "choose a password of letters, digits, signs and spaces",
        ),
        Reason::PasswordTooShort | Reason::PasswordTooLong => (
            EXIT_USAGE,
            "choose a password of at least 8 characters and at most 256 bytes",
        ),
        Reason::TextEmpty => (EXIT_USAGE, "send visible characters"),
        Reason::TextTooLong => (EXIT_USAGE, "send at most 16 KiB of text"),
        Reason::LineInvalid => (EXIT_USAGE, "leave out the named characters, or write less"),
        Reason::ReactionInvalid => (
            EXIT_USAGE,
            "react with one emoji, or with a word such as +1",
        ),
        Reason::NameEmpty | Reason::NameTooLong | Reason::NameCharacter => (
            EXIT_USAGE,
            "a name has 1 to 32 letters, digits, '.', '_' or '-'",
        ),
        Reason::PatternInvalid => (EXIT_USAGE, "quote the pattern: conclave account list 'al*'"),
        Reason::ListTooLong => (EXIT_USAGE, "name fewer at once"),
        Reason::RequestTooLong => (EXIT_USAGE, "send less at once"),
        Reason::Behind
        | Reason::BodyInvalid
        | Reason::BodyTooLong
        | Reason::Busy
        | Reason::CertificatesInvalid
        | Reason::ChangeMissing
        | Reason::CharsetInvalid
        | Reason::CodeInvalid
        | Reason::ContentEncodingInvalid
        | Reason::ContentTypeInvalid
        | Reason::ConversationMissing
        | Reason::CutOff
        | Reason::DeviceInvalid
        | Reason::RotationInvalid
        | Reason::ExchangeMissed
        | Reason::GoingAway
        | Reason::HttpVersionInvalid
        | Reason::IdempotencyKeyInvalid
        | Reason::InviteOutOfRange
        | Reason::KeyInvalid
        | Reason::ListEmpty
        | Reason::MessageMissing
        | Reason::MethodNotAllowed
        | Reason::NodeBroken
        | Reason::NodeNumberInvalid
        | Reason::NodeRetired
        | Reason::NodeSuperseded
        | Reason::NoLeader
        | Reason::NoSpace
        | Reason::NoStream
        | Reason::NoSuchPath
        | Reason::OutcomeUnknown
        | Reason::PageTokenInvalid
        | Reason::PasswordHashInvalid
        | Reason::RateLimited
        | Reason::RecipientMissing
        | Reason::RequestIdInvalid
        | Reason::RequestMissing
        | Reason::RequestOutOfRange
        | Reason::RequestReused
        | Reason::RequestTooOld
        | Reason::ResumeTokenInvalid
        | Reason::RoleMissing
        | Reason::SessionExpired
        | Reason::SessionMisplaced
        | Reason::TokenInvalid
        | Reason::TokenInUse
        | Reason::WrongCluster
        | Reason::WrongNode
        | Reason::WrongPort
        | Reason::Unknown => (
            EXIT_USAGE,
            "run the command with --help to see what it takes",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use conclave_core::Rejection;

    use super::*;

    fn words(error: impl Into<anyhow::Error>) -> CommandError {
        known(&error.into())
    }

    #[test]
    fn every_refusal_has_an_exit_code_that_means_something() {
        let cases = [
            (Rejection::NoSuchAccount, EXIT_NOT_FOUND),
            (Rejection::NoSuchConversation, EXIT_NOT_FOUND),
            (Rejection::WrongCredentials, EXIT_PERMISSION),
            (Rejection::NameTaken, EXIT_CONFLICT),
            (Rejection::RecipientGone, EXIT_CONFLICT),
            (Rejection::TextEmpty, EXIT_USAGE),
            (Rejection::ListTooLong, EXIT_USAGE),
        ];
        for (rejection, exit) in cases {
            let sentence = rejection.to_string();
            let error = words(CallError::from(rejection));
            assert_eq!(error.exit, exit, "{sentence}");
            assert_eq!(error.sentence, sentence);
            assert!(!error.hint.is_empty());
        }
    }

    #[test]
    fn not_done_and_unknown_have_different_exit_codes() {
        let (waited, nodes) = (Duration::from_millis(15_040), vec!["a:1".to_owned()]);
        let sentence = "no leader is elected".to_owned();
        let not_done = words(CallError::NotDone {
            sentence: sentence.clone(),
            attempts: 9,
            waited,
            nodes: nodes.clone(),
        });
        assert_eq!(not_done.exit, EXIT_UNAVAILABLE);
        assert_eq!(
            not_done.sentence,
            "not done after 15.0 s and 9 attempts: no leader is elected (tried a:1)"
        );
        let unknown = words(CallError::Unknown {
            sentence,
            attempts: 9,
            waited,
            nodes,
            request: None,
        });
        assert_eq!(unknown.exit, EXIT_TEMPORARY);
        assert!(unknown.hint.contains("may or may not"));
    }

    #[test]
    fn a_wrong_command_line_has_a_hint() {
        use clap::Parser as _;
        let wrong = crate::cli::Cli::try_parse_from(["conclave", "delete", "x"]);
        let text = usage(&wrong.expect_err("it is wrong"));
        assert!(text.starts_with("error: "), "{text}");
        assert!(text.contains("\nhint: "), "{text}");
    }

    #[test]
    fn a_closed_output_pipe_is_no_failure() {
        let gone = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(reader_is_gone(&gone.into()));
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(!reader_is_gone(&full.into()));
    }
}
