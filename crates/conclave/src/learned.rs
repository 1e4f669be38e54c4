//! Keeps the nodes that a long command learns of for the next command: a cluster that has moved to
//! other machines meanwhile is found again.
//!
//! Always true: the file is changed only as long as it holds the login that the command began with.

use std::time::Duration;

use tokio::time::sleep;

use crate::{connection::Connected, credentials, trust};

/// Interval at which this task looks for changes in the client's nodes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Keeps the nodes that the client knows, as they change; never ends.
pub(crate) async fn keep(connected: &Connected) {
    let (Some(begun), Ok(path)) = (&connected.kept, credentials::path()) else {
        return std::future::pending().await;
    };
    let mut told = begun.endpoints.clone();
    loop {
        sleep(LOOK_EVERY).await;
        let known = connected.client.endpoints();
        if is_same(&known, &told) {
            continue;
        }
        // A failure is no reason to end the command.
        if let Ok(Some(mut saved)) = credentials::load(&path)
            && saved.token == begun.token
        {
            saved.endpoints = known.clone();
            if let Some(authority) = &connected.authority {
                let _ = trust::pin(&known, authority);
            }
            let _ = credentials::save(&path, &saved);
        }
        told = known;
    }
}

/// Returns whether both lists hold the same nodes in any order: the leader stands first, and a
/// change of leader alone is no reason to write.
fn is_same(one: &[String], other: &[String]) -> bool {
    let sorted = |list: &[String]| {
        let mut list = list.to_vec();
        list.sort();
        list
    };
    sorted(one) == sorted(other)
}
