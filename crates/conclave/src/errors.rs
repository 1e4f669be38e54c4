//! How a command ends: exit codes, and errors in words for people.
//!
//! Always true: an error is told once, as `error:` (what happened) and `hint:` (what to do), on
//! stderr, never as a Debug dump.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

/// It failed, and no other code says it better.
pub(crate) const EXIT_FAILED: u8 = 1;

/// A failure with the words for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub(crate) struct CommandError {
    exit: u8,
    sentence: String,
    hint: String,
}

impl CommandError {
    /// A failure that ends the process with `exit`, one of the `EXIT_…` codes.
    pub(crate) fn new(exit: u8, sentence: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            exit,
            sentence: sentence.into(),
            hint: hint.into(),
        }
    }
}

/// Puts `error` into words and gives the exit code for it.
pub(crate) fn tell(error: &anyhow::Error) -> ExitCode {
    let (exit, sentence, hint) = match error.downcast_ref::<CommandError>() {
        Some(known) => (known.exit, known.sentence.clone(), known.hint.clone()),
        None => (
            EXIT_FAILED,
            format!("{error:#}"),
            "run the command with --help to see what it needs".to_owned(),
        ),
    };
    // Nobody is left to be told if stderr is closed.
    let _ = writeln!(io::stderr(), "error: {sentence}\nhint: {hint}");
    ExitCode::from(exit)
}
