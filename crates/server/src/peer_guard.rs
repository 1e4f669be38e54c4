//! Whom this node serves as a peer.
//!
//! Always true: who calls encrypted has shown the certificate of the node that it says it is. It is
//! looked at for each request and for each message of a stream, as is whether the node was removed:
//! a connection that was opened before is of no use after it.

use conclave_wire::Problem;
use tonic::{Request, Status, transport::server::TcpConnectInfo};

use crate::{
    shared::Shared,
    tls::{Caller, Security, Shown},
};

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
                Err(self.refuse(caller, sentence.to_owned()))
            }
        }
    }

    /// Refuses whoever is not the member `node`.
    pub(crate) fn is_peer(&self, caller: &Caller, node: u64) -> Result<(), Status> {
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
                return Err(self.refuse(caller, sentence));
            }
        }
        Ok(())
    }

    fn refuse(&self, caller: &Caller, sentence: String) -> Status {
        let from = caller.address.remote_addr();
        // It will go on trying: one line for a while of it, not for each attempt.
        if self
            .callers_refused
            .is_news((from.map(|from| from.ip()), sentence.clone()))
        {
            let from = from.map(|from| from.to_string());
            tracing::warn!(from, reason = %sentence, "a call for peers was refused");
        }
        Problem::Refused {
            reason: "NOT_A_PEER".to_owned(),
            sentence,
            request_last: None,
        }
        .to_status()
    }
}
