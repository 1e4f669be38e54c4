//! Requests of clients, with every bound checked that does not need the state.
//!
//! A request that comes out of here as a [`Command`] is worth proposing; one that does not is
//! refused without troubling the log.

use blake3::Hasher;
use conclave_core::{
    AccountName, Command, ConversationId, Digest, MessageRef, MessageText, OnceId, Operation,
    Origin, Progress, Recipient, Rejection, Sequence, SessionId, TokenHash,
    limits::{DELETE_MESSAGES_MAX, PAGE_MAX, PASSWORD_BYTES_MAX, PASSWORD_BYTES_MIN},
};

use crate::{Problem, v1};

/// Bytes of a session token: 256 random bits.
pub const TOKEN_BYTES: usize = 32;

fn invalid(reason: &str, sentence: &str) -> Problem {
    Problem::Refused {
        reason: reason.to_owned(),
        sentence: sentence.to_owned(),
        request_last: None,
    }
}

/// The hash under which a token is known to the cluster.
#[must_use]
pub fn token_hash(token: &[u8]) -> TokenHash {
    TokenHash(*blake3::hash(token).as_bytes())
}

/// The bounds of a password.
///
/// # Errors
/// [`Rejection::PasswordTooShort`] or [`Rejection::PasswordTooLong`].
pub fn check_password(password: &str) -> Result<(), Rejection> {
    match password.len() {
        ..PASSWORD_BYTES_MIN => Err(Rejection::PasswordTooShort),
        PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX => Ok(()),
        _ => Err(Rejection::PasswordTooLong),
    }
}

/// The name of a request outside a session; `None` if the client chose none.
///
/// # Errors
/// If it is neither empty nor 16 bytes.
pub fn once_id(bytes: &[u8]) -> Result<Option<OnceId>, Problem> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let id = OnceId::try_from(bytes)
        .map_err(|_| invalid("REQUEST_ID_INVALID", "a request id has 16 bytes, or none"))?;
    Ok(Some(id))
}

/// The token that a client chose; `None` if it leaves that to the node.
///
/// # Errors
/// If it is neither empty nor 32 bytes.
pub fn chosen_token(bytes: &[u8]) -> Result<Option<[u8; TOKEN_BYTES]>, Problem> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let token = bytes
        .try_into()
        .map_err(|_| invalid("TOKEN_INVALID", "a token has 32 random bytes, or none"))?;
    Ok(Some(token))
}

/// The number of items of a page: `default` if the client does not say.
#[must_use]
pub fn page_size(asked: u32, default: usize) -> usize {
    match usize::try_from(asked).unwrap_or(PAGE_MAX) {
        0 => default,
        asked => asked.min(PAGE_MAX),
    }
}

/// A command that creates an account. The digest leaves the password out: a fast hash of it must
/// not be stored.
#[must_use]
pub fn create_account(once: OnceId, name: AccountName, password_hash: String) -> Command {
    let digest = digest(0, "create_account", &[name.key().as_bytes()]);
    let operation = Operation::CreateAccount {
        name,
        password_hash,
    };
    Command {
        origin: Origin::Once(once),
        digest,
        operation,
    }
}

/// A command that opens a session for an account whose password was verified.
#[must_use]
pub fn open_session(
    once: OnceId,
    account: conclave_core::AccountId,
    password_version: u64,
    token: TokenHash,
) -> Command {
    let digest = digest(0, "open_session", &[&account.0.to_le_bytes(), &token.0]);
    let operation = Operation::OpenSession {
        account,
        password_version,
        token,
    };
    Command {
        origin: Origin::Once(once),
        digest,
        operation,
    }
}

/// A request of a session that changes something.
pub trait SessionRequest {
    /// The command that the request stands for.
    ///
    /// # Errors
    /// [`Problem::Refused`] if a bound is broken or a part is missing.
    fn into_command(self, session: SessionId) -> Result<Command, Problem>;
}

impl SessionRequest for v1::DeleteAccountRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        command(
            session,
            self.request,
            "delete_account",
            &[],
            Operation::DeleteAccount,
        )
    }
}

impl SessionRequest for v1::CloseSessionRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        command(
            session,
            self.request,
            "close_session",
            &[],
            Operation::CloseSession,
        )
    }
}

impl SessionRequest for v1::SendMessageRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        use v1::send_message_request::To;
        let text = MessageText::new(self.text)?;
        let (to, target) = match self.to {
            Some(To::RecipientName(name)) => {
                let name = AccountName::new(name)?;
                let key = name.key().into_bytes();
                (Recipient::Account(name), key)
            }
            Some(To::ConversationId(id)) => (
                Recipient::Conversation(ConversationId(id)),
                id.to_le_bytes().to_vec(),
            ),
            None => return Err(invalid("RECIPIENT_MISSING", "the message has no recipient")),
        };
        let digest_of = text.clone();
        let operation = Operation::SendMessage { to, text };
        let parts = [&target[..], digest_of.as_str().as_bytes()];
        command(session, self.request, "send_message", &parts, operation)
    }
}

impl SessionRequest for v1::AdvancePositionRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        let numbers = [
            self.conversation_id,
            self.sequence_delivered,
            self.sequence_read,
        ];
        let parts = numbers.map(u64::to_le_bytes);
        let progress = Progress {
            delivered: Sequence(self.sequence_delivered),
            read: Sequence(self.sequence_read),
        };
        let conversation = ConversationId(self.conversation_id);
        let operation = Operation::AdvancePosition {
            conversation,
            progress,
        };
        let parts: Vec<&[u8]> = parts.iter().map(<[u8; 8]>::as_slice).collect();
        command(session, self.request, "advance_position", &parts, operation)
    }
}

impl SessionRequest for v1::DeleteMessagesRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        match self.messages.len() {
            0 => return Err(Rejection::ListEmpty.into()),
            1..=DELETE_MESSAGES_MAX => {}
            _ => return Err(Rejection::ListTooLong.into()),
        }
        let mut bytes = vec![u8::from(self.for_everyone)];
        let mut messages = Vec::with_capacity(self.messages.len());
        for message in self.messages {
            bytes.extend(message.conversation_id.to_le_bytes());
            bytes.extend(message.sequence.to_le_bytes());
            messages.push(MessageRef {
                conversation: ConversationId(message.conversation_id),
                sequence: Sequence(message.sequence),
            });
        }
        let operation = Operation::DeleteMessages {
            messages,
            for_everyone: self.for_everyone,
        };
        command(
            session,
            self.request,
            "delete_messages",
            &[&bytes],
            operation,
        )
    }
}

fn command(
    session: SessionId,
    request: Option<v1::RequestId>,
    kind: &str,
    parts: &[&[u8]],
    operation: Operation,
) -> Result<Command, Problem> {
    let request =
        request.ok_or_else(|| invalid("REQUEST_MISSING", "the request carries no number"))?;
    let origin = Origin::Session {
        session,
        number: request.number,
    };
    Ok(Command {
        origin,
        digest: digest(request.nonce, kind, parts),
        operation,
    })
}

/// What a request says and who says it, in 64 bits. Parts carry their length, so that moving a
/// byte from one to the next changes it.
fn digest(nonce: u64, kind: &str, parts: &[&[u8]]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(&nonce.to_le_bytes());
    for part in [kind.as_bytes()].iter().chain(parts) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let hash = hasher.finalize();
    let (first, _) = hash
        .as_bytes()
        .split_first_chunk::<8>()
        .expect("a hash has 32 bytes");
    Digest(u64::from_le_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(number: u64, nonce: u64, to: &str, text: &str) -> Result<Command, Problem> {
        let request = v1::SendMessageRequest {
            request: Some(v1::RequestId { number, nonce }),
            to: Some(v1::send_message_request::To::RecipientName(to.to_owned())),
            text: text.to_owned(),
        };
        request.into_command(SessionId(1))
    }

    #[test]
    fn a_retry_has_the_same_digest_and_anything_else_another() {
        let first = send(1, 9, "bob", "hi").unwrap();
        assert_eq!(first, send(1, 9, "bob", "hi").unwrap());
        assert_eq!(
            first.digest,
            send(1, 9, "BOB", "hi").unwrap().digest,
            "the same person"
        );
        for other in [
            send(1, 8, "bob", "hi"),
            send(1, 9, "bobh", "i"),
            send(1, 9, "bob", "ho"),
        ] {
            assert_ne!(first.digest, other.unwrap().digest);
        }
    }

    #[test]
    fn bounds_are_checked_before_anything_is_proposed() {
        let reason = |result: Result<Command, Problem>| result.unwrap_err().reason().to_owned();
        assert_eq!(reason(send(1, 1, "bob", "")), "TEXT_EMPTY");
        assert_eq!(reason(send(1, 1, "b ob", "x")), "NAME_CHARACTER");
        assert_eq!(
            reason(send(1, 1, "bob", &"x".repeat(16 * 1024 + 1))),
            "TEXT_TOO_LONG"
        );
        let nobody = v1::SendMessageRequest {
            text: "x".to_owned(),
            ..Default::default()
        };
        assert_eq!(
            reason(nobody.into_command(SessionId(1))),
            "RECIPIENT_MISSING"
        );
        let unnumbered = v1::CloseSessionRequest { request: None };
        assert_eq!(
            reason(unnumbered.into_command(SessionId(1))),
            "REQUEST_MISSING"
        );
        assert!(once_id(&[1; 15]).is_err());
        assert!(chosen_token(&[1; 31]).is_err());
        assert_eq!(check_password("1234567"), Err(Rejection::PasswordTooShort));
        assert_eq!(
            check_password(&"p".repeat(257)),
            Err(Rejection::PasswordTooLong)
        );
    }

    #[test]
    fn a_page_has_a_default_and_a_maximum() {
        assert_eq!(
            (page_size(0, 50), page_size(7, 50), page_size(9999, 50)),
            (50, 7, PAGE_MAX)
        );
    }
}
