//! `conclave read`: unread messages, the last page of a conversation, and what comes.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
};

use conclave_client::From;
use conclave_core::{Position, Recipient, limits::PAGE_MAX};
use jiff::tz::TimeZone;

use crate::{
    commands::{account::freshness, follow, reader::Reader},
    connection::Connection,
    learned,
    names::recipient,
    output::Format,
};

/// Messages that are shown unless it is said how many: about a screen.
const COUNT_DEFAULT: u16 = 20;

/// What `read` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The next unread messages, the oldest first [default: 20]
    #[arg(long, value_name = "N", value_parser = count(), conflicts_with = "with")]
    unread: Option<u16>,
    /// The last messages of the conversation with this user or in this room
    #[arg(long, value_name = "USER|#ROOM", value_parser = recipient)]
    with: Option<Recipient>,
    /// With --with: how many [default: 20]
    #[arg(long, value_name = "N", value_parser = count(), requires = "with")]
    limit: Option<u16>,
    /// Then show what comes, until Ctrl-C
    #[arg(long)]
    follow: bool,
    /// With --follow: only what came after this position, as the last line of -o json told it; 0
    /// for everything
    #[arg(
        long,
        value_name = "POSITION",
        requires = "follow",
        conflicts_with_all = ["unread", "limit"]
    )]
    since: Option<u64>,
    /// Take what any node has, also without a quorum; marks nothing as read
    #[arg(long, conflicts_with = "follow")]
    stale: bool,
    /// In which form
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

fn count() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..=PAGE_MAX as i64)
}

/// Shows messages and marks them as read.
///
/// # Errors
/// If nobody is logged in or no node serves.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let connected = args.connection.connect().await?;
    let mut reader = Reader {
        client: connected.client.clone(),
        freshness: freshness(args.stale),
        format: args.output,
        zone: TimeZone::system(),
        read: BTreeMap::new(),
    };
    if !args.follow {
        match &args.with {
            Some(with) => {
                reader
                    .history(with, args.limit.unwrap_or(COUNT_DEFAULT))
                    .await?
            }
            None => reader.unread(args.unread.unwrap_or(COUNT_DEFAULT)).await?,
        };
        return Ok(ExitCode::SUCCESS);
    }
    let from = args
        .since
        .map_or(From::Now, |since| From::After(Position(since)));
    let mut events = reader.client.subscribe(from);
    let mut shown = BTreeSet::new();
    if args.since.is_none() {
        // The stream comes first, so that nothing falls between the page and it.
        let start = follow::started(&mut events).await?;
        match &args.with {
            Some(with) => {
                let count = args.limit.unwrap_or(COUNT_DEFAULT);
                shown.extend(reader.history(with, count).await?);
            }
            None => loop {
                let count = args.unread.unwrap_or(COUNT_DEFAULT);
                let page = reader.unread(count).await?;
                let full = page.len() >= usize::from(count);
                shown.extend(page);
                // Whoever follows has seen everything before.
                if !full {
                    break;
                }
            },
        }
        shown.retain(|position| *position > start);
    }
    tokio::select! {
        ended = follow::run(&mut reader, events, args.with.as_ref(), shown) => ended,
        () = learned::keep(&connected) => Ok(ExitCode::SUCCESS),
    }
}
