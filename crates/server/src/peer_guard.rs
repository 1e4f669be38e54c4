//! Whom this node serves as a peer.
//!
//! Always true: who calls encrypted has shown the certificate of the node that it says it is, and
//! that node was not removed from the cluster. It is looked at for each request and for each
//! message of a stream, so a connection that was opened before a removal is of no use after it.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use conclave_wire::Problem;
use tokio::time::Instant;
use tonic::{Request, Status, transport::server::TcpConnectInfo};

use crate::{
    node::Shared,
    tls::{Caller, Security, Shown},
};

/// How often the log speaks of callers that are refused.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What is remembered of the peers.
#[derive(Default)]
pub(crate) struct PeerGuard {
    /// Nodes that have been members while this process ran. Numbers are used once.
    seen: Mutex<BTreeSet<u64>>,
    told: Mutex<Option<(Shown, Instant)>>,
}

/// Who makes a request. A request that came through no listener of ours has shown nothing.
pub(crate) fn caller<T>(request: &Request<T>) -> Caller {
    let nobody = || Caller {
        shown: Shown::Nothing,
        address: TcpConnectInfo {
            local_addr: None,
            remote_addr: None,
        },
    };
    request.extensions().get().cloned().unwrap_or_else(nobody)
}

impl Shared {
    /// Refuses whoever has shown no certificate of a node of this cluster, also of one that is
    /// not in it any more.
    pub(crate) fn is_node_of_cluster(&self, caller: &Caller) -> Result<(), Status> {
        match (&self.security, caller.shown) {
            (Security::Plain, _) | (Security::Tls(_), Shown::Node(_)) => Ok(()),
            (Security::Tls(_), Shown::Plain | Shown::Nothing) => {
                let sentence = "this port is for nodes of the cluster, with a certificate";
                Err(self
                    .refuse(caller, "NOT_A_PEER", sentence.to_owned())
                    .to_status())
            }
        }
    }

    /// Refuses whoever is not the member `node`.
    pub(crate) fn is_peer(&self, caller: &Caller, node: u64) -> Result<(), Problem> {
        if let Security::Tls(_) = self.security {
            let sentence = match caller.shown {
                Shown::Node(shown) if shown == node => None,
                Shown::Node(shown) => Some(format!(
                    "the certificate is that of node {shown}, not of node {node}"
                )),
                Shown::Plain | Shown::Nothing => {
                    Some("this port is for nodes of the cluster, with a certificate".to_owned())
                }
            };
            if let Some(sentence) = sentence {
                return Err(self.refuse(caller, "NOT_A_PEER", sentence));
            }
        }
        if self.is_retired(node) {
            let sentence = format!("node {node} was removed from the cluster");
            return Err(self.refuse(caller, "NODE_REMOVED", sentence));
        }
        Ok(())
    }

    /// Whether the node was removed from the cluster.
    fn is_retired(&self, node: u64) -> bool {
        let members = self.replica.status().members.nodes;
        let mut seen = self
            .guard
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        seen.extend(members.keys());
        !members.is_empty() && !members.contains_key(&node) && seen.contains(&node)
    }

    fn refuse(&self, caller: &Caller, reason: &str, sentence: String) -> Problem {
        let mut told = self
            .guard
            .told
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_news = told.is_none_or(|(shown, last)| {
            shown != caller.shown || now.duration_since(last) >= TELL_EVERY
        });
        if is_news {
            *told = Some((caller.shown, now));
            let from = caller.address.remote_addr().map(|from| from.to_string());
            tracing::warn!(from, reason = %sentence, "a call for peers was refused");
        }
        Problem::Refused {
            reason: reason.to_owned(),
            sentence,
            request_last: None,
        }
    }
}
