//! The records of Slack's files, as far as they are read.
//!
//! Every field may be missing, and other fields may be there: the form has grown for ten years.

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
pub(super) struct User {
    pub(super) id: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) real_name: Option<String>,
    #[serde(default)]
    pub(super) deleted: bool,
    #[serde(default)]
    pub(super) is_bot: bool,
    #[serde(default)]
    pub(super) is_admin: bool,
    #[serde(default)]
    pub(super) is_owner: bool,
    #[serde(default)]
    pub(super) profile: Option<Profile>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Profile {
    #[serde(default)]
    pub(super) display_name: Option<String>,
    #[serde(default)]
    pub(super) real_name: Option<String>,
    #[serde(default)]
    pub(super) bot_id: Option<String>,
}

impl User {
    /// Returns what people see of it.
    pub(super) fn shown(&self) -> String {
        let profile = self.profile.as_ref();
        let names = [
            profile.and_then(|profile| profile.display_name.as_ref()),
            profile.and_then(|profile| profile.real_name.as_ref()),
            self.real_name.as_ref(),
        ];
        let mut names = names.into_iter().flatten();
        let shown = names.find(|name| !name.trim().is_empty());
        shown.cloned().unwrap_or_default()
    }
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Channel {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: Option<String>,
    /// Seconds since 1970.
    #[serde(default)]
    pub(super) created: Option<u64>,
    #[serde(default)]
    pub(super) creator: Option<String>,
    #[serde(default)]
    pub(super) members: Vec<String>,
    #[serde(default)]
    pub(super) topic: Option<About>,
    #[serde(default)]
    pub(super) purpose: Option<About>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct About {
    #[serde(default)]
    pub(super) value: Option<String>,
}

impl Channel {
    pub(super) fn created_ms(&self) -> Option<u64> {
        let seconds = self.created.filter(|seconds| *seconds > 0);
        seconds.map(|seconds| seconds.saturating_mul(1000))
    }

    /// Returns its topic, else its purpose.
    pub(super) fn about(&self) -> String {
        let texts = [&self.topic, &self.purpose].into_iter().flatten();
        let mut texts = texts.filter_map(|about| about.value.as_ref());
        let found = texts.find(|text| !text.trim().is_empty());
        found.cloned().unwrap_or_default()
    }
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Message {
    #[serde(default)]
    pub(super) subtype: Option<String>,
    #[serde(default)]
    pub(super) user: Option<String>,
    #[serde(default)]
    pub(super) bot_id: Option<String>,
    #[serde(default)]
    pub(super) username: Option<String>,
    #[serde(default)]
    pub(super) bot_profile: Option<BotProfile>,
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) ts: Option<String>,
    #[serde(default)]
    pub(super) thread_ts: Option<String>,
    #[serde(default)]
    pub(super) edited: Option<Edited>,
    #[serde(default)]
    pub(super) reactions: Vec<Reaction>,
    #[serde(default)]
    pub(super) files: Vec<File>,
    #[serde(default)]
    pub(super) file: Option<File>,
    #[serde(default)]
    pub(super) attachments: Vec<Attachment>,
    #[serde(default)]
    pub(super) comment: Option<Comment>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct BotProfile {
    #[serde(default)]
    pub(super) name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Edited {
    #[serde(default)]
    pub(super) ts: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Reaction {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) users: Vec<String>,
    #[serde(default)]
    pub(super) count: u64,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct File {
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) title: Option<String>,
    #[serde(default)]
    pub(super) permalink: Option<String>,
    #[serde(default)]
    pub(super) url_private: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Attachment {
    #[serde(default)]
    pub(super) pretext: Option<String>,
    #[serde(default)]
    pub(super) title: Option<String>,
    #[serde(default)]
    pub(super) title_link: Option<String>,
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) fallback: Option<String>,
    #[serde(default)]
    pub(super) fields: Vec<Field>,
    /// The page of which it is a preview.
    #[serde(default)]
    pub(super) from_url: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Field {
    #[serde(default)]
    pub(super) title: Option<String>,
    #[serde(default)]
    pub(super) value: Option<serde_json::Value>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Comment {
    #[serde(default)]
    pub(super) user: Option<String>,
    #[serde(default)]
    pub(super) comment: Option<String>,
}

/// A time of Slack, which is also the name of a message in its channel: seconds and microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time {
    /// The whole of it.
    pub(super) micros: u64,
}

impl Time {
    /// Reads `1355517523.000005`.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if seconds.is_empty() || fraction.len() > 6 || !is_number(seconds) || !is_number(fraction) {
            return None;
        }
        let seconds: u64 = seconds.parse().ok()?;
        let fraction: u64 = format!("{fraction:0<6}").parse().ok()?;
        let micros = seconds.checked_mul(1_000_000)?.checked_add(fraction)?;
        Some(Self { micros })
    }

    pub(super) fn ms(self) -> u64 {
        self.micros / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_seconds_and_microseconds() {
        for (text, micros) in [
            ("1355517523.000005", Some(1_355_517_523_000_005)),
            ("1355517523.5", Some(1_355_517_523_500_000)),
            ("1355517523", Some(1_355_517_523_000_000)),
            ("0.000001", Some(1)),
            ("", None),
            (".5", None),
            ("-1.0", None),
            ("1.0000001", None),
            ("1e9", None),
            ("99999999999999999999.0", None),
            ("18446744073709.551616", None),
        ] {
            let read = Time::read(text).map(|time| time.micros);
            assert_eq!(read, micros, "{text}");
        }
    }
}
