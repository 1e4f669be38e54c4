//! The members of the cluster: the rules of memberships, and their changes through the log.
//!
//! It decides nothing about what a machine is trusted with; the node around the replica does.

pub(crate) mod admission;
pub(crate) mod change;
pub(crate) mod finisher;
pub(crate) mod rules;
