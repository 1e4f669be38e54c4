//! The progress of a stream, as bytes that outlive the program.
//!
//! A node's token covers whole responses. Where only a part of one was handed out, the bytes are
//! the token before it and the position in it; otherwise they are a node's token as it is.

use bytes::Bytes;
use conclave_core::Position;

/// First byte of a token that is not a node's token as it is.
const WITH_POSITION: u8 = b'+';

/// The progress of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Resume {
    /// A node's token; empty if none was given yet.
    pub(super) token: Bytes,
    /// Events up to here were handed out, even if the token does not cover them.
    pub(super) after: Position,
    /// The position that the token is known to cover.
    covered: Position,
}

impl Resume {
    pub(super) fn parse(bytes: Vec<u8>) -> Self {
        match bytes.split_first() {
            Some((&WITH_POSITION, rest)) => match rest.split_first_chunk::<8>() {
                Some((position, token)) => Self {
                    token: Bytes::copy_from_slice(token),
                    after: Position(u64::from_be_bytes(*position)),
                    covered: Position(0),
                },
                // The bytes are not of our making: a node will refuse them.
                None => Self::whole(bytes),
            },
            _ => Self::whole(bytes),
        }
    }

    pub(super) fn at(after: Position) -> Self {
        Self {
            after,
            ..Self::default()
        }
    }

    fn whole(bytes: Vec<u8>) -> Self {
        Self {
            token: bytes.into(),
            ..Self::default()
        }
    }

    /// Records that everything that the token covers was handed out.
    pub(super) fn cover(&mut self, token: Bytes) {
        self.token = token;
        self.covered = self.after;
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        if self.after <= self.covered {
            return self.token.to_vec();
        }
        let position = self.after.0.to_be_bytes();
        [&[WITH_POSITION][..], &position, &self.token].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resume_token_holds_a_position_within_a_response() {
        let mut resume = Resume::parse(vec![1, 2, 3]);
        assert_eq!(resume.to_bytes(), [1, 2, 3], "a node's own");
        resume.after = Position(7);
        let again = Resume::parse(resume.to_bytes());
        assert_eq!(
            (&again.token[..], again.after),
            (&[1, 2, 3][..], Position(7))
        );
        assert_eq!(again.to_bytes(), resume.to_bytes());
        resume.cover(vec![4].into());
        assert_eq!(resume.to_bytes(), [4]);
    }
}
