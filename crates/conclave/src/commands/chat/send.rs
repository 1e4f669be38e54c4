//! `conclave send`: sends one message from the command line, a file or stdin, or one for each line.
//!
//! Always true, unless the command is interrupted: each message is reported as sent, with its ID,
//! or named in an error that says whether it may have been sent.

mod input;
mod terminal;

use std::{
    fs::File,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
};

use conclave_client::{
    CallError, Client, IN_FLIGHT_MAX, Outgoing, RequestKey, SendStreamOptions, Sent,
};
use conclave_core::{MessageRef, Recipient};
use futures::{StreamExt as _, stream};
use tokio::sync::{mpsc, oneshot};

use self::{input::Lines, terminal::Terminal};
use crate::{
    connection::Connection,
    errors::{
        CommandError, EXIT_FAILED, EXIT_PERMISSION, EXIT_TEMPORARY, EXIT_UNAVAILABLE, EXIT_USAGE,
        reader_is_gone, show,
    },
    names::{message_id, recipient},
    output,
};

/// Arguments of `send`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Recipient: USER or '#ROOM'
    #[arg(value_parser = recipient, value_name = "USER|#ROOM")]
    to: Recipient,
    /// Text of the message ('/me waves' says what you do); '-' or nothing: one message for each
    /// line of stdin
    text: Option<String>,
    /// Send the text in this file as one message
    #[arg(long, value_name = "PATH", conflicts_with_all = ["text", "stdin_as_one", "at_once"])]
    file: Option<PathBuf>,
    /// Send everything on stdin as one message
    #[arg(long, conflicts_with_all = ["text", "at_once"])]
    stdin_as_one: bool,
    /// ID of the message that this one answers, such as 3.17
    #[arg(long, value_parser = message_id, value_name = "ID")]
    reply_to: Option<MessageRef>,
    /// Send many lines at the same time, in their order: much faster. Without it each line is sent
    /// only after the one before was acknowledged
    #[arg(long)]
    at_once: bool,
    /// Ask again for the unknown outcome of a message, and send it if it was not sent
    #[arg(long, value_parser = request_key, value_name = "KEY", conflicts_with = "at_once")]
    again: Option<RequestKey>,
    #[command(flatten)]
    connection: Connection,
}

/// Sends the message, or one message for each line of stdin.
///
/// # Errors
/// If the single message was not sent. With many messages the command shows the errors one by one
/// and ends with the exit code of the worst.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let to = args.to;
    // Before a node is asked: a text that cannot be sent is refused at once.
    let message = match (&args.text, &args.file) {
        (_, Some(path)) => Some(of_file(path)?),
        (_, None) if args.stdin_as_one => Some(of_stdin().await?),
        (Some(text), None) if text != "-" => Some(outgoing(text.clone())),
        (Some(_), None) => None,
        (None, None) if io::stdin().is_terminal() => {
            return Err(CommandError::new(
                EXIT_USAGE,
                "there is no message",
                "write it after the name: conclave send USER 'TEXT', or conclave send '#ROOM' \
                 'TEXT'; - to type one after the other",
            )
            .into());
        }
        (None, None) => None,
    };
    let Some(mut message) = message else {
        let needs_one = match (&args.again, &args.reply_to) {
            (Some(_), _) => Some("--again needs the text of the message"),
            (None, Some(_)) => Some("--reply-to needs one message, not one for each line"),
            (None, None) => None,
        };
        if let Some(sentence) = needs_one {
            let hint = "write the text after the name, or use --file or --stdin-as-one";
            return Err(CommandError::new(EXIT_USAGE, sentence, hint).into());
        }
        let client = args.connection.connect().await?.client;
        let in_flight = if args.at_once { IN_FLIGHT_MAX } else { 1 };
        return send_lines(&client, &to, in_flight).await;
    };
    message.reply_to = args.reply_to.map(|message| message.sequence);
    let client = args.connection.connect().await?.client;
    let sent = match args.again {
        Some(key) => client.send_message_again(key, &to, &message).await,
        None => client.send_message(&to, &message).await,
    };
    told(sent.map_err(|error| anyhow::Error::from(worded(&error, None)))?)
}

/// Reads the text in a file as one message, unchanged.
fn of_file(path: &Path) -> Result<Outgoing, CommandError> {
    let source = format!("--file {}", path.display());
    let file = File::open(path).map_err(|error| {
        let hint = "name a file of text that you may read";
        CommandError::new(EXIT_USAGE, format!("{source}: {error}"), hint)
    })?;
    literal(&source, input::whole(&source, file)?)
}

/// Reads everything on stdin as one message, unchanged.
async fn of_stdin() -> anyhow::Result<Outgoing> {
    const SOURCE: &str = "--stdin-as-one";
    let read = tokio::task::spawn_blocking(|| input::whole(SOURCE, io::stdin().lock()));
    Ok(literal(SOURCE, read.await??)?)
}

fn literal(source: &str, text: String) -> Result<Outgoing, CommandError> {
    if text.is_empty() {
        let sentence = format!("{source}: there is no text; nothing was sent");
        return Err(CommandError::new(EXIT_USAGE, sentence, "give it some text"));
    }
    Ok(Outgoing {
        text,
        action: false,
        reply_to: None,
    })
}

/// Builds a message from its text as typed: `/me waves` says what the sender does.
fn outgoing(text: String) -> Outgoing {
    let action = text.strip_prefix("/me ").map(str::to_owned);
    Outgoing {
        action: action.is_some(),
        text: action.unwrap_or(text),
        reply_to: None,
    }
}

fn told(sent: Sent) -> anyhow::Result<ExitCode> {
    output::line(&format!("sent {}.{}", sent.conversation, sent.sequence))?;
    Ok(ExitCode::SUCCESS)
}

/// Sends each line of stdin. After a failure that the next line would share, it takes no more lines
/// and waits for those under way: each ends within its own time.
async fn send_lines(client: &Client, to: &Recipient, in_flight: usize) -> anyhow::Result<ExitCode> {
    // A line waits here until one of those under way is done: stdin is not read ahead.
    let (sender, receiver) = mpsc::channel(1);
    // The thread is not awaited: if the process ends, a thread that waits for the terminal is left
    // behind.
    tokio::task::spawn_blocking(move || match io::stdin().is_terminal() {
        true => read_terminal(&sender),
        false => read_lines(&sender),
    });
    let lines = stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|line| (line, receiver))
    });
    let (stop, stopped) = oneshot::channel::<()>();
    let mut stop = Some(stop);
    let line_last = AtomicU64::new(0);
    let stream = client.send_stream(SendStreamOptions { in_flight });
    let mut outcomes = Box::pin(
        lines
            .take_until(stopped)
            .then(async |line| {
                let (number, text) = line?;
                line_last.store(number, Ordering::Relaxed);
                let ticket = stream.send(to, outgoing(text)).await;
                let ticket = ticket.map_err(|error| worded(&error, Some(number)))?;
                Ok::<_, CommandError>((number, ticket))
            })
            .map(async |taken| {
                let (number, ticket) = taken?;
                let sent = ticket.result().await;
                sent.map_err(|error| worded(&error, Some(number)))
            })
            .buffered(in_flight),
    );
    let mut worst = 0;
    let mut is_heard = true;
    while let Some(outcome) = outcomes.next().await {
        match outcome {
            Ok(sent) if is_heard => match told(sent) {
                // The lines are sent even if the program behind stdout has closed the pipe.
                Err(error) if reader_is_gone(&error) => is_heard = false,
                told => {
                    told?;
                }
            },
            Ok(_) => {}
            Err(error) => {
                show(&error);
                worst = worst.max(error.exit());
                if ends_all(error.exit()) {
                    // Dropping the receiver ends the lines.
                    stop = None;
                }
            }
        }
    }
    if stop.is_none() {
        show(&CommandError::new(
            worst,
            format!(
                "stopped: no line after line {} was sent",
                line_last.load(Ordering::Relaxed)
            ),
            "fix the cause, and send the rest",
        ));
    }
    Ok(ExitCode::from(worst))
}

type Line = Result<(u64, String), CommandError>;

/// Reads one line after the other, until the receiver is gone.
fn read_lines(sender: &mpsc::Sender<Line>) {
    let mut lines = Lines::new(io::stdin().lock());
    while let Some(line) = lines.next_line() {
        let last = line.is_err();
        if sender.blocking_send(line).is_err() || last {
            return;
        }
    }
}

/// Reads lines from a terminal, until the receiver is gone.
fn read_terminal(sender: &mpsc::Sender<Line>) {
    let mut terminal = match Terminal::stdin() {
        Ok(terminal) => terminal,
        // A terminal that cannot be opened again is read like any other stdin.
        Err(_) => return read_lines(sender),
    };
    while let Some(messages) = terminal.next_messages() {
        match messages {
            Ok(messages) => {
                for message in messages {
                    if sender.blocking_send(Ok(message)).is_err() {
                        return;
                    }
                }
            }
            Err(error) => {
                let _ = sender.blocking_send(Err(error));
                return;
            }
        }
    }
}

/// Returns whether the next line would fail in the same way.
fn ends_all(exit: u8) -> bool {
    matches!(
        exit,
        EXIT_PERMISSION | EXIT_UNAVAILABLE | EXIT_TEMPORARY | EXIT_FAILED
    )
}

/// Puts an error into words that name the message, and what to do next.
fn worded(error: &CallError, line: Option<u64>) -> CommandError {
    let plain = CommandError::from(error);
    let sentence = match line {
        Some(line) => format!("line {line}: {plain}"),
        None => plain.to_string(),
    };
    match error {
        CallError::Unknown {
            request: Some(key), ..
        } => CommandError::new(
            plain.exit(),
            sentence,
            format!("it may have been sent; send the same text again with --again {key}"),
        ),
        _ => plain.with_sentence(sentence),
    }
}

/// Parses a key as the hint of an unknown outcome shows it.
fn request_key(key: &str) -> Result<RequestKey, String> {
    key.split_once(':')
        .and_then(|(number, nonce)| {
            Some(RequestKey {
                number: number.parse().ok()?,
                nonce: u64::from_str_radix(nonce, 16).ok()?,
            })
        })
        .ok_or_else(|| "a key is two numbers, such as 42:00c0ffee00c0ffee".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_request_key_is_parsed() {
        let key = RequestKey {
            number: 42,
            nonce: 0xc0ffee,
        };
        assert_eq!(request_key(&key.to_string()), Ok(key));
        for bad in ["", "42", "42:", ":1", "42:xyz"] {
            assert!(request_key(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unknown_outcome_shows_the_key_for_a_retry() {
        let error = CallError::Unknown {
            sentence: "x".to_owned(),
            attempts: 1,
            waited: std::time::Duration::ZERO,
            nodes: Vec::new(),
            request: Some(RequestKey {
                number: 1,
                nonce: 2,
            }),
        };
        let shown = format!("{:?}", worded(&error, Some(7)));
        assert!(shown.contains("--again 1:0000000000000002"), "{shown}");
        assert!(shown.contains("line 7: "), "{shown}");
    }
}
