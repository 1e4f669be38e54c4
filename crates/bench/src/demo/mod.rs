//! Shows a cluster that survives killed nodes.
//!
//! A throw-away cluster is under live load while nodes are killed and come back. Every request and
//! answer is recorded; at the end every node is read completely and [`conclave_history`] checks the
//! record. With a panel ([`Show::Panel`]) a person breaks and heals nodes on the page of the
//! cluster, as long as that person likes.
//!
//! Start reading with [`play`] and `run.rs`, then `stage.rs`, what is done to nodes, and
//! `control.rs`, the server behind the panel.

mod control;
mod load;
mod options;
mod page;
mod proof;
mod pulse;
mod report;
mod rolling;
mod run;
mod stage;
mod story;
mod timeline;

use std::{pin::pin, time::Duration};

use crate::error::BenchError;
pub use options::{Happening, Options, Show};
pub use page::page;
pub use report::Report;
use run::Run;

/// Sends messages while nodes are killed and come back, and checks the record. Calls `tell` with
/// the time since the first message and what happens. `stop` ends a demonstration that is held
/// open.
///
/// # Errors
/// If the cluster does not come up, or cannot be read at the end; [`BenchError::Stopped`] if it was
/// stopped and was not held open.
pub async fn play(
    options: &Options,
    stop: impl Future<Output = ()>,
    mut tell: impl FnMut(Duration, Happening),
) -> Result<Report, BenchError> {
    let mut stop = pin!(stop);
    let nodes = options.nodes;
    tell(Duration::ZERO, Happening::Starting { nodes });
    let run = tokio::select! {
        run = Box::pin(Run::begin(options)) => run?,
        () = &mut stop => return Err(BenchError::Stopped),
    };
    if let Some(url) = run.url() {
        tell(Duration::ZERO, Happening::Panel { url });
    }
    let people = run.load.people.len();
    tell(run.load.elapsed(), Happening::Sending { people });
    let failovers = run.disturb(options, stop, &mut tell).await?;
    if run.is_broken() {
        tell(run.load.elapsed(), Happening::Healing);
        run.heal().await?;
    }
    tell(run.load.elapsed(), Happening::Reading);
    run.end(options, failovers).await
}
