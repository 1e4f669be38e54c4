//! Ends a command: exit codes, and errors in words for people.
//!
//! Always true: an error is shown once, as `error:` (what happened) and `hint:` (what to do), on
//! stderr, never as a Debug dump. A refusal begins with the argument that caused it.

mod reasons;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use conclave_client::{BuildError, CallError, Distrust};
use conclave_text::shown_lines;

use crate::arguments;

pub(crate) use reasons::of_reason;

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
                nodes,
                distrust: Some(distrust),
                ..
            } => Self::new(
                EXIT_PERMISSION,
                format!("{distrust} (tried {})", list(nodes)),
                of_distrust(*distrust),
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

/// Returns the hint for a certificate that is not accepted.
fn of_distrust(distrust: Distrust) -> &'static str {
    match distrust {
        Distrust::AnotherAuthority => {
            "an attacker may intercept the connection; if the cluster is a new one: conclave \
             trust forget HOST:PORT"
        }
        Distrust::NotProven => {
            "use the name in its certificate; a cluster without a certificate of its operator's \
             is known by --fingerprint instead of --ca-file"
        }
        Distrust::NotValidNow => {
            "renew the certificate in the files of --tls-certificate, or correct the clock"
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
            distrust: None,
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
