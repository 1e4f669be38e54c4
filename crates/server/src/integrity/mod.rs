//! Whether what a node has is what it should have: nodes compare their digests, the cluster is
//! checked, and a node whose data is damaged comes back.
//!
//! Nothing that is damaged is deleted here before there are newer copies, and nothing is decided
//! about other nodes: each judges itself.

pub(crate) mod check;
pub(crate) mod digests;
pub(crate) mod repair;
