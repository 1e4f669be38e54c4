//! What `conclave demo` sets on the nodes that it starts: where its panel is, and a slow disk.
//!
//! Always true: a node outside of a demonstration takes none of this. It stands only in the file of
//! settings, and needs a panel on the loopback address and clients in plain text, which a node
//! serves only on loopback.

use axum::http::HeaderValue;
use serde::Deserialize;

use crate::protocol::origin::Origin;

/// Maximum time that a sync takes longer, in milliseconds: shorter than any wait for a node.
const SYNC_DELAY_MS_MAX: u64 = 5000;
/// Beginning of an origin on this machine.
const LOOPBACK: &str = "http://127.0.0.1:";

/// The table `demo` of the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Demo {
    /// Origin of the panel, to which the page may connect.
    pub panel: Option<String>,
    /// Time that each sync of the log takes longer, in milliseconds. Read again at SIGHUP.
    pub sync_delay_ms: u64,
}

impl Demo {
    /// Returns the origin of the panel, if the node takes part in a demonstration.
    ///
    /// # Errors
    /// Why the settings are none of a node in a demonstration.
    pub(crate) fn panel(&self, plain: bool) -> Result<Option<String>, &'static str> {
        let wrong = Err;
        if self.sync_delay_ms > SYNC_DELAY_MS_MAX {
            return wrong("`sync_delay_ms` is at most 5000");
        }
        let Some(panel) = &self.panel else {
            return match self.sync_delay_ms {
                0 => Ok(None),
                _ => wrong("`sync_delay_ms` needs a `panel`"),
            };
        };
        let header = HeaderValue::from_str(panel).ok();
        let is_origin = header.and_then(|header| Origin::parse(&header)).is_some();
        if !is_origin || !panel.starts_with(LOOPBACK) {
            return wrong("`panel` must read http://127.0.0.1:PORT");
        }
        if !plain {
            return wrong("a `panel` needs clients in plain text");
        }
        Ok(Some(panel.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demo(panel: Option<&str>, sync_delay_ms: u64) -> Demo {
        Demo {
            panel: panel.map(str::to_owned),
            sync_delay_ms,
        }
    }

    #[test]
    fn a_panel_is_on_loopback_and_in_plain_text() {
        let panel = "http://127.0.0.1:7777";
        let given = demo(Some(panel), 200).panel(true).unwrap();
        assert_eq!(given.as_deref(), Some(panel));
        assert_eq!(Demo::default().panel(false).unwrap(), None);
        for (panel, delay, plain) in [
            (Some("http://127.0.0.1:7777"), 0, false),
            (Some("https://127.0.0.1:7777"), 0, true),
            (Some("http://127.0.0.1.evil.example:80"), 0, true),
            (Some("http://127.0.0.1:7777/path"), 0, true),
            (Some("http://127.0.0.1:7777 http://evil.example"), 0, true),
            (Some("http://127.0.0.1:99999"), 0, true),
            (Some("http://10.0.0.1:7777"), 0, true),
            (Some("http://localhost:7777"), 0, true),
            (Some("*"), 0, true),
            (Some(""), 0, true),
            (Some("http://127.0.0.1:7777"), 5001, true),
            (None, 1, true),
        ] {
            assert!(demo(panel, delay).panel(plain).is_err(), "{panel:?}");
        }
    }
}
