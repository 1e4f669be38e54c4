//! Shows messages, and has those marked as read that were taken from stdout.
//!
//! Always true: a command that ends without an error has marked what was taken.

use std::io;

use conclave_client::{CallError, Client, Freshness, Page, v1};
use conclave_core::{MessageRef, Recipient, Sequence, limits::PAGE_MAX};
use jiff::tz::TimeZone;

use crate::{
    commands::chat::marks::{Marks, tell_more},
    errors::{CommandError, EXIT_USAGE, note},
    output::{self, Format},
    pipe::Pipe,
};

/// Shows messages, and remembers what it has shown.
pub(crate) struct Reader {
    client: Client,
    freshness: Freshness,
    format: Format,
    zone: TimeZone,
    marks: Marks,
    pipe: Pipe,
}

/// Options of a reader.
pub(crate) struct How {
    pub(crate) freshness: Freshness,
    pub(crate) format: Format,
    pub(crate) zone: TimeZone,
    /// Whether the reader marks nothing as read.
    pub(crate) peek: bool,
}

impl Reader {
    pub(crate) fn new(client: Client, how: How) -> Self {
        let marks = !how.peek && how.freshness == Freshness::Linearizable;
        Self {
            marks: Marks::new(client.clone(), marks),
            client,
            freshness: how.freshness,
            format: how.format,
            zone: how.zone,
            pipe: Pipe::stdout(),
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    pub(crate) fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Returns whether shown messages are marked as read.
    pub(crate) fn marks(&self) -> bool {
        self.marks.is_on()
    }

    /// Returns whether the program behind stdout has closed it.
    pub(crate) fn is_closed(&self) -> bool {
        self.pipe.is_closed()
    }

    /// Shows the next unread messages; returns their positions, and whether there are more.
    pub(crate) async fn unread(&mut self, count: u16) -> anyhow::Result<(Vec<u64>, bool)> {
        let count = usize::from(count);
        // One message more than wanted shows whether there are more.
        let mut page = self.client.unread_page(count + 1, self.freshness).await?;
        let is_cut = page.more || page.messages.len() > count;
        page.messages.truncate(count);
        // The page holds the first unread messages of each conversation.
        for message in &page.messages {
            let (conversation, sequence) = (message.conversation_id, message.sequence);
            self.marks.know(conversation, sequence, 0);
        }
        Ok((self.show_all(&page.messages).await?, is_cut))
    }

    /// Shows the next messages of a conversation from the first unread one on, if one is unread;
    /// returns their positions.
    pub(crate) async fn unread_with(
        &mut self,
        with: &Recipient,
        count: u16,
    ) -> anyhow::Result<Vec<u64>> {
        let newest = self.page(with, Page::Newest, 1).await?;
        if newest.unread == 0 {
            return Ok(Vec::new());
        }
        let from = Page::After(Sequence(newest.sequence_read));
        let page = self.page(with, from, count.into()).await?;
        self.marks
            .know(page.conversation_id, newest.sequence_read, 0);
        let shown = self.show_all(&page.messages).await?;
        if let Some(last) = page.messages.last()
            && newest
                .messages
                .iter()
                .any(|end| end.sequence > last.sequence)
        {
            tell_more(with, "newer messages: ", &format!("--unread {count}"));
        }
        Ok(shown)
    }

    /// Shows the last page of a conversation, or the one before a message; returns the positions.
    pub(crate) async fn history(
        &mut self,
        with: &Recipient,
        before: Option<MessageRef>,
        count: u16,
    ) -> anyhow::Result<Vec<u64>> {
        let from = before.map_or(Page::Newest, |before| Page::Before(before.sequence));
        let page = self.page(with, from, count.into()).await?;
        if let Some(before) = before.filter(|of| of.conversation.0 != page.conversation_id) {
            let conversation = before.conversation;
            return Err(CommandError::new(
                EXIT_USAGE,
                format!("--before names a message of conversation {conversation}, --with another"),
                "conclave read shows the IDs of messages",
            )
            .into());
        }
        let unread_before = page.unread_before;
        if let Some(first) = page.messages.first() {
            self.marks
                .know(page.conversation_id, first.sequence, unread_before);
        }
        let shown = self.show_all(&page.messages).await;
        if before.is_none() && unread_before > 0 {
            let unread = unread_before + shown.as_ref().map_or(0, Vec::len) as u64;
            let unread = unread.min(PAGE_MAX as u64);
            let what = match self.marks() {
                true => format!("{unread_before} older messages are unread, none is marked read: "),
                false => format!("{unread_before} older messages are unread: "),
            };
            tell_more(with, &what, &format!("--unread {unread}"));
        } else if page.previous_before_sequence > 0 && output::is_for_people() {
            let (conversation, before) = (page.conversation_id, page.previous_before_sequence);
            let before = format!("--before {conversation}.{before}");
            tell_more(with, "older messages: ", &before);
        } else if page.forgotten_through > 0
            && page.previous_before_sequence == 0
            && output::is_for_people()
        {
            note("older messages are no longer kept");
        }
        shown
    }

    async fn page(
        &self,
        with: &Recipient,
        page: Page,
        count: usize,
    ) -> anyhow::Result<v1::ListMessagesResponse> {
        let page = self
            .client
            .messages(with, page, count, self.freshness)
            .await;
        Ok(page?)
    }

    /// Checks a conversation again at the next [`Reader::mark`], after a read position in it has
    /// moved.
    pub(crate) fn look_again(&mut self, conversation: u64) {
        self.marks.look_again(conversation);
    }

    async fn show_all(&mut self, messages: &[v1::Message]) -> anyhow::Result<Vec<u64>> {
        let mut result = Ok(());
        for message in messages {
            result = self.show(message).await;
            if result.is_err() {
                break;
            }
        }
        let ended = match result {
            Ok(()) => self.pipe.end_taken().await,
            Err(error) => Err(error),
        };
        // Also if the program behind stdout has gone: it has read what it took.
        self.mark().await?;
        if !ended? && self.marks() {
            note(&format!(
                "{} of these were not taken from the pipe yet and stay unread",
                self.marks.untaken()
            ));
        }
        Ok(messages.iter().map(|message| message.position).collect())
    }

    /// Waits until everything that was written was taken, and marks it as read.
    ///
    /// # Errors
    /// If the pipe is closed or no node serves.
    pub(crate) async fn wait_until_marked(&mut self) -> anyhow::Result<()> {
        let taken = self.pipe.wait_until_taken().await;
        self.mark().await?;
        Ok(taken?)
    }

    /// Shows one message.
    ///
    /// # Errors
    /// If stdout is closed or full.
    pub(crate) async fn show(&mut self, message: &v1::Message) -> io::Result<()> {
        match self.format {
            Format::Table => {
                let line = output::message_line(message, &self.zone);
                self.write(&line, message).await
            }
            Format::Json => {
                let line = output::json_text(&output::message_json(message));
                self.write(&line, message).await
            }
        }
    }

    /// Shows one message as `line`.
    ///
    /// # Errors
    /// If stdout is closed or full.
    pub(crate) async fn write(&mut self, line: &str, message: &v1::Message) -> io::Result<()> {
        let end = self.put(line).await?;
        let (conversation, sequence) = (message.conversation_id, message.sequence);
        let taken = self.pipe.taken();
        self.marks.wrote(end, conversation, sequence, taken);
        Ok(())
    }

    /// Shows a line that is no new message.
    ///
    /// # Errors
    /// If stdout is closed or full.
    pub(crate) async fn write_other(&mut self, line: &str) -> io::Result<()> {
        self.put(line).await.map(drop)
    }

    async fn put(&mut self, line: &str) -> io::Result<u64> {
        self.pipe.line_taken().await?;
        output::line(line)?;
        Ok(self.pipe.add(line.len() + 1))
    }

    /// Returns whether some shown message is not marked yet.
    pub(crate) fn has_more_to_mark(&self) -> bool {
        self.marks.is_owed()
    }

    /// Marks what was shown and taken as delivered and read. See [`Marks::mark`].
    ///
    /// # Errors
    /// If no node serves, the session has ended, or the positions are refused.
    pub(crate) async fn mark(&mut self) -> Result<(), CallError> {
        self.marks.mark(self.pipe.taken()).await
    }
}
