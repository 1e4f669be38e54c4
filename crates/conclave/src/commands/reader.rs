//! Shows messages and marks them as read.
//!
//! Always true: a message is marked as read only after it was written to stdout.

use std::{collections::BTreeMap, io};

use conclave_client::{CallError, Client, Freshness, Page, v1};
use conclave_core::{
    ConversationId, Progress, Recipient, Sequence, limits::POSITIONS_PER_REQUEST_MAX,
};
use jiff::tz::TimeZone;

use crate::output::{self, Format};

/// Shows messages, and remembers what it has shown.
pub(crate) struct Reader {
    pub(crate) client: Client,
    pub(crate) freshness: Freshness,
    pub(crate) format: Format,
    pub(crate) zone: TimeZone,
    /// Shown and not yet marked: the last sequence of each conversation.
    pub(crate) read: BTreeMap<u64, u64>,
}

impl Reader {
    /// The next unread messages; gives their positions.
    pub(crate) async fn unread(&mut self, count: u16) -> anyhow::Result<Vec<u64>> {
        let messages = self.client.unread(count.into(), self.freshness).await?;
        self.show_all(&messages).await
    }

    /// The last page of a conversation; gives the positions.
    pub(crate) async fn history(
        &mut self,
        with: &Recipient,
        count: u16,
    ) -> anyhow::Result<Vec<u64>> {
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
