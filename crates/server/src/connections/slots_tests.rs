//! Tests of the places of a port.

use futures::FutureExt as _;

use super::*;
use crate::{base::work_meter::WorkMeter, connections::meter::Stage};

fn places(all: usize, unauthenticated: usize, kept: usize) -> Arc<ConnectionSlots> {
    let capacity = Capacity {
        all,
        unauthenticated,
        kept,
    };
    ConnectionSlots::new(capacity, 200)
}

fn from(host: u8) -> SocketAddr {
    ([10, 0, 0, host], 1).into()
}

async fn take(places: &Arc<ConnectionSlots>, host: u8) -> ConnectionSlot {
    places.take(from(host)).await.expect("there is a place")
}

#[tokio::test]
async fn a_flood_displaces_itself_but_no_honest_newcomer() {
    let places = places(100, 8, 0);
    let mut flood = Vec::new();
    for _ in 0..8 {
        flood.push(take(&places, 66).await);
    }
    let honest = take(&places, 1).await;
    assert!(flood[0].connection.is_cut(), "the oldest goes");
    honest.connection.enter(Stage::Idle);
    for _ in 0..50 {
        flood.push(take(&places, 66).await);
    }
    assert!(!honest.connection.is_cut());
    assert_eq!(places.counts().unauthenticated, 8);
}

#[tokio::test]
async fn silent_connections_are_displaced_before_active_connections() {
    let places = places(100, 4, 0);
    let spoke = take(&places, 1).await;
    spoke.connection.enter(Stage::Idle);
    let calls = take(&places, 1).await;
    calls.connection.call_begins();
    let silent = [take(&places, 1).await, take(&places, 1).await];
    let mut more = Vec::new();
    for _ in 0..20 {
        more.push(take(&places, 1).await);
    }
    assert!(silent.iter().all(|silent| silent.connection.is_cut()));
    assert!(!spoke.connection.is_cut() && !calls.connection.is_cut());
}

#[tokio::test]
async fn reserved_connections_of_a_member_are_never_displaced() {
    let places = places(100, 8, 4);
    places.keep_for([from(1).ip()]);
    let member = [take(&places, 1).await, take(&places, 1).await];
    let mut flood = Vec::new();
    for host in 2..100 {
        flood.push(take(&places, host).await);
    }
    assert!(member.iter().all(|member| !member.connection.is_cut()));
    let counts = places.counts();
    assert_eq!(counts.unauthenticated, 4 + 2, "{counts:?}");
}

#[tokio::test]
async fn known_callers_are_displaced_only_when_idle() {
    let places = places(4, 4, 0);
    let mut known = Vec::new();
    for _ in 0..4 {
        let place = take(&places, 1).await;
        places.know(&place.connection);
        place.connection.call_begins();
        known.push(place);
    }
    assert!(places.take(from(2)).await.is_none());
    assert!(known.iter().all(|known| !known.connection.is_cut()));
    known[2].connection.call_ends();
    let newcomer = tokio::spawn({
        let places = places.clone();
        async move { places.take(from(2)).await.is_some() }
    });
    assert_eq!(known[2].connection.is_to_end().await, Cut::Displaced);
    known.remove(2);
    assert!(newcomer.await.unwrap());
}

#[tokio::test]
async fn the_connection_holding_most_is_cut_when_memory_runs_out() {
    let places = places(100, 8, 0);
    let held = [take(&places, 1).await, take(&places, 2).await];
    held[0].connection.hold(10, false);
    held[1].connection.hold(100, true);
    places.relieve();
    assert!(!held[1].connection.is_cut());
    held[0].connection.hold(91, false);
    places.relieve();
    assert!(held[0].connection.is_cut() && !held[1].connection.is_cut());
    assert_eq!(places.counts().held_bytes, 100);
}

/// Takes a place for a caller of this account, with a call.
async fn calling(places: &Arc<ConnectionSlots>, account: &Arc<WorkMeter>) -> ConnectionSlot {
    let slot = take(places, 1).await;
    places.know(&slot.connection);
    slot.connection.works_for(account);
    slot.connection.call_begins();
    slot
}

#[tokio::test]
async fn a_crowd_that_waits_for_turns_displaces_itself_alone() {
    let places = places(100, 4, 0);
    let honest = take(&places, 1).await;
    honest.connection.enter(Stage::Idle);
    honest.connection.call_begins();
    let mut crowd = Vec::new();
    for _ in 0..20 {
        // A newcomer never waits for the turn of another.
        let newcomer = places.take(from(66)).now_or_never().flatten();
        let newcomer = newcomer.expect("there is a place at once");
        newcomer.connection.enter(Stage::Waiting);
        crowd.push(newcomer);
    }
    assert!(!honest.connection.is_cut());
    let cut = crowd.iter().map(|slot| slot.connection.is_cut());
    let stay = cut.enumerate().filter(|(_, is_cut)| !is_cut);
    let stay: Vec<usize> = stay.map(|(number, _)| number).collect();
    assert_eq!(stay, [0, 1, 19], "the oldest keep their turns");
}

#[tokio::test]
async fn newcomers_displace_no_handshake_while_others_wait() {
    let places = places(500, 72, 0);
    let mut shaking = Vec::new();
    for _ in 0..70 {
        let slot = take(&places, 1).await;
        slot.connection.enter(Stage::Handshaking);
        shaking.push(slot);
    }
    let mut waiting = Vec::new();
    for host in [1, 1, 1, 2, 1, 1, 1] {
        let newcomer = take(&places, host).await;
        newcomer.connection.enter(Stage::Waiting);
        waiting.push(newcomer);
    }
    assert!(shaking.iter().all(|slot| !slot.connection.is_cut()));
    // Of addresses that have as many, too.
    let one = self::places(500, 2, 0);
    let shaking = take(&one, 9).await;
    shaking.connection.enter(Stage::Handshaking);
    let waits = take(&one, 1).await;
    waits.connection.enter(Stage::Waiting);
    let _newcomer = take(&one, 2).await;
    assert!(waits.connection.is_cut() && !shaking.connection.is_cut());
}

#[tokio::test]
async fn among_equal_addresses_the_least_advanced_connection_goes() {
    let places = places(100, 3, 0);
    let hosts = [
        take(&places, 9).await,
        take(&places, 1).await,
        take(&places, 5).await,
    ];
    for (slot, stage) in hosts
        .iter()
        .zip([Stage::Handshaking, Stage::Silent, Stage::Idle])
    {
        slot.connection.enter(stage);
    }
    let _newcomer = take(&places, 2).await;
    let cut = hosts.each_ref().map(|slot| slot.connection.is_cut());
    assert_eq!(cut, [false, true, false]);
}

#[tokio::test]
async fn many_small_unknown_holders_cost_no_known_caller_its_memory() {
    let places = places(100, 20, 0);
    let known = take(&places, 1).await;
    places.know(&known.connection);
    let mut unknown = Vec::new();
    for host in [66, 66, 66, 66, 66, 66, 66, 66, 2, 3] {
        let slot = take(&places, host).await;
        slot.connection.hold(20, false);
        unknown.push(slot);
    }
    known.connection.hold(100, true);
    places.relieve();
    assert!(!known.connection.is_cut());
    let cut = unknown.iter().filter(|slot| slot.connection.is_cut());
    let cut: Vec<SocketAddr> = cut.map(|slot| slot.connection.from).collect();
    assert_eq!(cut, [from(66); 5], "the address that holds most");
    assert_eq!(places.counts().held_bytes, 200);
}

#[tokio::test]
async fn the_account_that_holds_most_pays_for_its_many_connections() {
    let places = places(100, 20, 0);
    let (greedy, modest) = (Arc::<WorkMeter>::default(), Arc::default());
    let honest = calling(&places, &modest).await;
    honest.connection.hold(60, true);
    let mut many = Vec::new();
    for _ in 0..10 {
        let slot = calling(&places, &greedy).await;
        slot.connection.hold(15, true);
        places.relieve();
        many.push(slot);
    }
    assert!(!honest.connection.is_cut());
    let cut = many.iter().filter(|slot| slot.connection.is_cut()).count();
    assert_eq!((cut, places.counts().held_bytes), (1, 195));
}

#[tokio::test]
async fn one_account_never_keeps_all_places() {
    let places = places(32, 16, 0);
    let account = Arc::<WorkMeter>::default();
    let mut held = Vec::new();
    for _ in 0..32 {
        held.push(calling(&places, &account).await);
    }
    held[3].connection.call_ends();
    // First the oldest without a call, then the oldest; and a newcomer of another address displaces
    // no newcomer before it.
    for goes in [3, 0] {
        let newcomer = tokio::spawn({
            let places = places.clone();
            async move { places.take(from(2)).await }
        });
        assert_eq!(held[goes].connection.is_to_end().await, Cut::Displaced);
        drop(held.remove(goes));
        held.push(newcomer.await.unwrap().expect("there is a place"));
    }
    assert!(held.iter().all(|held| !held.connection.is_cut()));
}

#[tokio::test]
async fn accounts_with_their_share_of_the_places_keep_them() {
    let places = places(32, 16, 0);
    let mut held = Vec::new();
    for _ in 0..16 {
        let account = Arc::<WorkMeter>::default();
        held.push(calling(&places, &account).await);
        held.push(calling(&places, &account).await);
    }
    assert!(places.take(from(2)).await.is_none());
    assert!(held.iter().all(|held| !held.connection.is_cut()));
}
