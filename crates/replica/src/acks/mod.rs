//! Acknowledgements that wait for every voter, if an operator has set that.
//!
//! `gate.rs` holds them back; `keeper.rs` says when all voters have their entries, and sets a voter
//! aside for which they wait too long.

pub(crate) mod gate;
pub(crate) mod keeper;
pub(crate) mod standing;
