//! Judges a recorded run: nothing lost, nothing twice, one order.
//!
//! The program that drives a cluster (a demonstration, a simulator, a fault harness) writes down
//! what it asked, what was answered, and what it read at the end. [`judge`] needs nothing else: it
//! knows no node, no network and no clock, and blames a run only for what the record proves.
//!
//! Always true: a time-out is an *unknown* outcome, which may or may not have happened, and neither
//! way is blamed; what no client read is never taken as proven.
//!
//! ```
//! use conclave_history::{Action, Event, History, What, judge};
//!
//! let (client, op, conversation) = (1, 1, "alice/bob".to_owned());
//! let send = Action::Send { conversation: conversation.clone(), message: "hello".to_owned() };
//! let run = [
//!     What::Invoke { client, op, action: send },
//!     What::Ok { client, op, seq: Some(1) },
//!     // Afterwards node 2 is read completely, and has nothing.
//!     What::Observe {
//!         node: 2,
//!         client: None,
//!         conversation,
//!         asked_us: 2,
//!         from_seq: 1,
//!         messages: Vec::new(),
//!         complete: true,
//!     },
//! ];
//! let mut history = History::default();
//! for (at_us, what) in (0..).zip(run) {
//!     history.push(Event { at_us, what });
//! }
//! let verdict = judge(&history);
//! assert!(!verdict.holds());
//! assert_eq!(verdict.lost.count, 1);
//! ```
//!
//! Start reading with [`What`], the events of a record, then [`Verdict`], the properties. The
//! folder `tests/bad` has a record for each fault that must be caught.

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
