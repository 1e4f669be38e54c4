//! A batch survives its encoding, and bytes from nowhere are errors.

use proptest::prelude::*;

use super::*;

fn origin() -> impl Strategy<Value = Origin> {
    prop_oneof![
        (1u64.., any::<u64>()).prop_map(|(session, number)| Origin::Session {
            session: SessionId(session),
            number
        }),
        any::<[u8; 16]>().prop_map(|id| Origin::Once(OnceId(id))),
    ]
}

fn name() -> impl Strategy<Value = AccountName> {
    "[A-Za-z0-9._-]{1,32}".prop_map(|name| AccountName::new(name).unwrap())
}

fn operation() -> impl Strategy<Value = Operation> {
    let text = "\\PC{1,40}".prop_map(|text| MessageText::new(text).unwrap());
    let to = prop_oneof![
        name().prop_map(Recipient::Account),
        any::<u64>().prop_map(|id| Recipient::Conversation(ConversationId(id))),
    ];
    let message = (any::<u64>(), any::<u64>()).prop_map(|(conversation, sequence)| MessageRef {
        conversation: ConversationId(conversation),
        sequence: Sequence(sequence),
    });
    prop_oneof![
        (name(), "\\$[ -~]{0,90}").prop_map(|(name, password_hash)| Operation::CreateAccount {
            name,
            password_hash
        }),
        Just(Operation::DeleteAccount),
        (any::<u64>(), any::<u64>(), any::<[u8; 32]>()).prop_map(|(account, version, token)| {
            Operation::OpenSession {
                account: AccountId(account),
                password_version: version,
                token: TokenHash(token),
            }
        }),
        Just(Operation::CloseSession),
        (to, text).prop_map(|(to, text)| Operation::SendMessage { to, text }),
        (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(conversation, delivered, read)| {
            Operation::AdvancePosition {
                conversation: ConversationId(conversation),
                progress: Progress {
                    delivered: Sequence(delivered),
                    read: Sequence(read),
                },
            }
        }),
        (prop::collection::vec(message, 1..5), any::<bool>()).prop_map(
            |(messages, for_everyone)| Operation::DeleteMessages {
                messages,
                for_everyone
            }
        ),
    ]
}

fn batch() -> impl Strategy<Value = Batch> {
    let command =
        (origin(), any::<u64>(), operation()).prop_map(|(origin, digest, operation)| Command {
            origin,
            digest: Digest(digest),
            operation,
        });
    (any::<u64>(), prop::collection::vec(command, 0..8)).prop_map(|(at, commands)| Batch {
        proposed_at: Timestamp(at),
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
}

#[test]
fn an_entry_of_a_newer_version_is_refused_not_skipped() {
    let newer = peer::Batch {
        feature_level: FEATURE_LEVEL + 1,
        ..peer::Batch::default()
    };
    let refused = decode(newer.encode_to_vec().into());
    assert!(
        matches!(refused, Err(DecodeError::FeatureLevel { needed: 2 })),
        "{refused:?}"
    );

    let command = peer::Command {
        session_id: 1,
        number: 1,
        ..peer::Command::default()
    };
    let unknown = peer::Batch {
        feature_level: 1,
        commands: vec![command],
        ..Default::default()
    };
    let refused = decode(unknown.encode_to_vec().into());
    assert!(
        matches!(refused, Err(DecodeError::UnknownOperation)),
        "{refused:?}"
    );
}
