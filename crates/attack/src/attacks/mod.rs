//! The attacks, one file for each kind.
//!
//! A new attack is a function that takes a [`Target`] and [`Bounds`] and returns a [`Tally`], and a
//! line in [`ATTACKS`]. It ends by itself after its duration.

mod crowd;
mod floods;
mod greedy;
mod guesses;
mod silent;
mod slow;
mod windows;

use std::sync::Arc;

use futures::future::BoxFuture;

use self::floods::Flood;
use crate::{Bounds, Tally, Target};

/// An attack by name.
pub struct Attack {
    /// Name of the subcommand.
    pub name: &'static str,
    /// The attack's description in the help text.
    pub about: &'static str,
    /// Default number of connections or requests.
    pub count: usize,
    /// Attacks.
    pub run: fn(Arc<Target>, Bounds) -> BoxFuture<'static, Tally>,
}

/// Asks for the file that describes a service of the chat.
const DESCRIBE: &[u8] = b"\x22\x18conclave.v1.AdminService";

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
    Attack {
        name: "slow-handshake",
        about: "Begin TLS handshakes and go on at one byte per second",
        count: 500,
        run: |target, bounds| Box::pin(slow::handshakes(target, bounds)),
    },
    Attack {
        name: "slow-preface",
        about: "Send the beginning of HTTP/2 at one byte per second",
        count: 500,
        run: |target, bounds| Box::pin(slow::prefaces(target, bounds)),
    },
    Attack {
        name: "slow-headers",
        about: "Send the headers of a request at one byte per second",
        count: 500,
        run: |target, bounds| Box::pin(slow::headers(target, bounds)),
    },
    Attack {
        name: "slow-body",
        about: "Send the body of a request at one byte per second",
        count: 500,
        run: |target, bounds| Box::pin(slow::bodies(target, bounds)),
    },
    Attack {
        name: "unfinished-bodies",
        about: "Begin requests with long bodies and never end one",
        count: 1_000,
        run: |target, bounds| Box::pin(slow::unfinished(target, bounds, None)),
    },
    Attack {
        name: "closed-windows",
        about: "Ask for the description of the protocol and never read it",
        count: 1_000,
        run: |target, bounds| {
            Box::pin(windows::closed(
                target,
                bounds,
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                DESCRIBE,
                None,
            ))
        },
    },
    Attack {
        name: "rapid-reset",
        about: "Begin requests and reset them at once",
        count: 12,
        run: |target, bounds| Box::pin(floods::flood(target, bounds, Flood::RapidReset)),
    },
    Attack {
        name: "continuation-flood",
        about: "Send headers that never end",
        count: 12,
        run: |target, bounds| Box::pin(floods::flood(target, bounds, Flood::Continuation)),
    },
    Attack {
        name: "ping-flood",
        about: "Send pings as fast as they are taken",
        count: 12,
        run: |target, bounds| Box::pin(floods::flood(target, bounds, Flood::Ping)),
    },
    Attack {
        name: "settings-flood",
        about: "Send settings as fast as they are taken",
        count: 12,
        run: |target, bounds| Box::pin(floods::flood(target, bounds, Flood::Settings)),
    },
    Attack {
        name: "window-flood",
        about: "Send window updates as fast as they are taken",
        count: 12,
        run: |target, bounds| Box::pin(floods::flood(target, bounds, Flood::WindowUpdate)),
    },
    Attack {
        name: "empty-data-flood",
        about: "Send empty frames of a body as fast as they are taken",
        count: 12,
        run: |target, bounds| Box::pin(floods::flood(target, bounds, Flood::EmptyData)),
    },
    Attack {
        name: "greedy",
        about: "One account that does everything as fast as it can, from sixteen sessions",
        count: 256,
        run: |target, bounds| Box::pin(greedy::greedy(target, bounds)),
    },
    Attack {
        name: "guesses",
        about: "Guess the password of one account at all nodes while its owner logs in",
        count: 60,
        run: |target, bounds| Box::pin(guesses::guesses(target, bounds)),
    },
];

/// Returns the attack with this name.
#[must_use]
pub fn attack(name: &str) -> Option<&'static Attack> {
    ATTACKS.iter().find(|attack| attack.name == name)
}
