//! Makes of Slack's notation what people of Conclave read: mentions, links, entities, emoji.
//!
//! Always true: what is none of that notation stays as it was written.

/// Longest `<…>` that is read as notation, in bytes.
const TOKEN_BYTES_MAX: usize = 8192;

/// Who and what the notation names.
pub(super) trait Names {
    /// Returns the name of an account by its id.
    fn person(&self, id: &str) -> Option<String>;
    /// Returns the name of a room by its id.
    fn room(&self, id: &str) -> Option<String>;
}

/// Returns a text without notation.
pub(super) fn plain(text: &str, names: &impl Names) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        out.push_str(&unescaped(&rest[..at]));
        let inside = &rest[at + 1..];
        let near = &inside[..inside.floor_char_boundary(TOKEN_BYTES_MAX)];
        let end = near.find(['<', '>', '\n']);
        let end = end.filter(|end| near[*end..].starts_with('>'));
        match end {
            Some(end) => {
                out.push_str(&token(&inside[..end], names));
                rest = &inside[end + 1..];
            }
            None => {
                out.push('<');
                rest = inside;
            }
        }
    }
    out.push_str(&unescaped(rest));
    crate::emoji::pictures(&out)
}

/// Returns what `<…>` says.
fn token(inside: &str, names: &impl Names) -> String {
    let (what, label) = match inside.split_once('|') {
        Some((what, label)) => (what, Some(unescaped(label))),
        None => (inside, None),
    };
    if let Some(id) = what.strip_prefix('@') {
        let name = names.person(id).or(label);
        return format!(
            "@{}",
            name.unwrap_or_else(|| id.to_owned())
                .trim_start_matches('@')
        );
    }
    if let Some(id) = what.strip_prefix('#') {
        let name = names.room(id).or(label);
        return format!(
            "#{}",
            name.unwrap_or_else(|| id.to_owned())
                .trim_start_matches('#')
        );
    }
    if let Some(special) = what.strip_prefix('!') {
        return match (special.split('^').next(), label) {
            // A date or a group, as it looked where it was written.
            (Some("date" | "subteam"), Some(label)) => label,
            (Some("date"), None) => special.split('^').nth(1).unwrap_or_default().to_owned(),
            (Some(word), label) => format!("@{}", label.as_deref().unwrap_or(word)),
            (None, _) => String::new(),
        };
    }
    let address = unescaped(what);
    let shown = address
        .strip_prefix("mailto:")
        .or(address.strip_prefix("tel:"));
    match label {
        None => shown.unwrap_or(&address).to_owned(),
        Some(label) if label.is_empty() || same(&label, &address) => {
            shown.unwrap_or(&address).to_owned()
        }
        Some(label) if shown == Some(label.as_str()) => label,
        Some(label) => format!("{label} ({address})"),
    }
}

/// Returns whether a label says no more than its address.
fn same(label: &str, address: &str) -> bool {
    let bare = |text: &str| {
        let text = text
            .strip_prefix("https://")
            .or(text.strip_prefix("http://"))
            .unwrap_or(text);
        text.trim_end_matches('/').to_owned()
    };
    bare(label) == bare(address)
}

/// Returns a text with the three characters that Slack escapes.
fn unescaped(text: &str) -> String {
    match text.contains('&') {
        false => text.to_owned(),
        // In this order, so that what was escaped twice is unescaped once.
        true => text
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Known;

    impl Names for Known {
        fn person(&self, id: &str) -> Option<String> {
            (id == "U1").then(|| "alice".to_owned())
        }

        fn room(&self, id: &str) -> Option<String> {
            (id == "C1").then(|| "general".to_owned())
        }
    }

    #[test]
    fn notation_becomes_what_people_read() {
        for (text, shown) in [
            ("hi <@U1>!", "hi @alice!"),
            ("<@U1|al>", "@alice"),
            ("<@U9|bob> <@U8>", "@bob @U8"),
            (
                "see <#C1|old-name> and <#C9|other>",
                "see #general and #other",
            ),
            ("<!here> <!channel> <!everyone>", "@here @channel @everyone"),
            ("<!subteam^S1|@devs> <!subteam^S1>", "@devs @subteam"),
            ("<!date^1392734382^{date}|Feb 18, 2014>", "Feb 18, 2014"),
            (
                "<https://x.example/a?b=1&amp;c=2>",
                "https://x.example/a?b=1&c=2",
            ),
            (
                "<https://x.example|the page>",
                "the page (https://x.example)",
            ),
            ("<http://x.example|x.example>", "http://x.example"),
            ("<mailto:a@x.example|a@x.example>", "a@x.example"),
            (
                "<mailto:a@x.example|write to me>",
                "write to me (mailto:a@x.example)",
            ),
            ("a &lt;b&gt; &amp;amp; &amp;lt; c", "a <b> &amp; &lt; c"),
            ("1 < 2 and\n2 > 1", "1 < 2 and\n2 > 1"),
            ("a <b <@U1>", "a <b @alice"),
            ("<", "<"),
            ("done :tada:", "done 🎉"),
            ("*bold* _it_ ~no~ `code`", "*bold* _it_ ~no~ `code`"),
        ] {
            assert_eq!(plain(text, &Known), shown, "{text}");
        }
    }
}
