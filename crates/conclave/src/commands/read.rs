//! `conclave read`: unread messages, the last page of a conversation, and what comes.
//!
//! Always true: a message is marked as read only after it was written to stdout.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    process::ExitCode,
    time::Duration,
};

use conclave_client::{CallError, Client, Freshness, Page, v1};
use conclave_core::{
    AccountName, ConversationId, Position, Progress, Recipient, Sequence, limits::PAGE_MAX,
};
use jiff::tz::TimeZone;

use crate::{
    commands::account::freshness,
    connection::Connection,
    errors::note,
    output::{self, Format},
};

/// Messages that are shown unless it is said how many: about a screen.
const COUNT_DEFAULT: u16 = 20;
/// How long a follower waits for more before it marks what it has shown as read: one request for
/// a burst instead of one for each message.
const MARK_AFTER: Duration = Duration::from_millis(200);

/// What `read` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The next unread messages, the oldest first [default: 20]
    #[arg(long, value_name = "N", value_parser = count(), conflicts_with = "with")]
    unread: Option<u16>,
    /// The last messages of the conversation with this user
    #[arg(long, value_name = "USER")]
    with: Option<String>,
    /// With --with: how many [default: 20]
    #[arg(long, value_name = "N", value_parser = count(), requires = "with")]
    limit: Option<u16>,
    /// Then show what comes, until Ctrl-C
    #[arg(long)]
    follow: bool,
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
    // Before anything is shown, so that nothing falls between the page and the stream.
    let start = match args.follow {
        true => Some(reader.log_position().await?),
        false => None,
    };
    let mut filter = Filter::All;
    let mut shown = BTreeSet::new();
    match args.with {
        Some(with) => {
            let count = args.limit.unwrap_or(COUNT_DEFAULT);
            let name = AccountName::new(with).map_err(CallError::from)?;
            shown.extend(reader.history(&name, count).await?);
            filter = Filter::With(name.key());
        }
        None => {
            let count = args.unread.unwrap_or(COUNT_DEFAULT);
            loop {
                let page = reader.unread(count).await?;
                let full = page.len() >= usize::from(count);
                shown.extend(page);
                // Whoever follows has seen everything before.
                if !args.follow || !full {
                    break;
                }
            }
        }
    }
    if let Some(start) = start {
        shown.retain(|position| *position > start.0);
        reader.follow(start, &filter, shown).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Which messages of the stream to show.
enum Filter {
    All,
    /// Those from or to the account with this key.
    With(String),
}

impl Filter {
    fn lets_through(&self, message: &v1::Message) -> bool {
        match self {
            Self::All => true,
            Self::With(key) => [&message.sender_name, &message.recipient_name]
                .iter()
                .any(|name| name.eq_ignore_ascii_case(key)),
        }
    }
}

struct Reader {
    client: Client,
    freshness: Freshness,
    format: Format,
    zone: TimeZone,
    /// Shown and not yet marked: the last sequence of each conversation.
    read: BTreeMap<u64, u64>,
}

impl Reader {
    /// The next unread messages; gives their positions.
    async fn unread(&mut self, count: u16) -> anyhow::Result<Vec<u64>> {
        let messages = self.client.unread(count.into(), self.freshness).await?;
        self.show_all(&messages).await
    }

    /// The last page of a conversation; gives the positions.
    async fn history(&mut self, with: &AccountName, count: u16) -> anyhow::Result<Vec<u64>> {
        let with = Recipient::Account(with.clone());
        let page = self
            .client
            .messages(&with, Page::Newest, count.into(), self.freshness)
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

    fn show(&mut self, message: &v1::Message) -> io::Result<()> {
        match self.format {
            Format::Table => output::line(&output::message_line(message, &self.zone))?,
            Format::Json => output::json_line(&output::message_json(message))?,
        }
        let last = self.read.entry(message.conversation_id).or_default();
        *last = message.sequence.max(*last);
        Ok(())
    }

    /// Marks what was shown as delivered and read.
    async fn mark(&mut self) -> Result<(), CallError> {
        let read = std::mem::take(&mut self.read);
        if self.freshness != Freshness::Linearizable {
            return Ok(());
        }
        for (conversation, sequence) in read {
            let progress = Progress {
                delivered: Sequence(sequence),
                read: Sequence(sequence),
            };
            let conversation = ConversationId(conversation);
            self.client.advance(conversation, progress).await?;
        }
        Ok(())
    }

    /// A position that everything stored so far is before. A request that changes nothing tells
    /// it; who has no conversation has no messages, and may start at the beginning.
    async fn log_position(&self) -> Result<Position, CallError> {
        let first = self
            .client
            .conversations(1, Freshness::Linearizable)
            .await?;
        match first.first() {
            Some(conversation) => {
                let conversation = ConversationId(conversation.id);
                let nowhere = Progress::default();
                self.client.advance(conversation, nowhere).await
            }
            None => Ok(Position(0)),
        }
    }

    /// Shows what comes after `start`, but not what was shown already.
    async fn follow(
        &mut self,
        start: Position,
        filter: &Filter,
        mut shown: BTreeSet<u64>,
    ) -> anyhow::Result<()> {
        let mut follow = self.client.follow(start);
        loop {
            let next = if self.read.is_empty() {
                follow.next().await
            } else {
                match tokio::time::timeout(MARK_AFTER, follow.next()).await {
                    Ok(next) => next,
                    Err(_) => {
                        self.mark().await?;
                        continue;
                    }
                }
            };
            match next {
                Ok(message) => {
                    // Those shown before come first; none of them comes again.
                    if !shown.remove(&message.position) && filter.lets_through(&message) {
                        self.show(&message)?;
                    }
                }
                Err(error @ CallError::NotDone { .. }) => {
                    note(&format!("warning: {error}; still trying"));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_of_one_conversation_lets_both_directions_through() {
        let message = |from: &str, to: &str| v1::Message {
            sender_name: from.to_owned(),
            recipient_name: to.to_owned(),
            ..Default::default()
        };
        let filter = Filter::With("bob".to_owned());
        assert!(filter.lets_through(&message("Bob", "alice")));
        assert!(filter.lets_through(&message("alice", "bob")));
        assert!(!filter.lets_through(&message("alice", "carol")));
        assert!(Filter::All.lets_through(&message("alice", "carol")));
    }
}
