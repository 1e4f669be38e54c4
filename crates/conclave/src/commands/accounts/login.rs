//! `conclave login`: opens a session and keeps it for the other commands.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Read as _},
    process::ExitCode,
};

use crate::{
    connection::Connection,
    credentials::{self, Credentials},
    errors::{CommandError, EXIT_FAILED, EXIT_USAGE, note},
    trust,
};

/// Environment variable with the password, for programs.
const PASSWORD_VARIABLE: &str = "CONCLAVE_PASSWORD";
/// Environment variable with the new password, when the password is to be changed.
const NEW_VARIABLE: &str = "CONCLAVE_NEW_PASSWORD";

/// Arguments of `login`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Account name
    name: String,
    #[command(flatten)]
    password: Password,
    /// Label of this session in the list of your sessions [default: the host's name]
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

/// Source of the password.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Password {
    /// Read the password from the first line of stdin [else: CONCLAVE_PASSWORD, or a prompt]; a new
    /// one from the second [else: CONCLAVE_NEW_PASSWORD]
    #[arg(long)]
    password_stdin: bool,
}

/// Logs in.
///
/// # Errors
/// If the password is wrong, no node serves, or the credentials cannot be kept.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    // Before the password prompt: if the credentials cannot be kept, the user does not type in
    // vain.
    let place = credentials::reserve(&credentials::path()?)?;
    let connected = args.connection.connect_without_session().await?;
    let password = args.password.ask(Asking::Once).await?;
    let label = args.label.unwrap_or_else(host_name);
    let device = credentials::device_secret();
    let login = connected
        .client
        .login_from(&args.name, &password, &label, device)
        .await?;
    let credentials = Credentials {
        endpoints: connected.client.endpoints(),
        user: login.account.name.clone(),
        token: login.token,
    };
    let pinned = match &connected.authority {
        // The pin also covers the nodes that this one has named.
        Some(authority) => trust::pin(&credentials.endpoints, authority),
        None => Ok(()),
    };
    if let Err(error) = pinned.and_then(|()| place.fill(&credentials)) {
        // A session whose credentials are in no file would stay open for ever.
        let closed = match connected.client.with_token(&credentials.token) {
            Ok(client) => client.logout().await.is_ok(),
            Err(_) => false,
        };
        let sentence = match closed {
            true => format!("{error}; the session was closed again"),
            false => format!("{error}; the session is still open: conclave sessions"),
        };
        return Err(error.with_sentence(sentence).into());
    }
    note(&format!("logged in as {}", credentials.user));
    Ok(ExitCode::SUCCESS)
}

/// Returns the name of this machine as a label; empty if it has none that can be shown.
fn host_name() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy().into_owned();
    conclave_text::session_label(&name).map_or_else(|_| String::new(), |_| name)
}

/// Number of times that a password is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    /// An existing password.
    Once,
    /// A new password: a typing error in a single entry would go unnoticed.
    Twice,
}

impl Password {
    /// Reads the old and the new password: two lines of stdin, two variables of the environment, or
    /// typed without echo.
    ///
    /// # Errors
    /// If one of the passwords cannot be read.
    pub(crate) async fn ask_change(self) -> anyhow::Result<(String, String)> {
        let given = |variable| {
            std::env::var(variable)
                .ok()
                .filter(|value| !value.is_empty())
        };
        if !self.password_stdin
            && let (Some(old), Some(new)) = (given(PASSWORD_VARIABLE), given(NEW_VARIABLE))
        {
            return Ok((old, new));
        }
        let typed = tokio::task::spawn_blocking(move || {
            if self.password_stdin {
                let mut stdin = io::stdin().lock();
                return Ok((first_line(&mut stdin)?, first_line(&mut stdin)?));
            }
            note("current password");
            let old = prompt(Asking::Once)?;
            note("new password");
            Ok::<_, CommandError>((old, prompt(Asking::Twice)?))
        });
        Ok(typed.await??)
    }

    /// Reads the password: from stdin, from the environment, or typed without echo.
    ///
    /// # Errors
    /// If the password cannot be read.
    pub(crate) async fn ask(self, asking: Asking) -> anyhow::Result<String> {
        if !self.password_stdin
            && let Ok(password) = std::env::var(PASSWORD_VARIABLE)
            && !password.is_empty()
        {
            return Ok(password);
        }
        let typed = tokio::task::spawn_blocking(move || {
            if self.password_stdin {
                first_line(&mut io::stdin().lock())
            } else {
                prompt(asking)
            }
        });
        Ok(typed.await??)
    }
}

fn first_line(input: &mut dyn io::BufRead) -> Result<String, CommandError> {
    let longest = conclave_core::limits::PASSWORD_BYTES_MAX as u64;
    let mut line = String::new();
    // One character more and a line break, so that a password that is too long is refused as such.
    input
        .take(longest + 8)
        .read_line(&mut line)
        .map_err(|error| cannot_read(&error))?;
    let password = line.trim_end_matches(['\n', '\r']);
    if password.is_empty() {
        return Err(CommandError::new(
            EXIT_USAGE,
            "stdin has no password in its first line",
            "write the password to stdin, or leave out --password-stdin for a prompt",
        ));
    }
    Ok(password.to_owned())
}

fn prompt(asking: Asking) -> Result<String, CommandError> {
    if !io::stdin().is_terminal() {
        return Err(CommandError::new(
            EXIT_USAGE,
            "there is no terminal to prompt for a password",
            "set CONCLAVE_PASSWORD, or use --password-stdin",
        ));
    }
    let ask = |text: &str| rpassword::prompt_password(text).map_err(|error| cannot_read(&error));
    let password = ask("Password: ")?;
    if asking == Asking::Twice && ask("Again: ")? != password {
        return Err(CommandError::new(
            EXIT_USAGE,
            "the two passwords differ",
            "try again",
        ));
    }
    Ok(password)
}

fn cannot_read(error: &io::Error) -> CommandError {
    CommandError::new(
        EXIT_FAILED,
        format!("cannot read the password: {error}"),
        "set CONCLAVE_PASSWORD, or use --password-stdin",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_the_first_line_without_its_end() {
        for input in ["secret word\nmore\n", "secret word\r\n", "secret word"] {
            let password = first_line(&mut input.as_bytes()).unwrap();
            assert_eq!(password, "secret word");
        }
        for none in ["", "\n", "\r\nsecond\n"] {
            let refused = first_line(&mut none.as_bytes()).unwrap_err();
            assert_eq!(refused.exit(), EXIT_USAGE);
        }
        let long = "p".repeat(1_000_000);
        let cut = first_line(&mut long.as_bytes()).unwrap();
        assert_eq!(cut.len(), conclave_core::limits::PASSWORD_BYTES_MAX + 8);
    }
}
