//! One file per property. A check scans the index and reports; it decides nothing else.
//!
//! The checks divide the blame: what one of them reports, the others leave to it where they can,
//! so that a run with one fault has one kind of finding.

mod agreement;
mod duplicated;
mod invented;
mod lost;
mod reordered;

pub(crate) use agreement::agreement;
pub(crate) use duplicated::duplicated;
pub(crate) use invented::invented;
pub(crate) use lost::lost;
pub(crate) use reordered::reordered;
