//! `conclave token`: tokens and secrets with which machines join the cluster.
//!
//! The command for the next machine goes to stdout as a whole: the operator copies it and assembles
//! nothing.

use std::{process::ExitCode, time::Duration};

use conclave_client::v1;
use conclave_server::ClusterSecret;
use jiff::{Span, SpanRelativeTo};
use serde_json::json;

use crate::{
    connection::Connection,
    errors::note,
    output::{self, Format},
};

/// Maximum lifetime of a token; the cluster refuses more.
const TTL_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Arguments of `token`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Write a new secret for a cluster to stdout, for the secret file of every node
    Secret,
    /// Create a token and write the command for the next machine to stdout; it is shown only once
    Create {
        /// Time for which the token can be used: 90s, 30m, 24h, 7d
        #[arg(long, default_value = "24h", value_parser = ttl)]
        ttl: Duration,
        /// Role of the machine once it has caught up
        #[arg(long, value_enum, default_value_t)]
        role: Role,
        /// Node that the machine replaces
        #[arg(long, value_name = "NODE", value_parser = clap::value_parser!(u64).range(1..))]
        replaces: Option<u64>,
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// List the tokens with which machines can still join
    List {
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Revoke a token: no machine can join with it any more
    Revoke {
        /// ID of the token, as `list` shows it
        #[arg(value_name = "ID")]
        id: String,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Role {
    /// Votes
    #[default]
    Voter,
    /// Follows, serves reads and streams, and never votes
    Learner,
}

fn ttl(text: &str) -> Result<Duration, String> {
    let span: Span = text
        .parse()
        .map_err(|_| "write it as 24h or 30m".to_owned())?;
    let exact = span.to_duration(SpanRelativeTo::days_are_24_hours());
    let ttl = exact.ok().and_then(|exact| Duration::try_from(exact).ok());
    match ttl {
        Some(ttl) if (Duration::from_secs(1)..=TTL_MAX).contains(&ttl) => Ok(ttl),
        _ => Err("a token is valid for 1 second to 7 days".to_owned()),
    }
}

/// Creates, lists or revokes a token, or makes a secret.
///
/// # Errors
/// If the caller is no operator or no node serves.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (ttl, role, replaces, output) = match args.command {
        Command::Create {
            ttl,
            role,
            replaces,
            output,
        } => (ttl, role, replaces, output),
        Command::Secret => {
            output::line(&ClusterSecret::generate()?.to_text())?;
            note("keep it in a file that only its owner can read: every machine can join with it");
            return Ok(ExitCode::SUCCESS);
        }
        Command::List { output } => return list(output, &args.connection).await,
        Command::Revoke { id } => {
            let client = args.connection.connect_as_operator().await?.client;
            client.revoke_join_token(&id).await?;
            note("no machine can join with it any more");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let client = args.connection.connect_as_operator().await?.client;
    let made = client.create_join_token(ttl, role == Role::Learner).await?;
    let join = made.peer_addresses.join(",");
    if output == Format::Json {
        let line = output::json_text(&json!({
            "id": made.token_id,
            "token": made.token,
            "join": made.peer_addresses,
            "plain": made.plain,
            "expires_at_ms": made.expires_at_ms,
        }));
        output::secret_line(&line, client.revoke_join_token(&made.token_id)).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let replaces = replaces.map_or(String::new(), |node| format!(" --replaces {node}"));
    let plain = if made.plain { " --plain" } else { "" };
    let command = format!(
        "conclave serve --join {} --token {}{replaces}{plain}",
        output::clean(&join),
        output::clean(&made.token)
    );
    output::secret_line(&command, client.revoke_join_token(&made.token_id)).await?;
    let until = output::local_time(made.expires_at_ms, &args.connection.zone());
    note(&format!(
        "run it on the next machine, with --client-address and --peer-address of that machine; \
         one machine can join with it until {until}; revoke it: conclave token revoke {}",
        output::clean(&made.token_id)
    ));
    Ok(ExitCode::SUCCESS)
}

async fn list(output: Format, connection: &Connection) -> anyhow::Result<ExitCode> {
    const HEADER: [&str; 5] = ["id", "role", "until", "made by", "since"];
    let role = |token: &v1::JoinToken| match token.learner {
        true => "learner",
        false => "voter",
    };
    let client = connection.connect_as_operator().await?.client;
    let tokens = client.join_tokens().await?;
    if output == Format::Json {
        let row = |token: &v1::JoinToken| {
            json!({
                "id": token.token_id,
                "role": role(token),
                "by": token.by_name,
                "created_at_ms": token.created_at_ms,
                "expires_at_ms": token.expires_at_ms,
            })
        };
        output::json_line(&json!(tokens.iter().map(row).collect::<Vec<_>>()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let zone = connection.zone();
    let row = |token: &v1::JoinToken| {
        vec![
            output::clean(&token.token_id),
            role(token).to_owned(),
            output::local_time(token.expires_at_ms, &zone),
            output::clean(&token.by_name),
            output::local_time(token.created_at_ms, &zone),
        ]
    };
    let rows: Vec<_> = tokens.iter().map(row).collect();
    output::table(&HEADER, &rows)?;
    Ok(ExitCode::SUCCESS)
}
