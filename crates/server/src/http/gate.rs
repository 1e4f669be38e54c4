//! Decides by the headers of a request what its caller may send, before a byte of its body is read.
//!
//! Always true: a call that needs a session or a certificate, and has none, is answered here. A
//! token that this node has never seen costs a look at the database, as it does anywhere.

use std::sync::Arc;

use axum::http::request::Parts;
use conclave_wire::{Problem, Reason};
use tonic::{Status, metadata::MetadataMap};

use crate::{
    auth::sessions::token_in,
    base::deadline::Deadline,
    connections::{bodies::Allowance, limits::Limits},
    context::shared::Shared,
    protocol::client_port::{CLIENT_MESSAGE_BYTES_MAX, HOOKS},
    tls::{Caller, Shown},
};

/// Calls of `conclave.v1` that need no session. Calls of operators carry a credential instead, and
/// are short.
const OPEN: [&str; 2] = [
    "/conclave.v1.AccountService/CreateAccount",
    "/conclave.v1.SessionService/OpenSession",
];
const OF_OPERATORS: &str = "/conclave.v1.AdminService/";
/// Calls of the peer port that need no certificate.
const OPEN_FOR_MACHINES: [&str; 3] = [
    "/conclave.peer.v1.PeerService/DescribeCluster",
    "/conclave.peer.v1.JoinService/Join",
    "/conclave.peer.v1.JoinService/Introduce",
];
/// Prefix of the calls that need a session.
const WITH_SESSION: &str = "/conclave.v1.";
/// Prefix of the calls between nodes.
const BETWEEN_NODES: &str = "/conclave.peer.v1.PeerService/";
/// Prefix of the calls that ask for the protocol, which stay open until the caller has asked
/// everything.
const REFLECTION: &str = "/grpc.reflection.";
/// Factor by which a conversation about the protocol may take longer than another body.
const REFLECTION_PATIENCE: u32 = 6;

/// What a port knows of its callers.
#[derive(Clone)]
pub(crate) enum Gate {
    /// The client port.
    Clients(Arc<Shared>),
    /// The peer port.
    Peers(Arc<Shared>),
    /// The peer port while there is no cluster yet.
    Introducing,
}

/// Decision on a request.
pub(crate) struct Entry {
    pub(crate) allowance: Allowance,
    /// Whether the request proves who its caller is.
    pub(crate) known: bool,
}

impl Gate {
    /// Decides on a request.
    pub(crate) async fn decide(
        &self,
        parts: &Parts,
        caller: &Caller,
        limits: &Limits,
    ) -> Result<Entry, Status> {
        match self {
            Self::Clients(shared) => of_client(shared, parts, limits).await,
            Self::Peers(shared) => of_peer(shared, parts, caller, limits),
            Self::Introducing => Ok(stranger(limits)),
        }
    }
}

fn stranger(limits: &Limits) -> Entry {
    let bytes = usize::try_from(limits.stranger_body_bytes).unwrap_or(usize::MAX);
    Entry {
        allowance: Allowance {
            bytes,
            within: Some(limits.body()),
        },
        known: false,
    }
}

async fn of_client(shared: &Arc<Shared>, parts: &Parts, limits: &Limits) -> Result<Entry, Status> {
    let path = parts.uri.path();
    // A webhook reads no body before it has verified the secret, and has bounds of its own.
    let known_later = path.starts_with(HOOKS);
    let open = OPEN.contains(&path) || path.starts_with(OF_OPERATORS);
    if known_later || open || !path.starts_with(WITH_SESSION) {
        let mut entry = stranger(limits);
        if known_later {
            entry.allowance.bytes = CLIENT_MESSAGE_BYTES_MAX;
        } else if path.starts_with(REFLECTION) {
            entry.allowance.within = Some(limits.body() * REFLECTION_PATIENCE);
        }
        return Ok(entry);
    }
    let refuse = |problem| match shared.reply::<()>(Err(problem)) {
        Ok(_) => Status::internal("a problem is no answer"),
        Err(status) => status,
    };
    let token = token_in(&parts.headers).map_err(|problem| match shared.is_stopping() {
        true => refuse(Problem::GoingAway),
        false => refuse(problem),
    })?;
    if shared.sessions.get(&token).is_none() {
        let look = async {
            shared.door()?;
            let metadata = MetadataMap::from_headers(parts.headers.clone());
            let deadline = Deadline::of(&metadata);
            let limit = tokio::time::timeout(deadline.left(), shared.session(token, deadline));
            limit.await.unwrap_or(Err(Problem::Busy))
        };
        look.await.map_err(refuse)?;
    }
    Ok(Entry {
        allowance: Allowance {
            // The message, and the prefix with its length.
            bytes: CLIENT_MESSAGE_BYTES_MAX + 1024,
            within: Some(limits.body()),
        },
        known: true,
    })
}

fn of_peer(
    shared: &Arc<Shared>,
    parts: &Parts,
    caller: &Caller,
    limits: &Limits,
) -> Result<Entry, Status> {
    let path = parts.uri.path();
    let member = match caller.shown {
        Shown::Node(names) => {
            !shared.is_retired(names.node) && shared.security.tls.believes(names.generation)
        }
        Shown::Plain | Shown::Nothing => false,
    };
    if member {
        return Ok(Entry {
            allowance: Allowance {
                bytes: usize::MAX,
                within: None,
            },
            known: true,
        });
    }
    if path.starts_with(BETWEEN_NODES) && !OPEN_FOR_MACHINES.contains(&path) {
        // The call itself answers a node that was removed.
        if !matches!(caller.shown, Shown::Node(_)) {
            let sentence = "this port is for nodes of the cluster, with a certificate";
            return Err(shared.refuse(caller, Reason::NotAPeer, sentence.to_owned()));
        }
    }
    Ok(stranger(limits))
}
