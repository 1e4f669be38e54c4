//! The form of the lines of the log, as settings name it.

use serde::Deserialize;

/// Form of the lines of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object of JSON for each line, for programs.
    Json,
}

impl LogFormat {
    /// All forms.
    pub const ALL: [Self; 2] = [Self::Text, Self::Json];

    /// Returns the word for it in settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}
