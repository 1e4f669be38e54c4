//! Verifies that a node's data is what it should be: nodes compare their digests, the cluster is
//! checked, and a node whose data is damaged comes back.
//!
//! Damaged data is not deleted here before there are newer copies, and nothing is decided about
//! other nodes: each judges itself.

pub(crate) mod check;
pub(crate) mod digests;
pub(crate) mod repair;
