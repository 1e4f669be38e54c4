//! What must hold of every simulation, whatever is measured.

use std::path::Path;

use super::*;

fn inputs() -> Inputs {
    let docs = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs"));
    Inputs::read(&docs.join("scale/inputs.json")).unwrap()
}

const RAISED: Raised = Raised {
    streams: true,
    accounts_and_rooms: true,
};

#[test]
fn the_same_seed_draws_the_same_crowd() {
    let figures = inputs().figures().unwrap();
    let [one, same, other] = [1, 1, 2].map(|seed| Crowd::draw(10_000, &figures, seed));
    assert_eq!(one.rooms, same.rooms);
    assert_eq!(one.directs, same.directs);
    assert_ne!(one.rooms, other.rooms);
}

#[test]
fn a_crowd_sends_what_was_assumed() {
    let figures = inputs().figures().unwrap();
    let crowd = Crowd::draw(100_000, &figures, 7);
    let asked = 100_000.0 * figures.messages_per_day / 86_400.0 * figures.peak_factor;
    let sent = crowd.total.messages / asked;
    assert!((0.98..1.02).contains(&sent), "{sent}");
    assert!(crowd.largest_room <= conclave_core::limits::ROOM_MEMBERS_MAX as f64);
}

#[test]
fn every_conversation_is_placed_once() {
    let figures = inputs().figures().unwrap();
    let crowd = Crowd::draw(20_000, &figures, 7);
    let parts = Parts::of(&crowd);
    for groups in [1, 3, 48] {
        for placement in [Placement::Hash, Placement::Load] {
            let loads = parts.place(groups, placement);
            assert_eq!(loads.len(), groups);
            let mut sum = Load::default();
            loads.iter().for_each(|load| sum.add(*load));
            let near = |one: f64, other: f64| (one / other - 1.0).abs() < 1e-9;
            assert!(near(sum.messages, crowd.total.messages));
            assert!(near(sum.deliveries, crowd.total.deliveries));
            assert!(near(sum.rooms, crowd.total.rooms));
        }
    }
}

#[test]
fn placing_by_load_is_more_even_than_by_hash() {
    let figures = inputs().figures().unwrap();
    let world = World::new(200_000, &figures, 7);
    let uneven = |scheme| world.with(16, scheme, RAISED).unwrap().uneven;
    let (hash, load) = (uneven(Scheme::Hash), uneven(Scheme::Load));
    assert!(load.1 < hash.1, "{load:?} {hash:?}");
    assert!(load.0 >= 1.0 && load.1 >= 1.0);
}

#[test]
fn more_users_need_no_fewer_machines() {
    let figures = inputs().figures().unwrap();
    for scheme in Scheme::ALL {
        let machines = [1_000, 30_000, 300_000].map(|users| {
            let world = World::new(users, &figures, 7);
            world.outcome(scheme, RAISED).unwrap().machines
        });
        assert!(machines.is_sorted(), "{scheme:?} {machines:?}");
        assert!(machines[0] >= VOTERS);
    }
}

#[test]
fn a_user_is_in_no_more_groups_than_conversations() {
    let figures = inputs().figures().unwrap();
    let world = World::new(1_000, &figures, 7);
    assert!((world.groups_of_user(1) - 1.0).abs() < 1e-9);
    let most = figures.directs_per_user + figures.rooms_per_user;
    assert!(world.groups_of_user(1024) < most);
}

#[test]
fn a_figure_that_is_missing_or_unknown_is_refused() {
    let mut missing = inputs();
    missing.measured.remove(0);
    assert!(missing.figures().is_err());
    let mut unknown = inputs();
    unknown.limits[0].key = "unheard_of".to_owned();
    assert!(unknown.figures().is_err());
    let mut nothing = inputs();
    nothing.machine[0].value = 0.0;
    assert!(nothing.figures().is_err());
}
