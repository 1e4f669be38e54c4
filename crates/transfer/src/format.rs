//! The records of an export: one JSON object in each line, described in docs/export.md.
//!
//! Always true: a field that this version does not know is an error, because what is not read would
//! be lost; a new field raises [`VERSION`].

use serde::{Deserialize, Serialize};

/// Version of the format: the number in the first line of every file.
pub const VERSION: u32 = 1;

/// Name of the file that is written last and counts the others.
pub(crate) const MANIFEST: &str = "export.json";
pub(crate) const ACCOUNTS: &str = "accounts.jsonl";
pub(crate) const ROOMS: &str = "rooms.jsonl";
pub(crate) const DIRECTS: &str = "directs.jsonl";
pub(crate) const MEMBERS: &str = "members.jsonl";
/// Directories of the files with messages.
pub(crate) const ROOM_FILES: &str = "rooms";
pub(crate) const DIRECT_FILES: &str = "direct";
/// End of the names of these files.
pub(crate) const SUFFIX: &str = ".jsonl";
/// Sign before the number of an account that is gone, which no name may have.
pub(crate) const GONE: char = '~';

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Holds {
    Manifest,
    Accounts,
    Rooms,
    Directs,
    Members,
    Messages,
}

/// First line of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    pub(crate) conclave_export: u32,
    pub(crate) holds: Holds,
    /// The conversation of the messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) conversation: Option<String>,
}

/// The one line of [`MANIFEST`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) conclave_export: u32,
    pub(crate) holds: Holds,
    pub(crate) cluster: String,
    pub(crate) entry: u64,
    pub(crate) made_at_ms: u64,
    pub(crate) accounts: u64,
    pub(crate) rooms: u64,
    pub(crate) directs: u64,
    pub(crate) members: u64,
    pub(crate) messages: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AccountRole {
    #[default]
    User,
    Admin,
    Bot,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Account {
    pub(crate) account: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) display_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<AccountRole>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) created_at_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) suspended: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) blocks: Vec<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) deleted: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Room {
    pub(crate) room: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) topic: String,
    pub(crate) public: bool,
    pub(crate) created_at_ms: u64,
    pub(crate) messages: u64,
    pub(crate) file: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Direct {
    pub(crate) members: (String, String),
    pub(crate) messages: u64,
    pub(crate) file: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MemberRole {
    #[default]
    Member,
    Moderator,
    Owner,
}

/// A member of a conversation, or an account that is invited to a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Member {
    pub(crate) conversation: String,
    pub(crate) account: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<MemberRole>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) delivered: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) read: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) invited_by: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Message {
    pub(crate) sequence: u64,
    pub(crate) author: String,
    pub(crate) sent_at_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) action: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reply_to: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) edited_at_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deleted_at_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) mentions: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) reactions: Vec<Reaction>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) hidden_from: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reaction {
    pub(crate) reaction: String,
    pub(crate) accounts: Vec<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes the field by reference"
)]
fn is_false(value: &bool) -> bool {
    !*value
}
