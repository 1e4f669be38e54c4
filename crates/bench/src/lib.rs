//! Measures a cluster, and demonstrates that it survives killed nodes: the work of `conclave bench`
//! and `conclave demo`.
//!
//! Each measurement has a module with its `Options`, its `Report` and a function that makes the one
//! from the other: [`sends`] (begin reading there), [`failover`], [`live`], [`snapshot`], and the
//! demonstration, [`demo`]. The caller names the program whose nodes are started.
//!
//! It reads no command line and prints nothing: the binary does.
//!
//! Always true: everything waits with a limit, and the nodes end with the measurement. All clients
//! run in this one process, on the same processors as the nodes: figures are upper bounds.
//!
//! ```no_run
//! use std::{path::Path, time::Duration};
//!
//! use conclave_bench::{BenchError, failover};
//!
//! # async fn example(program: &Path) -> Result<failover::Report, BenchError> {
//! let options = failover::Options {
//!     program: program.to_owned(),
//!     nodes: 5,
//!     fault: failover::Fault::KilledLeader,
//!     times: 20,
//!     senders: 8,
//!     pause: Duration::from_millis(5),
//!     tls: false,
//! };
//! failover::measure(&options).await
//! # }
//! ```

mod chart;
pub mod demo;
mod error;
pub mod failover;
mod html;
mod limits;
pub mod live;
mod process;
mod scratch;
pub mod sends;
pub mod snapshot;

use hdrhistogram::Histogram;
use serde::Serialize;

pub use error::BenchError;

/// Maximum latency that is told apart, in microseconds; a longer one counts as this one.
const LATENCY_US_MAX: u64 = 60_000_000;

/// Figures with their names, for people.
pub type Rows = Vec<(&'static str, String)>;

/// Result of a measurement: as JSON for programs, as rows for people.
pub trait Figures: Serialize {
    /// Returns the figures for people.
    fn rows(&self) -> Rows;

    /// Returns whether the promises held.
    fn holds(&self) -> bool {
        true
    }
}

/// Returns a histogram of latencies in microseconds.
pub(crate) fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("these bounds are sound")
}
