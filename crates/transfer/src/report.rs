//! What an import has changed, left out or made up: each as a line of a file, and the numbers.
//!
//! Always true: whatever of the source is not in the new cluster as it was stands here.

use std::{collections::BTreeMap, io::Write};

use serde::Serialize;

use crate::error::ImportError;

/// What happened to a part of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// An account, with its name there and here.
    Account,
    /// A room, with its name there and here.
    Room,
    /// A conversation of more than two people, which is a room here.
    GroupBecameRoom,
    /// An author without an account, for which one was made.
    AuthorWithoutAccount,
    /// A message under the account of another author, which its first line says.
    AuthorReplaced,
    /// A text in several messages, because it is too long for one.
    TextSplit,
    /// A message without a text, which got one that says so.
    TextMissing,
    /// A notice of the system, which Conclave does not keep as messages.
    NoticeLeftOut,
    /// A message that is not there.
    MessageLost,
    /// Messages that were forgotten before the export was made, which are deleted ones here.
    MessageForgotten,
    /// A reply without the message that it answers.
    ReplyWithoutMessage,
    /// A reaction that is not there.
    ReactionLost,
    /// An edit or a deletion that is not there.
    ChangeLost,
    /// A member that is not one here.
    MemberLost,
    /// A room that is not there.
    RoomLost,
    /// The owner of a room is another account.
    OwnerReplaced,
    /// A topic or display name that was cut.
    LineCut,
    /// A setting of an account or a member that is not there.
    SettingLost,
    /// A file, of which the link is there.
    FileAsLink,
}

#[derive(Serialize)]
struct Line<'a> {
    what: What,
    /// Where it stands in the source.
    at: &'a str,
    /// What became of it, or why it is not there.
    result: &'a str,
}

/// How often each kind of change happened.
pub type Counts = BTreeMap<String, u64>;

/// The report of one import.
pub(crate) struct Report<'a> {
    out: &'a mut dyn Write,
    counts: BTreeMap<What, u64>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            counts: BTreeMap::new(),
        }
    }

    /// Adds a line.
    pub(crate) fn say(&mut self, what: What, at: &str, result: &str) -> Result<(), ImportError> {
        *self.counts.entry(what).or_default() += 1;
        let line = Line { what, at, result };
        serde_json::to_writer(&mut *self.out, &line)
            .map_err(Into::into)
            .and_then(|()| self.out.write_all(b"\n"))
            .map_err(ImportError::Report)
    }

    /// Returns the numbers, by the names that stand in the lines.
    pub(crate) fn counts(&self) -> Counts {
        let name = |what: &What| match serde_json::to_value(what) {
            Ok(serde_json::Value::String(name)) => name,
            _ => String::new(),
        };
        let counts = self.counts.iter();
        counts.map(|(what, count)| (name(what), *count)).collect()
    }

    pub(crate) fn finish(self) -> Result<Counts, ImportError> {
        self.out.flush().map_err(ImportError::Report)?;
        Ok(self.counts())
    }
}
