//! Answers between nodes.
//!
//! An answer travels in the form in which it is remembered, so that one given from memory by an
//! old node and one given afresh are the same bytes.

use conclave_core::{
    Answer,
    answer::{self, UnknownAnswer},
};

/// Encodes an answer for a peer.
#[must_use]
pub fn encode(answer: &Answer) -> crate::peer::Answer {
    let mut bytes = Vec::new();
    answer::encode(answer, &mut bytes);
    crate::peer::Answer {
        bytes: bytes.into(),
    }
}

/// Decodes the answer from a peer.
///
/// # Errors
/// If the bytes are not an answer that this version knows.
pub fn decode(answer: &crate::peer::Answer) -> Result<Answer, UnknownAnswer> {
    answer::decode(&answer.bytes)
}
