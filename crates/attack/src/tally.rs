//! What an attack did, in numbers.

use std::fmt;

/// What an attack did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Connections that were opened, or requests that were sent.
    pub opened: usize,
    /// Connections that could not be opened.
    pub failed: usize,
    /// Connections that the nodes closed before the attack ended.
    pub cut: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            opened,
            failed,
            cut,
        } = self;
        write!(out, "{opened} opened, {failed} failed, {cut} cut")
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.opened += other.opened;
        self.failed += other.failed;
        self.cut += other.cut;
    }
}
