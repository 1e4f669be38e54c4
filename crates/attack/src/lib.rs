//! Attacks on a running cluster, for tests.
//!
//! Each attack is a file of its own in `attacks` and a line in [`ATTACKS`]. [`run`] starts an
//! attack beside an honest client and reports what that client noticed.
//!
//! Always true: an attack goes to loopback addresses alone, and its connections and its time are
//! bounded by [`Bounds`].

mod attacks;
mod frames;
mod honest;
mod report;
mod tally;
mod target;

pub use attacks::{ATTACKS, Attack, attack};
pub use frames::{Frame, PREFACE, Request, header_block};
pub use honest::{Honest, Noticed};
pub use report::{Report, run};
pub use tally::Tally;
pub use target::{
    Bounds, COUNT_MAX, DURATION_MAX, Port, Target, TargetError, Wire, any_certificate,
};
