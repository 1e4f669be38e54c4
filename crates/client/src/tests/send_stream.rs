//! Streams of messages against nodes that fail in every way.

use conclave_core::Rejection;
use conclave_wire::{Problem, Reason};

use super::{
    TOTAL_LONG, TOTAL_SHORT, bob, client,
    fake::{Fake, Step},
    no_leader, refuse,
};
use crate::{CallError, Client, SendStreamOptions, SendTicket};

/// Sends messages in one stream; returns the results.
async fn send_all(client: &Client, count: usize) -> Vec<Result<u64, CallError>> {
    let stream = client.send_stream(SendStreamOptions::default());
    let mut tickets: Vec<SendTicket> = Vec::new();
    for number in 0..count {
        let text = format!("message {number}");
        tickets.push(stream.send(&bob(), text).await.unwrap());
    }
    drop(stream);
    let mut results = Vec::new();
    for ticket in tickets {
        results.push(ticket.result().await.map(|sent| sent.sequence.0));
    }
    results
}

/// Returns the texts that came to a node, each under its number, repeated ones once.
fn texts(node: &Fake) -> Vec<(u64, String)> {
    let texts = node.node.seen.texts.lock().unwrap();
    let mut seen: Vec<_> = texts
        .iter()
        .map(|(id, text)| (id.number, text.clone()))
        .collect();
    seen.dedup();
    seen
}

fn numbered(numbers: std::ops::Range<u64>) -> Vec<(u64, String)> {
    let text = |number| (number, format!("message {}", number - 1));
    numbers.map(text).collect()
}

#[tokio::test]
async fn messages_arrive_in_order_many_in_one_request() {
    let node = Fake::start(vec![]).await;
    let client = client(&[&node], TOTAL_LONG);
    let results = send_all(&client, 1000).await;
    let expected: Vec<_> = (1..=1000).map(Ok).collect();
    assert_eq!(results, expected);
    assert_eq!(texts(&node), numbered(1..1001));
    // Numbers go on where the stream has ended.
    assert_eq!(client.send(&bob(), "hi").await.unwrap().sequence.0, 1001);
}

#[tokio::test]
async fn what_has_no_result_goes_to_another_node_in_order() {
    let failures: [fn() -> Step; 5] = [
        || Step::Cut,
        || Step::Hang,
        || Step::Problem(Problem::GoingAway),
        || Step::Problem(Problem::OutcomeUnknown { waited_ms: 1 }),
        no_leader,
    ];
    for failure in failures {
        let one = Fake::start(vec![Step::Answer, Step::Answer, failure()]).await;
        let two = Fake::start(vec![]).await;
        let client = client(&[&one, &two], TOTAL_LONG);
        let results = send_all(&client, 50).await;
        assert_eq!(results, (1..=50).map(Ok).collect::<Vec<_>>());
        let (at_one, at_two) = (texts(&one), texts(&two));
        let first = at_two[0].0;
        assert!(first <= 3, "{first}");
        assert_eq!(at_two, numbered(first..51), "under the same numbers");
        assert!(at_one.len() >= 3, "{at_one:?}");
    }
}

#[tokio::test]
async fn a_refused_message_stops_none_behind_it() {
    let gone = || refuse(Rejection::NoSuchAccount);
    let node = Fake::start(vec![Step::Answer, gone(), Step::Answer, gone()]).await;
    let results = send_all(&client(&[&node], TOTAL_LONG), 5).await;
    let reasons: Vec<_> = results
        .iter()
        .map(|result| result.as_ref().map_err(|error| error.reason().unwrap()))
        .collect();
    let refused = Err(Reason::NoSuchAccount);
    assert_eq!(reasons, [Ok(&1), refused, Ok(&3), refused, Ok(&5)]);
    assert_eq!(node.sends().len(), 5);
}

#[tokio::test]
async fn a_message_over_the_rate_waits_with_all_behind_it() {
    let limited = Problem::RateLimited {
        sentence: "too many".to_owned(),
        wait_ms: 120,
    };
    let node = Fake::start(vec![Step::Answer, Step::Problem(limited)]).await;
    let began = tokio::time::Instant::now();
    let results = send_all(&client(&[&node], TOTAL_LONG), 4).await;
    assert_eq!(results, (1..=4).map(Ok).collect::<Vec<_>>());
    assert!(began.elapsed().as_millis() >= 120);
    let order = texts(&node);
    let again = order.iter().rposition(|(number, _)| *number == 2).unwrap();
    assert_eq!(order[again..], numbered(2..5));
}

#[tokio::test]
async fn a_refused_number_is_replaced_in_its_place() {
    let reused = || refuse(Rejection::RequestReused { last: 700 });
    let node = Fake::start(vec![Step::Answer, reused()]).await;
    let results = send_all(&client(&[&node], TOTAL_LONG), 3).await;
    assert_eq!(results, [Ok(1), Ok(701), Ok(3)]);
}

#[tokio::test]
async fn numbers_behind_one_out_of_range_are_replaced_too() {
    let far = || refuse(Rejection::RequestOutOfRange { last: 20 });
    let node = Fake::start(vec![far(), Step::Answer, far(), Step::Answer, far()]).await;
    let results = send_all(&client(&[&node], TOTAL_LONG), 3).await;
    assert_eq!(results, [Ok(21), Ok(22), Ok(23)]);
    let order: Vec<_> = texts(&node).into_iter().map(|(_, text)| text).collect();
    let expected = [0, 0, 1, 1, 2, 2].map(|number| format!("message {number}"));
    assert_eq!(order, expected);
}

#[tokio::test]
async fn without_an_answer_the_outcome_of_sent_ones_is_unknown() {
    let node = Fake::always(|| Step::Hang).await;
    let results = send_all(&client(&[&node], TOTAL_SHORT), 3).await;
    for result in &results {
        let unknown = matches!(
            result,
            Err(CallError::Unknown {
                request: Some(_),
                ..
            })
        );
        assert!(unknown, "{results:?}");
    }
    let mut stopped = Fake::start(vec![]).await;
    stopped.stop().await;
    let results = send_all(&client(&[&stopped], TOTAL_SHORT), 2).await;
    let is_certain =
        |result: &Result<u64, CallError>| matches!(result, Err(CallError::NotDone { .. }));
    assert!(results.iter().all(is_certain), "{results:?}");
}

#[tokio::test]
async fn without_a_session_every_message_is_refused() {
    let expired = Problem::SessionExpired {
        sentence: "log in".to_owned(),
    };
    let node = Fake::start(vec![Step::Answer, Step::Problem(expired)]).await;
    let results = send_all(&client(&[&node], TOTAL_LONG), 3).await;
    let expected = |certain| {
        Err(CallError::SessionExpired {
            sentence: "log in".to_owned(),
            certain,
        })
    };
    assert_eq!(results[0], Ok(1));
    // Nothing behind the first is executed, either.
    assert_eq!(results[1..], [expected(true), expected(true)]);
}
