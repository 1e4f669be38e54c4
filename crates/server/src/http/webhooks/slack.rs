//! Formats bodies in the form of Slack and Mattermost: `text`, `blocks`, `attachments`.
//!
//! Always true: a body that has none of these fields is no body of this kind. Markdown stays as it
//! is; only notation that people cannot read (`<https://…|label>`, `&amp;`) is replaced.

use serde_json::Value;

use super::text::{at, clean, first_of, join, link, list_at, text_at, url, word, word_at};

/// Maximum length of `<…>` that is read as a link or a mention, in bytes: the longest address and a
/// label.
const TOKEN_BYTES_MAX: usize = 3000;
/// Maximum number of attachments that are shown. Slack accepts at most 100.
const ATTACHMENTS_MAX: usize = 100;
/// Maximum depth of lists in rich text: Slack has 8 levels.
const INDENT_MAX: u64 = 8;

/// Returns the text of a body; `None` if it has none of the fields.
pub(super) fn text_of(body: &Value) -> Option<String> {
    let fields = ["text", "blocks", "attachments", "props"];
    if fields.iter().all(|field| body[field].is_null()) {
        return None;
    }
    let blocks = blocks_of(list_at(body, "blocks"));
    let main = match blocks.is_empty() {
        // The text replaces the blocks where there are none.
        true => marked(text_at(body, "text")),
        false => blocks,
    };
    let own = list_at(body, "attachments").iter();
    let attachments = own.chain(list_at(body, "props.attachments"));
    let mut parts = vec![main];
    parts.extend(attachments.take(ATTACHMENTS_MAX).map(attachment));
    Some(join(&parts, "\n"))
}

/// Formats an attachment: everything of it that is text or a link.
fn attachment(attachment: &Value) -> String {
    let labelled = |label: &str, address: &str| {
        let label = marked(text_at(attachment, label));
        link(&label, text_at(attachment, address))
    };
    let fields = list_at(attachment, "fields").iter().map(|field| {
        let title = marked(&word_at(field, "title"));
        let value = marked(&word_at(field, "value"));
        match (title.is_empty(), value.is_empty()) {
            (false, false) => format!("{title}: {value}"),
            _ => format!("{title}{value}"),
        }
    });
    let blocks = blocks_of(list_at(attachment, "blocks"));
    let mut parts = vec![
        marked(text_at(attachment, "pretext")),
        labelled("author_name", "author_link"),
        labelled("title", "title_link"),
        marked(text_at(attachment, "text")),
        blocks,
    ];
    parts.extend(fields);
    parts.extend(list_at(attachment, "actions").iter().map(element));
    parts.push(url(first_of(attachment, &["image_url", "thumb_url"])).to_owned());
    parts.push(marked(text_at(attachment, "footer")));
    let text = join(&parts, "\n");
    match text.is_empty() {
        // Text for clients that cannot show attachments.
        true => marked(text_at(attachment, "fallback")),
        false => text,
    }
}

/// Formats blocks, one below the other.
fn blocks_of(blocks: &[Value]) -> String {
    let parts: Vec<String> = blocks.iter().map(block).collect();
    join(&parts, "\n")
}

fn block(block: &Value) -> String {
    let elements = || list_at(block, "elements").iter();
    let joined = |between| {
        let parts: Vec<String> = elements().map(element).collect();
        join(&parts, between)
    };
    match text_at(block, "type") {
        "rich_text" => {
            let parts: Vec<String> = elements().map(rich).collect();
            join(&parts, "\n")
        }
        "context" => joined(" "),
        "actions" => joined("\n"),
        "image" => {
            let title = match element(&block["title"]) {
                title if title.is_empty() => clean(text_at(block, "alt_text")),
                title => title,
            };
            let address = first_of(block, &["image_url", "slack_file.url"]);
            link(&title, address)
        }
        "video" => link(
            &element(&block["title"]),
            first_of(block, &["title_url", "video_url"]),
        ),
        "table" => {
            let row = |row: &Value| {
                let cells: Vec<String> = row.as_array().into_iter().flatten().map(cell).collect();
                join(&cells, " | ")
            };
            let rows: Vec<String> = list_at(block, "rows").iter().map(row).collect();
            join(&rows, "\n")
        }
        // Sections, headers, Markdown, and future kinds.
        _ => {
            let mut parts = vec![
                match &block["text"] {
                    Value::String(text) => clean(text),
                    text => element(text),
                },
                element(&block["label"]),
            ];
            parts.extend(list_at(block, "fields").iter().map(element));
            parts.push(element(&block["accessory"]));
            join(&parts, "\n")
        }
    }
}

fn cell(cell: &Value) -> String {
    match text_at(cell, "type") {
        "rich_text" => block(cell),
        _ => clean(&word_at(cell, "text")),
    }
}

/// Formats a text of a block, a picture or a button.
fn element(element: &Value) -> String {
    match text_at(element, "type") {
        "mrkdwn" => marked(text_at(element, "text")),
        "image" => link(
            &clean(text_at(element, "alt_text")),
            text_at(element, "image_url"),
        ),
        "button" => {
            let label = match &element["text"] {
                Value::String(text) => clean(text),
                text => clean(text_at(text, "text")),
            };
            // A button that only another program could answer has no link.
            match url(text_at(element, "url")) {
                "" => String::new(),
                address => link(&label, address),
            }
        }
        _ => clean(text_at(element, "text")),
    }
}

/// Formats a part of rich text.
fn rich(part: &Value) -> String {
    let inside = || list_at(part, "elements").iter();
    let line = || inside().map(leaf).collect::<String>();
    match text_at(part, "type") {
        "rich_text_list" => {
            let indent = at(part, "indent").as_u64().unwrap_or(0).min(INDENT_MAX);
            let indent = "  ".repeat(usize::try_from(indent).unwrap_or(0));
            let is_ordered = text_at(part, "style") == "ordered";
            let offset = at(part, "offset").as_u64().unwrap_or(0);
            let items = (1_u64..).zip(inside()).map(|(number, item)| {
                let text: String = list_at(item, "elements").iter().map(leaf).collect();
                match is_ordered {
                    true => format!("{indent}{}. {text}", offset.saturating_add(number)),
                    false => format!("{indent}• {text}"),
                }
            });
            join(&items.collect::<Vec<_>>(), "\n")
        }
        "rich_text_preformatted" => format!("```\n{}\n```", line().trim_end()),
        "rich_text_quote" => {
            let quoted = line();
            let lines: Vec<String> = quoted.lines().map(|line| format!("> {line}")).collect();
            lines.join("\n")
        }
        _ => line(),
    }
}

/// Formats a piece of a line.
fn leaf(leaf: &Value) -> String {
    let text = clean(text_at(leaf, "text"));
    let text = match at(leaf, "style.code").as_bool() {
        Some(true) if !text.is_empty() => format!("`{text}`"),
        _ => text,
    };
    match text_at(leaf, "type") {
        "link" => link(&text, text_at(leaf, "url")),
        "emoji" => match emoji(text_at(leaf, "unicode")) {
            Some(emoji) => emoji,
            None => format!(":{}:", clean(text_at(leaf, "name"))),
        },
        "user" => format!("@{}", clean(text_at(leaf, "user_id"))),
        "usergroup" => format!("@{}", clean(text_at(leaf, "usergroup_id"))),
        "channel" => format!("#{}", clean(text_at(leaf, "channel_id"))),
        "broadcast" => format!("@{}", clean(text_at(leaf, "range"))),
        "date" => match clean(text_at(leaf, "fallback")) {
            fallback if fallback.is_empty() => word(at(leaf, "timestamp")),
            fallback => fallback,
        },
        "color" => clean(text_at(leaf, "value")),
        _ => text,
    }
}

/// Returns an emoji by its numbers: `1f44b-1f3fb`.
fn emoji(numbers: &str) -> Option<String> {
    let one = |number| char::from_u32(u32::from_str_radix(number, 16).ok()?);
    let emoji: Option<String> = numbers.split('-').map(one).collect();
    emoji.filter(|emoji| !emoji.chars().any(char::is_control))
}

/// Converts a text in the notation of Slack: links and mentions in `<…>`, and three characters
/// escaped as in HTML. If one of the three stands there unescaped, the text is not from Slack, and
/// they stay.
pub(super) fn marked(text: &str) -> String {
    let text = clean(text);
    let mut pieces = Vec::new();
    let mut rest = text.as_str();
    let mut start = 0;
    while let Some(found) = rest[start..].find('<') {
        let open = start + found;
        let inside = &rest[open + 1..];
        let end = inside.find(['<', '>', '\n']);
        let end = end.filter(|end| *end <= TOKEN_BYTES_MAX && inside[*end..].starts_with('>'));
        match end.and_then(|end| Some((end, token(&inside[..end])?))) {
            Some((end, shown)) => {
                pieces.push((rest[..open].to_owned(), Some(shown)));
                rest = &inside[end + 1..];
                start = 0;
            }
            None => start = open + 1,
        }
    }
    pieces.push((rest.to_owned(), None));
    let is_escaped = pieces.iter().all(|(plain, _)| is_escaped(plain));
    let shown = pieces.into_iter().flat_map(|(plain, token)| {
        let plain = match is_escaped {
            true => unescaped(&plain),
            false => plain,
        };
        [plain, token.unwrap_or_default()]
    });
    shown.collect()
}

/// Converts the content of `<…>`, if it is Slack's notation.
fn token(inside: &str) -> Option<String> {
    let (target, label) = match inside.split_once('|') {
        Some((target, label)) => (target, Some(unescaped(label))),
        None => (inside, None),
    };
    let name = |sign: char, rest: &str| {
        let is_one = !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric());
        let label = label.as_deref().map(|label| label.trim_start_matches(sign));
        is_one.then(|| format!("{sign}{}", label.unwrap_or(rest)))
    };
    match target.chars().next()? {
        '@' => name('@', &target[1..]),
        '#' => name('#', &target[1..]),
        '!' => special(&target[1..], label),
        _ => {
            let target = unescaped(target);
            let address = url(&target);
            if address.is_empty() {
                return None;
            }
            let bare = address.strip_prefix("mailto:").unwrap_or(address);
            Some(match label {
                Some(label) if label.trim() != bare => link(label.trim(), address),
                _ => bare.to_owned(),
            })
        }
    }
}

fn special(what: &str, label: Option<String>) -> Option<String> {
    let (kind, rest) = what.split_once('^').unwrap_or((what, ""));
    match kind {
        "here" | "channel" | "everyone" => Some(format!("@{kind}")),
        "subteam" => Some(label.unwrap_or_else(|| format!("@{rest}"))),
        "date" => label.or_else(|| rest.split('^').next().map(str::to_owned)),
        _ => label,
    }
}

/// Returns whether `&`, `<` and `>` stand there only in the way that Slack escapes them.
fn is_escaped(text: &str) -> bool {
    let names = ["amp;", "lt;", "gt;"];
    let is_name = |rest: &str| names.iter().any(|name| rest.starts_with(name));
    !text.contains(['<', '>']) && text.split('&').skip(1).all(is_name)
}

fn unescaped(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">");
    text.replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn links_and_mentions_of_slack_can_be_read() {
        let cases = [
            ("<https://x.example>", "https://x.example"),
            (
                "see <https://x.example/?a=1&amp;b|the log>!",
                "see the log (https://x.example/?a=1&b)!",
            ),
            ("<mailto:a@x.example|a@x.example>", "a@x.example"),
            ("<mailto:a@x.example|Anna>", "Anna (mailto:a@x.example)"),
            ("<@U024BE7LH> and <@W1|bob>", "@U024BE7LH and @bob"),
            ("<#C1|ops> <#C2>", "#ops #C2"),
            ("<!here> <!channel|channel>", "@here @channel"),
            ("<!subteam^S1|@oncall> <!subteam^S2>", "@oncall @S2"),
            ("<!date^1392734382^{date}|Feb 18>", "Feb 18"),
            ("1 &lt; 2 &amp;&amp; 3 &gt; 2", "1 < 2 && 3 > 2"),
            ("&amp;lt;", "&lt;"),
        ];
        for (sent, shown) in cases {
            assert_eq!(marked(sent), shown, "{sent}");
        }
    }

    #[test]
    fn text_without_slack_markup_stays_unchanged() {
        let cases = [
            "Vec<String> & Map<K, V>",
            "a < b and b > c &amp; d",
            "write &amp; as & in HTML",
            "<no link> <javascript:alert(1)|x>",
            "[label](https://x.example) **bold** _it_",
            "<",
            "<<>>",
            "<@>",
            "if (a<b) {\n  c->d;\n}",
            "<https://x.example\n|a>",
        ];
        for text in cases {
            assert_eq!(marked(text), text);
        }
        assert_eq!(marked("<a <https://x.example> b"), "<a https://x.example b");
        let long = format!("<https://x.example/{}>", "x".repeat(TOKEN_BYTES_MAX));
        assert_eq!(marked(&long), long);
    }

    #[test]
    fn each_part_of_an_attachment_is_shown_once() {
        let body = json!({"text": "Build", "attachments": [{
            "fallback": "not shown", "pretext": "pre", "author_name": "ci",
            "author_link": "https://ci.example", "title": "#7",
            "title_link": "https://ci.example/7",
            "text": "failed", "fields": [{"title": "branch", "value": "main", "short": true},
            {"title": "tries", "value": 3}], "image_url": "https://ci.example/7.png",
            "footer": "ci.example", "ts": 1_700_000_000
        }, {"fallback": "only this"}]});
        let expected = "Build\npre\nci (https://ci.example)\n#7 (https://ci.example/7)\nfailed\n\
                        branch: main\ntries: 3\nhttps://ci.example/7.png\nci.example\nonly this";
        assert_eq!(text_of(&body).unwrap(), expected);
    }

    #[test]
    fn a_body_without_slack_fields_is_not_a_slack_body() {
        assert_eq!(text_of(&json!({})), None);
        assert_eq!(text_of(&json!({"content": "x"})), None);
        assert_eq!(text_of(&json!({"text": ""})), Some(String::new()));
        assert_eq!(
            text_of(&json!({"blocks": [{"type": "divider"}]})),
            Some(String::new())
        );
    }
}
