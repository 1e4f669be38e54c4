//! The attacks, one file for each kind.
//!
//! A new attack is a function of a [`Target`] and [`Bounds`] that gives a [`Tally`], and a line in
//! [`ATTACKS`]. It ends by itself after its duration.

mod crowd;
mod silent;

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;

use crate::{Bounds, Target};

/// An attack by name.
pub struct Attack {
    /// Name of the subcommand.
    pub name: &'static str,
    /// What it does, for the help text.
    pub about: &'static str,
    /// Default number of connections or requests.
    pub count: usize,
    /// Attacks.
    pub run: fn(Arc<Target>, Bounds) -> BoxFuture<'static, Tally>,
}

/// All attacks.
pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "silent",
        about: "Open connections and send nothing",
        count: 5_000,
        run: |target, bounds| Box::pin(silent::before_handshake(target, bounds)),
    },
    Attack {
        name: "silent-after-handshake",
        about: "Open connections, complete the TLS handshake and send nothing more",
        count: 5_000,
        run: |target, bounds| Box::pin(silent::after_handshake(target, bounds)),
    },
];

/// Returns the attack with this name.
#[must_use]
pub fn attack(name: &str) -> Option<&'static Attack> {
    ATTACKS.iter().find(|attack| attack.name == name)
}

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
