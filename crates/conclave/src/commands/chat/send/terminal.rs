//! Reads messages that are typed or pasted on a terminal.
//!
//! A typed line is a message. Lines that come together were pasted: above a few of them the command
//! asks a question, because a trace that is pasted by mistake cannot be taken back.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::fd::AsFd as _,
    time::Duration,
};

use conclave_core::limits::TEXT_BYTES_MAX;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::input::too_long;
use crate::errors::{CommandError, EXIT_FAILED, EXIT_USAGE, note};

/// Maximum number of lines that come together and are sent without a question.
const LINES_UNASKED_MAX: usize = 3;
/// Time within which the next line comes if both were pasted: a person is slower.
const PASTE_GAP: Duration = Duration::from_millis(100);
/// Maximum bytes of one paste: 64 times the longest message.
const PASTE_BYTES_MAX: usize = 64 * TEXT_BYTES_MAX;
/// Name of this source in errors.
const SOURCE: &str = "the pasted text";

/// A terminal that is stdin.
pub(super) struct Terminal {
    input: BufReader<File>,
    /// Number of lines that were read.
    number: u64,
    /// Whether the user has ended the input: a terminal would wait for more.
    is_over: bool,
}

/// The answers to the question what to do with pasted lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    AsOne,
    Each,
    NotAtAll,
}

impl Terminal {
    /// Opens stdin.
    ///
    /// # Errors
    /// If the terminal cannot be opened once more.
    pub(super) fn stdin() -> io::Result<Self> {
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Self {
            input: BufReader::new(File::from(stdin)),
            number: 0,
            is_over: false,
        })
    }

    /// Reads the next messages, each with the number of its line; `None` at the end. After an error
    /// the caller must not go on.
    pub(super) fn next_messages(&mut self) -> Option<Result<Vec<(u64, String)>, CommandError>> {
        loop {
            let first = self.number + 1;
            let text = match self.together() {
                Ok(text) if text.is_empty() => return None,
                Ok(text) => text,
                Err(error) => return Some(Err(error)),
            };
            let lines = (first..).zip(text.lines());
            let lines = lines.filter(|(_, line)| !line.is_empty());
            let lines: Vec<_> = lines.map(|(n, line)| (n, line.to_owned())).collect();
            if lines.is_empty() {
                continue;
            }
            if lines.len() <= LINES_UNASKED_MAX {
                return Some(Ok(lines));
            }
            match self.ask(lines.len()) {
                Ok(Answer::Each) => return Some(Ok(lines)),
                Ok(Answer::AsOne) => {
                    let text = text.trim_end_matches(['\r', '\n']).to_owned();
                    return Some(match text.len() {
                        0..=TEXT_BYTES_MAX => Ok(vec![(first, text)]),
                        size => Err(too_long(SOURCE, &size.to_string())),
                    });
                }
                Ok(Answer::NotAtAll) => note("nothing was sent"),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Reads a line, and those that come together with it; empty at the end.
    fn together(&mut self) -> Result<String, CommandError> {
        let mut bytes = Vec::new();
        while !self.is_over {
            let left = PASTE_BYTES_MAX.saturating_sub(bytes.len()) as u64 + 1;
            let mut part = self.input.by_ref().take(left);
            let read = part.read_until(b'\n', &mut bytes).map_err(failed)?;
            if bytes.len() > PASTE_BYTES_MAX {
                return Err(too_long(SOURCE, &format!("more than {PASTE_BYTES_MAX}")));
            }
            self.number += u64::from(read > 0);
            self.is_over = read == 0;
            if !self.is_over && !self.has_more()? {
                break;
            }
        }
        String::from_utf8(bytes).map_err(|_| {
            let number = self.number;
            let sentence = format!("line {number}: it is not UTF-8; nothing of it was sent");
            CommandError::new(EXIT_USAGE, sentence, "set the terminal to UTF-8")
        })
    }

    /// Returns whether more input follows at once.
    fn has_more(&self) -> Result<bool, CommandError> {
        if !self.input.buffer().is_empty() {
            return Ok(true);
        }
        let mut look = [PollFd::new(self.input.get_ref(), PollFlags::IN)];
        let gap = Timespec::try_from(PASTE_GAP).expect("a tenth of a second is a time");
        let seen = poll(&mut look, Some(&gap));
        Ok(seen.map_err(|error| failed(error.into()))? > 0)
    }

    fn ask(&mut self, count: usize) -> Result<Answer, CommandError> {
        let question = format!(
            "{count} lines were pasted: send them as [o]ne message, as {count} messages (e for \
             each), or [n]ot at all? "
        );
        let mut stderr = io::stderr();
        let asked = stderr.write_all(question.as_bytes());
        asked.and_then(|()| stderr.flush()).map_err(failed)?;
        let typed = self.together()?;
        answer(&typed).ok_or_else(|| {
            CommandError::new(
                EXIT_FAILED,
                "the answer was not o, e or n; nothing of these lines was sent",
                "paste them again, or use: conclave send TO --file FILE",
            )
        })
    }
}

/// Parses the answer; `None` if the text is no answer, such as the rest of a paste that came late.
fn answer(typed: &str) -> Option<Answer> {
    match typed.trim().to_lowercase().as_str() {
        "o" | "one" => Some(Answer::AsOne),
        "e" | "each" => Some(Answer::Each),
        "n" | "no" | "not" | "not at all" | "" => Some(Answer::NotAtAll),
        _ => None,
    }
}

fn failed(error: io::Error) -> CommandError {
    CommandError::new(
        EXIT_FAILED,
        format!("cannot read from the terminal: {error}"),
        "use: conclave send TO --file FILE",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_accepts_three_answers_and_ignores_pasted_lines() {
        assert_eq!(answer("o\n"), Some(Answer::AsOne));
        assert_eq!(answer(" Each\r\n"), Some(Answer::Each));
        for not in ["n\n", "\n", "", "NO\n"] {
            assert_eq!(answer(not), Some(Answer::NotAtAll), "{not:?}");
        }
        for late in ["  at main.rs:3\n", "o\ne\n", "yes\n", "1\n"] {
            assert_eq!(answer(late), None, "{late:?}");
        }
    }
}
