//! The answer that a client gets to a command that went through the log.
//!
//! Always true: every retry of the same request gets the same answer, from whichever node. It is
//! remembered, and passed between nodes, in one binary form. An answer of a kind that this version
//! does not know is passed on as its bytes.

use serde::{Deserialize, Serialize};

use crate::{
    AccountId, ConversationId, InviteId, NodeId, Position, Rejection, Sequence, SessionId,
    Timestamp, WebhookId,
};

/// Done, or refused by the rules.
pub type Answer = Result<Accepted, Rejection>;

/// First byte of the binary form. Another form gets another number.
const FORM: u8 = 1;
/// First bytes of forms that later versions may have.
const LATER_FORMS_FIRST: u8 = 2;
const LATER_FORMS_LAST: u8 = 15;
/// Number of the kinds of [`Accepted`] and [`Rejection`] that have a binary form.
const ACCEPTED_KINDS: u16 = 15;
const REJECTION_KINDS: u16 = 51;
/// Number of kinds that later versions may add before a build must understand them: what is beyond
/// is damage.
const LATER_KINDS: u16 = 256;

/// The bytes are not an answer in a form that this version knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not an answer that this version knows")]
pub struct UnknownAnswer;

/// Appends the binary form of an answer: the number of the form, then numbers of variable length.
pub fn encode(answer: &Answer, into: &mut Vec<u8>) {
    if let Ok(Accepted::Later(bytes)) = answer {
        return into.extend_from_slice(bytes);
    }
    into.push(FORM);
    let bytes = std::mem::take(into);
    *into = postcard::to_extend(answer, bytes).expect("an answer has numbers and texts alone");
}

/// Returns the answer with this binary form; [`Accepted::Later`] if a later version made it.
///
/// # Errors
/// [`UnknownAnswer`] if no version makes such bytes.
pub fn decode(bytes: &[u8]) -> Result<Answer, UnknownAnswer> {
    match bytes {
        [FORM, answer @ ..] => match postcard::take_from_bytes(answer) {
            Ok((answer, [])) => Ok(answer),
            _ if is_later_kind(answer) => Ok(Ok(Accepted::Later(bytes.into()))),
            _ => Err(UnknownAnswer),
        },
        [LATER_FORMS_FIRST..=LATER_FORMS_LAST, ..] => Ok(Ok(Accepted::Later(bytes.into()))),
        _ => Err(UnknownAnswer),
    }
}

/// Returns whether the binary form names a kind that comes after those of this version.
fn is_later_kind(answer: &[u8]) -> bool {
    let kinds = match answer {
        [0, ..] => ACCEPTED_KINDS,
        [1, ..] => REJECTION_KINDS,
        _ => return false,
    };
    let kind = postcard::take_from_bytes::<u16>(&answer[1..]);
    kind.is_ok_and(|(kind, _)| (kinds..kinds + LATER_KINDS).contains(&kind))
}

/// The result of an accepted command. In the binary form a variant is its place here, and so it is
/// for [`Rejection`] and what that holds: a new one comes last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Accepted {
    /// The account exists now.
    AccountCreated {
        /// Number of the account.
        account: AccountId,
    },
    /// The account and its sessions are gone.
    AccountDeleted,
    /// The session may be used with its token until it expires.
    SessionOpened {
        /// Number of the session.
        session: SessionId,
        /// The account that owns it.
        account: AccountId,
        /// End of the session unless it is renewed by use, in log time.
        expires_at: Timestamp,
    },
    /// The session cannot be used any more.
    SessionClosed,
    /// The message was accepted and has its place in the conversation.
    MessageSent {
        /// The conversation.
        conversation: ConversationId,
        /// Number of the message in the conversation.
        sequence: Sequence,
        /// Log time of the message.
        sent_at: Timestamp,
        /// Position in the log.
        position: Position,
    },
    /// The positions are at least where they were asked to be.
    PositionAdvanced,
    /// The state is as the request asked, and the answer carries nothing more.
    Done,
    /// The caller is a member of the room: it created it, or joined it.
    RoomEntered {
        /// Number of the conversation.
        conversation: ConversationId,
    },
    /// The invite can be used.
    InviteCreated {
        /// Number of the invite.
        invite: InviteId,
        /// End of the invite, in log time.
        expires_at: Timestamp,
    },
    /// The bot's token can be used.
    BotCreated {
        /// Account of the bot.
        account: AccountId,
        /// The session behind its token.
        session: SessionId,
    },
    /// The webhook can be used.
    WebhookCreated {
        /// Number of the webhook.
        webhook: WebhookId,
        /// The account under which it posts.
        account: AccountId,
    },
    /// The attempt was counted: the password may be verified.
    PasswordTried,
    /// One machine can join with the token.
    JoinTokenCreated {
        /// End of the token, in log time.
        expires_at: Timestamp,
    },
    /// The machine has a number.
    NodeAdmitted {
        /// The machine's number.
        node: NodeId,
        /// Whether the machine becomes a voter.
        voter: bool,
    },
    /// The messages are deleted.
    MessagesDeleted {
        /// Number of the named messages that were not deleted before.
        count: u64,
    },
    /// An answer that a later version has made, in its binary form: this version passes it on and
    /// does not understand it.
    #[serde(skip)]
    Later(Vec<u8>),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Bound, Line};

    #[test]
    fn the_binary_form_of_an_answer_keeps_its_bytes() {
        let sent = Accepted::MessageSent {
            conversation: ConversationId(1),
            sequence: Sequence(300),
            sent_at: Timestamp(1_800_000_000_000),
            position: Position::new(9, 2),
        };
        let last = Accepted::MessagesDeleted { count: 5 };
        let what = Bound::WebhookKeys;
        let line = Rejection::LineInvalid {
            what: Line::Reaction,
            bytes_max: 64,
        };
        let character = Rejection::NameCharacter { character: 'é' };
        let cases: [(Answer, &[u8]); 8] = [
            (
                Ok(sent),
                &[
                    1, 0, 4, 1, 172, 2, 128, 160, 241, 194, 177, 52, 130, 128, 192, 4,
                ],
            ),
            (Ok(Accepted::Done), &[1, 0, 6]),
            (Ok(last), &[1, 0, 14, 5]),
            (Err(Rejection::NameEmpty), &[1, 1, 0]),
            (Err(character), &[1, 1, 2, 2, 195, 169]),
            (Err(line), &[1, 1, 24, 3, 64]),
            (Err(Rejection::TooMany { what }), &[1, 1, 30, 12]),
            (Err(Rejection::ListTooLong), &[1, 1, 47]),
        ];
        for (answer, expected) in cases {
            let mut bytes = Vec::new();
            encode(&answer, &mut bytes);
            assert_eq!(bytes, expected, "{answer:?}");
            assert_eq!(decode(&bytes), Ok(answer));
            for end in 0..bytes.len() {
                assert_eq!(decode(&bytes[..end]), Err(UnknownAnswer));
            }
            bytes.push(0);
            assert_eq!(decode(&bytes), Err(UnknownAnswer));
        }
        assert_eq!(decode(&[16, 0, 6]), Err(UnknownAnswer));
    }

    #[test]
    fn an_answer_of_a_later_version_is_passed_on_as_its_bytes() {
        let (accepted, rejected) = (ACCEPTED_KINDS as u8, REJECTION_KINDS as u8);
        let later: [&[u8]; 4] = [
            &[FORM, 0, accepted],
            &[FORM, 1, rejected, 200, 1],
            &[FORM, 1, 255, 1, 7],
            &[LATER_FORMS_FIRST, 9, 9],
        ];
        for bytes in later {
            let answer = decode(bytes).unwrap();
            assert_eq!(answer, Ok(Accepted::Later(bytes.into())));
            let mut again = Vec::new();
            encode(&answer, &mut again);
            assert_eq!(again, bytes);
        }
        // The last kinds of this version are known, so neither number is too small.
        assert_eq!(
            decode(&[FORM, 0, accepted - 1, 5]),
            Ok(Ok(Accepted::MessagesDeleted { count: 5 }))
        );
        let known = decode(&[FORM, 1, rejected - 1, 5]);
        assert_eq!(known, Ok(Err(Rejection::MemberNotAsked { node: 5 })));
        // Damage is not taken for a later version.
        for damaged in [&[FORM, 2, 0][..], &[FORM, 0, 255, 255, 3], &[FORM, 1, 2]] {
            assert_eq!(decode(damaged), Err(UnknownAnswer), "{damaged:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_decoding_an_answer_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..40)
        ) {
            let _ = decode(&bytes);
            let _ = decode(&[&[FORM, 1][..], &bytes].concat());
        }
    }
}
