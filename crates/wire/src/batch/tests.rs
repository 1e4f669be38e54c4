//! A batch survives its encoding, and bytes from nowhere are errors.

use proptest::prelude::*;

use super::*;

#[path = "../../../storage/tests/state_edges/edges.rs"]
mod edges;
mod operations;

use operations::operation;

/// Decodes as a build does that knows every version.
fn decode(bytes: Bytes) -> Result<Batch, DecodeError> {
    super::decode(bytes, ClusterVersion(u32::MAX))
}

fn origin() -> impl Strategy<Value = Origin> {
    prop_oneof![
        any::<[u64; 2]>().prop_map(|[session, number]| Origin::Session {
            session: SessionId(session),
            number
        }),
        any::<[u8; 16]>().prop_map(|id| Origin::Once(OnceId(id))),
    ]
}

fn batch() -> impl Strategy<Value = Batch> {
    let command =
        (origin(), any::<u64>(), operation()).prop_map(|(origin, digest, operation)| Command {
            origin,
            digest: Digest(digest),
            operation,
        });
    let commands = prop::collection::vec(command, 0..8);
    (any::<u64>(), any::<u64>(), commands).prop_map(|(at, date, commands)| Batch {
        proposed_at: Timestamp(at),
        date: Timestamp(date),
        commands,
    })
}

proptest! {
    #[test]
    fn every_field_survives_the_log(batch in batch()) {
        prop_assert_eq!(decode(encode(&batch)).unwrap(), batch);
    }

    #[test]
    fn arbitrary_bytes_are_an_error_or_a_batch(
        bytes in prop::collection::vec(any::<u8>(), 0..200)
    ) {
        let _ = decode(bytes.into());
    }

    #[test]
    fn a_damaged_batch_is_an_error_or_another_batch(
        batch in batch(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = encode(&batch).to_vec();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        // What got through its bounds is a batch like any other.
        if let Ok(other) = decode(bytes.into()) {
            prop_assert_eq!(decode(encode(&other)).unwrap(), other);
        }
    }
}

/// Checks that no operation that the rules can be asked to decide stops a node that reads it from
/// its log.
#[test]
fn edge_values_of_every_operation_survive_the_log() {
    let numbers = edges::NUMBERS.into_iter().flat_map(edges::operations);
    for operation in numbers.chain(edges::texts()) {
        for session in edges::NUMBERS {
            let command = Command {
                origin: Origin::Session {
                    session: SessionId(session),
                    number: session,
                },
                digest: Digest(session),
                operation: operation.clone(),
            };
            let batch = Batch {
                proposed_at: Timestamp(session),
                date: Timestamp(session),
                commands: vec![command],
            };
            assert_eq!(decode(encode(&batch)).unwrap(), batch);
        }
    }
}

#[test]
fn an_entry_of_a_newer_version_is_refused_not_skipped() {
    let raise = Command {
        origin: Origin::Once(OnceId([0; 16])),
        digest: Digest(0),
        operation: Operation::Cluster(ClusterOperation::RaiseVersion {
            to: ClusterVersion(7),
            asked: Vec::new(),
        }),
    };
    let newer = encode(&Batch {
        proposed_at: Timestamp(0),
        date: Timestamp(0),
        commands: vec![raise],
    });
    assert!(super::decode(newer.clone(), ClusterVersion(7)).is_ok());
    let refused = super::decode(newer, ClusterVersion(6));
    assert!(
        matches!(refused, Err(DecodeError::Version { needed: 7, .. })),
        "{refused:?}"
    );

    let command = peer::Command {
        session_id: 1,
        number: 1,
        ..peer::Command::default()
    };
    let unknown = peer::Batch {
        needs_version: 1,
        commands: vec![command],
        ..Default::default()
    };
    let refused = decode(unknown.encode_to_vec().into());
    assert!(
        matches!(refused, Err(DecodeError::UnknownOperation)),
        "{refused:?}"
    );
}

#[test]
fn an_entry_needs_the_version_of_its_newest_operation() {
    let command = |operation| Command {
        origin: Origin::Once(OnceId([0; 16])),
        digest: Digest(0),
        operation,
    };
    let admit = |newest| {
        command(Operation::Cluster(ClusterOperation::AdmitNode {
            credential: conclave_core::JoinCredential::Secret { voter: true },
            known_last: conclave_core::NodeId(0),
            newest,
        }))
    };
    let old = admit(None);
    let new = admit(Some(ClusterVersion(9)));
    let level = |commands: &[&Command]| {
        let batch = Batch {
            proposed_at: Timestamp(0),
            date: Timestamp(0),
            commands: commands.iter().map(|command| (*command).clone()).collect(),
        };
        peer::Batch::decode(encode(&batch)).unwrap().needs_version
    };
    assert_eq!(level(&[]), 1);
    assert_eq!(level(&[&old, &old]), 1);
    assert_eq!(level(&[&old, &new, &old]), 2);
}

fn decoded(operation: peer::command::Operation) -> Result<Command, DecodeError> {
    decode_command(peer::Command {
        session_id: 1,
        number: 1,
        operation: Some(operation),
        ..peer::Command::default()
    })
}

/// Operations that break one bound each: no client's request produces one.
fn out_of_bounds() -> Vec<peer::command::Operation> {
    use peer::{command::Operation as Encoded, send_message::To};
    let name = || "bob".to_owned();
    let long = || "x".repeat(16 * 1024 + 1);
    let send = |to, text| {
        Encoded::SendMessage(peer::SendMessage {
            to: Some(to),
            text,
            ..peer::SendMessage::default()
        })
    };
    vec![
        send(To::ConversationId(1), String::new()),
        send(To::ConversationId(1), long()),
        send(To::RecipientName("b b".to_owned()), name()),
        send(To::RoomName("#den".to_owned()), name()),
        Encoded::EditMessage(peer::EditMessage::default()),
        Encoded::SetReaction(peer::SetReaction::default()),
        Encoded::SetDisplayName(peer::SetDisplayName {
            display_name: "x".repeat(513),
        }),
        Encoded::SetTopic(peer::SetTopic {
            name: name(),
            topic: "\n".to_owned(),
        }),
        Encoded::JoinRoom(peer::JoinRoom { name: long() }),
        Encoded::PostByWebhook(peer::PostByWebhook {
            token_hash: vec![0; 32].into(),
            text: long(),
            keyed: true,
        }),
    ]
}

#[test]
fn a_bound_that_was_checked_before_is_checked_again() {
    for operation in out_of_bounds() {
        let refused = decoded(operation.clone());
        let kept = matches!(refused, Err(DecodeError::Bounds(_)));
        assert!(kept, "{operation:?}: {refused:?}");
    }
}

#[test]
fn empty_incomplete_and_overlong_lists_are_refused() {
    use peer::command::Operation as Encoded;
    let delete = |numbers: usize| {
        decoded(Encoded::DeleteMessages(peer::DeleteMessages {
            conversation_sequence_pairs: vec![1; numbers],
            for_everyone: true,
        }))
    };
    let advance = |numbers: usize| {
        decoded(Encoded::AdvancePositions(peer::AdvancePositions {
            conversation_delivered_read_triples: vec![1; numbers],
        }))
    };
    for good in [delete(2), delete(2 * 500), advance(3), advance(3 * 256)] {
        assert!(good.is_ok(), "{good:?}");
    }
    for bad in [delete(0), delete(3), advance(0), advance(4), advance(5)] {
        let empty = matches!(bad, Err(DecodeError::Bounds(Rejection::ListEmpty)));
        assert!(empty, "{bad:?}");
    }
    // The oldest messages of all are forgotten without naming a conversation.
    let forget = |numbers: usize| {
        decoded(Encoded::ForgetMessages(peer::ForgetMessages {
            conversation_ids: vec![1; numbers],
        }))
    };
    assert!(forget(0).is_ok() && forget(64).is_ok());
    for bad in [delete(2 * 501), advance(3 * 257), forget(65)] {
        let long = matches!(bad, Err(DecodeError::Bounds(Rejection::ListTooLong)));
        assert!(long, "{bad:?}");
    }
}

#[test]
fn hashes_of_wrong_length_and_unknown_roles_are_refused() {
    use peer::command::Operation as Encoded;
    let offer = |bytes: usize| {
        decoded(Encoded::OfferSetup(peer::OfferSetup {
            token_hash: vec![0; bytes].into(),
        }))
    };
    let count = |account: usize, address: usize| {
        let keys = peer::LoginKeys {
            account_key: vec![0; account].into(),
            address_key: vec![0; address].into(),
            pair_key: vec![0; 16].into(),
            device_key: None,
            session_key: Some(vec![0; account].into()),
        };
        decoded(Encoded::TryPassword(peer::TryPassword { keys: Some(keys) }))
    };
    assert!(offer(32).is_ok() && count(16, 16).is_ok());
    for bad in [offer(0), offer(31), offer(33), count(15, 16), count(16, 17)] {
        assert!(matches!(bad, Err(DecodeError::Length(_))), "{bad:?}");
    }
    let name = || "bob".to_owned();
    let of_account = Encoded::SetAccountRole(peer::SetAccountRole {
        name: name(),
        role: 3,
    });
    let of_member = Encoded::SetMemberRole(peer::SetMemberRole {
        name: name(),
        account_name: name(),
        role: 3,
    });
    for operation in [of_account, of_member] {
        let refused = decoded(operation);
        assert!(
            matches!(refused, Err(DecodeError::UnknownOperation)),
            "{refused:?}"
        );
    }
}
