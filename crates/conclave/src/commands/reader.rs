//! Shows messages and marks them as read.
//!
//! Always true: a message is marked as read only after it was written to stdout, and taken from
//! there if stdout is a pipe. A read position covers everything before it, so none is moved over an
//! unread message that was not shown.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
};

use conclave_client::{CallError, Client, Freshness, Page, v1};
use conclave_core::{
    ConversationId, MessageRef, Progress, Recipient, Sequence, limits::POSITIONS_PER_REQUEST_MAX,
};
use jiff::tz::TimeZone;

use crate::{
    errors::{CommandError, EXIT_USAGE, note},
    names,
    output::{self, Format},
    pipe::Pipe,
};

/// Shows messages, and remembers what it has shown.
pub(crate) struct Reader {
    client: Client,
    freshness: Freshness,
    format: Format,
    zone: TimeZone,
    /// Whether what is shown is marked as read.
    marks: bool,
    pipe: Pipe,
    /// Written and perhaps not taken yet: where each ends in the bytes of stdout, its conversation
    /// and its sequence. At most what a pipe holds, and a page.
    written: VecDeque<(u64, u64, u64)>,
    /// Taken and not yet marked: the last sequence of each conversation.
    read: BTreeMap<u64, u64>,
    /// Conversations with an unread message that was not shown, before those that were.
    held: BTreeSet<u64>,
}

/// How to read.
pub(crate) struct How {
    pub(crate) freshness: Freshness,
    pub(crate) format: Format,
    pub(crate) zone: TimeZone,
    /// Whether nothing is marked as read.
    pub(crate) peek: bool,
}

impl Reader {
    pub(crate) fn new(client: Client, how: How) -> Self {
        Self {
            client,
            marks: !how.peek && how.freshness == Freshness::Linearizable,
            freshness: how.freshness,
            format: how.format,
            zone: how.zone,
            pipe: Pipe::stdout(),
            written: VecDeque::new(),
            read: BTreeMap::new(),
            held: BTreeSet::new(),
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

    /// Whether what is shown is marked as read.
    pub(crate) fn marks(&self) -> bool {
        self.marks
    }

    /// Whether the program behind stdout has gone away.
    pub(crate) fn is_closed(&self) -> bool {
        self.pipe.is_closed()
    }

    /// Shows the next unread messages; gives their positions, and whether there are more.
    pub(crate) async fn unread(&mut self, count: u16) -> anyhow::Result<(Vec<u64>, bool)> {
        let count = usize::from(count);
        // One more tells whether there are more.
        let mut page = self.client.unread_page(count + 1, self.freshness).await?;
        let is_cut = page.more || page.messages.len() > count;
        page.messages.truncate(count);
        Ok((self.show_all(&page.messages).await?, is_cut))
    }

    /// Shows the next messages of a conversation from the first unread one on, if one is unread;
    /// gives their positions.
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
        let shown = self.show_all(&page.messages).await?;
        if let Some(last) = page.messages.last()
            && newest
                .messages
                .iter()
                .any(|end| end.sequence > last.sequence)
        {
            self.tell_more(with, "newer messages: ", &format!("--unread {count}"));
        }
        Ok(shown)
    }

    /// Shows the last page of a conversation, or the one before a message; gives the positions.
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
                "IDs stand beside the messages in: conclave read",
            )
            .into());
        }
        let unread_before = match before {
            None => page.unread_before,
            // It is not known what was read in between.
            Some(_) => u64::MAX,
        };
        if unread_before > 0 {
            self.held.insert(page.conversation_id);
        }
        let shown = self.show_all(&page.messages).await;
        if before.is_none() && unread_before > 0 {
            let unread = unread_before + shown.as_ref().map_or(0, Vec::len) as u64;
            let unread = unread.min(conclave_core::limits::PAGE_MAX as u64);
            let what = match self.marks {
                true => format!("{unread_before} older ones are unread, so none is marked: "),
                false => format!("{unread_before} older ones are unread: "),
            };
            self.tell_more(with, &what, &format!("--unread {unread}"));
        } else if page.previous_before_sequence > 0 && output::is_for_people() {
            let (conversation, before) = (page.conversation_id, page.previous_before_sequence);
            let before = format!("--before {conversation}.{before}");
            self.tell_more(with, "older ones: ", &before);
        }
        shown
    }

    fn tell_more(&self, with: &Recipient, what: &str, how: &str) {
        note(&format!(
            "{what}conclave read --with {} {how}",
            names::shown(with)
        ));
    }

    async fn page(
        &self,
        with: &Recipient,
        page: Page,
        count: usize,
    ) -> Result<v1::ListMessagesResponse, CommandError> {
        let page = self
            .client
            .messages(with, page, count, self.freshness)
            .await;
        page.map_err(|error| {
            let argument = format!("--with {}", names::shown(with));
            CommandError::about(&argument, &error)
        })
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
        // Also if the reader went away: what it took, it has read.
        self.mark().await?;
        if !ended? && self.marks {
            note(&format!(
                "{} of these were not taken from the pipe yet and stay unread",
                self.written.len()
            ));
        }
        Ok(messages.iter().map(|message| message.position).collect())
    }

    /// Waits until everything that was written was taken, and marks it.
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

    /// Shows one message as this line.
    ///
    /// # Errors
    /// If stdout is closed or full.
    pub(crate) async fn write(&mut self, line: &str, message: &v1::Message) -> io::Result<()> {
        let end = self.put(line).await?;
        if self.marks {
            let place = (end, message.conversation_id, message.sequence);
            self.written.push_back(place);
        }
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

    /// Whether something was shown that is not marked yet.
    pub(crate) fn has_more_to_mark(&self) -> bool {
        !self.read.is_empty() || !self.written.is_empty()
    }

    /// Marks what was shown and taken as delivered and read.
    pub(crate) async fn mark(&mut self) -> Result<(), CallError> {
        let taken = self.pipe.taken();
        while let Some((end, conversation, sequence)) = self.written.front().copied()
            && end <= taken
        {
            self.written.pop_front();
            if !self.held.contains(&conversation) {
                let last = self.read.entry(conversation).or_default();
                *last = sequence.max(*last);
            }
        }
        let progress = |(conversation, sequence): (u64, u64)| {
            let progress = Progress {
                delivered: Sequence(sequence),
                read: Sequence(sequence),
            };
            (ConversationId(conversation), progress)
        };
        let read = std::mem::take(&mut self.read);
        let progress: Vec<_> = read.into_iter().map(progress).collect();
        for part in progress.chunks(POSITIONS_PER_REQUEST_MAX) {
            self.client.advance(part).await?;
        }
        Ok(())
    }
}
