//! Puts tables into pages: what stands between two marks is made, the rest is written by hand.
//!
//! A mark is `<!-- from NAME -->`, and the text that is made ends at `<!-- end -->`.

use std::collections::BTreeMap;

use anyhow::{Context, bail};

/// The end of a text that is made.
const END: &str = "<!-- end -->";

/// Returns the page with each marked part replaced.
///
/// # Errors
/// If a mark has no end, or names a text that is not there, or a text has no mark.
pub fn fill(page: &str, texts: &BTreeMap<String, String>) -> anyhow::Result<String> {
    const BEGIN: &str = "<!-- from ";
    let mut filled = String::new();
    let mut used = 0;
    let mut rest = page;
    while let Some(at) = rest.find(BEGIN) {
        let after = &rest[at + BEGIN.len()..];
        let (name, inside) = after.split_once(" -->").context("a mark is not closed")?;
        let text = texts.get(name);
        let text = text.with_context(|| format!("there is no text `{name}`"))?;
        let end = inside.find(END);
        let end = end.with_context(|| format!("`{name}` has no `{END}`"))?;
        let begin = &rest[..at];
        filled.push_str(&format!(
            "{begin}{BEGIN}{name} -->\n{}\n{END}",
            text.trim_end()
        ));
        rest = &inside[end + END.len()..];
        used += 1;
    }
    if used != texts.len() {
        bail!("{used} marks for {} texts", texts.len());
    }
    filled.push_str(rest);
    Ok(filled)
}

/// Makes a table of Markdown.
#[must_use]
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut text = line(head.iter().map(ToString::to_string).collect());
    text.push_str(&format!("|{}\n", "---|".repeat(head.len())));
    for row in rows {
        text.push_str(&line(row.clone()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_between_marks_is_replaced_and_nothing_else() {
        let page = "a\n<!-- from x -->\nold\n<!-- end -->\nb\n";
        let texts = BTreeMap::from([("x".to_owned(), "new\n".to_owned())]);
        let filled = fill(page, &texts).unwrap();
        assert_eq!(filled, "a\n<!-- from x -->\nnew\n<!-- end -->\nb\n");
        assert_eq!(fill(&filled, &texts).unwrap(), filled);
        assert!(fill(page, &BTreeMap::new()).is_err());
        assert!(fill("a", &texts).is_err());
        assert!(fill("<!-- from x -->\n", &texts).is_err());
    }
}
