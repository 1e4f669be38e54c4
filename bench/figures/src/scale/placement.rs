//! Which group has which conversation.
//!
//! By hash: a conversation has a slot, and slots go around the groups. By load: the busiest rooms
//! are placed one by one on the group with the least, then the slots are.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::crowd::{Crowd, Load};

/// Rooms that are placed one by one: a list of them is small enough for each client to have.
const PLACED_ALONE: usize = 4096;

/// Loads are compared as whole numbers, of which everything together has this many.
const PARTS_OF_ALL: f64 = 1e15;

/// A way to place conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    Hash,
    Load,
}

/// The parts that are placed, of all conversations.
pub(super) struct Parts {
    /// Each slot with everything in it.
    slots: Vec<Load>,
    /// The busiest rooms, then the slots without them, the largest first.
    sorted: Vec<(u64, Load)>,
}

impl Parts {
    pub(super) fn of(crowd: &Crowd) -> Self {
        let size = |load: &Load| size(load, &crowd.total);
        let mut rooms: Vec<(u64, usize, Load)> = crowd
            .rooms
            .iter()
            .map(|(slot, load)| (size(load), *slot, *load))
            .collect();
        let alone = PLACED_ALONE.min(rooms.len());
        if alone < rooms.len() {
            rooms.select_nth_unstable_by_key(alone, |(size, slot, _)| (Reverse(*size), *slot));
        }
        let (alone, rest) = rooms.split_at(alone);
        let mut slots = crowd.directs.clone();
        for (_, slot, load) in rest {
            slots[*slot].add(*load);
        }
        let mut sorted: Vec<(u64, Load)> =
            alone.iter().map(|(size, _, load)| (*size, *load)).collect();
        let busiest = sorted.len();
        sorted.extend(slots.iter().map(|load| (size(load), *load)));
        sorted[..busiest].sort_by_key(|(size, _)| Reverse(*size));
        sorted[busiest..].sort_by_key(|(size, _)| Reverse(*size));
        for (_, slot, load) in alone {
            slots[*slot].add(*load);
        }
        Self { slots, sorted }
    }

    /// Returns the load of each group.
    pub(super) fn place(&self, groups: usize, placement: Placement) -> Vec<Load> {
        let mut loads = vec![Load::default(); groups];
        match placement {
            Placement::Hash => {
                for (slot, load) in self.slots.iter().enumerate() {
                    loads[slot % groups].add(*load);
                }
            }
            Placement::Load => {
                let mut least: BinaryHeap<Reverse<(u64, usize)>> =
                    (0..groups).map(|group| Reverse((0, group))).collect();
                for (size, load) in &self.sorted {
                    let Some(Reverse((sum, group))) = least.pop() else {
                        continue;
                    };
                    loads[group].add(*load);
                    least.push(Reverse((sum + size, group)));
                }
            }
        }
        loads
    }
}

/// How much a part is of everything: its messages, which are stored, and its deliveries.
fn size(load: &Load, total: &Load) -> u64 {
    let messages = load.messages / total.messages.max(f64::MIN_POSITIVE);
    let deliveries = load.deliveries / total.deliveries.max(f64::MIN_POSITIVE);
    ((messages + deliveries) * PARTS_OF_ALL) as u64
}
