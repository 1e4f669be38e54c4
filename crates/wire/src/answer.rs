//! Answers between nodes.
//!
//! An answer travels in the form in which it is remembered, so that one given from memory by an
//! old node and one given afresh are the same bytes.

use conclave_core::Answer;

/// Encodes an answer for a peer.
#[must_use]
pub fn encode(answer: &Answer) -> crate::peer::Answer {
    let json = serde_json::to_vec(answer).expect("answers have no keys that JSON cannot hold");
    crate::peer::Answer { json: json.into() }
}

/// Decodes the answer from a peer.
///
/// # Errors
/// If the bytes are not an answer that this version knows.
pub fn decode(answer: &crate::peer::Answer) -> Result<Answer, serde_json::Error> {
    serde_json::from_slice(&answer.json)
}
