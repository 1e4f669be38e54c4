//! `conclave read`: unread messages, the last page of a conversation, and what comes.
//!
//! Always true: a message is marked as read only after it was written to stdout.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    process::ExitCode,
};

use conclave_client::{CallError, Client, Freshness, From, Page, v1};
use conclave_core::{
    ConversationId, Position, Progress, Recipient, Sequence,
    limits::{PAGE_MAX, POSITIONS_PER_REQUEST_MAX},
};
use jiff::tz::TimeZone;

use crate::{
    commands::{account::freshness, follow},
    connection::Connection,
    names::recipient,
    output::{self, Format},
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
    let client = args.connection.connect()?.client;
    let mut reader = Reader {
        client,
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
    follow::run(&mut reader, events, args.with.as_ref(), shown).await
}

/// Shows messages, and remembers what it has shown.
pub(crate) struct Reader {
    pub(crate) client: Client,
    freshness: Freshness,
    pub(crate) format: Format,
    pub(crate) zone: TimeZone,
    /// Shown and not yet marked: the last sequence of each conversation.
    pub(crate) read: BTreeMap<u64, u64>,
}

impl Reader {
    /// The next unread messages; gives their positions.
    async fn unread(&mut self, count: u16) -> anyhow::Result<Vec<u64>> {
        let messages = self.client.unread(count.into(), self.freshness).await?;
        self.show_all(&messages).await
    }

    /// The last page of a conversation; gives the positions.
    async fn history(&mut self, with: &Recipient, count: u16) -> anyhow::Result<Vec<u64>> {
        let page = self
            .client
            .messages(with, Page::Newest, count.into(), self.freshness)
            .await?;
        self.show_all(&page.messages).await
    }

    async fn show_all(&mut self, messages: &[v1::Message]) -> anyhow::Result<Vec<u64>> {
        let mut result = Ok(());
        for message in messages {
            result = self.show(message);
            if result.is_err() {
                break;
            }
        }
        // Also if the reader went away: what it took, it has read.
        self.mark().await?;
        result?;
        Ok(messages.iter().map(|message| message.position).collect())
    }

    pub(crate) fn show(&mut self, message: &v1::Message) -> io::Result<()> {
        match self.format {
            Format::Table => output::line(&output::message_line(message, &self.zone))?,
            Format::Json => output::json_line(&output::message_json(message))?,
        }
        let last = self.read.entry(message.conversation_id).or_default();
        *last = message.sequence.max(*last);
        Ok(())
    }

    /// Marks what was shown as delivered and read.
    pub(crate) async fn mark(&mut self) -> Result<(), CallError> {
        let read = std::mem::take(&mut self.read);
        if self.freshness != Freshness::Linearizable {
            return Ok(());
        }
        let progress = |(conversation, sequence): (u64, u64)| {
            let progress = Progress {
                delivered: Sequence(sequence),
                read: Sequence(sequence),
            };
            (ConversationId(conversation), progress)
        };
        let progress: Vec<_> = read.into_iter().map(progress).collect();
        for part in progress.chunks(POSITIONS_PER_REQUEST_MAX) {
            self.client.advance(part).await?;
        }
        Ok(())
    }
}
