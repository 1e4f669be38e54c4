//! `conclave delete`: deletes messages, all that are named or none.

use std::process::ExitCode;

use conclave_core::{ConversationId, MessageRef, Sequence};

use crate::{connection::Connection, errors::note};

/// What `delete` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Messages as `read` shows them, such as 3.17
    #[arg(required = true, value_parser = message_id, value_name = "ID")]
    messages: Vec<MessageRef>,
    /// For everyone, not for yourself alone: only your own messages
    #[arg(long)]
    everyone: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Deletes.
///
/// # Errors
/// If one of them may not be deleted (then none is), or no node serves.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.connection.connect()?.client;
    let count = client
        .delete_messages(&args.messages, args.everyone)
        .await?;
    note(&match (count, args.messages.len() as u64) {
        (count, asked) if count == asked => format!("deleted {count}"),
        (count, asked) => format!("deleted {count}; {} were deleted before", asked - count),
    });
    Ok(ExitCode::SUCCESS)
}

/// The message with this ID: conversation, dot, sequence.
fn message_id(id: &str) -> Result<MessageRef, String> {
    let number = |digits: &str| {
        // `parse` alone would take a sign.
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse::<u64>().ok()).flatten()
    };
    id.split_once('.')
        .and_then(|(conversation, sequence)| Some((number(conversation)?, number(sequence)?)))
        .map(|(conversation, sequence)| MessageRef {
            conversation: ConversationId(conversation),
            sequence: Sequence(sequence),
        })
        .ok_or_else(|| "an ID is two numbers, such as 3.17".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_two_numbers_and_a_dot() {
        let expected = MessageRef {
            conversation: ConversationId(3),
            sequence: Sequence(17),
        };
        assert_eq!(message_id("3.17"), Ok(expected));
        for bad in [
            "",
            ".",
            "3",
            "3.",
            ".17",
            "3.17.1",
            "+3.17",
            "3.-1",
            "a.b",
            "3 .17",
            "3.99999999999999999999",
        ] {
            assert!(message_id(bad).is_err(), "{bad}");
        }
    }
}
