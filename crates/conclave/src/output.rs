//! Writes data to stdout: tables for people, tab-separated columns and JSON lines for programs.
//!
//! Always true: no control character of a message or a name reaches the terminal, so no sender can
//! smuggle in an escape sequence; a message is one line.

use std::io::{self, IsTerminal as _, Write as _};

use conclave_client::v1;
use conclave_text::is_hidden;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};

use crate::{
    errors::{CommandError, EXIT_FAILED, note},
    names::DELETED_ACCOUNT,
    zone,
};

/// Form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people; tab-separated columns if stdout is not a terminal
    #[default]
    Table,
    /// For programs
    Json,
}

/// Writes one line. The text from outside is already clean where lines are made; this makes sure.
/// Tabs stay, because they separate columns, and so do sequences that only set colours and weights.
///
/// # Errors
/// If stdout is closed or full.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(harmless(text).as_bytes())?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// Returns whether stdout is a terminal for a person, and not a program.
pub(crate) fn is_for_people() -> bool {
    io::stdout().is_terminal()
}

/// Returns whether stdout may get colours and weights: a terminal that knows them, unless the user
/// has set `NO_COLOR`.
pub(crate) fn is_styled() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    is_for_people() && set("NO_COLOR").is_none() && set("TERM").is_some_and(|term| term != "dumb")
}

fn harmless(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\x1b[") {
        let (before, sequence) = rest.split_at(at);
        let style = sequence[2..].trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        harmless.push_str(&without_hidden(before));
        match style.strip_prefix('m') {
            Some(after) => {
                harmless.push_str(&sequence[..sequence.len() - after.len()]);
                rest = after;
            }
            None => rest = &sequence[1..],
        }
    }
    harmless.push_str(&without_hidden(rest));
    harmless
}

fn without_hidden(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let is_break = |c: char| matches!(c, '\n' | '\t');
    for piece in text.split_inclusive(is_break) {
        let (cell, end) = match piece.strip_suffix(is_break) {
            Some(cell) => (cell, &piece[cell.len()..]),
            None => (piece, ""),
        };
        kept.push_str(&clean(cell));
        kept.push_str(end);
    }
    kept
}

/// Cuts a list that was requested with one row more than its limit, and says so if there are more.
pub(crate) fn cut<T>(rows: &mut Vec<T>, limit: u32) {
    let limit = limit as usize;
    if rows.len() > limit {
        rows.truncate(limit);
        note(&format!(
            "only the first {limit} are shown: --limit {} for more",
            limit.max(1) * 2
        ));
    }
}

/// Writes a secret that is shown once. If that fails, takes back what was made for it: a secret
/// that was never shown would stay valid.
///
/// # Errors
/// If stdout is closed or full.
pub(crate) async fn secret_line<T, E>(
    text: &str,
    take_back: impl Future<Output = Result<T, E>>,
) -> Result<(), CommandError> {
    let Err(error) = line(text) else {
        return Ok(());
    };
    let end = match take_back.await {
        Ok(_) => "it was revoked again",
        Err(_) => "it is still valid: list it and revoke it",
    };
    Err(CommandError::new(
        EXIT_FAILED,
        format!("stdout: cannot write the secret that is shown once: {error}; {end}"),
        "give stdout a place that can be written, and run the command again",
    ))
}

/// Writes one value as one line.
///
/// # Errors
/// If stdout is closed or full.
pub(crate) fn json_line(value: &Value) -> io::Result<()> {
    line(&json_text(value))
}

/// Writes rows: aligned and with a header on a terminal, else tab-separated and without.
///
/// # Errors
/// If stdout is closed or full.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    table_lines(header, rows)
        .iter()
        .try_for_each(|row| line(row))
}

/// Formats rows as [`table`] writes them, one line each.
pub(crate) fn table_lines(header: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    if !is_for_people() {
        let row = |row: &Vec<String>| row.iter().map(|cell| clean(cell)).collect::<Vec<_>>();
        return rows.iter().map(|cells| row(cells).join("\t")).collect();
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header.iter().map(|title| title.to_uppercase()));
    for row in rows {
        table.add_row(row.iter().map(|cell| clean(cell)));
    }
    let lines = table.lines();
    lines.map(|row| row.trim_end().to_owned()).collect()
}

/// Formats a message as one line.
pub(crate) fn message_line(message: &v1::Message, zone: &TimeZone) -> String {
    line_of(message, &clean(&message.text), zone)
}

/// Formats a message that a search found as one line, with the matched words in bold if
/// `is_marked`; of a long text it shows the part around them.
pub(crate) fn found_line(
    message: &v1::Message,
    hit: Option<&v1::SearchHit>,
    zone: &TimeZone,
    is_marked: bool,
) -> String {
    let Some(hit) = hit else {
        return message_line(message, zone);
    };
    let part = |part: &v1::SnippetPart| {
        let text = clean(&part.text);
        if part.is_match && is_marked {
            format!("\x1b[1m{text}\x1b[0m")
        } else {
            text
        }
    };
    let text: String = hit.snippet.iter().map(part).collect();
    line_of(message, &text, zone)
}

/// Formats a message with this text, which holds no foreign control characters, as one line.
fn line_of(message: &v1::Message, text: &str, zone: &TimeZone) -> String {
    let sender = match message.room_name.is_empty() {
        true => peer(&message.sender_name, message.conversation_id),
        false => person(&message.sender_name),
    };
    let text = match (message.deleted, message.action) {
        (true, _) => "(deleted)".to_owned(),
        (false, true) => format!("* {sender} {text}"),
        (false, false) => text.to_owned(),
    };
    let answered = match message.reply_to {
        0 => String::new(),
        sequence => format!("(to {}.{sequence}) ", message.conversation_id),
    };
    let edited = if message.edited_at_ms > 0 && !message.deleted {
        " (edited)"
    } else {
        ""
    };
    let reactions = message.reactions.iter().map(|reaction| {
        let count = reaction.count;
        format!(" [{} {count}]", clean(&reaction.reaction))
    });
    format!(
        "[{}] {sender} → {}  {}.{}  {answered}{text}{edited}{}",
        local_time(message.sent_at_ms, zone),
        place(
            &message.room_name,
            &message.recipient_name,
            message.conversation_id
        ),
        message.conversation_id,
        message.sequence,
        reactions.collect::<String>(),
    )
}

/// Formats the name of a room, or of the other account in a direct conversation with this number.
pub(crate) fn place(room_name: &str, person_name: &str, conversation: u64) -> String {
    if room_name.is_empty() {
        peer(person_name, conversation)
    } else {
        format!("#{}", clean(room_name))
    }
}

/// Formats a message for programs.
pub(crate) fn message_json(message: &v1::Message) -> Value {
    let delivery = match message.delivery() {
        v1::Delivery::Unspecified => Value::Null,
        v1::Delivery::Queued => "queued".into(),
        v1::Delivery::Delivered => "delivered".into(),
        v1::Delivery::Read => "read".into(),
    };
    let reaction = |reaction: &v1::Reaction| {
        json!({
            "reaction": reaction.reaction,
            "count": reaction.count,
            "mine": reaction.mine,
        })
    };
    json!({
        "id": format!("{}.{}", message.conversation_id, message.sequence),
        "conversation": message.conversation_id,
        "sequence": message.sequence,
        "position": message.position,
        "from": message.sender_name,
        "to": message.recipient_name,
        "room": message.room_name,
        "sent_at_ms": message.sent_at_ms,
        "edited_at_ms": message.edited_at_ms,
        "text": message.text,
        "action": message.action,
        "reply_to": message.reply_to,
        "deleted": message.deleted,
        "delivery": delivery,
        "mentioned_ids": message.mentioned_ids,
        "reactions": message.reactions.iter().map(reaction).collect::<Vec<_>>(),
    })
}

/// Formats the other account in a direct conversation; without a name, the form that `--with` takes
/// instead.
fn peer(name: &str, conversation: u64) -> String {
    if name.is_empty() {
        format!("{DELETED_ACCOUNT}{conversation}")
    } else {
        clean(name)
    }
}

/// Formats the name of an account, or a placeholder if the account was deleted.
pub(crate) fn person(name: &str) -> String {
    if name.is_empty() {
        "(deleted account)".to_owned()
    } else {
        clean(name)
    }
}

/// Formats log time as local time of this zone; with a `Z` if it is UTC.
pub(crate) fn local_time(ms: u64, zone: &TimeZone) -> String {
    let time = i64::try_from(ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok());
    match time {
        Some(time) => {
            let local = time.to_zoned(zone.clone());
            let mark = if zone::is_utc(zone) { "Z" } else { "" };
            format!("{}{mark}", local.strftime("%Y-%m-%d %H:%M:%S"))
        }
        None => "?".to_owned(),
    }
}

/// Makes text safe to show on one line.
pub(crate) fn clean(text: &str) -> String {
    conclave_text::shown(text)
}

/// Formats JSON in which also the control characters that JSON would allow are escaped. They can
/// only stand in strings.
pub(crate) fn json_text(value: &Value) -> String {
    let mut text = String::new();
    for character in value.to_string().chars() {
        if is_hidden(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(text: &str) -> v1::Message {
        v1::Message {
            conversation_id: 3,
            sequence: 17,
            sender_name: "alice".to_owned(),
            recipient_name: "bob".to_owned(),
            sent_at_ms: 1_700_000_000_000,
            text: text.to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn a_message_is_printed_on_one_line() {
        assert_eq!(
            message_line(&message("two\nlines"), &TimeZone::UTC),
            "[2023-11-14 22:13:20Z] alice → bob  3.17  two lines"
        );
        let deleted = v1::Message {
            deleted: true,
            sender_name: String::new(),
            ..message("")
        };
        let shown = message_line(&deleted, &TimeZone::UTC);
        assert!(shown.ends_with("deleted account #3 → bob  3.17  (deleted)"));
    }

    #[test]
    fn terminal_control_characters_are_never_written() {
        assert_eq!(harmless("a\tb\x1b[2J\u{202e}\nc\u{200b}"), "a\tb[2J\nc");
        assert_eq!(harmless("a \x1b[1mb\x1b[0m c"), "a \x1b[1mb\x1b[0m c");
        assert_eq!(harmless("\x1b[1\x1b[é\x1b["), "[1[é[");
        let cells = [vec!["\x1b]0;x\x07".to_owned(), "a\tb\nc".to_owned()]];
        assert_eq!(table_lines(&["x", "y"], &cells), ["]0;x\ta b c"]);
        let hidden = v1::Message {
            reactions: vec![v1::Reaction {
                reaction: "\u{202e}x".to_owned(),
                count: 2,
                mine: false,
            }],
            room_name: "o\u{200b}ps".to_owned(),
            ..message("a\u{2066}b")
        };
        let shown = message_line(&hidden, &TimeZone::UTC);
        assert!(shown.ends_with("alice → #ops  3.17  ab [x 2]"), "{shown}");
    }

    proptest! {
        #[test]
        fn no_message_line_shows_hidden_characters(text in any::<String>(), name in "\\PC{0,9}") {
            let message = v1::Message {
                sender_name: name.clone(),
                room_name: name.clone(),
                reactions: vec![v1::Reaction { reaction: name, count: 1, mine: true }],
                ..message(&text)
            };
            let shown = message_line(&message, &TimeZone::UTC);
            prop_assert_eq!(&harmless(&shown), &shown);
            let alone = ['\u{200c}', '\u{200d}', '\u{fe0e}', '\u{fe0f}'];
            let is_bad = |c: char| is_hidden(c) && !alone.contains(&c) && !is_selector(c);
            prop_assert!(!shown.contains(is_bad), "{:?}", shown);
            let json = json_text(&message_json(&message));
            prop_assert!(!json.contains(is_hidden), "{:?}", json);
        }
    }

    /// Matches selectors of ideographs and of Mongolian letters, and the tags of flags.
    fn is_selector(character: char) -> bool {
        matches!(
            character,
            '\u{180b}'..='\u{180f}' | '\u{fe00}'..='\u{fe02}' | '\u{e0020}'..='\u{e01ef}'
        )
    }

    #[test]
    fn json_is_one_line_with_escaped_controls_and_round_trips() {
        let value = message_json(&message("a\n\u{9b}31m\x7f\u{202e}\u{e0041}\"é"));
        let text = json_text(&value);
        assert!(!text.chars().any(is_hidden), "{text:?}");
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read, value);
    }

    #[test]
    fn a_time_beyond_the_calendar_is_no_panic() {
        assert_eq!(local_time(u64::MAX, &TimeZone::UTC), "?");
        let tokyo = zone::named("Asia/Tokyo").unwrap();
        let shown = local_time(1_700_000_000_000, &tokyo);
        assert_eq!(shown, "2023-11-15 07:13:20");
    }
}
