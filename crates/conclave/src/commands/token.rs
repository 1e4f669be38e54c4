//! `conclave token`: what lets a machine into the cluster.
//!
//! The command for the next machine goes to stdout, whole: it is copied, not assembled.

use std::{process::ExitCode, time::Duration};

use conclave_server::ClusterSecret;
use jiff::{Span, SpanRelativeTo, tz::TimeZone};
use serde_json::json;

use crate::{
    connection::Connection,
    errors::note,
    output::{self, Format},
};

/// Longest life of a token; the cluster refuses more.
const TTL_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What `token` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Write a new secret for a cluster to stdout, for the file that every node is given
    Secret,
    /// Make a token and write the command for the next machine to stdout: it is shown this once
    Create {
        /// How long it can be used: 90s, 30m, 24h, 7d
        #[arg(long, default_value = "24h", value_parser = ttl)]
        ttl: Duration,
        /// What the machine will be once it has caught up
        #[arg(long, value_enum, default_value_t)]
        role: Role,
        /// The node whose place the machine shall take
        #[arg(long, value_name = "NODE", value_parser = clap::value_parser!(u64).range(1..))]
        replaces: Option<u64>,
        /// In which form
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Role {
    /// It votes
    #[default]
    Voter,
    /// It follows, serves reads and streams, and never votes
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
        _ => Err("a token lives between a second and 7 days".to_owned()),
    }
}

/// Makes a token.
///
/// # Errors
/// If the caller is no administrator or no node serves.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Command::Create {
        ttl,
        role,
        replaces,
        output,
    } = args.command
    else {
        output::line(&ClusterSecret::generate()?.to_text())?;
        note("keep it in a file that only its owner can read: it lets every machine in");
        return Ok(ExitCode::SUCCESS);
    };
    let client = args.connection.connect().await?.client;
    let made = client.create_join_token(ttl, role == Role::Learner).await?;
    let join = made.peer_addresses.join(",");
    if output == Format::Json {
        output::json_line(&json!({
            "token": made.token,
            "join": made.peer_addresses,
            "plain": made.plain,
            "expires_at_ms": made.expires_at_ms,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let replaces = replaces.map_or(String::new(), |node| format!(" --replaces {node}"));
    let plain = if made.plain { " --plain" } else { "" };
    output::line(&format!(
        "conclave serve --join {} --token {}{replaces}{plain}",
        output::clean(&join),
        output::clean(&made.token)
    ))?;
    let until = output::local_time(made.expires_at_ms, &TimeZone::system());
    note(&format!(
        "run it on the next machine, with --client-address and --peer-address of that machine; \
         it lets one machine in, until {until}"
    ));
    Ok(ExitCode::SUCCESS)
}
