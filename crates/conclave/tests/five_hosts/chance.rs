//! Random choices that a seed repeats: numbers, and the order in which faults strike.

/// Random number generator with a seed (splitmix64): the same seed gives the same numbers.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    pub(crate) fn one_of<T: Copy>(&mut self, many: &[T]) -> Option<T> {
        let place = self.next() % u64::try_from(many.len().max(1)).unwrap();
        many.get(usize::try_from(place).unwrap()).copied()
    }
}

/// Kinds of faults. In each round each kind strikes as often as it is listed here, in a random
/// order.
pub(crate) const KINDS: [Kind; 13] = [
    Kind::Kill,
    Kind::Kill,
    Kind::Hang,
    Kind::Hang,
    Kind::Unplug,
    Kind::Silence,
    Kind::Deafen,
    Kind::CutLink,
    Kind::CutFromPeers,
    Kind::CutFromPeople,
    Kind::Transfer,
    Kind::ChangeMembers,
    Kind::ChangeMembers,
];

#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Kill,
    Hang,
    Unplug,
    /// Drops what the host sends; the host still receives.
    Silence,
    /// Drops what is sent to the host; the host still sends.
    Deafen,
    /// Cuts the link to one other host, in one direction or both.
    CutLink,
    CutFromPeers,
    /// Cuts the links to the people's machines, in one direction or both.
    CutFromPeople,
    Transfer,
    ChangeMembers,
}
