//! `conclave search`: finds messages by their words.

use std::process::ExitCode;

use conclave_client::{Days, v1};
use conclave_words::query::{Day, days_in};
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};

use crate::{
    connection::Connection,
    errors::note,
    output::{self, Format},
};

/// Maximum number of messages on one page.
const PAGE_MAX: usize = 100;

/// Arguments of `search`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Words, "a phrase", word*, from:NAME, in:#ROOM, in:NAME, in:id:7, has:link, is:unread, on:,
    /// before: and after:YYYY-MM-DD; -word leaves out messages with that word: write it after --
    /// or in quotes, as in 'party -tonight'
    #[arg(required = true, value_name = "WORD")]
    query: Vec<String>,
    /// Maximum number of results
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

/// Shows the messages that are found, the newest first.
///
/// # Errors
/// If the query has no condition, there is no session or no node serves.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.connection.connect().await?.client;
    let query = args.query.join(" ");
    let zone = args.connection.zone();
    let days = days_of(&query, &zone);
    let is_marked = output::is_styled();
    let (mut shown, mut is_cut) = (0, false);
    let mut token = String::new();
    while !is_cut {
        // One message more than wanted shows whether there are more.
        let size = (args.limit - shown).saturating_add(1).min(PAGE_MAX);
        let page = client
            .search(&query, &days, u32::try_from(size)?, &token)
            .await?;
        for (at, message) in page.messages.iter().enumerate() {
            is_cut = shown == args.limit;
            if is_cut {
                break;
            }
            shown += 1;
            let hit = page.hits.get(at);
            match args.output {
                Format::Table => {
                    output::line(&output::found_line(message, hit, &zone, is_marked))?;
                }
                Format::Json => output::json_line(&found_json(message, hit))?,
            }
        }
        token = page.next_page_token;
        if token.is_empty() {
            if page.complete_to_position < page.applied_position {
                note("the newest messages are not indexed yet; search again in a moment");
            }
            break;
        }
    }
    if is_cut {
        note(&format!(
            "there are older results: --limit {} for more",
            args.limit.max(1).saturating_mul(2)
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Formats a message for programs, with the reason why it was found.
fn found_json(message: &v1::Message, hit: Option<&v1::SearchHit>) -> Value {
    let mut value = output::message_json(message);
    let part = |part: &v1::SnippetPart| json!({ "text": part.text, "match": part.is_match });
    let parts = hit.map(|hit| hit.snippet.iter().map(part).collect::<Vec<Value>>());
    value["snippet"] = parts.into();
    value
}

/// Returns the offset from UTC of each day in a query, in a zone.
fn days_of(query: &str, zone: &TimeZone) -> Days {
    let offset_of = |day: Day| {
        let begin = Timestamp::from_millisecond(day.begin_ms().try_into().ok()?).ok()?;
        let date = begin.to_zoned(TimeZone::UTC).date();
        let offset = date.to_zoned(zone.clone()).ok()?.offset();
        Some(v1::DayOffset {
            day: date.to_string(),
            utc_offset_minutes: offset.seconds() / 60,
        })
    };
    let offsets = days_in(query).into_iter().filter_map(offset_of);
    Days {
        utc_offset_minutes: 0,
        day_offsets: offsets.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_day_of_a_query_is_sent_with_its_utc_offset() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let days = days_of("x on:2026-03-29 before:2026-12-24", &zone);
        let offset = |day: &str, utc_offset_minutes| v1::DayOffset {
            day: day.to_owned(),
            utc_offset_minutes,
        };
        let offsets = [
            offset("2026-03-29", 60),
            offset("2026-03-30", 120),
            offset("2026-12-24", 60),
            offset("2026-12-25", 60),
        ];
        assert_eq!(days.day_offsets, offsets);
        assert_eq!(days_of("x before:soon", &zone), Days::default());
    }

    #[test]
    fn a_match_is_highlighted_only_on_a_terminal() {
        let message = v1::Message {
            text: "the red balloon".to_owned(),
            ..Default::default()
        };
        let part = |text: &str, is_match| v1::SnippetPart {
            text: text.to_owned(),
            is_match,
        };
        let hit = v1::SearchHit {
            snippet: vec![
                part("the ", false),
                part("r\x1bed", true),
                part(" x", false),
            ],
        };
        let line = |is_marked| output::found_line(&message, Some(&hit), &TimeZone::UTC, is_marked);
        assert!(line(true).contains("the \x1b[1mr"));
        assert_eq!(line(true).matches('\x1b').count(), 2);
        assert!(!line(false).contains('\x1b'));
        let json = found_json(&message, Some(&hit));
        assert_eq!(json["snippet"][1]["match"], true);
    }
}
