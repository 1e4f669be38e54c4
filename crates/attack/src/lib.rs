//! Attacks on a running cluster, for tests.
//!
//! Each attack is a file of its own in `attacks` and a line in [`ATTACKS`]. [`run`] starts an
//! attack beside an honest client and reports what that client noticed.
//!
//! Always true: an attack goes to loopback addresses alone, and its connections and its time are
//! bounded by [`Bounds`].
//!
//! ```no_run
//! use std::{sync::Arc, time::Duration};
//!
//! use conclave_attack::{Bounds, Target, attack, run};
//! use tokio::runtime::Handle;
//!
//! # async fn greedy() -> Result<(), Box<dyn std::error::Error>> {
//! let (clients, peers) = ("127.0.0.1:7400".parse()?, "127.0.0.1:7401".parse()?);
//! let target = Arc::new(Target::find(vec![clients], vec![peers], false).await?);
//! let greedy = attack("greedy").expect("it is in the list");
//! let bounds = Bounds::new(greedy.count, Duration::from_secs(10));
//! let calm = Duration::from_secs(5);
//! let report = run(greedy, &target, bounds, calm, &Handle::current()).await?;
//! println!("{report}");
//! # Ok(())
//! # }
//! ```
//!
//! Start reading with `attacks/mod.rs`, which says how to add one.

mod attacks;
mod frames;
mod honest;
mod report;
mod tally;
mod target;

pub use attacks::{ATTACKS, Attack, attack};
pub use frames::{Frame, PREFACE, Request, header_block};
pub use honest::{Honest, Noticed};
pub use report::{ONSET, Report, run};
pub use tally::Tally;
pub use target::{
    Bounds, COUNT_MAX, DURATION_MAX, Port, Target, TargetError, Wire, any_certificate,
};
