//! Sizes of messages, and their texts.
//!
//! A text begins with the number of its message, so that a reader recognises it; the rest is
//! filler. The same number always gives the same text.

use std::{fmt, str::FromStr};

use conclave_client::core::limits::TEXT_BYTES_MAX;

/// Maximum number of parts of a mix.
const PARTS_MAX: usize = 64;
/// Digits of a number in a text.
const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
/// Bytes from which on every number of a run fits into its text: 36^8 messages are more than any
/// run has.
const NUMBERED_BYTES: usize = 8;

/// Sizes of messages in bytes: one, a range, or a mix of such parts that is taken in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes(Vec<(usize, usize)>);

/// A text that names no sizes of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSizes {
    /// A part is neither a number nor two numbers.
    #[error("a size is a number (100) or a range (50-200); a mix has commas (100,100,4096)")]
    Form,
    /// A size is 0 or above the longest text.
    #[error("a message has 1 to {TEXT_BYTES_MAX} bytes")]
    Bounds,
    /// The range ends before it begins.
    #[error("a range begins with its smallest size")]
    Order,
    /// The mix has too many parts.
    #[error("a mix has at most {PARTS_MAX} parts")]
    Parts,
}

impl FromStr for Sizes {
    type Err = NoSizes;

    fn from_str(text: &str) -> Result<Self, NoSizes> {
        let parts: Vec<&str> = text.split(',').collect();
        if parts.len() > PARTS_MAX {
            return Err(NoSizes::Parts);
        }
        let parts = parts.into_iter().map(|part| {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.trim().parse::<usize>().map_err(|_| NoSizes::Form);
            let (low, high) = (number(low)?, number(high)?);
            match () {
                () if low == 0 || high > TEXT_BYTES_MAX => Err(NoSizes::Bounds),
                () if low > high => Err(NoSizes::Order),
                () => Ok((low, high)),
            }
        });
        parts.collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (low, high)) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            match low == high {
                true => write!(f, "{comma}{low}")?,
                false => write!(f, "{comma}{low}-{high}")?,
            }
        }
        Ok(())
    }
}

impl Sizes {
    /// Returns the mean size.
    #[must_use]
    pub fn mean(&self) -> u64 {
        let halves: usize = self.0.iter().map(|(low, high)| low + high).sum();
        (halves / (2 * self.0.len())) as u64
    }

    /// Returns whether every text has its number, so that readers tell all messages apart.
    pub(super) fn tell_apart(&self) -> bool {
        self.0.iter().all(|(low, _)| *low >= NUMBERED_BYTES)
    }

    /// Returns the size of a message.
    fn of(&self, number: u64) -> usize {
        let parts = self.0.len() as u64;
        let (low, high) = self.0[usize::try_from(number % parts).expect("parts are few")];
        let width = (high - low + 1) as u64;
        // An odd factor spreads the numbers evenly over the range, and is the same in every run.
        let spread = (number / parts).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        low + usize::try_from(spread % width).expect("a text is short")
    }

    /// Makes the text of a message.
    pub(super) fn text(&self, number: u64) -> String {
        let bytes = self.of(number);
        let mut text = word(number);
        if text.len() > bytes {
            text.clear();
        } else if text.len() < bytes {
            text.push(' ');
        }
        text.extend(std::iter::repeat_n('x', bytes - text.len()));
        text
    }
}

/// Returns the number of the message with this text.
pub(super) fn number_of(text: &str) -> Option<u64> {
    let word = text.split(' ').next()?;
    u64::from_str_radix(word, 36).ok()
}

fn word(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from(
            DIGITS[usize::try_from(number % 36).expect("below 36")],
        ));
        number /= 36;
        if number == 0 {
            return digits.iter().rev().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(text: &str) -> Sizes {
        text.parse().unwrap()
    }

    #[test]
    fn sizes_are_numbers_ranges_and_mixes() {
        for text in ["1", "100", "50-200", "100,100,4096", "8-9,16384"] {
            assert_eq!(sizes(text).to_string(), text);
        }
        let bad = [
            ("", NoSizes::Form),
            ("ten", NoSizes::Form),
            ("1-2-3", NoSizes::Form),
            ("100,", NoSizes::Form),
            ("-5", NoSizes::Form),
            ("0", NoSizes::Bounds),
            ("16385", NoSizes::Bounds),
            ("9-8", NoSizes::Order),
        ];
        for (text, why) in bad {
            assert_eq!(text.parse::<Sizes>(), Err(why), "{text:?}");
        }
        let many = vec!["1"; PARTS_MAX + 1].join(",");
        assert_eq!(many.parse::<Sizes>(), Err(NoSizes::Parts));
    }

    #[test]
    fn a_text_has_its_size_and_its_number() {
        for (of, tells) in [("8-300", true), ("100,16384", true), ("1-9", false)] {
            let sizes = sizes(of);
            assert_eq!(sizes.tell_apart(), tells, "{of}");
            for number in (0..5000).chain([2_821_109_907_455]) {
                let text = sizes.text(number);
                assert_eq!(text.len(), sizes.of(number));
                if tells {
                    assert_eq!(number_of(&text), Some(number), "{text}");
                }
            }
        }
        assert_eq!(sizes("3").text(36), "10 ");
    }

    #[test]
    fn a_mix_takes_its_parts_in_turn_and_ranges_whole() {
        let mix = sizes("100,10-20");
        let taken: Vec<usize> = (0..2000).map(|number| mix.of(number)).collect();
        assert!(taken.iter().step_by(2).all(|size| *size == 100));
        for size in 10..=20 {
            assert!(taken.contains(&size), "{size}");
        }
        assert_eq!(mix.mean(), 57);
    }
}
