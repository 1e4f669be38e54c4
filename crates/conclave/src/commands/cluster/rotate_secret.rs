//! `conclave cluster rotate-secret`: replaces the secret while the cluster runs; for operators.

use std::{process::ExitCode, time::Duration};

use conclave_client::{Client, v1};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    connection::Connection,
    errors::{CommandError, EXIT_UNAVAILABLE, note},
    output::{self, Format},
};

/// Pause between two questions for the progress.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// Arguments of `cluster rotate-secret`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only show which members would have to take part, and which of them do not answer
    #[arg(long)]
    dry_run: bool,
    /// Seconds to wait until all members have taken part
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u64,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Begins a rotation of the secret, or continues one, and waits until it has ended.
///
/// # Errors
/// If the caller is no operator, a member does not answer, or the rotation has not ended in time.
pub(super) async fn run(args: Args, connection: &Connection) -> anyhow::Result<ExitCode> {
    let client = connection.connect_as_operator().await?.client;
    let before = ask(&client, true, 0).await?;
    if args.dry_run {
        show(&before, None, args.output)?;
        return Ok(ExitCode::SUCCESS);
    }
    let wanted = before.rotations + 1;
    let deadline = Instant::now() + Duration::from_secs(args.wait);
    loop {
        let told = ask(&client, false, wanted).await?;
        if told.rotations >= wanted && told.waiting_node_ids.is_empty() {
            show(&told, Some(wanted), args.output)?;
            return Ok(ExitCode::SUCCESS);
        }
        if Instant::now() >= deadline {
            return Err(waits(&told, args.wait).into());
        }
        sleep(LOOK_PAUSE).await;
    }
}

async fn ask(
    client: &Client,
    dry_run: bool,
    rotations: u64,
) -> Result<v1::RotateSecretResponse, conclave_client::CallError> {
    let request = v1::RotateSecretRequest { dry_run, rotations };
    client.rotate_secret(request).await
}

fn waits(told: &v1::RotateSecretResponse, seconds: u64) -> CommandError {
    let sentence = match &told.unreachable_node_ids[..] {
        [] => format!("the rotation has not ended within {seconds} s"),
        silent => format!("the rotation waits for {}", nodes(silent)),
    };
    CommandError::new(
        EXIT_UNAVAILABLE,
        sentence,
        "it goes on by itself once all members answer: start those that do not, or remove them \
         (conclave cluster remove); the same command waits for it again",
    )
}

fn nodes(numbers: &[u64]) -> String {
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    match numbers.len() {
        1 => format!("node {}", numbers[0]),
        _ => format!("nodes {}", numbers.join(", ")),
    }
}

/// Shows the result. `ended` is the number of the rotation that has ended, `None` if none was
/// requested.
fn show(told: &v1::RotateSecretResponse, ended: Option<u64>, format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        output::json_line(&json(told, ended))?;
    } else {
        output::line(&line(told, ended))?;
    }
    if !told.unreachable_node_ids.is_empty() {
        let silent = nodes(&told.unreachable_node_ids);
        note(&match ended {
            Some(_) => format!("{silent} has what it needs, and goes on with it when it is back"),
            None => format!("{silent} does not answer: start it or remove it before"),
        });
    }
    if ended.is_some() {
        note("earlier join tokens are revoked; for new ones: conclave token create");
        note(
            "nodes started with --secret-file: replace the file by `secret`, mode 0600, \
             from the data directory of any voter",
        );
        note(
            "if a directory was copied, revoke the operators whose credentials were in it: \
             conclave operator list",
        );
    }
    Ok(())
}

fn line(told: &v1::RotateSecretResponse, ended: Option<u64>) -> String {
    match ended {
        Some(_) => format!("the secret was rotated (number {})", told.rotations),
        None if told.under_way => format!("rotation {} is under way", told.rotations + 1),
        None => format!("the secret was rotated {} times so far", told.rotations),
    }
}

fn json(told: &v1::RotateSecretResponse, ended: Option<u64>) -> Value {
    json!({
        "rotations": told.rotations,
        "ended": ended.is_some(),
        "under_way": told.under_way,
        "waiting": told.waiting_node_ids,
        "unreachable": told.unreachable_node_ids,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotation_progress_names_its_number_and_the_missing_nodes() {
        let mut told = v1::RotateSecretResponse {
            rotations: 2,
            ..v1::RotateSecretResponse::default()
        };
        assert_eq!(line(&told, Some(2)), "the secret was rotated (number 2)");
        assert!(line(&told, None).contains("2 times"));
        told.under_way = true;
        assert_eq!(line(&told, None), "rotation 3 is under way");
        assert!(waits(&told, 5).to_string().contains("within 5 s"));
        told.unreachable_node_ids = vec![3, 4];
        assert!(waits(&told, 5).to_string().contains("waits for nodes 3, 4"));
        assert_eq!(json(&told, None)["unreachable"], json!([3, 4]));
    }
}
