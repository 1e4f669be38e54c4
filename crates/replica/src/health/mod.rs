//! Whether this node's data and its engine are sound, and what it reports of itself.

pub(crate) mod damage;
pub(crate) mod failure;
pub(crate) mod figures;
pub(crate) mod meter;
pub(crate) mod observe;
pub(crate) mod pins;
pub(crate) mod scrub;
