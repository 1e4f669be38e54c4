//! What the proposer gathers before it proposes.

use super::*;

#[test]
fn commands_gather_only_while_others_are_under_way_or_expected() {
    let leave_alone = |commands, before| is_worth_an_entry(commands, true, before);
    assert!(leave_alone(1, 0) && leave_alone(1, 1) && leave_alone(1, 2));
    assert!(!leave_alone(1, 3) && !leave_alone(7, 16) && leave_alone(8, 16));
    assert!(leave_alone(GATHER_COMMANDS, BATCH_COMMANDS_MAX));
    assert!(!is_worth_an_entry(1, false, 1));
    assert!(!is_worth_an_entry(GATHER_COMMANDS - 1, false, 0));
    assert!(is_worth_an_entry(GATHER_COMMANDS, false, 0));
}

#[tokio::test]
async fn what_waits_leaves_in_the_end_even_if_nothing_follows() {
    let (queue, mut waiting) = mpsc::channel(4);
    let flights = Semaphore::new(FLIGHTS_MAX);
    let mut taken = Vec::new();
    let under_way = flights.acquire().await.unwrap();
    for count in 1..3 {
        let one = Waiting {
            commands: Vec::new(),
            reach: Reach::Here,
            caller: Caller {
                count: 0,
                reply: oneshot::channel().0,
                place: Backlog::new().enter(0).unwrap(),
            },
            traced: None,
        };
        queue.try_send(one).unwrap();
        gather(&mut waiting, &mut taken, &flights, BATCH_COMMANDS_MAX).await;
        assert_eq!(taken.len(), count);
    }
    drop((queue, under_way));
    taken.clear();
    gather(&mut waiting, &mut taken, &flights, 0).await;
    assert!(taken.is_empty(), "the queue has ended");
}
