//! The words of a line: numbers, times, names, texts and messages.

use conclave_core::{
    AccountName, ConversationId, MessageRef, MessageText, Rejection, RoomName, Sequence, Timestamp,
    TokenHash,
};

/// Units of a time in milliseconds, the greatest first.
pub(super) const UNITS: [(char, u64); 4] = [
    ('d', 86_400_000),
    ('h', 3_600_000),
    ('m', 60_000),
    ('s', 1000),
];

pub(super) fn number<N: std::str::FromStr>(word: &str) -> Result<N, String> {
    word.parse()
        .map_err(|_| format!("{word:?} is not a number"))
}

pub(super) fn time(word: &str) -> Result<Timestamp, String> {
    let mut rest = word;
    let mut ms = 0;
    for (unit, unit_ms) in UNITS {
        if let Some((count, after)) = rest.split_once(unit) {
            ms += number::<u64>(count)? * unit_ms;
            rest = after;
        }
    }
    if !rest.is_empty() {
        ms += number::<u64>(rest)?;
    }
    Ok(Timestamp(ms))
}

/// Reason why a line is no command.
pub(super) enum Fault {
    /// The script is wrong.
    Script(String),
    /// A node refuses it at its door.
    Door(Rejection),
}

impl From<String> for Fault {
    fn from(words: String) -> Self {
        Self::Script(words)
    }
}

impl From<&str> for Fault {
    fn from(words: &str) -> Self {
        Self::Script(words.to_owned())
    }
}

impl From<Rejection> for Fault {
    fn from(rejection: Rejection) -> Self {
        Self::Door(rejection)
    }
}

/// The words of a command, the verb first.
pub(super) struct Line<'a>(pub(super) &'a [String]);

impl Line<'_> {
    pub(super) fn word(&self, at: usize) -> Result<&str, Fault> {
        let verb = self.0.first().ok_or("no verb")?;
        let word = self.0.get(at).map(String::as_str);
        Ok(word.ok_or(format!("{verb} what?"))?)
    }

    pub(super) fn option(&self, key: &str) -> Option<&str> {
        let mut words = self.0.iter();
        words.find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        self.0.iter().skip(1).any(|word| word == flag)
    }

    pub(super) fn number<N: std::str::FromStr>(
        &self,
        key: &str,
        otherwise: &str,
    ) -> Result<N, Fault> {
        Ok(number(self.option(key).unwrap_or(otherwise))?)
    }

    pub(super) fn name(&self, at: usize) -> Result<AccountName, Fault> {
        Ok(AccountName::new(self.word(at)?)?)
    }

    pub(super) fn room(&self, at: usize) -> Result<RoomName, Fault> {
        Ok(RoomName::new(self.word(at)?)?)
    }

    pub(super) fn text(&self, at: usize) -> Result<MessageText, Fault> {
        Ok(MessageText::new(repeated(self.word(at)?)?)?)
    }

    pub(super) fn message(&self, at: usize) -> Result<MessageRef, Fault> {
        match refs(self.word(at)?)?[..] {
            [message] => Ok(message),
            _ => Err("one message at a time".into()),
        }
    }

    pub(super) fn token(&self) -> Result<TokenHash, Fault> {
        let token = self.option("token").ok_or("with which token?")?;
        Ok(TokenHash(filled(token)?))
    }

    pub(super) fn hash(&self) -> Result<String, Fault> {
        Ok(repeated(self.option("hash").unwrap_or("$argon2id$…"))?)
    }
}

/// Returns the messages of an item: `1.2` is a message, `1.2-4` are three.
pub(super) fn refs(item: &str) -> Result<Vec<MessageRef>, String> {
    let (conversation, range) = item.split_once('.').ok_or("a message is named 1.2")?;
    let (from, to) = range.split_once('-').unwrap_or((range, range));
    let conversation = ConversationId(number(conversation)?);
    let numbers = number::<u64>(from)?..=number::<u64>(to)?;
    let named = numbers.map(|n| MessageRef {
        conversation,
        sequence: Sequence(n),
    });
    Ok(named.collect())
}

/// Expands `x*3` to `xxx`, so that a long text needs no long line.
pub(super) fn repeated(word: &str) -> Result<String, String> {
    match word.rsplit_once('*') {
        Some((text, times)) => Ok(text.repeat(number(times)?)),
        None => Ok(word.to_owned()),
    }
}

/// Splits a line at spaces; quotes hold a word together.
pub(super) fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (word, after) = quoted.split_once('"').ok_or("a quote is not closed")?;
            words.push(word.to_owned());
            rest = after.trim_start();
        } else {
            let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
            words.push(word.to_owned());
            rest = after.trim_start();
        }
    }
    Ok(words)
}

/// Returns a name as bytes of a fixed length, filled up with zeros.
pub(super) fn filled<const N: usize>(name: &str) -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    let room = bytes
        .get_mut(..name.len())
        .ok_or(format!("{name} is too long"))?;
    room.copy_from_slice(name.as_bytes());
    Ok(bytes)
}
