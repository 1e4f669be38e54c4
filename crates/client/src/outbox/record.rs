//! Encodes the file of an outbox: frames of length, checksum and one record.

use conclave_core::{AccountName, ConversationId, Recipient, RoomName, Sequence};

use crate::{Outgoing, RequestKey};

/// Bytes of a frame before its record: length and CRC-32C, little-endian.
const FRAME_HEAD: usize = 8;
/// Maximum bytes of a record: a text with what belongs to it.
const RECORD_BYTES_MAX: usize = 2 * conclave_core::limits::TEXT_BYTES_MAX;

const ACCEPTED: u8 = 1;
const NUMBERED: u8 = 2;
const DONE: u8 = 3;

const TO_ACCOUNT: u8 = 1;
const TO_CONVERSATION: u8 = 2;
const TO_ROOM: u8 = 3;

/// The session and the number under which a message was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbered {
    /// Hash that tells sessions apart and does not show their tokens.
    pub(super) session: [u8; 32],
    pub(super) key: RequestKey,
}

/// One step of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// The message is in the outbox.
    Accepted {
        id: u64,
        to: Recipient,
        message: Outgoing,
    },
    /// The message is going to be sent under this number.
    Numbered { id: u64, numbered: Numbered },
    /// The message is acknowledged or refused.
    Done { id: u64 },
}

impl Record {
    /// Appends the record as a frame.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend([0; FRAME_HEAD]);
        match self {
            Self::Accepted { id, to, message } => {
                out.push(ACCEPTED);
                out.extend(id.to_le_bytes());
                match to {
                    Recipient::Account(name) => put_text(out, TO_ACCOUNT, name.as_str()),
                    Recipient::Room(name) => put_text(out, TO_ROOM, name.as_str()),
                    Recipient::Conversation(number) => {
                        out.push(TO_CONVERSATION);
                        out.extend(number.0.to_le_bytes());
                    }
                }
                out.extend(message.reply_to.map_or(0, |to| to.0).to_le_bytes());
                put_text(out, u8::from(message.action), &message.text);
            }
            Self::Numbered { id, numbered } => {
                out.push(NUMBERED);
                out.extend(id.to_le_bytes());
                out.extend(numbered.session);
                out.extend(numbered.key.number.to_le_bytes());
                out.extend(numbered.key.nonce.to_le_bytes());
            }
            Self::Done { id } => {
                out.push(DONE);
                out.extend(id.to_le_bytes());
            }
        }
        let record = &out[start + FRAME_HEAD..];
        let length = u32::try_from(record.len()).expect("a record is small");
        let sum = crc32c::crc32c(record);
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
        out[start + 4..start + FRAME_HEAD].copy_from_slice(&sum.to_le_bytes());
    }

    /// Decodes the first record and returns it with the bytes that follow; `None` if no whole
    /// record is there.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (sum, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        if length > RECORD_BYTES_MAX {
            return None;
        }
        let (record, rest) = rest.split_at_checked(length)?;
        if crc32c::crc32c(record) != u32::from_le_bytes(*sum) {
            return None;
        }
        Some((Self::parse(record)?, rest))
    }

    fn parse(mut bytes: &[u8]) -> Option<Self> {
        let kind = take::<1>(&mut bytes)?[0];
        let id = take_number(&mut bytes)?;
        let record = match kind {
            ACCEPTED => {
                let to = match take::<1>(&mut bytes)?[0] {
                    TO_ACCOUNT => {
                        Recipient::Account(AccountName::new(take_text(&mut bytes)?).ok()?)
                    }
                    TO_ROOM => Recipient::Room(RoomName::new(take_text(&mut bytes)?).ok()?),
                    TO_CONVERSATION => {
                        Recipient::Conversation(ConversationId(take_number(&mut bytes)?))
                    }
                    _ => return None,
                };
                let reply_to = match take_number(&mut bytes)? {
                    0 => None,
                    sequence => Some(Sequence(sequence)),
                };
                let action = take::<1>(&mut bytes)?[0] == 1;
                let text = take_text(&mut bytes)?;
                let message = Outgoing {
                    text,
                    reply_to,
                    action,
                };
                Self::Accepted { id, to, message }
            }
            NUMBERED => {
                let session = take::<32>(&mut bytes)?;
                let number = take_number(&mut bytes)?;
                let nonce = take_number(&mut bytes)?;
                let key = RequestKey { number, nonce };
                let numbered = Numbered { session, key };
                Self::Numbered { id, numbered }
            }
            DONE => Self::Done { id },
            _ => return None,
        };
        bytes.is_empty().then_some(record)
    }
}

fn put_text(out: &mut Vec<u8>, kind: u8, text: &str) {
    out.push(kind);
    let length = u32::try_from(text.len()).expect("a text is small");
    out.extend(length.to_le_bytes());
    out.extend(text.as_bytes());
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    take(bytes).map(u64::from_le_bytes)
}

fn take_text(bytes: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(u32::from_le_bytes(take(bytes)?)).ok()?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outbox_records_round_trip_and_partial_records_are_rejected() {
        let accepted = |to| Record::Accepted {
            id: 7,
            to,
            message: Outgoing {
                text: "héllo".to_owned(),
                reply_to: Some(Sequence(3)),
                action: true,
            },
        };
        let records = [
            accepted(Recipient::Account(AccountName::new("bob").unwrap())),
            accepted(Recipient::Room(RoomName::new("lobby").unwrap())),
            accepted(Recipient::Conversation(ConversationId(9))),
            Record::Numbered {
                id: 7,
                numbered: Numbered {
                    session: [4; 32],
                    key: RequestKey {
                        number: 1,
                        nonce: 2,
                    },
                },
            },
            Record::Done { id: 7 },
        ];
        for record in records {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            assert_eq!(Record::decode(&bytes), Some((record.clone(), &[][..])));
            for end in 0..bytes.len() {
                assert_eq!(Record::decode(&bytes[..end]), None, "{record:?} {end}");
            }
            for place in 0..bytes.len() {
                let mut broken = bytes.clone();
                broken[place] ^= 1;
                assert_eq!(Record::decode(&broken), None, "{record:?} {place}");
            }
        }
    }
}
