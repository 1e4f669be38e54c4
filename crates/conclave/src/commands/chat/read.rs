//! `conclave read`: unread messages, the last page of a conversation, and new messages as they
//! come.

use std::{collections::BTreeSet, process::ExitCode};

use conclave_client::StartAt;
use conclave_core::{MessageRef, Position, Recipient, limits::PAGE_MAX};

use crate::{
    commands::chat::{
        follow,
        reader::{How, Reader},
    },
    connection::{Connection, freshness},
    errors::note,
    learned,
    names::{message_id, recipient},
    output::Format,
};

/// Messages that are shown unless the user gives a number: about a screen.
const COUNT_DEFAULT: u16 = 20;

/// Arguments of `read`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Number of unread messages to show, the oldest first [default: 20]; with --with those of the
    /// conversation
    #[arg(long, value_name = "N", value_parser = count())]
    unread: Option<u16>,
    /// Show the last messages of the conversation with this user or in this room, or of the one
    /// with this number in the list of conversations, as id:7
    #[arg(long, value_name = "USER|#ROOM|id:N", value_parser = recipient)]
    with: Option<Recipient>,
    /// Maximum number of messages [default: 20]
    #[arg(long, value_name = "N", value_parser = count(), conflicts_with = "unread")]
    limit: Option<u16>,
    /// With --with: show messages before this one
    #[arg(
        long,
        value_name = "ID",
        value_parser = message_id,
        requires = "with",
        conflicts_with_all = ["unread", "follow"]
    )]
    before: Option<MessageRef>,
    /// Do not mark messages as read
    #[arg(long)]
    peek: bool,
    /// Go on with new messages and events, until Ctrl-C
    #[arg(long)]
    follow: bool,
    /// With --follow: show only events after this position, which is in the last line of -o json; 0
    /// for everything
    #[arg(
        long,
        value_name = "POSITION",
        requires = "follow",
        conflicts_with_all = ["unread", "limit"]
    )]
    since: Option<u64>,
    /// Accept the data of any node, also without a quorum; do not mark messages as read
    #[arg(long, conflicts_with = "follow")]
    stale: bool,
    /// Output format
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
/// If there is no session or no node serves.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let connected = args.connection.connect().await?;
    let mut reader = Reader::new(
        connected.client.clone(),
        How {
            freshness: freshness(args.stale),
            format: args.output,
            zone: args.connection.zone(),
            peek: args.peek,
        },
    );
    let count = args.unread.or(args.limit).unwrap_or(COUNT_DEFAULT);
    if !args.follow {
        match (&args.with, args.unread) {
            (Some(with), Some(unread)) => reader.unread_with(with, unread).await?,
            (Some(with), None) => reader.history(with, args.before, count).await?,
            (None, _) => {
                let (shown, is_cut) = reader.unread(count).await?;
                if is_cut {
                    let (what, more) = match reader.marks() {
                        true => ("read", count),
                        false => ("read --peek", count.saturating_mul(2).min(PAGE_MAX as u16)),
                    };
                    note(&format!(
                        "newer messages are unread: conclave {what} --unread {more}"
                    ));
                }
                shown
            }
        };
        return Ok(ExitCode::SUCCESS);
    }
    let from = args
        .since
        .map_or(StartAt::Now, |since| StartAt::After(Position(since)));
    let mut events = follow::subscribe(reader.client(), from);
    let mut shown = BTreeSet::new();
    if args.since.is_none() {
        // The stream starts first, so that no message is lost between the page and the stream.
        let start = follow::started(&mut events).await?;
        match (&args.with, args.unread) {
            (Some(with), None) => shown.extend(reader.history(with, None, count).await?),
            (with, _) => loop {
                let page = match with {
                    Some(with) => reader.unread_with(with, count).await?,
                    None => reader.unread(count).await?.0,
                };
                // A reader that follows must have seen everything before. A page may be short and
                // yet not the last one.
                let is_last = page.is_empty() || !reader.marks();
                shown.extend(page);
                if is_last {
                    break;
                }
                reader.wait_until_marked().await?;
            },
        }
        shown.retain(|position| *position > start);
    }
    tokio::select! {
        ended = follow::run(&mut reader, events, args.with.as_ref(), shown) => ended,
        () = learned::keep(&connected) => Ok(ExitCode::SUCCESS),
    }
}
