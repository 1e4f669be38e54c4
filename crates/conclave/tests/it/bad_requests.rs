//! Well-formed requests that their caller may not make are refused with a word and a sentence and
//! change nothing: a wrong password, a message of another author, a session that is over, a request
//! number that is used up.

use std::time::Duration;

use conclave_client::{
    CallError, Page, StartAt,
    core::{MessageRef, Sequence, SessionId},
    v1::{self, session_service_client::SessionServiceClient},
};
use tokio::time::Instant;
use tonic::Code;

use crate::{
    bad_input::{FRESH, User, invalid, reason},
    command::{Home, Person},
    foreign::{channel, refusal, with_token},
    witness::{PASSWORD, client_of, person, sign_up},
};

/// More than the lifetime of an unused session, in milliseconds.
const SESSION_IS_OVER_MS: u64 = 31 * 24 * 60 * 60 * 1000;
/// Environment variable that sets the offset of a node's clock.
const CLOCK_VARIABLE: &str = "CONCLAVE_CLOCK_OFFSET_MS";

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_user_and_a_wrong_password_look_the_same() {
    let home = Home::new().await;
    let node = home.alone("data").await;
    sign_up(&node.client(), "alice").await;
    let mut sessions = SessionServiceClient::new(channel(&node.client_address).await);
    let mut refused = Vec::new();
    let attempts = [
        ("alice", "wrong password"),
        ("mallory", "wrong password"),
        ("mallory", PASSWORD),
        ("no such name!", PASSWORD),
        ("alice", "short"),
        ("", ""),
    ];
    for (name, password) in attempts {
        let request = v1::OpenSessionRequest {
            name: name.to_owned(),
            password: password.to_owned(),
            ..Default::default()
        };
        let status = sessions.open_session(request).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        refused.push((status.message().to_owned(), status.details().to_vec()));
    }
    refused.dedup();
    assert_eq!(refused.len(), 1, "they differ: {refused:?}");
    // An unknown name costs a password verification, too: at least a good part of the time.
    let mut took = Vec::new();
    for name in ["alice", "mallory"] {
        let mut best = Duration::MAX;
        for _ in 0..3 {
            let began = Instant::now();
            assert!(node.client().login(name, "wrong password").await.is_err());
            best = best.min(began.elapsed());
        }
        took.push(best);
    }
    assert!(
        took[1] > took[0] / 5,
        "{took:?}: names can be guessed by time"
    );
    let terminal = Person::new(std::slice::from_ref(&node.client_address));
    let mut said = Vec::new();
    for name in ["alice", "mallory"] {
        let login = ["login", name, "--password-stdin"];
        let ran = terminal.run_with(&login, b"wrong password\n").await;
        // The answers differ only in the name that was typed.
        said.push((ran.code, ran.stderr.replacen(name, "NAME", 1)));
    }
    assert_eq!((said[0].0, &said[0].1), (Some(4), &said[1].1));
    node.client().login("alice", PASSWORD).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_another_author_cannot_be_deleted() {
    let home = Home::new().await;
    let node = home.alone("data").await;
    let alice = User::new(&node, "alice").await;
    let bob = User::new(&node, "bob").await;
    let mallory = User::new(&node, "mallory").await;
    let theirs = alice.client.send(&person("bob"), "hers").await.unwrap();
    let own = bob.client.send(&person("alice"), "his").await.unwrap();
    let [theirs, own] = [theirs, own].map(|sent| MessageRef {
        conversation: sent.conversation,
        sequence: sent.sequence,
    });
    let never = MessageRef {
        sequence: Sequence(3),
        ..own
    };
    let refused = bob.client.delete_messages(&[theirs], true).await;
    assert_eq!(reason(refused), "NOT_YOUR_MESSAGE");
    // Either all messages are deleted or none.
    let refused = bob.client.delete_messages(&[own, theirs], true).await;
    assert_eq!(reason(refused), "NOT_YOUR_MESSAGE");
    let refused = bob.client.delete_messages(&[own, never], true).await;
    assert_eq!(reason(refused), "NO_SUCH_MESSAGE");
    // A caller outside the conversation does not learn that it exists.
    for everyone in [true, false] {
        let refused = mallory.client.delete_messages(&[theirs], everyone).await;
        assert!(reason(refused).starts_with("NO_SUCH_"));
    }
    let conversation = conclave_client::core::Recipient::Conversation(own.conversation);
    let page = mallory
        .client
        .messages(&conversation, Page::Newest, 9, FRESH);
    assert_eq!(reason(page.await), "NO_SUCH_CONVERSATION");
    let sent = mallory.client.send(&conversation, "let me in").await;
    assert_eq!(reason(sent), "NO_SUCH_CONVERSATION");
    let terminal = Person::new(std::slice::from_ref(&node.client_address));
    terminal.run(&["login", "bob"]).await.succeeded();
    let id = format!("{}.{}", theirs.conversation, theirs.sequence);
    let refused = terminal.run(&["delete", &id, "--everyone"]).await;
    refused.failed(4, "");
    for (user, with) in [(&alice, "bob"), (&bob, "alice")] {
        assert_eq!(user.history(with).await, ["hers", "his"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_session_is_refused_with_its_reason() {
    let home = Home::new().await;
    let node = home.alone("data").await;
    let alice = User::new(&node, "alice").await;
    alice.client.send(&person("alice"), "before").await.unwrap();
    let terminal = Person::named(std::slice::from_ref(&node.client_address), "bob").await;
    node.stop().await;
    let later = SESSION_IS_OVER_MS.to_string();
    let node = home
        .try_alone("data", &[], &[(CLOCK_VARIABLE, &later)])
        .await;
    let node = node.unwrap();
    // The first request after the restart moves log time.
    let login = node.client().login("alice", PASSWORD).await.unwrap();
    let old = client_of(&node.client_address, &alice.login.token);
    let outcomes = [
        old.send(&person("alice"), "after").await.map(drop),
        old.session(FRESH).await.map(drop),
        old.messages(&person("alice"), Page::Newest, 9, FRESH)
            .await
            .map(drop),
        old.subscribe(StartAt::Beginning).next().await.map(drop),
    ];
    for outcome in outcomes {
        let Err(CallError::SessionExpired { sentence, certain }) = outcome else {
            panic!("it is not told so: {outcome:?}");
        };
        assert!(certain && sentence.contains("session"), "{sentence}");
    }
    let ran = terminal
        .run(&["whoami", "--endpoints", &node.client_address])
        .await;
    assert!(ran.stderr.contains("conclave login"), "{ran:?}");
    ran.failed(4, "session");
    let alice = client_of(&node.client_address, &login.token);
    assert_ne!(login.session, SessionId(0));
    let page = alice
        .messages(&person("alice"), Page::Newest, 9, FRESH)
        .await;
    assert_eq!(page.unwrap().messages.len(), 1, "nothing lost, nothing new");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_number_used_for_something_else_is_refused() {
    let home = Home::new().await;
    let node = home.alone("data").await;
    let (mut alice, _bob) = (
        User::new(&node, "alice").await,
        User::new(&node, "bob").await,
    );
    let first = alice.send_as(Some((1, 7)), "once").await.unwrap();
    let again = alice.send_as(Some((1, 7)), "once").await.unwrap();
    assert_eq!((first.sequence, again.sequence), (1, 1));
    assert_eq!(first, again, "a retry gets the first answer");
    let reused = invalid("REQUEST_REUSED");
    // Another text, another program, another kind of request under the same number.
    assert_eq!(refusal(alice.send_as(Some((1, 7)), "other").await), reused);
    assert_eq!(refusal(alice.send_as(Some((1, 8)), "once").await), reused);
    let progress = v1::Progress {
        conversation_id: first.conversation_id,
        sequence_delivered: 1,
        sequence_read: 1,
    };
    let advance = v1::AdvancePositionsRequest {
        request: Some(v1::RequestId {
            number: 1,
            nonce: 7,
        }),
        progress: vec![progress],
    };
    let advance = with_token(advance, &alice.login.token);
    assert_eq!(refusal(alice.bare.advance_positions(advance).await), reused);
    assert_eq!(
        refusal(alice.send_as(None, "x").await),
        invalid("REQUEST_MISSING")
    );
    for number in [0, 10_000, u64::MAX] {
        let refused = refusal(alice.send_as(Some((number, 7)), "x").await);
        assert_eq!(refused, invalid("REQUEST_OUT_OF_RANGE"), "{number}");
    }
    alice.send_as(Some((250, 7)), "jump").await.unwrap();
    alice.send_as(Some((400, 7)), "further").await.unwrap();
    let old = refusal(alice.send_as(Some((2, 7)), "x").await);
    assert_eq!(old, (Code::OutOfRange, "REQUEST_TOO_OLD".to_owned()));
    assert_eq!(alice.history("bob").await, ["once", "jump", "further"]);
}
