//! Makes `docs/performance.md` and `docs/scale.md` from figures that were measured.
//!
//! The figures are JSON files beside the pages. This crate holds the form of these files, the
//! tables and pictures that follow from them, and the simulation of many users. It measures
//! nothing: `bench/peers` and `conclave bench` do.
//!
//! Always true: the same files give the same pages, to the byte; a test compares them with what is
//! committed.

pub mod chart;
mod number;
pub mod page;
pub mod performance;
pub mod results;
pub mod scale;
