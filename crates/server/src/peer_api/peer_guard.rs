//! Decides which callers this node serves as peers.
//!
//! Always true: the caller has presented the certificate of the node that it claims to be, and may
//! make this call (`peer_roles`). Both are checked for each request and for each message of a
//! stream: a connection that was opened before a change is of no use after it.

use conclave_wire::Problem;
use tonic::{Request, transport::server::TcpConnectInfo};

use crate::{
    context::shared::Shared,
    peer_api::peer_roles::{Call, Standing},
    tls::{Caller, PeerNames, Shown},
};

/// Returns the caller of a request. A request that came through no listener of ours has presented
/// nothing.
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
    /// Returns what the certificate of the caller says; refuses a caller without a certificate of a
    /// node of this cluster, and a caller that may not make this call.
    pub(crate) fn may_call(&self, caller: &Caller, call: Call) -> Result<PeerNames, Problem> {
        let Shown::Node(names) = caller.shown else {
            let sentence = "this port is for nodes of the cluster, with a certificate";
            return Err(self.refuse(caller, "NOT_A_PEER", sentence.to_owned()));
        };
        let standing = self.standing(caller);
        if call.is_for(standing) {
            return Ok(names);
        }
        let node = names.node;
        let (reason, sentence) = match standing {
            Standing::Removed => ("NODE_RETIRED", format!("node {node} was removed")),
            Standing::Stranger => {
                let sentence = "its certificate is from before the secret was exchanged";
                ("NOT_A_PEER", format!("node {node}: {sentence}"))
            }
            _ => {
                let what = standing.as_str();
                let name = call.name();
                (
                    "PEER_ROLE",
                    format!("node {node} is {what}: {name} is not for it"),
                )
            }
        };
        Err(self.refuse(caller, reason, sentence))
    }

    /// Refuses a caller without a certificate that may not make this call.
    pub(crate) fn may_ask(&self, caller: &Caller, call: Call) -> Result<(), Problem> {
        match call.is_for(self.standing(caller)) {
            true => Ok(()),
            false => self.may_call(caller, call).map(drop),
        }
    }

    /// Refuses a caller that is not the member `node`, or may not make this call.
    pub(crate) fn is_peer(
        &self,
        caller: &Caller,
        call: Call,
        node: u64,
    ) -> Result<PeerNames, Problem> {
        let names = self.may_call(caller, call)?;
        if names.node == node {
            return Ok(names);
        }
        let shown = names.node;
        let sentence = format!("the certificate is that of node {shown}, not of node {node}");
        Err(self.refuse(caller, "NOT_A_PEER", sentence))
    }

    /// Returns the problem of a call; logs it if the peer had no right to the call.
    pub(crate) fn told(&self, caller: &Caller, problem: Problem) -> Problem {
        match problem {
            Problem::Refused {
                reason, sentence, ..
            } if reason == "PEER_ROLE" => self.refuse(caller, &reason, sentence),
            _ => problem,
        }
    }

    /// Refuses a call, and logs that once in a while for each caller and sentence.
    pub(crate) fn refuse(&self, caller: &Caller, reason: &str, sentence: String) -> Problem {
        let from = caller.address.remote_addr();
        // The caller will go on trying: one line for a while, not for each attempt.
        if self
            .callers_refused
            .is_news((from.map(|from| from.ip()), sentence.clone()))
        {
            let from = from.map(|from| from.to_string());
            tracing::warn!(from, reason = %sentence, "a call for peers was refused");
        }
        match reason {
            "NODE_RETIRED" => Problem::WrongAddressee {
                reason: reason.to_owned(),
                sentence,
            },
            _ => Problem::Refused {
                reason: reason.to_owned(),
                sentence,
                request_last: None,
            },
        }
    }
}
