//! `conclave cluster retention`: how long messages are kept, and how many; and the words for it
//! that `conclave room retention` shares.

use std::{process::ExitCode, time::Duration};

use conclave_client::{Freshness, v1};
use jiff::{Span, SpanRelativeTo};
use serde_json::{Value, json};

use crate::{
    connection::Connection,
    output::{self, Format},
};

/// How a setting is written, for errors.
const FORMS: &str = "write age=90d, messages=10000 or total=5000000 (each also =forever), or \
    rooms=shorter or rooms=longer";

/// Arguments of `cluster retention`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to set: age=90d, messages=10000 (of each conversation) or total=5000000 (of all of them
    /// together), each also =forever; rooms=shorter or rooms=longer. Without arguments all of it is
    /// shown
    #[arg(value_name = "NAME=VALUE", value_parser = setting)]
    set: Vec<Setting>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// One argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    Age(u64),
    Messages(u64),
    Total(u64),
    RoomsMayExceed(bool),
}

fn setting(text: &str) -> Result<Setting, String> {
    let (name, value) = text.split_once('=').ok_or_else(|| FORMS.to_owned())?;
    Ok(match (name, value) {
        ("age", value) => Setting::Age(age(value)?),
        ("messages", value) => Setting::Messages(number(value)?),
        ("total", value) => Setting::Total(number(value)?),
        ("rooms", "shorter") => Setting::RoomsMayExceed(false),
        ("rooms", "longer") => Setting::RoomsMayExceed(true),
        _ => return Err(FORMS.to_owned()),
    })
}

/// Reads an age; returns milliseconds, 0 for `forever`.
///
/// # Errors
/// The sentence for people.
pub(crate) fn age(text: &str) -> Result<u64, String> {
    let wrong = || "an age is written as 90d, 36h or forever".to_owned();
    if text == "forever" {
        return Ok(0);
    }
    let span: Span = text.parse().map_err(|_| wrong())?;
    let exact = span.to_duration(SpanRelativeTo::days_are_24_hours());
    let age = exact.ok().and_then(|exact| Duration::try_from(exact).ok());
    let age = age.filter(|age| !age.is_zero()).ok_or_else(wrong)?;
    u64::try_from(age.as_millis()).map_err(|_| wrong())
}

/// Reads a number of messages; 0 for `forever`.
///
/// # Errors
/// The sentence for people.
pub(crate) fn number(text: &str) -> Result<u64, String> {
    match (text, text.parse()) {
        ("forever", _) => Ok(0),
        (_, Ok(number)) if number > 0 => Ok(number),
        _ => Err("a number of messages is 1 or more, or forever".to_owned()),
    }
}

/// Sets what is named, and shows all of it.
///
/// # Errors
/// If the caller is no operator, a value is refused, or there is no quorum.
pub(super) async fn run(args: Args, connection: &Connection) -> anyhow::Result<ExitCode> {
    let mut change = v1::ChangeRetentionRequest::default();
    for setting in &args.set {
        match setting {
            Setting::Age(age_ms) => change.age_ms = Some(*age_ms),
            Setting::Messages(messages) => change.messages = Some(*messages),
            Setting::Total(messages) => change.total_messages = Some(*messages),
            Setting::RoomsMayExceed(may) => change.rooms_may_exceed = Some(*may),
        }
    }
    let kept = if args.set.is_empty() {
        let client = connection.connect_as_operator_if_any().await?.client;
        match client.is_operator() {
            true => client.change_retention(change).await?,
            false => client.retention(Freshness::Linearizable).await?,
        }
    } else {
        let client = connection.connect_as_operator().await?.client;
        client.change_retention(change).await?
    };
    match args.output {
        Format::Json => output::json_line(&shown(&kept))?,
        Format::Table => {
            for line in lines(&kept) {
                output::line(&line)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(kept: &v1::ClusterRetention) -> Value {
    let each = kept.each.unwrap_or_default();
    json!({
        "age_ms": each.age_ms,
        "messages": each.messages,
        "total": kept.total_messages,
        "rooms": if kept.rooms_may_exceed { "longer" } else { "shorter" },
    })
}

fn lines(kept: &v1::ClusterRetention) -> [String; 4] {
    let each = kept.each.unwrap_or_default();
    let rooms = match kept.rooms_may_exceed {
        false => "may keep less than that, not more",
        true => "may keep less or more than that",
    };
    [
        format!("{:<10}{}", "age", age_shown(each.age_ms)),
        format!(
            "{:<10}{}",
            "messages",
            number_shown(each.messages, "of each conversation")
        ),
        format!(
            "{:<10}{}",
            "total",
            number_shown(kept.total_messages, "of all conversations together")
        ),
        format!("{:<10}{rooms}", "rooms"),
    ]
}

fn number_shown(messages: u64, of: &str) -> String {
    match messages {
        0 => "forever".to_owned(),
        messages => format!("the newest {messages} {of}"),
    }
}

/// Returns an age in words.
pub(crate) fn age_shown(age_ms: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (24 * 60 * 60 * 1000, "d"),
        (60 * 60 * 1000, "h"),
        (60 * 1000, "m"),
        (1000, "s"),
    ];
    if age_ms == 0 {
        return "forever".to_owned();
    }
    let unit = UNITS.iter().find(|(ms, _)| age_ms.is_multiple_of(*ms));
    match unit {
        Some((ms, unit)) => format!("{}{unit}", age_ms / ms),
        None => format!("{age_ms}ms"),
    }
}

/// Returns in words what a room keeps.
pub(crate) fn kept_shown(kept: v1::Retention) -> String {
    match (kept.age_ms, kept.messages) {
        (0, 0) => "forever".to_owned(),
        (age_ms, 0) => age_shown(age_ms),
        (0, messages) => format!("{messages} messages"),
        (age_ms, messages) => format!("{}, {messages} messages", age_shown(age_ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_numbers_are_read_and_shown_alike() {
        for (text, age_ms) in [
            ("90d", 90 * 24 * 60 * 60 * 1000),
            ("36h", 36 * 60 * 60 * 1000),
            ("1m", 60_000),
            ("forever", 0),
        ] {
            assert_eq!(age(text), Ok(age_ms), "{text}");
            assert_eq!(age_shown(age_ms), text);
        }
        for text in ["", "0d", "-1d", "soon", "90", "1 fortnight"] {
            assert!(age(text).is_err(), "{text}");
        }
        assert_eq!((number("7"), number("forever")), (Ok(7), Ok(0)));
        for text in ["", "0", "-1", "many", "1.5"] {
            assert!(number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn settings_are_told_apart() {
        assert_eq!(setting("messages=7"), Ok(Setting::Messages(7)));
        assert_eq!(setting("total=forever"), Ok(Setting::Total(0)));
        assert_eq!(setting("rooms=longer"), Ok(Setting::RoomsMayExceed(true)));
        for text in ["age", "rooms=both", "bytes=7", "=7"] {
            assert_eq!(setting(text), Err(FORMS.to_owned()), "{text}");
        }
    }
}
