//! Verifies that a node's data is what it should be: nodes compare their digests, the cluster is
//! checked, and a node whose data is damaged comes back.
//!
//! It deletes no damaged data before there are newer copies, and decides nothing about other nodes:
//! each judges itself. The services and `node` use it.

pub(crate) mod check;
pub(crate) mod digests;
pub(crate) mod repair;
pub(crate) mod rows;
pub(crate) mod walk;
