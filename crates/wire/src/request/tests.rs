//! Every request stands for its own operation, and a digest distinguishes it from every other.

mod every;

use crate::Reason;
use std::collections::BTreeMap;

use conclave_core::{
    AdminOperation,
    limits::{DELETE_MESSAGES_MAX, INVITE_MS_MAX, INVITE_USES_MAX, POSITIONS_PER_REQUEST_MAX},
};

use self::every::{Made, SESSION, all, invite, made};
use super::*;

fn id() -> Option<v1::RequestId> {
    let (number, nonce) = (3, 9);
    Some(v1::RequestId { number, nonce })
}

fn reason(made: Made) -> Reason {
    made.unwrap_err().reason()
}

fn send(number: u64, nonce: u64, to: &str, text: &str) -> Result<Command, Problem> {
    let request = v1::SendMessageRequest {
        request: Some(v1::RequestId { number, nonce }),
        to: Some(v1::send_message_request::To::RecipientName(to.to_owned())),
        text: text.to_owned(),
        ..v1::SendMessageRequest::default()
    };
    request.into_command(SessionId(1))
}

#[test]
fn a_retry_has_the_same_digest_and_other_requests_do_not() {
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
    for blank in ["", " ", "\u{200b}", "\u{2800}\u{3164}"] {
        assert_eq!(
            reason(send(1, 1, "bob", blank)),
            Reason::TextEmpty,
            "{blank:?}"
        );
    }
    assert_eq!(reason(send(1, 1, "b ob", "x")), Reason::NameCharacter);
    assert_eq!(
        reason(send(1, 1, "bob", &"x".repeat(16 * 1024 + 1))),
        Reason::TextTooLong
    );
    let without_recipient = v1::SendMessageRequest {
        text: "x".to_owned(),
        ..Default::default()
    };
    assert_eq!(
        reason(without_recipient.into_command(SessionId(1))),
        Reason::RecipientMissing
    );
    let unnumbered = v1::CloseSessionRequest { request: None };
    assert_eq!(
        reason(unnumbered.into_command(SessionId(1))),
        Reason::RequestMissing
    );
    assert!(once_id(&[1; 15]).is_err());
    assert!(chosen_token(&[1; 31]).is_err());
}

#[test]
fn a_page_has_a_default_and_a_maximum() {
    assert_eq!(
        (page_size(0, 50), page_size(7, 50), page_size(9999, 50)),
        (50, 7, PAGE_MAX)
    );
}

#[test]
fn every_request_maps_to_its_operation_and_number() {
    let origin = Origin::Session {
        session: SESSION,
        number: 3,
    };
    for (made, operation) in all(id()) {
        let command = made.unwrap();
        assert_eq!((command.origin, command.operation), (origin, operation));
    }
}

#[test]
fn no_request_has_the_digest_of_another() {
    let mut known = BTreeMap::new();
    for (made, operation) in all(id()) {
        let digest = made.unwrap().digest;
        if let Some(other) = known.insert(digest, operation.clone()) {
            panic!("{operation:?} is taken for {other:?}");
        }
    }
    for (made, operation) in all(Some(v1::RequestId {
        number: 3,
        nonce: 8,
    })) {
        let other = known.insert(made.unwrap().digest, operation);
        assert_eq!(other, None, "another program");
    }
}

#[test]
fn a_request_without_a_number_is_refused() {
    for (made, operation) in all(None) {
        assert_eq!(
            made.unwrap_err().reason(),
            Reason::RequestMissing,
            "{operation:?}"
        );
    }
}

#[test]
fn a_password_does_not_affect_the_request_digest() {
    let digest = |version, hash: &str| {
        let command = change_password(SESSION, id(), version, hash.to_owned());
        command.unwrap().digest
    };
    assert_eq!(digest(1, "$a"), digest(2, "$b"));
}

#[test]
fn an_invite_has_defaults_and_bounds() {
    let made = |ttl_seconds, uses| match invite(id(), ttl_seconds, uses).unwrap().operation {
        Operation::Admin(AdminOperation::CreateInvite { ttl_ms, uses, .. }) => (ttl_ms, uses),
        other => panic!("{other:?}"),
    };
    let week = 7 * 24 * 60 * 60 * 1000;
    let longest = INVITE_MS_MAX / 1000;
    assert_eq!(made(0, 0), (week, 1));
    assert_eq!(made(60, 1), (60_000, 1));
    assert_eq!(
        made(longest, INVITE_USES_MAX),
        (INVITE_MS_MAX, INVITE_USES_MAX)
    );
    for (ttl_seconds, uses) in [
        (59, 1),
        (1, 1),
        (longest + 1, 1),
        (u64::MAX, 1),
        (60, INVITE_USES_MAX + 1),
    ] {
        let refused = invite(id(), ttl_seconds, uses);
        assert_eq!(
            reason(refused),
            Reason::InviteOutOfRange,
            "{ttl_seconds} {uses}"
        );
    }
}

#[test]
fn empty_and_overlong_lists_are_refused_with_the_bound() {
    let delete = |count| {
        made(v1::DeleteMessagesRequest {
            request: id(),
            messages: vec![v1::MessageRef::default(); count],
            for_everyone: false,
        })
    };
    let advance = |count| {
        made(v1::AdvancePositionsRequest {
            request: id(),
            progress: vec![v1::Progress::default(); count],
        })
    };
    let lists: [(&dyn Fn(usize) -> Made, usize); 2] = [
        (&delete, DELETE_MESSAGES_MAX),
        (&advance, POSITIONS_PER_REQUEST_MAX),
    ];
    for (list, max) in lists {
        assert_eq!(reason(list(0)), Reason::ListEmpty);
        assert!(list(1).is_ok() && list(max).is_ok());
        let refused = list(max + 1).unwrap_err();
        assert_eq!(refused.reason(), Reason::ListTooLong);
        let sentence = refused.to_string();
        assert!(sentence.contains(&format!(" {max} ")), "{sentence}");
    }
}

#[test]
fn requests_with_missing_fields_are_refused() {
    let role = v1::SetMemberRoleRequest {
        request: id(),
        name: "den".into(),
        account_name: "bob".into(),
        role: 0,
    };
    assert_eq!(reason(made(role)), Reason::RoleMissing);
    let role = v1::SetAccountRoleRequest {
        request: id(),
        name: "bob".into(),
        role: 99,
    };
    assert_eq!(reason(made(role)), Reason::RoleMissing);
    let edit = v1::EditMessageRequest {
        request: id(),
        message: None,
        text: "x".into(),
    };
    assert_eq!(reason(made(edit)), Reason::MessageMissing);
    for (reaction, refused) in [
        ("", Reason::LineInvalid),
        ("a b", Reason::ReactionInvalid),
        ("a\u{7}", Reason::LineInvalid),
        (&"x".repeat(33), Reason::LineInvalid),
    ] {
        let react = v1::SetReactionRequest {
            request: id(),
            message: Some(v1::MessageRef::default()),
            reaction: reaction.into(),
            present: true,
        };
        assert_eq!(reason(made(react)), refused, "{reaction:?}");
    }
    let join = v1::JoinRoomRequest {
        request: id(),
        name: "#den".into(),
    };
    assert_eq!(
        reason(made(join)),
        Reason::NameCharacter,
        "clients strip it"
    );
}
