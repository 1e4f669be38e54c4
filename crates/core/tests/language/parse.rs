//! From a line to a command.

use conclave_core::{
    AccountId, AccountName, Command, ConversationId, Digest, MessageRef, MessageText, OnceId,
    Operation, Origin, Progress, Recipient, Rejection, Sequence, SessionId, Timestamp, TokenHash,
};

use super::{Request, World, opens_session};

/// Milliseconds of the parts of a time, the greatest first.
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

/// A command, or what a node says at its door.
pub(super) fn request(world: &mut World, line: &str) -> Result<Result<Request, Rejection>, String> {
    let words = words(line)?;
    let first = words.first().ok_or("an empty line")?;
    let (origin, words) = if let Some(key) = first.strip_prefix("once:") {
        (Origin::Once(OnceId(filled(key)?)), &words[1..])
    } else if let Some((session, number_word)) = first.split_once('#') {
        let session = session_id(world, session)?;
        let number = number(number_word)?;
        (Origin::Session { session, number }, &words[1..])
    } else {
        world.once_given += 1;
        let key = format!("auto-{}", world.once_given);
        (Origin::Once(OnceId(filled(&key)?)), &words[..])
    };
    let operation = match operation(world, words)? {
        Ok(operation) => operation,
        Err(rejection) => return Ok(Err(rejection)),
    };
    let name = words
        .iter()
        .position(|word| word == "as")
        .map(|at| &words[at + 1]);
    let session_name = name.cloned().filter(|_| opens_session(&operation));
    Ok(Ok(Request {
        command: Command {
            origin,
            digest: digest(words),
            operation,
        },
        session_name,
    }))
}

fn operation(world: &World, words: &[String]) -> Result<Result<Operation, Rejection>, String> {
    let verb = words.first().ok_or("no verb")?;
    let word = |at: usize| {
        words
            .get(at)
            .map(String::as_str)
            .ok_or(format!("{verb} what?"))
    };
    let option = |key: &str| {
        let value = |word: &String| word.strip_prefix(key)?.strip_prefix('=').map(str::to_owned);
        words.iter().find_map(value)
    };
    Ok(Ok(match verb.as_str() {
        "create" => Operation::CreateAccount {
            name: match AccountName::new(word(1)?) {
                Ok(name) => name,
                Err(rejection) => return Ok(Err(rejection)),
            },
            password_hash: repeated(&option("hash").unwrap_or("$argon2id$…".to_owned()))?,
        },
        "login" => Operation::OpenSession {
            account: account_id(world, word(1)?)?,
            password_version: number(&option("version").unwrap_or("1".to_owned()))?,
            token: TokenHash(filled(&option("token").ok_or("login with which token?")?)?),
        },
        "logout" => Operation::CloseSession,
        "delete-account" => Operation::DeleteAccount,
        "send" => {
            let to = match word(1)?.strip_prefix("conversation:") {
                Some(id) => Recipient::Conversation(ConversationId(number(id)?)),
                None => match AccountName::new(word(1)?) {
                    Ok(name) => Recipient::Account(name),
                    Err(rejection) => return Ok(Err(rejection)),
                },
            };
            match MessageText::new(repeated(word(2)?)?) {
                Ok(text) => Operation::SendMessage { to, text },
                Err(rejection) => return Ok(Err(rejection)),
            }
        }
        "advance" => {
            let to = |key| number(&option(key).unwrap_or("0".to_owned())).map(Sequence);
            Operation::AdvancePosition {
                conversation: ConversationId(number(word(1)?)?),
                progress: Progress {
                    delivered: to("delivered")?,
                    read: to("read")?,
                },
            }
        }
        "delete" => {
            let (whom, items) = words[1..].split_last().ok_or("delete for whom?")?;
            let for_everyone = match whom.as_str() {
                "everyone" => true,
                "me" => false,
                other => return Err(format!("delete for {other:?}?")),
            };
            let lists: Result<Vec<_>, String> = items.iter().map(|item| refs(item)).collect();
            Operation::DeleteMessages {
                messages: lists?.concat(),
                for_everyone,
            }
        }
        other => return Err(format!("there is no verb {other:?}")),
    }))
}

/// `1.2` is a message, `1.2-4` are three.
fn refs(item: &str) -> Result<Vec<MessageRef>, String> {
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

fn account_id(world: &World, word: &str) -> Result<AccountId, String> {
    if let Some(id) = word.strip_prefix("account:") {
        return Ok(AccountId(number(id)?));
    }
    let known = world.accounts.get(&word.to_ascii_lowercase()).copied();
    known.ok_or(format!("nobody was ever called {word}"))
}

fn session_id(world: &World, word: &str) -> Result<SessionId, String> {
    if let Some(id) = word.strip_prefix("session:") {
        return Ok(SessionId(number(id)?));
    }
    let known = world.sessions.get(word).copied();
    known.ok_or(format!("no session is called {word}"))
}

/// `x*3` is `xxx`; a long text should not need a long line.
fn repeated(word: &str) -> Result<String, String> {
    match word.rsplit_once('*') {
        Some((text, times)) => Ok(text.repeat(number(times)?)),
        None => Ok(word.to_owned()),
    }
}

/// Words between spaces; quotes hold a word together.
fn words(line: &str) -> Result<Vec<String>, String> {
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

/// A name as bytes of a fixed number, zeros behind it.
fn filled<const N: usize>(name: &str) -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    let room = bytes
        .get_mut(..name.len())
        .ok_or(format!("{name} is too long"))?;
    room.copy_from_slice(name.as_bytes());
    Ok(bytes)
}

/// FNV-1a over everything but the origin: the same request has the same digest.
fn digest(words: &[String]) -> Digest {
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    Digest(words.join(" ").bytes().fold(0xcbf2_9ce4_8422_2325, step))
}
