//! Users and their conversations, drawn at random from a seed.
//!
//! Rooms are drawn one by one, because a few large ones decide what is uneven. Conversations of two
//! are so many and so small that only their sum in each slot is drawn.

use conclave_core::limits::ROOM_MEMBERS_MAX;

use super::inputs::Figures;

/// Slots on which conversations are hashed; a slot is the least that is moved.
pub(super) const SLOTS: usize = 16_384;

/// Random numbers that are the same on every machine (SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number above 0 and up to 1.
    fn share(&mut self) -> f64 {
        const BITS: u32 = 53;
        ((self.next() >> (u64::BITS - BITS)) + 1) as f64 / (1_u64 << BITS) as f64
    }

    /// Returns a number of the normal distribution.
    fn normal(&mut self) -> f64 {
        let (one, other) = (self.share(), self.share());
        (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * other).cos()
    }
}

/// What is asked of a group, in each second of the peak.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Load {
    /// Messages.
    pub(super) messages: f64,
    /// Deliveries to devices.
    pub(super) deliveries: f64,
    /// Rooms.
    pub(super) rooms: f64,
}

impl Load {
    pub(super) fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.deliveries += other.deliveries;
        self.rooms += other.rooms;
    }
}

/// All conversations of some users.
pub(super) struct Crowd {
    pub(super) users: f64,
    /// Each room with its slot.
    pub(super) rooms: Vec<(usize, Load)>,
    /// Members of the largest room.
    pub(super) largest_room: f64,
    /// Conversations of two in each slot.
    pub(super) directs: Vec<Load>,
    pub(super) total: Load,
}

impl Crowd {
    /// Draws the conversations.
    pub(super) fn draw(users: u64, figures: &Figures, seed: u64) -> Self {
        let mut random = Random::new(seed ^ users);
        let users = users as f64;
        // Messages of the peak.
        const SECONDS_PER_DAY: f64 = 86_400.0;
        let messages = users * figures.messages_per_day / SECONDS_PER_DAY * figures.peak_factor;
        let online = figures.online_share * figures.devices;
        let (mut sizes, mut weights) = (Vec::new(), Vec::new());
        let (mut members, mut weight) = (0.0, 0.0);
        while members < users * figures.rooms_per_user {
            let size = room_size(&mut random, figures).min(users);
            let spread = (figures.room_spread * random.normal()).exp();
            let its = size.powf(figures.room_activity) * spread;
            (members, weight) = (members + size, weight + its);
            sizes.push(size);
            weights.push(its);
        }
        let mut total = Load::default();
        let of_rooms = messages * figures.room_share;
        let rooms = sizes.iter().zip(weights).map(|(size, its)| {
            let messages = of_rooms * its / weight;
            let deliveries = messages * (size * online - 1.0).max(0.0);
            (
                slot(&mut random),
                Load {
                    messages,
                    deliveries,
                    rooms: 1.0,
                },
            )
        });
        let rooms: Vec<(usize, Load)> = rooms.collect();
        let directs = directs(&mut random, users, messages - of_rooms, figures);
        rooms.iter().for_each(|(_, load)| total.add(*load));
        directs.iter().for_each(|load| total.add(*load));
        let largest_room = sizes.iter().copied().fold(0.0, f64::max);
        Self {
            users,
            rooms,
            largest_room,
            directs,
            total,
        }
    }
}

fn slot(random: &mut Random) -> usize {
    (random.next() % SLOTS as u64) as usize
}

/// Draws the members of a room: Pareto, up to what a room may have.
fn room_size(random: &mut Random, figures: &Figures) -> f64 {
    let size = figures.room_size_min / random.share().powf(1.0 / figures.room_size_tail);
    size.floor().min(ROOM_MEMBERS_MAX as f64)
}

/// Draws the conversations of two of each slot: their number, and how much is said in them.
fn directs(random: &mut Random, users: f64, messages: f64, figures: &Figures) -> Vec<Load> {
    let count = users * figures.directs_per_user / 2.0;
    let of_slot = count / SLOTS as f64;
    // The sum of many conversations whose messages have a logarithm of this deviation.
    let square = figures.room_spread.powi(2).exp();
    let deviation = (square / of_slot).sqrt();
    let online = figures.online_share * figures.devices;
    let one = |_| {
        let its = (1.0 + deviation * random.normal()).max(0.0);
        let messages = messages / SLOTS as f64 * its;
        // The other devices of both.
        let deliveries = messages * (2.0 * online - 1.0).max(online);
        Load {
            messages,
            deliveries,
            rooms: 0.0,
        }
    };
    (0..SLOTS).map(one).collect()
}
