//! Resume tokens: a position in the log of one cluster, valid on all its nodes.

use conclave_core::Position;
use conclave_wire::{Problem, Reason};

/// Version of the token format; another format gets another number.
const VERSION: u8 = 1;
/// Length of a token in bytes: version, cluster, position.
const BYTES: usize = 1 + 8 + 8;

/// Distinguishes the tokens of this cluster from those of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResumeTokenCodec([u8; 8]);

impl ResumeTokenCodec {
    pub(crate) fn new(cluster_id: &str) -> Self {
        let hash = blake3::hash(cluster_id.as_bytes());
        let (first, _) = hash
            .as_bytes()
            .split_first_chunk()
            .expect("a hash has 32 bytes");
        Self(*first)
    }

    /// Returns the token of a position.
    pub(crate) fn token(self, position: Position) -> Vec<u8> {
        let mut token = Vec::with_capacity(BYTES);
        token.push(VERSION);
        token.extend(self.0);
        token.extend(position.0.to_be_bytes());
        token
    }

    /// Returns the position of a token of this cluster.
    pub(crate) fn position(self, token: &[u8]) -> Result<Position, Problem> {
        let (head, position) = token.split_last_chunk::<8>().ok_or_else(invalid)?;
        match head {
            [VERSION, cluster @ ..] if cluster == self.0 => checked(u64::from_be_bytes(*position)),
            _ => Err(invalid()),
        }
    }
}

/// Returns a position that some node may have sent.
pub(crate) fn checked(position: u64) -> Result<Position, Problem> {
    // No node has a log index beyond this.
    let fits = i64::try_from(position).is_ok();
    fits.then_some(Position(position)).ok_or_else(invalid)
}

/// Returns the problem of a resume token that no node of this cluster has issued, or that is ahead
/// of its log.
pub(crate) fn invalid() -> Problem {
    Problem::Refused {
        reason: Reason::ResumeTokenInvalid,
        sentence: "the resume token is not of this cluster; begin without one".to_owned(),
        request_last: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_token_is_valid_only_in_its_cluster() {
        let codec = ResumeTokenCodec::new("a");
        let token = codec.token(Position::new(7, 3));
        assert_eq!(codec.position(&token), Ok(Position::new(7, 3)));
        assert!(ResumeTokenCodec::new("b").position(&token).is_err());
        for bad in [&[][..], &token[1..], &[0; BYTES], &[0xff; BYTES]] {
            assert!(codec.position(bad).is_err());
        }
        assert!(codec.position(&codec.token(Position(u64::MAX))).is_err());
    }
}
