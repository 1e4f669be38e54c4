//! Writes an export: everything that people wrote, out of the database of a backup.
//!
//! Always true: the directory has its name only when it is whole; every file in it can be read by
//! its owner alone; memory is bounded whatever the number of messages.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use conclave_core::{AccountId, AccountRole, ConversationId, MemberRole};
use conclave_storage::state::{
    BrowseError, BrowsedAccount, BrowsedDirect, BrowsedMember, BrowsedMessage, BrowsedRoom, Browser,
};
use serde::Serialize;

use crate::{
    error::{ExportError, write_error},
    format::{
        self, ACCOUNTS, DIRECT_FILES, DIRECTS, GONE, Header, Holds, MANIFEST, MEMBERS, Manifest,
        ROOM_FILES, ROOMS, SUFFIX, VERSION,
    },
};

/// What the backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Name of the cluster.
    pub cluster: String,
    /// Last entry whose changes are in it.
    pub entry: u64,
    /// Date in milliseconds since 1970 at which the backup was made.
    pub made_at_ms: u64,
    /// Number of its messages, for the progress.
    pub messages: u64,
}

/// What is in an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Number of accounts.
    pub accounts: u64,
    /// Number of rooms.
    pub rooms: u64,
    /// Number of direct conversations.
    pub directs: u64,
    /// Number of memberships and invitations.
    pub members: u64,
    /// Number of messages, deleted ones included.
    pub messages: u64,
}

/// Exports a database into a directory that is empty or does not exist. `progress` gets how many
/// messages are written, and how many there are.
///
/// # Errors
/// See [`ExportError`]. The directory then does not exist, or is as empty as it was.
pub fn export(
    database: &Path,
    origin: &Origin,
    directory: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Exported, ExportError> {
    let draft = directory.with_added_extension("part");
    let is_taken = |path: &Path| match fs::read_dir(path) {
        Ok(mut items) => items.next().is_some(),
        Err(_) => path.exists(),
    };
    for path in [directory, &draft] {
        if is_taken(path) {
            return Err(ExportError::Exists(path.to_owned()));
        }
    }
    let browser = Browser::open(database)?;
    let written = Writer::new(&browser, &draft).and_then(|mut writer| {
        writer.all(origin, progress)?;
        fs::rename(&draft, directory).map_err(write_error(directory))?;
        Ok(writer.exported)
    });
    if written.is_err() {
        // The error that matters is the first one.
        let _ = fs::remove_dir_all(&draft);
    }
    written
}

struct Writer<'a> {
    browser: &'a Browser,
    directory: &'a Path,
    exported: Exported,
    /// What each account is called in the export.
    labels: HashMap<AccountId, String>,
}

/// A file of the export that is being written.
struct Lines {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Lines {
    fn create(path: PathBuf) -> Result<Self, ExportError> {
        let mut options = File::options();
        let options = options.write(true).create_new(true).mode(0o600);
        let file = options.open(&path).map_err(write_error(&path))?;
        let file = BufWriter::with_capacity(64 * 1024, file);
        Ok(Self { path, file })
    }

    fn line(&mut self, record: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.file, record)?;
        self.file.write_all(b"\n")
    }

    fn finish(mut self) -> Result<File, ExportError> {
        self.file.flush().map_err(write_error(&self.path))?;
        let path = self.path;
        let file = self.file.into_inner();
        file.map_err(|error| write_error(&path)(error.into_error()))
    }

    /// Names the file in what a receiver of rows has failed with.
    fn explain(&self, error: BrowseError) -> ExportError {
        match error {
            BrowseError::Receiver(source) => write_error(&self.path)(source),
            other => other.into(),
        }
    }
}

impl<'a> Writer<'a> {
    fn new(browser: &'a Browser, directory: &'a Path) -> Result<Self, ExportError> {
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o700).recursive(true);
        for path in [
            directory.to_owned(),
            directory.join(ROOM_FILES),
            directory.join(DIRECT_FILES),
        ] {
            builder.create(&path).map_err(write_error(&path))?;
        }
        Ok(Self {
            browser,
            directory,
            exported: Exported::default(),
            labels: HashMap::new(),
        })
    }

    fn all(
        &mut self,
        origin: &Origin,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), ExportError> {
        self.accounts()?;
        let mut members = self.begin(MEMBERS, Holds::Members)?;
        self.rooms(&mut members, origin, progress)?;
        self.directs(&mut members, origin, progress)?;
        members.finish()?;
        let path = self.directory.join(MANIFEST);
        let mut manifest = Lines::create(path.clone())?;
        let Exported {
            accounts,
            rooms,
            directs,
            members,
            messages,
        } = self.exported;
        let written = manifest.line(&Manifest {
            conclave_export: VERSION,
            holds: Holds::Manifest,
            cluster: origin.cluster.clone(),
            entry: origin.entry,
            made_at_ms: origin.made_at_ms,
            accounts,
            rooms,
            directs,
            members,
            messages,
        });
        written.map_err(write_error(&path))?;
        manifest.finish()?.sync_all().map_err(write_error(&path))
    }

    fn begin(&self, name: &str, holds: Holds) -> Result<Lines, ExportError> {
        self.begin_of(name, holds, None)
    }

    fn begin_of(
        &self,
        name: &str,
        holds: Holds,
        conversation: Option<String>,
    ) -> Result<Lines, ExportError> {
        let mut lines = Lines::create(self.directory.join(name))?;
        let header = Header {
            conclave_export: VERSION,
            holds,
            conversation,
        };
        let written = lines.line(&header);
        written.map_err(write_error(&lines.path))?;
        Ok(lines)
    }

    fn accounts(&mut self) -> Result<(), ExportError> {
        // Blocks name accounts that come later.
        let mut all: Vec<BrowsedAccount> = Vec::new();
        self.browser.accounts(&mut |account| {
            all.push(account);
            Ok(())
        })?;
        for account in &all {
            self.labels.insert(account.id, account.name.clone());
        }
        let mut lines = self.begin(ACCOUNTS, Holds::Accounts)?;
        for account in all {
            let blocks = self.browser.blocks_of(account.id)?;
            let record = format::Account {
                account: account.name,
                display_name: account.display_name,
                role: Some(match account.role {
                    AccountRole::User => format::AccountRole::User,
                    AccountRole::Admin => format::AccountRole::Admin,
                    AccountRole::Bot => format::AccountRole::Bot,
                }),
                created_at_ms: Some(account.created_at.0),
                suspended: account.suspended,
                blocks: blocks.iter().map(|other| self.label(*other)).collect(),
                deleted: false,
            };
            let written = lines.line(&record);
            written.map_err(write_error(&lines.path))?;
            self.exported.accounts += 1;
        }
        for (place, gone) in self.browser.deleted_accounts()?.into_iter().enumerate() {
            let label = format!("{GONE}{}", place + 1);
            let record = format::Account {
                account: label.clone(),
                deleted: true,
                ..format::Account::default()
            };
            let written = lines.line(&record);
            written.map_err(write_error(&lines.path))?;
            self.labels.insert(gone, label);
            self.exported.accounts += 1;
        }
        lines.finish().map(drop)
    }

    fn label(&self, account: AccountId) -> String {
        // Every account of which something is shown was named; a row of another one is damage that
        // the verification of the backup does not know.
        let unknown = || format!("{GONE}?{}", account.0);
        self.labels.get(&account).cloned().unwrap_or_else(unknown)
    }

    fn labels(&self, accounts: &[AccountId]) -> Vec<String> {
        let mut labels: Vec<String> = accounts.iter().map(|id| self.label(*id)).collect();
        labels.sort_by_key(|label| label.to_ascii_lowercase());
        labels
    }

    fn rooms(
        &mut self,
        members: &mut Lines,
        origin: &Origin,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), ExportError> {
        let mut all: Vec<BrowsedRoom> = Vec::new();
        self.browser.rooms(&mut |room| {
            all.push(room);
            Ok(())
        })?;
        let mut lines = self.begin(ROOMS, Holds::Rooms)?;
        for room in all {
            let conversation = format!("{ROOM_FILES}/{}", room.name);
            let file = format!("{conversation}{SUFFIX}");
            let messages = self.messages(room.id, &conversation, &file, origin, progress)?;
            self.members(room.id, &conversation, members)?;
            for (account, by) in self.browser.invitations(room.id)? {
                let record = format::Member {
                    conversation: conversation.clone(),
                    account: self.label(account),
                    role: None,
                    delivered: None,
                    read: None,
                    invited_by: Some(self.label(by)),
                };
                let written = members.line(&record);
                written.map_err(write_error(&members.path))?;
                self.exported.members += 1;
            }
            let record = format::Room {
                room: room.name,
                topic: room.topic,
                public: room.public,
                created_at_ms: room.created_at.0,
                messages,
                file,
            };
            let written = lines.line(&record);
            written.map_err(write_error(&lines.path))?;
            self.exported.rooms += 1;
        }
        lines.finish().map(drop)
    }

    fn directs(
        &mut self,
        members: &mut Lines,
        origin: &Origin,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), ExportError> {
        let mut all: Vec<(Vec<String>, ConversationId)> = Vec::new();
        self.browser.directs(&mut |direct: BrowsedDirect| {
            let (low, high) = direct.members;
            all.push((self.labels(&[low, high]), direct.id));
            Ok(())
        })?;
        all.sort_by_key(|(labels, _)| {
            let keys = labels.iter().map(|label| label.to_ascii_lowercase());
            keys.collect::<Vec<_>>()
        });
        let mut lines = self.begin(DIRECTS, Holds::Directs)?;
        for (labels, id) in all {
            let conversation = format!("{DIRECT_FILES}/{}", labels.join("+"));
            let file = format!("{conversation}{SUFFIX}");
            let messages = self.messages(id, &conversation, &file, origin, progress)?;
            self.members(id, &conversation, members)?;
            let mut labels = labels.into_iter();
            let record = format::Direct {
                members: (
                    labels.next().unwrap_or_default(),
                    labels.next().unwrap_or_default(),
                ),
                messages,
                file,
            };
            let written = lines.line(&record);
            written.map_err(write_error(&lines.path))?;
            self.exported.directs += 1;
        }
        lines.finish().map(drop)
    }

    fn members(
        &mut self,
        id: ConversationId,
        conversation: &str,
        lines: &mut Lines,
    ) -> Result<(), ExportError> {
        let mut count = 0;
        let browsed = self.browser.members(id, &mut |member: BrowsedMember| {
            count += 1;
            lines.line(&format::Member {
                conversation: conversation.to_owned(),
                account: self.label(member.account),
                role: Some(match member.role {
                    MemberRole::Member => format::MemberRole::Member,
                    MemberRole::Moderator => format::MemberRole::Moderator,
                    MemberRole::Owner => format::MemberRole::Owner,
                }),
                delivered: Some(member.delivered.0),
                read: Some(member.read.0),
                invited_by: None,
            })
        });
        browsed.map_err(|error| lines.explain(error))?;
        self.exported.members += count;
        Ok(())
    }

    /// Writes the file of a conversation; returns how many messages are in it.
    fn messages(
        &mut self,
        id: ConversationId,
        conversation: &str,
        file: &str,
        origin: &Origin,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<u64, ExportError> {
        let mut lines = self.begin_of(file, Holds::Messages, Some(conversation.to_owned()))?;
        let before = self.exported.messages;
        let mut count = 0;
        let browsed = self.browser.messages(id, &mut |message| {
            count += 1;
            progress(before + count, origin.messages.max(before + count));
            lines.line(&self.message(message))
        });
        browsed.map_err(|error| lines.explain(error))?;
        lines.finish()?;
        self.exported.messages += count;
        Ok(count)
    }

    fn message(&self, message: BrowsedMessage) -> format::Message {
        let reactions = message.reactions.into_iter();
        format::Message {
            sequence: message.sequence.0,
            author: self.label(message.by),
            sent_at_ms: message.sent_at.0,
            text: message.text,
            action: message.action,
            reply_to: message.reply_to.map(|sequence| sequence.0),
            edited_at_ms: message.edited_at.map(|at| at.0),
            deleted_at_ms: message.deleted_at.map(|at| at.0),
            mentions: self.labels(&message.mentions),
            reactions: reactions
                .map(|(reaction, accounts)| format::Reaction {
                    reaction,
                    accounts: self.labels(&accounts),
                })
                .collect(),
            hidden_from: self.labels(&message.hidden_from),
        }
    }
}
