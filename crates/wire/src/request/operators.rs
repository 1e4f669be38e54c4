//! Requests of operators. They come outside of any session, with a credential.

use conclave_core::{
    AckPolicy, ClusterOperation, ClusterRetention, Command, JoinTokenId, NodeId, OnceId, Operation,
    OperatorName, OperatorRequest, Origin, Rejection, RetentionChange, TokenHash,
    limits::JOIN_TOKEN_MS_MAX,
};

use super::digest;
use crate::{Problem, Reason, v1};

/// How long a join token can be used if its maker does not say, in milliseconds.
const JOIN_TOKEN_MS_DEFAULT: u64 = 24 * 60 * 60 * 1000;

/// Makes the request for a token with which one machine can join, with the token's hash.
///
/// # Errors
/// [`Problem::Refused`] if a bound is broken.
pub fn create_join_token(
    request: &v1::CreateJoinTokenRequest,
    token: TokenHash,
) -> Result<OperatorRequest, Problem> {
    let ttl_ms = match request.ttl_seconds {
        0 => JOIN_TOKEN_MS_DEFAULT,
        seconds => seconds.saturating_mul(1000),
    };
    if ttl_ms > JOIN_TOKEN_MS_MAX {
        return Err(Rejection::JoinTokenOutOfRange.into());
    }
    Ok(OperatorRequest::CreateJoinToken {
        token,
        ttl_ms,
        voter: !request.learner,
    })
}

/// Makes the request to revoke a join token.
///
/// # Errors
/// [`Problem::Refused`] if the id is none.
pub fn revoke_join_token(id: &str) -> Result<OperatorRequest, Problem> {
    let known = || {
        Problem::refused(
            Reason::TokenIdInvalid,
            "a token's id has 8 characters: 0-9, a-f",
        )
    };
    let id = id.trim();
    let digits = id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u32::from_str_radix(id, 16).ok();
    let number = number.filter(|_| digits && id.len() == 8);
    Ok(OperatorRequest::RevokeJoinToken {
        id: JoinTokenId(number.ok_or_else(known)?.to_be_bytes()),
    })
}

/// Makes the request for another preferred leader; 0: any node that is elected.
#[must_use]
pub fn prefer_leader(node: u64) -> OperatorRequest {
    OperatorRequest::PreferLeader {
        node: (node != 0).then_some(NodeId(node)),
    }
}

/// Makes the request to set which voters acknowledgements wait for.
///
/// # Errors
/// [`Problem::Refused`] if the request names none.
pub fn set_ack_policy(policy: v1::AckPolicy) -> Result<OperatorRequest, Problem> {
    let policy = match policy {
        v1::AckPolicy::Majority => AckPolicy::Majority,
        v1::AckPolicy::All => AckPolicy::All,
        v1::AckPolicy::Unspecified => {
            let sentence = "the request names no policy of acknowledgements";
            return Err(Problem::refused(Reason::AckPolicyMissing, sentence));
        }
    };
    Ok(OperatorRequest::SetAckPolicy { policy })
}

/// Makes the request to keep messages differently long, or another number of them.
///
/// # Errors
/// [`Problem::Refused`] if a value is out of range.
pub fn set_retention(request: &v1::ChangeRetentionRequest) -> Result<OperatorRequest, Problem> {
    let change = RetentionChange {
        age_ms: request.age_ms,
        messages: request.messages,
        rooms_may_exceed: request.rooms_may_exceed,
        total_messages: request.total_messages,
    };
    if !ClusterRetention::default().with(change).is_valid() {
        return Err(Rejection::RetentionOutOfRange.into());
    }
    Ok(OperatorRequest::SetRetention { change })
}

/// Makes the request for another operator, with the hash of its credential.
///
/// # Errors
/// [`Problem::Refused`] if the name is none.
pub fn create_operator(name: String, token: TokenHash) -> Result<OperatorRequest, Problem> {
    let name = OperatorName::new(name)?;
    Ok(OperatorRequest::CreateOperator { name, token })
}

/// Makes the request to remove an operator.
///
/// # Errors
/// [`Problem::Refused`] if the name is none.
pub fn revoke_operator(name: String) -> Result<OperatorRequest, Problem> {
    let name = OperatorName::new(name)?;
    Ok(OperatorRequest::RevokeOperator { name })
}

/// Makes the command of an operator with this credential.
#[must_use]
pub fn by_operator(id: OnceId, credential: TokenHash, request: OperatorRequest) -> Command {
    let shown = &credential.0[..];
    let digest = match &request {
        OperatorRequest::CreateJoinToken {
            token,
            ttl_ms,
            voter,
        } => {
            let parts = [shown, &token.0, &ttl_ms.to_le_bytes(), &[u8::from(*voter)]];
            digest(0, "create_join_token", &parts)
        }
        OperatorRequest::RevokeJoinToken { id } => digest(0, "revoke_join_token", &[shown, &id.0]),
        OperatorRequest::PreferLeader { node } => {
            let node = node.map_or(0, |node| node.0).to_le_bytes();
            digest(0, "prefer_leader", &[shown, &node])
        }
        OperatorRequest::SetAckPolicy { policy } => digest(
            0,
            "set_ack_policy",
            &[shown, &[u8::from(*policy == AckPolicy::All)]],
        ),
        OperatorRequest::SetRetention { change } => {
            let number = |value: Option<u64>| match value {
                Some(value) => value.to_le_bytes().to_vec(),
                None => Vec::new(),
            };
            let may = change.rooms_may_exceed.map(u64::from);
            let values = [change.age_ms, change.messages, may, change.total_messages];
            let [age, messages, may, total] = values.map(number);
            let parts: &[&[u8]] = &[shown, &age, &messages, &may, &total];
            digest(0, "set_retention", parts)
        }
        OperatorRequest::CreateOperator { name, token } => {
            let parts = [shown, name.as_str().as_bytes(), &token.0];
            digest(0, "create_operator", &parts)
        }
        OperatorRequest::RevokeOperator { name } => {
            let key = name.key();
            digest(0, "revoke_operator", &[shown, key.as_bytes()])
        }
    };
    Command {
        origin: Origin::Once(id),
        digest,
        operation: Operation::Cluster(ClusterOperation::ByOperator {
            credential,
            request,
        }),
    }
}

/// Makes the command that gives a cluster its first operator.
#[must_use]
pub fn make_first_operator(id: OnceId, token: TokenHash) -> Command {
    Command {
        origin: Origin::Once(id),
        digest: digest(0, "make_first_operator", &[&token.0]),
        operation: Operation::Cluster(ClusterOperation::MakeFirstOperator { token }),
    }
}

/// Makes the command that replaces all operators by one.
#[must_use]
pub fn reset_operators(id: OnceId, token: TokenHash) -> Command {
    Command {
        origin: Origin::Once(id),
        digest: digest(0, "reset_operators", &[&token.0]),
        operation: Operation::Cluster(ClusterOperation::ResetOperators { token }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_field_and_credential_changes_the_request_digest() {
        let (a, b) = (TokenHash([1; 32]), TokenHash([2; 32]));
        let token = |ttl_seconds, learner, hash| {
            let request = v1::CreateJoinTokenRequest {
                ttl_seconds,
                learner,
                ..Default::default()
            };
            create_join_token(&request, hash).unwrap()
        };
        let in_all = |total| {
            let request = v1::ChangeRetentionRequest {
                total_messages: Some(total),
                ..Default::default()
            };
            set_retention(&request).unwrap()
        };
        let retention = |age_ms, messages| {
            let request = v1::ChangeRetentionRequest {
                age_ms,
                messages,
                ..Default::default()
            };
            set_retention(&request).unwrap()
        };
        let requests = [
            token(60, false, a),
            token(60, false, b),
            token(61, false, a),
            token(60, true, a),
            revoke_join_token("01020304").unwrap(),
            revoke_join_token("01020305").unwrap(),
            prefer_leader(0),
            prefer_leader(1),
            set_ack_policy(v1::AckPolicy::Majority).unwrap(),
            set_ack_policy(v1::AckPolicy::All).unwrap(),
            create_operator("eva".to_owned(), a).unwrap(),
            create_operator("eva".to_owned(), b).unwrap(),
            create_operator("max".to_owned(), a).unwrap(),
            revoke_operator("eva".to_owned()).unwrap(),
            revoke_operator("max".to_owned()).unwrap(),
            retention(None, None),
            retention(Some(60_000), None),
            retention(Some(60_001), None),
            retention(None, Some(60_000)),
            retention(None, Some(0)),
            in_all(60_000),
        ];
        let id = OnceId([7; 16]);
        let mut digests = BTreeSet::new();
        for request in &requests {
            for credential in [a, b] {
                let command = by_operator(id, credential, request.clone());
                assert_eq!(command.origin, Origin::Once(id));
                digests.insert(command.digest);
            }
        }
        for token in [a, b] {
            digests.insert(make_first_operator(id, token).digest);
            digests.insert(reset_operators(id, token).digest);
        }
        assert_eq!(digests.len(), 2 * requests.len() + 4);
    }

    #[test]
    fn malformed_operator_requests_are_refused() {
        for id in ["", "1", "0102030g", "+1020304", "010203045", "é1020"] {
            let refused = revoke_join_token(id).unwrap_err();
            assert_eq!(refused.reason(), Reason::TokenIdInvalid, "{id}");
        }
        let id = JoinTokenId([0, 0xab, 2, 3]);
        let asked = revoke_join_token(&format!(" {id}\n")).unwrap();
        assert_eq!(asked, OperatorRequest::RevokeJoinToken { id });
        let refused = create_operator("e v a".to_owned(), TokenHash([1; 32]));
        assert_eq!(refused.unwrap_err().reason(), Reason::NameCharacter);
        let long = v1::CreateJoinTokenRequest {
            ttl_seconds: u64::MAX,
            ..Default::default()
        };
        let refused = create_join_token(&long, TokenHash([1; 32])).unwrap_err();
        assert_eq!(refused.reason(), Reason::JoinTokenOutOfRange);
        let brief = v1::ChangeRetentionRequest {
            age_ms: Some(1),
            ..Default::default()
        };
        let refused = set_retention(&brief).unwrap_err();
        assert_eq!(refused.reason(), Reason::RetentionOutOfRange);
    }
}
