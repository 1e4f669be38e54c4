//! Decides which callers this node serves as peers, and whether a request is meant for this node.
//!
//! It serves no call.
//!
//! Always true: the caller has presented the certificate of the node that it claims to be, and may
//! make this call (`peer_roles`). Both are checked for each request and for each message of a
//! stream: a connection that was opened before a change is of no use after it. A request to another
//! cluster or another node, and one of a node that was started again elsewhere, is refused. What
//! follows from the standing of a caller follows from one reading of it: the log may change it
//! meanwhile.

use conclave_wire::{Problem, Reason, peer};
use tonic::{Request, Status};

use crate::{
    context::{call, node_context::NodeContext},
    peer::convert::malformed,
    peer_api::peer_roles::{PeerCall, Standing},
    tls::{Caller, PeerNames, Presented},
};

/// A caller that may make a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checked {
    /// What its certificate says.
    pub(crate) names: PeerNames,
    /// Standing by which it may make the call.
    pub(crate) standing: Standing,
}

/// Returns the caller of a request. A request that came through no listener of ours has presented
/// nothing.
pub(crate) fn caller<T>(request: &Request<T>) -> Caller {
    let unidentified = || Caller {
        shown: Presented::Nothing,
        address: None,
    };
    request
        .extensions()
        .get()
        .cloned()
        .unwrap_or_else(unidentified)
}

impl NodeContext {
    /// Checks whether the caller may make this call, and whether the request is meant for this
    /// node.
    pub(crate) fn check_request(
        &self,
        caller: &Caller,
        call: PeerCall,
        envelope: Option<peer::Envelope>,
    ) -> Result<Checked, Status> {
        let envelope = envelope.ok_or_else(|| malformed("no envelope"))?;
        let wrong = |reason: Reason, sentence: String| -> Result<Checked, Status> {
            let problem = Problem::WrongAddressee { reason, sentence };
            // The caller will go on trying: one line for a while, not for each attempt.
            if self.refused.should_log(envelope.source_node_id) {
                tracing::warn!(peer = envelope.source_node_id, %problem, "a peer was refused");
            }
            Err(problem.into())
        };
        let (cluster, node) = (&self.identity.cluster_id, self.identity.node);
        let checked = self.is_peer(caller, call, envelope.source_node_id)?;
        if envelope.cluster_id != *cluster {
            return wrong(Reason::WrongCluster, self.other_cluster());
        }
        if envelope.target_node_id != node {
            return wrong(Reason::WrongNode, format!("this is node {node}"));
        }
        if self
            .roll
            .has_ended(envelope.source_node_id, envelope.source_incarnation)
        {
            let source = envelope.source_node_id;
            let sentence = format!("node {source} was started again elsewhere");
            return wrong(Reason::NodeSuperseded, sentence);
        }
        Ok(checked)
    }

    /// Checks a request that a node makes on behalf of an operator: its sender and receiver
    /// ([`Self::check_request`]), and that an operator has asked for it ([`Self::on_behalf`]).
    pub(crate) async fn check_on_behalf(
        &self,
        caller: &Caller,
        role: PeerCall,
        envelope: Option<peer::Envelope>,
        call: &call::Call,
    ) -> Result<(), Status> {
        let checked = self.check_request(caller, role, envelope)?;
        self.on_behalf(caller, role, checked, call).await
    }

    /// Refuses a change of the cluster from a node without a vote and without the key of the
    /// authority, unless the credential of its operator is valid for this node, too.
    pub(crate) async fn on_behalf(
        &self,
        caller: &Caller,
        role: PeerCall,
        checked: Checked,
        call: &call::Call,
    ) -> Result<(), Status> {
        if !checked.standing.needs_proof() {
            return Ok(());
        }
        match self.for_operators(call, role.name()).await {
            Ok(_) => Ok(()),
            Err(Problem::Refused { .. } | Problem::SessionExpired { .. }) => {
                let node = checked.names.node;
                let sentence = format!("node {node} asks on behalf of no operator");
                Err(self.refuse(caller, Reason::PeerRole, sentence).into())
            }
            Err(problem) => Err(problem.into()),
        }
    }

    /// Returns what the certificate of the caller says, and its standing; refuses a caller without
    /// a certificate of a node of this cluster, and a caller that may not make this call.
    pub(crate) fn may_call(&self, caller: &Caller, call: PeerCall) -> Result<Checked, Problem> {
        let Presented::Node(names) = caller.shown else {
            let sentence = "this port is for nodes of the cluster, with a certificate";
            return Err(self.refuse(caller, Reason::NotAPeer, sentence.to_owned()));
        };
        let standing = self.standing(caller);
        if call.is_for(standing) {
            return Ok(Checked { names, standing });
        }
        let node = names.node;
        let (reason, sentence) = match standing {
            Standing::Removed => (Reason::NodeRetired, format!("node {node} was removed")),
            Standing::Unauthenticated => {
                let sentence = "its certificate is from before the secret was rotated";
                (Reason::NotAPeer, format!("node {node}: {sentence}"))
            }
            _ => {
                let what = standing.as_str();
                let name = call.name();
                (
                    Reason::PeerRole,
                    format!("node {node} is {what}, which may not call {name}"),
                )
            }
        };
        Err(self.refuse(caller, reason, sentence))
    }

    /// Refuses a caller without a certificate that may not make this call.
    pub(crate) fn may_ask(&self, caller: &Caller, call: PeerCall) -> Result<(), Problem> {
        match call.is_for(self.standing(caller)) {
            true => Ok(()),
            false => self.may_call(caller, call).map(drop),
        }
    }

    /// Refuses a caller that is not the member `node`, or may not make this call.
    pub(crate) fn is_peer(
        &self,
        caller: &Caller,
        call: PeerCall,
        node: u64,
    ) -> Result<Checked, Problem> {
        let checked = self.may_call(caller, call)?;
        let shown = checked.names.node;
        if shown == node {
            return Ok(checked);
        }
        let sentence = format!("the certificate is that of node {shown}, not of node {node}");
        Err(self.refuse(caller, Reason::NotAPeer, sentence))
    }

    /// Returns the problem of a call; logs it if the peer had no right to the call.
    pub(crate) fn refusal_status(&self, caller: &Caller, problem: Problem) -> Problem {
        match problem {
            Problem::Refused {
                reason, sentence, ..
            } if reason == Reason::PeerRole => self.refuse(caller, reason, sentence),
            _ => problem,
        }
    }

    /// Refuses a call, and logs that once in a while for each caller and sentence.
    pub(crate) fn refuse(&self, caller: &Caller, reason: Reason, sentence: String) -> Problem {
        let from = caller.address;
        // The caller will go on trying: one line for a while, not for each attempt.
        if self
            .callers_refused
            .should_log((from.map(|from| from.ip()), sentence.clone()))
        {
            let from = from.map(|from| from.to_string());
            tracing::warn!(from, reason = %sentence, "a call for peers was refused");
        }
        match reason {
            Reason::NodeRetired => Problem::WrongAddressee { reason, sentence },
            _ => Problem::Refused {
                reason,
                sentence,
                request_last: None,
            },
        }
    }
}
