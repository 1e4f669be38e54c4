//! Digests of the state and of everything that made it, by which nodes compare what they have.
//!
//! It reads rows and judges nothing. Writing and snapshots use it; it knows neither.

pub(crate) mod chain;
pub(crate) mod digest;
pub(crate) mod pinned;
pub(crate) mod points;
pub(crate) mod ranges;
