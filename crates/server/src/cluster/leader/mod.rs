//! What the node that leads does by itself: it transfers leadership to the node that is preferred,
//! or away from a disk that is nearly full, and has messages forgotten.
//!
//! Always true: leadership is transferred only to a voter that answers and has nearly everything.

pub(crate) mod full;
pub(crate) mod preferred;
pub(crate) mod retention;
