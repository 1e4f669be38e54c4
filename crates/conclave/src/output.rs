//! Data for stdout: tables for people, tab-separated columns and JSON lines for programs.
//!
//! Always true: no control character of a message or a name reaches the terminal, so nobody can
//! send an escape sequence; a message is one line.

use std::io::{self, IsTerminal as _, Write as _};

use conclave_client::v1;
use conclave_core::text::is_unseen;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};

/// In which form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people; tab-separated columns if stdout is no terminal
    #[default]
    Table,
    /// For programs
    Json,
}

/// Writes one line.
///
/// # Errors
/// If stdout is closed or full.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// Whether a person looks at stdout, and not a program.
pub(crate) fn is_for_people() -> bool {
    io::stdout().is_terminal()
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

/// The same, not written yet.
pub(crate) fn table_lines(header: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    if !io::stdout().is_terminal() {
        return rows.iter().map(|row| row.join("\t")).collect();
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header.iter().map(|title| title.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    let lines = table.lines();
    lines.map(|row| row.trim_end().to_owned()).collect()
}

/// One message as one line.
pub(crate) fn message_line(message: &v1::Message, zone: &TimeZone) -> String {
    let sender = person(&message.sender_name);
    let text = match (message.deleted, message.action) {
        (true, _) => "(deleted)".to_owned(),
        (false, true) => format!("* {sender} {}", clean(&message.text)),
        (false, false) => clean(&message.text),
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
        place(&message.room_name, &message.recipient_name),
        message.conversation_id,
        message.sequence,
        reactions.collect::<String>(),
    )
}

/// A room, or the person of a direct conversation.
pub(crate) fn place(room_name: &str, person_name: &str) -> String {
    if room_name.is_empty() {
        person(person_name)
    } else {
        format!("#{}", clean(room_name))
    }
}

/// One message for programs.
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

/// A name, or what to show where its account is gone.
pub(crate) fn person(name: &str) -> String {
    if name.is_empty() {
        "(deleted account)".to_owned()
    } else {
        clean(name)
    }
}

/// Log time as people of this zone read it.
pub(crate) fn local_time(ms: u64, zone: &TimeZone) -> String {
    let time = i64::try_from(ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok());
    match time {
        Some(time) => {
            let local = time.to_zoned(zone.clone());
            local.strftime("%Y-%m-%d %H:%M:%S").to_string()
        }
        None => "?".to_owned(),
    }
}

/// Text that is safe to show on one line: line breaks and tabs become spaces; everything else that
/// steers a terminal, reorders a line or cannot be seen is left out. Joiners stay between
/// characters of scripts that need them.
pub(crate) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let joins = matches!(character, '\u{200c}' | '\u{200d}')
            && clean
                .chars()
                .next_back()
                .is_some_and(|before| !before.is_ascii())
            && characters
                .peek()
                .is_some_and(|next| !next.is_ascii() && !is_unseen(*next));
        match character {
            '\n' | '\t' | '\u{2028}' | '\u{2029}' => clean.push(' '),
            unseen if is_unseen(unseen) && !joins => {}
            shown => clean.push(shown),
        }
    }
    clean
}

/// The same for text of several lines, which stay.
pub(crate) fn clean_lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(clean).collect();
    lines.join("\n")
}

/// JSON in which also the controls that JSON would allow are escaped. They can only stand in
/// strings.
pub(crate) fn json_text(value: &Value) -> String {
    let mut text = String::new();
    for character in value.to_string().chars() {
        if is_unseen(character) {
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
    fn a_message_is_one_line() {
        assert_eq!(
            message_line(&message("two\nlines"), &TimeZone::UTC),
            "[2023-11-14 22:13:20] alice → bob  3.17  two lines"
        );
        let deleted = v1::Message {
            deleted: true,
            sender_name: String::new(),
            ..message("")
        };
        let shown = message_line(&deleted, &TimeZone::UTC);
        assert!(shown.ends_with("(deleted account) → bob  3.17  (deleted)"));
    }

    #[test]
    fn nothing_that_steers_a_terminal_is_shown() {
        let cases = [
            ("\x1b[2Jgone", "[2Jgone"),
            ("a\rb\x07\x08\x7f", "ab"),
            ("\u{9b}31mred", "31mred"),
            ("tab\there", "tab here"),
            ("\u{202e}txt.exe", "txt.exe"),
            ("naïve 漢字 🎉", "naïve 漢字 🎉"),
            ("ad\u{200b}m\u{feff}i\u{ad}n\u{200d}", "admin"),
            ("hi\u{e0041}\u{e007f}", "hi"),
            (
                "👩\u{200d}💻 می\u{200c}خواهم",
                "👩\u{200d}💻 می\u{200c}خواهم",
            ),
        ];
        for (text, shown) in cases {
            assert_eq!(clean(text), shown, "{text:?}");
        }
    }

    #[test]
    fn json_is_one_line_without_controls_and_means_the_same() {
        let value = message_json(&message("a\n\u{9b}31m\x7f\u{202e}\u{e0041}\"é"));
        let text = json_text(&value);
        assert!(!text.chars().any(is_unseen), "{text:?}");
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read, value);
    }

    #[test]
    fn a_time_beyond_the_calendar_is_no_panic() {
        assert_eq!(local_time(u64::MAX, &TimeZone::UTC), "?");
    }
}
