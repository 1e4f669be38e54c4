//! The part of a text that shows why it was found, with what was found marked.
//!
//! Always true: the parts put together are a piece of the text, with `…` where it was cut; no
//! cluster is cut in two.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation as _;

use super::{Pattern, Words};

/// Characters, as people count them, that a snippet has at most.
pub const SNIPPET_CHARACTERS_MAX: usize = 200;

/// Bytes at most: a character of many marks may have hundreds.
const SNIPPET_BYTES_MAX: usize = 4 * 1024;

/// Characters before the first marked part, if the text is longer than the snippet.
const BEFORE_MAX: usize = 60;

/// A piece of a snippet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnippetPart {
    /// As it was written.
    pub text: String,
    /// Whether it is what was looked for.
    pub is_match: bool,
}

/// Returns the part of `text` around the first place where one of the patterns is.
#[must_use]
pub fn snippet(text: &str, patterns: &[Pattern]) -> Vec<SnippetPart> {
    let words = Words::of(text);
    let ranges = patterns.iter().flat_map(|one| one.ranges(text, &words));
    let marked = merged(ranges.collect());
    let shown = window(text, marked.first().map_or(0, |first| first.start));
    let mut parts = Vec::new();
    let mut at = shown.start;
    if shown.start > 0 {
        push(&mut parts, "…", false);
    }
    for range in marked {
        let (start, end) = (range.start.max(at), range.end.min(shown.end));
        if start < end {
            push(&mut parts, &text[at..start], false);
            push(&mut parts, &text[start..end], true);
            at = end;
        }
    }
    push(&mut parts, &text[at..shown.end], false);
    if shown.end < text.len() {
        push(&mut parts, "…", false);
    }
    parts
}

fn push(parts: &mut Vec<SnippetPart>, text: &str, is_match: bool) {
    match parts.last_mut() {
        _ if text.is_empty() => {}
        Some(last) if last.is_match == is_match => last.text += text,
        _ => parts.push(SnippetPart {
            text: text.to_owned(),
            is_match,
        }),
    }
}

/// Returns the ranges sorted, and without what overlaps or touches.
fn merged(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_by_key(|range| (range.start, range.end));
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// Returns which bytes are shown, so that those at `first` are among them.
fn window(text: &str, first: usize) -> Range<usize> {
    let is_short = |part: &str| {
        part.len() <= SNIPPET_BYTES_MAX
            && part.graphemes(true).nth(SNIPPET_CHARACTERS_MAX).is_none()
    };
    if is_short(text) {
        return 0..text.len();
    }
    let back = text[..first].grapheme_indices(true).rev();
    let back = back.take_while(|(at, _)| first - at <= SNIPPET_BYTES_MAX / 4);
    let start = back.take(BEFORE_MAX).last().map_or(first, |(at, _)| at);
    let ends = text[start..].grapheme_indices(true);
    let ends = ends.map(|(at, cluster)| at + cluster.len());
    let ends = ends.take_while(|end| *end <= SNIPPET_BYTES_MAX);
    let end = ends.take(SNIPPET_CHARACTERS_MAX).last().unwrap_or(0);
    start..start + end
}
