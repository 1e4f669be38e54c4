//! `conclave send`: one message, or one for each line of stdin.
//!
//! Always true, unless it is interrupted: a message is either told as sent, with its ID, or named
//! in an error that says whether it may have been sent.

use std::{
    io::{self, BufRead, IsTerminal as _, Read as _},
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
};

use conclave_client::{CallError, Client, IN_FLIGHT_MAX, Outgoing, RequestKey, Sent};
use conclave_core::{MessageRef, Recipient, limits::TEXT_BYTES_MAX};
use futures::{StreamExt as _, stream};
use tokio::sync::{mpsc, oneshot};

use crate::{
    connection::Connection,
    errors::{
        CommandError, EXIT_FAILED, EXIT_PERMISSION, EXIT_TEMPORARY, EXIT_UNAVAILABLE, EXIT_USAGE,
        show,
    },
    names::{message_id, recipient},
    output,
};

/// What `send` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// To whom: USER or '#ROOM'
    #[arg(value_parser = recipient, value_name = "USER|#ROOM")]
    to: Recipient,
    /// The message ('/me waves' tells what you do); '-' or nothing: one for each line of stdin
    text: Option<String>,
    /// The message that this one answers, such as 3.17
    #[arg(long, value_parser = message_id, value_name = "ID")]
    reply_to: Option<MessageRef>,
    /// Send many lines at the same time: much faster, and lines may change places. Without it each
    /// line is sent only after the one before has its place
    #[arg(long)]
    at_once: bool,
    /// Ask for the outcome of a message that is unknown, and send it if it was not sent
    #[arg(long, value_parser = request_key, value_name = "KEY", conflicts_with = "at_once")]
    again: Option<RequestKey>,
    #[command(flatten)]
    connection: Connection,
}

/// Sends.
///
/// # Errors
/// If the single message was not sent. For many, errors are shown one by one and the exit code is
/// that of the worst.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let to = args.to;
    let text = args.text.filter(|text| text != "-");
    if text.is_none() && io::stdin().is_terminal() {
        return Err(CommandError::new(
            EXIT_USAGE,
            "there is no message",
            "write it behind the name: conclave send USER 'TEXT', or conclave send '#ROOM' 'TEXT'",
        )
        .into());
    }
    let client = args.connection.connect().await?.client;
    match (text, args.again) {
        (Some(text), Some(key)) => {
            let message = outgoing(text, args.reply_to);
            let sent = client.send_message_again(key, &to, &message).await;
            told(sent.map_err(|error| anyhow::Error::from(worded(&error, None)))?)
        }
        (Some(text), None) => {
            let message = outgoing(text, args.reply_to);
            let sent = client.send_message(&to, &message).await;
            told(sent.map_err(|error| anyhow::Error::from(worded(&error, None)))?)
        }
        (None, Some(_)) => Err(CommandError::new(
            EXIT_USAGE,
            "--again needs the text of the message",
            "repeat the whole message, exactly as it was",
        )
        .into()),
        (None, None) => {
            let at_once = if args.at_once { IN_FLIGHT_MAX } else { 1 };
            send_lines(&client, &to, at_once).await
        }
    }
}

/// A message as it was typed: `/me waves` tells what its sender does.
fn outgoing(text: String, reply_to: Option<MessageRef>) -> Outgoing {
    let action = text.strip_prefix("/me ").map(str::to_owned);
    Outgoing {
        action: action.is_some(),
        text: action.unwrap_or(text),
        reply_to: reply_to.map(|message| message.sequence),
    }
}

fn told(sent: Sent) -> anyhow::Result<ExitCode> {
    output::line(&format!("sent {}.{}", sent.conversation, sent.sequence))?;
    Ok(ExitCode::SUCCESS)
}

/// Sends each line of stdin. After a failure that the next line would share it takes no more
/// lines, and waits for those under way: each ends within its own time.
async fn send_lines(client: &Client, to: &Recipient, at_once: usize) -> anyhow::Result<ExitCode> {
    // A line waits here until one of those under way is done: stdin is not read ahead.
    let (sender, receiver) = mpsc::channel(1);
    // Not awaited: if the process ends, a thread that waits for the terminal is left behind.
    tokio::task::spawn_blocking(move || {
        let mut lines = Lines::new(io::stdin().lock());
        while let Some(line) = lines.next_line() {
            let last = line.is_err();
            if sender.blocking_send(line).is_err() || last {
                return;
            }
        }
    });
    let lines = stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|line| (line, receiver))
    });
    let (stop, stopped) = oneshot::channel::<()>();
    let mut stop = Some(stop);
    let line_last = AtomicU64::new(0);
    let mut outcomes = Box::pin(
        lines
            .take_until(stopped)
            .map(async |line| {
                let (number, text) = line?;
                line_last.store(number, Ordering::Relaxed);
                let sent = client.send_message(to, &outgoing(text, None)).await;
                sent.map_err(|error| worded(&error, Some(number)))
            })
            .buffered(at_once),
    );
    let mut worst = 0;
    while let Some(outcome) = outcomes.next().await {
        match outcome {
            Ok(sent) => {
                told(sent)?;
            }
            Err(error) => {
                show(&error);
                worst = worst.max(error.exit());
                if ends_all(error.exit()) {
                    // Dropping it ends the lines.
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
            "send the rest when the cause is gone",
        ));
    }
    Ok(ExitCode::from(worst))
}

/// Whether the next line would fail in the same way.
fn ends_all(exit: u8) -> bool {
    matches!(
        exit,
        EXIT_PERMISSION | EXIT_UNAVAILABLE | EXIT_TEMPORARY | EXIT_FAILED
    )
}

/// An error in words that say which message, and how to go on.
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
            format!("it may have been sent; ask again with the same text and --again {key}"),
        ),
        _ => plain.with_sentence(sentence),
    }
}

/// Lines of at most a message each.
struct Lines<R> {
    input: R,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    fn new(input: R) -> Self {
        Self { input, number: 0 }
    }

    /// The next line that is not empty, with its number; nothing at the end. After an error there
    /// is no going on.
    fn next_line(&mut self) -> Option<Result<(u64, String), CommandError>> {
        loop {
            self.number += 1;
            let mut line = Vec::new();
            // A message, its line break, and a byte that shows that it is too long.
            let mut part = self.input.by_ref().take(TEXT_BYTES_MAX as u64 + 3);
            match part.read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(self.error(&error.to_string()))),
            }
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            if line.is_empty() {
                continue;
            }
            if line.len() > TEXT_BYTES_MAX {
                return Some(Err(self.error("it is longer than 16 KiB")));
            }
            return Some(match String::from_utf8(line) {
                Ok(text) => Ok((self.number, text)),
                Err(_) => Err(self.error("it is not UTF-8")),
            });
        }
    }

    fn error(&self, what: &str) -> CommandError {
        CommandError::new(
            EXIT_USAGE,
            format!(
                "line {}: {what}; it and what follows are not sent",
                self.number
            ),
            "convert the text (iconv -t UTF-8) or split the line, and send the rest",
        )
    }
}

/// A key as the hint of an unknown outcome shows it.
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

    fn lines(input: &[u8]) -> Vec<Result<(u64, String), String>> {
        let mut lines = Lines::new(input);
        let mut seen = Vec::new();
        while let Some(line) = lines.next_line() {
            let last = line.is_err();
            seen.push(line.map_err(|error| error.to_string()));
            if last {
                break;
            }
        }
        seen
    }

    #[test]
    fn each_line_is_a_message_and_empty_ones_are_none() {
        let seen = lines(b"one\r\n\n  two \nthree");
        let expected = [(1, "one"), (3, "  two "), (4, "three")];
        let expected = expected.map(|(number, text)| Ok((number, text.to_owned())));
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_line_that_is_not_utf_8_is_named() {
        let seen = lines(b"good\n\xff\xfe\nmore\n");
        let error = "line 2: it is not UTF-8; it and what follows are not sent";
        assert_eq!(seen, [Ok((1, "good".to_owned())), Err(error.to_owned())]);
    }

    #[test]
    fn a_line_may_be_as_long_as_a_message() {
        let longest = "x".repeat(TEXT_BYTES_MAX);
        for end in ["", "\n", "\r\n"] {
            let seen = lines(format!("{longest}{end}").as_bytes());
            assert_eq!(seen, [Ok((1, longest.clone()))], "{end:?}");
        }
        assert!(lines(format!("{longest}x\n").as_bytes())[0].is_err());
        assert!(lines(&b"x".repeat(10 * TEXT_BYTES_MAX))[0].is_err());
    }

    #[test]
    fn a_key_that_was_shown_is_understood() {
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
    fn an_unknown_outcome_says_how_to_ask_again() {
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
