//! Shows messages and marks them as read.
//!
//! Always true: a message is marked as read only after it was written to stdout, and taken from
//! there if stdout is a pipe. A read position covers everything before it, so none is moved over an
//! unread message that was not shown: neither by a page nor by a stream that begins in the middle
//! of a conversation.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
};

use conclave_client::{CallError, Client, Freshness, Page, v1};
use conclave_core::{
    ConversationId, MessageRef, Progress, Recipient, Sequence,
    limits::{PAGE_MAX, POSITIONS_PER_REQUEST_MAX},
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
    /// Whether shown messages are marked as read.
    marks: bool,
    pipe: Pipe,
    /// Messages that were written and perhaps not taken yet: where each ends in the bytes of
    /// stdout, its conversation and its sequence. At most what a pipe holds, and a page.
    written: VecDeque<(u64, u64, u64)>,
    /// The last sequence of each conversation that was taken and is not marked yet.
    read: BTreeMap<u64, u64>,
    /// State of the messages before those that were shown, for each conversation.
    before: BTreeMap<u64, Before>,
}

/// State of the unread messages before the first one that was shown.
enum Before {
    /// All of them were shown.
    Shown,
    /// One of them was not shown, so none is marked. Holds the first and the last sequence that was
    /// shown.
    Unread { first: u64, last: u64 },
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
        Self {
            client,
            marks: !how.peek && how.freshness == Freshness::Linearizable,
            freshness: how.freshness,
            format: how.format,
            zone: how.zone,
            pipe: Pipe::stdout(),
            written: VecDeque::new(),
            read: BTreeMap::new(),
            before: BTreeMap::new(),
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
        self.marks
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
            self.before.insert(message.conversation_id, Before::Shown);
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
        self.before.insert(page.conversation_id, Before::Shown);
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
            self.know(page.conversation_id, first.sequence, unread_before);
        }
        let shown = self.show_all(&page.messages).await;
        if before.is_none() && unread_before > 0 {
            let unread = unread_before + shown.as_ref().map_or(0, Vec::len) as u64;
            let unread = unread.min(PAGE_MAX as u64);
            let what = match self.marks {
                true => format!("{unread_before} older messages are unread, none is marked read: "),
                false => format!("{unread_before} older messages are unread: "),
            };
            self.tell_more(with, &what, &format!("--unread {unread}"));
        } else if page.previous_before_sequence > 0 && output::is_for_people() {
            let (conversation, before) = (page.conversation_id, page.previous_before_sequence);
            let before = format!("--before {conversation}.{before}");
            self.tell_more(with, "older messages: ", &before);
        } else if page.forgotten_through > 0
            && page.previous_before_sequence == 0
            && output::is_for_people()
        {
            note("older messages are no longer kept");
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
    ) -> anyhow::Result<v1::ListMessagesResponse> {
        let page = self
            .client
            .messages(with, page, count, self.freshness)
            .await;
        Ok(page?)
    }

    /// Records how many unread messages come before the first one that is shown.
    fn know(&mut self, conversation: u64, first: u64, unread_before: u64) {
        let known = match unread_before {
            0 => Before::Shown,
            _ => Before::Unread { first, last: 0 },
        };
        self.before.insert(conversation, known);
    }

    /// Counts the unread messages before one that was shown.
    async fn unread_before(&self, conversation: u64, shown: u64) -> Result<u64, CallError> {
        let with = Recipient::Conversation(ConversationId(conversation));
        let from = Page::After(Sequence(shown.saturating_sub(1)));
        let page = self.client.messages(&with, from, 1, self.freshness).await;
        match page {
            Ok(page) => Ok(page.unread_before),
            // A conversation that the caller has left has no read position to move.
            Err(CallError::Refused { .. }) => Ok(u64::MAX),
            Err(error) => Err(error),
        }
    }

    /// Returns whether a message that was shown may be marked as read. If the beginning of the
    /// conversation was not shown, it asks the server, once.
    async fn may_mark(&mut self, conversation: u64, sequence: u64) -> Result<bool, CallError> {
        if !self.before.contains_key(&conversation) {
            let unread = self.unread_before(conversation, sequence).await?;
            self.know(conversation, sequence, unread);
            if (1..u64::MAX).contains(&unread) {
                let with = Recipient::Conversation(ConversationId(conversation));
                let what = format!("{unread} older messages are unread, none is marked read: ");
                let count = unread.min(PAGE_MAX as u64);
                self.tell_more(&with, &what, &format!("--unread {count}"));
            }
        }
        Ok(match self.before.get_mut(&conversation) {
            Some(Before::Unread { last, .. }) => {
                *last = sequence.max(*last);
                false
            }
            Some(Before::Shown) | None => true,
        })
    }

    /// Checks a conversation again of which nothing was marked, after a read position in it has
    /// moved: if the older messages are read by now, the newer ones that were shown are marked,
    /// too.
    ///
    /// # Errors
    /// If no node serves.
    pub(crate) async fn look_again(&mut self, conversation: u64) -> Result<(), CallError> {
        let Some(Before::Unread { first, last }) = self.before.get(&conversation) else {
            return Ok(());
        };
        let (first, last) = (*first, *last);
        if self.marks && self.unread_before(conversation, first).await? == 0 {
            self.before.insert(conversation, Before::Shown);
            self.note_read(conversation, last);
        }
        Ok(())
    }

    fn note_read(&mut self, conversation: u64, sequence: u64) {
        let last = self.read.entry(conversation).or_default();
        *last = sequence.max(*last);
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
        if !ended? && self.marks {
            note(&format!(
                "{} of these were not taken from the pipe yet and stay unread",
                self.written.len()
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

    /// Returns whether some shown message is not marked yet.
    pub(crate) fn has_more_to_mark(&self) -> bool {
        !self.read.is_empty() || !self.written.is_empty()
    }

    /// Marks what was shown and taken as delivered and read.
    pub(crate) async fn mark(&mut self) -> Result<(), CallError> {
        let taken = self.pipe.taken();
        while let Some((end, conversation, sequence)) = self.written.front().copied()
            && end <= taken
        {
            if self.may_mark(conversation, sequence).await? {
                self.note_read(conversation, sequence);
            }
            self.written.pop_front();
        }
        let progress = |(conversation, sequence): (u64, u64)| {
            let progress = Progress {
                delivered: Sequence(sequence),
                read: Sequence(sequence),
            };
            (ConversationId(conversation), progress)
        };
        let read = std::mem::take(&mut self.read);
        let read = read.into_iter().filter(|(_, sequence)| *sequence > 0);
        let progress: Vec<_> = read.map(progress).collect();
        for part in progress.chunks(POSITIONS_PER_REQUEST_MAX) {
            self.client.advance(part).await?;
        }
        Ok(())
    }
}
