//! The records of Mattermost's files, as far as they are read.
//!
//! Fields that are not read may be there; those that a kind does not need may be absent.

use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub(super) struct Line {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) version: Option<u64>,
    pub(super) team: Option<Team>,
    pub(super) channel: Option<Channel>,
    pub(super) user: Option<User>,
    pub(super) bot: Option<Bot>,
    pub(super) post: Option<Post>,
    pub(super) direct_channel: Option<DirectChannel>,
    pub(super) direct_post: Option<Post>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Team {
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Channel {
    pub(super) team: String,
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) header: Option<String>,
    pub(super) purpose: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct User {
    pub(super) username: String,
    pub(super) nickname: Option<String>,
    pub(super) first_name: Option<String>,
    pub(super) last_name: Option<String>,
    pub(super) roles: Option<String>,
    pub(super) delete_at: Option<u64>,
    pub(super) teams: Option<Vec<UserTeam>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Bot {
    pub(super) username: String,
    pub(super) display_name: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct UserTeam {
    pub(super) name: String,
    pub(super) channels: Option<Vec<UserChannel>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct UserChannel {
    pub(super) name: String,
    pub(super) roles: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct DirectChannel {
    pub(super) members: Option<Vec<String>>,
    pub(super) participants: Option<Vec<Participant>>,
    pub(super) header: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Participant {
    pub(super) username: String,
}

/// A post, a direct post or a reply.
#[derive(Debug, Deserialize)]
pub(super) struct Post {
    pub(super) team: Option<String>,
    pub(super) channel: Option<String>,
    pub(super) channel_members: Option<Vec<String>>,
    pub(super) user: String,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) message: Option<String>,
    pub(super) create_at: Option<u64>,
    pub(super) edit_at: Option<u64>,
    pub(super) reactions: Option<Vec<Reaction>>,
    pub(super) replies: Option<Vec<Post>>,
    pub(super) attachments: Option<Vec<Attachment>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Reaction {
    pub(super) user: String,
    pub(super) emoji_name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Attachment {
    pub(super) path: Option<String>,
}
