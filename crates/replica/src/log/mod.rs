//! The log as the engine sees it: its entries, how far they are on disk, and how many are kept.

pub(crate) mod follower_progress;
pub(crate) mod full_members;
mod proposed;
pub(crate) mod retention;
pub(crate) mod store;
#[cfg(test)]
pub(crate) mod suite_tests;
pub(crate) mod synced;
mod witness;
