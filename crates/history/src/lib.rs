//! Judges a recorded run: nothing lost, nothing twice, one order.
//!
//! The program that drives a cluster (a demonstration, a simulator, a fault harness) writes down
//! what it asked, what was answered, and what it read at the end. [`judge`] needs nothing else: it
//! knows no node, no network and no clock, and blames a run only for what the record proves.
//!
//! Always true: a time-out is an *unknown* outcome, which may or may not have happened, and neither
//! way is blamed; what no client read is never taken as proven.

mod checks;
mod event;
mod findings;
mod history;
mod index;
mod recorder;
mod verdict;

pub use event::{Action, Event, Observed, What};
pub use findings::{FINDINGS_MAX, Finding, Findings};
pub use history::{EVENTS_MAX, History, LINE_BYTES_MAX, ReadError};
pub use recorder::{Recorder, RecorderFull};
pub use verdict::{Verdict, judge};
