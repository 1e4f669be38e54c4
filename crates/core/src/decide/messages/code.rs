//! Finds what a text quotes as code: spans between back-ticks, and fenced blocks.
//!
//! As CommonMark has them, in the part that people use in a chat. Always true: the time that it
//! takes grows with the text and no faster.

use std::{collections::BTreeMap, ops::Range};

/// Shortest fence of a block.
const FENCE_MIN: usize = 3;
/// Blanks before a fence; more of them make a quoted fence of it.
const INDENT_MAX: usize = 3;

/// Returns the parts of `text` that are code, in order.
pub(crate) fn parts(text: &str) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    if !text.contains(['`', '~']) {
        return parts;
    }
    let mut fence: Option<Fence> = None;
    // Where the paragraph begins that was not looked through.
    let mut paragraph = 0;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let end = at + line.len();
        match fence {
            Some(open) if open.is_closed_by(line) => {
                parts.push(open.at..end);
                (fence, paragraph) = (None, end);
            }
            Some(_) => {}
            None => {
                let opened = Fence::opened_by(line, at);
                if opened.is_some() || line.trim_ascii().is_empty() {
                    spans(text, paragraph..at, &mut parts);
                    paragraph = end;
                }
                fence = opened;
            }
        }
        at = end;
    }
    match fence {
        // One that is not closed ends with the text.
        Some(open) => parts.push(open.at..text.len()),
        None => spans(text, paragraph..text.len(), &mut parts),
    }
    parts
}

#[derive(Clone, Copy)]
struct Fence {
    at: usize,
    sign: u8,
    length: usize,
}

impl Fence {
    fn opened_by(line: &str, at: usize) -> Option<Self> {
        let fence = line.trim_start_matches(' ');
        let sign = *fence.as_bytes().first()?;
        let length = run_of(fence.as_bytes(), sign);
        let is_fence = matches!(sign, b'`' | b'~')
            && length >= FENCE_MIN
            && line.len() - fence.len() <= INDENT_MAX;
        // Back-ticks behind it make a span of it.
        let is_span = sign == b'`' && fence[length..].contains('`');
        (is_fence && !is_span).then_some(Self { at, sign, length })
    }

    fn is_closed_by(&self, line: &str) -> bool {
        let fence = line.trim_start_matches(' ');
        let length = run_of(fence.as_bytes(), self.sign);
        line.len() - fence.len() <= INDENT_MAX
            && length >= self.length
            && fence[length..].trim_ascii().is_empty()
    }
}

/// Finds the spans of one paragraph: from a run of back-ticks to the next one of the same length.
fn spans(text: &str, paragraph: Range<usize>, parts: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let mut runs = Vec::new();
    let mut at = paragraph.start;
    while at < paragraph.end {
        let length = run_of(&bytes[at..paragraph.end], b'`');
        if length > 0 {
            runs.push(at..at + length);
        }
        at += length.max(1);
    }
    // For each run, where the span that it begins ends.
    let mut ends = vec![None; runs.len()];
    let mut next_of_length = BTreeMap::new();
    for (place, run) in runs.iter().enumerate().rev() {
        let slashes = bytes[paragraph.start..run.start].iter().rev();
        let is_escaped = slashes.take_while(|byte| **byte == b'\\').count() % 2 == 1;
        let length = run.len() - usize::from(is_escaped);
        ends[place] = next_of_length.get(&length).copied();
        next_of_length.insert(run.len(), place);
    }
    let mut place = 0;
    while place < runs.len() {
        match ends[place] {
            Some(end) => {
                parts.push(runs[place].start..runs[end].end);
                place = end + 1;
            }
            None => place += 1,
        }
    }
}

fn run_of(bytes: &[u8], sign: u8) -> usize {
    bytes.iter().take_while(|byte| **byte == sign).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Vec<&str> {
        parts(text).into_iter().map(|part| &text[part]).collect()
    }

    #[test]
    fn code_is_delimited_by_back_ticks_and_fences() {
        let cases: [(&str, &[&str]); 14] = [
            ("no code", &[]),
            ("a `b` c `d`", &["`b`", "`d`"]),
            ("a ``b ` c`` d", &["``b ` c``"]),
            ("one ` alone", &[]),
            ("`` two ` and one", &[]),
            ("\\`a` b`", &["` b`"]),
            ("\\\\`a`", &["`a`"]),
            ("`a\nb`", &["`a\nb`"]),
            ("`a\n\nb`", &[]),
            ("x\n```rust\n@a\n```\ny", &["```rust\n@a\n```\n"]),
            ("```\nnot closed", &["```\nnot closed"]),
            ("~~~\n```\n~~~~ \n`z`", &["~~~\n```\n~~~~ \n", "`z`"]),
            ("```one line```", &["```one line```"]),
            ("    ```\nx", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(code(text), expected, "{text:?}");
        }
    }

    #[test]
    fn many_runs_of_back_ticks_are_parsed_without_slowdown() {
        let mut text = String::new();
        for length in 1..180 {
            text.push_str(&"`".repeat(length));
            text.push(' ');
        }
        assert_eq!(parts(&text), []);
        assert_eq!(parts(&"` `` ".repeat(3000)).len(), 2000);
    }
}
