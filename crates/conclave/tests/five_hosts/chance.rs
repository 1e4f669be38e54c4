//! What is left to chance, and a seed makes again: numbers, and the order of what happens.

/// Random numbers that a seed makes again (splitmix64).
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

/// What kinds of things happen. In each round each comes as often as it stands here, in an order
/// that is left to chance.
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
    /// Nobody hears the host.
    Silence,
    /// It hears nobody.
    Deafen,
    /// To one other host, in one direction or both.
    CutLink,
    CutFromPeers,
    /// In one direction or both.
    CutFromPeople,
    Transfer,
    ChangeMembers,
}
