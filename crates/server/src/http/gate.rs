//! Decides by the headers of a request what its caller may send, before a byte of its body is read.
//!
//! Always true: a call that needs a session or a certificate, and has none, is answered here. A
//! token that this node has never seen costs a look at the database, as it does anywhere.

use std::sync::Arc;

use axum::http::{HeaderName, Response, request::Parts};
use conclave_wire::{Problem, Reason};

use crate::{
    auth::{credential::Credential, sessions::log_in_first},
    base::{deadline::Deadline, tracer::Tracer, work_meter::WorkMeter},
    connections::{bodies::BodyLimits, limits::Limits},
    context::{access::Unknown, node_context::NodeContext},
    protocol::client_port::{CLIENT_MESSAGE_BYTES_MAX, HOOKS, STREAMED_REQUEST_BYTES_MAX},
    tls::{Caller, Presented},
};

/// Calls of `conclave.v1` that need no session. Calls of operators carry a credential instead, and
/// are short.
const OPEN: [&str; 2] = [
    "/conclave.v1.AccountService/CreateAccount",
    "/conclave.v1.SessionService/OpenSession",
];
const OF_OPERATORS: [&str; 2] = ["/conclave.v1.AdminService/", "/conclave.v1.BackupService/"];
/// The call whose requests are a stream.
const OF_MESSAGES: &str = "/conclave.v1.ChatService/SendMessages";
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

/// Header in which a page names its session: another page of the browser may have replaced the
/// cookie.
const SESSION: HeaderName = HeaderName::from_static("x-conclave-session");
/// Header in which a node that does not lead names the client address of the leader.
const LEADER: HeaderName = HeaderName::from_static("conclave-leader");

/// What a port knows of its callers.
#[derive(Clone)]
pub(crate) enum Gate {
    /// The client port.
    Clients(Arc<NodeContext>),
    /// The peer port.
    Peers(Arc<NodeContext>),
    /// The peer port while there is no cluster yet.
    Bootstrapping,
}

/// Decision on a request.
pub(crate) struct Entry {
    pub(crate) allowance: BodyLimits,
    /// Whether the request proves who its caller is.
    pub(crate) known: bool,
    /// The account that this node works for, if it is one.
    pub(crate) work: Option<Arc<WorkMeter>>,
}

impl Gate {
    /// Decides on a request.
    pub(crate) async fn decide(
        &self,
        parts: &Parts,
        caller: &Caller,
        limits: &Limits,
    ) -> Result<Entry, Problem> {
        match self {
            Self::Clients(shared) => {
                let decided = of_client(shared, parts, caller, limits).await;
                decided.inspect_err(|problem| tracing::debug!(%problem, "a call was refused"))
            }
            Self::Peers(shared) => of_peer(shared, parts, caller, limits),
            Self::Bootstrapping => Ok(unauthenticated(limits)),
        }
    }

    /// Returns what traces calls, if anything does.
    pub(super) fn tracer(&self) -> Option<&Arc<Tracer>> {
        match self {
            Self::Clients(shared) | Self::Peers(shared) => shared.tracer.as_ref(),
            Self::Bootstrapping => None,
        }
    }

    /// Returns the caller of a request: that of the connection, or the one for which a trusted
    /// proxy has made it.
    pub(crate) fn caller(&self, parts: &Parts, caller: &Caller) -> Caller {
        let mut caller = caller.clone();
        if let Self::Clients(shared) = self {
            let proxies = &shared.trusted_proxies;
            caller.address = caller
                .address
                .map(|from| proxies.caller(from, &parts.headers));
        }
        caller
    }

    /// Returns whether the response to a call may name the leader.
    pub(crate) fn is_hinted(&self, parts: &Parts) -> bool {
        matches!(self, Self::Clients(_)) && parts.uri.path().starts_with(WITH_SESSION)
    }

    /// Adds the client address of the leader to a response, if another node leads: a hint that
    /// saves the client a hop.
    pub(crate) fn name_leader<B>(&self, response: &mut Response<B>) {
        let Self::Clients(shared) = self else {
            return;
        };
        let leader = shared.leader_elsewhere();
        if let Some(leader) = leader.and_then(|address| address.parse().ok()) {
            response.headers_mut().insert(LEADER, leader);
        }
    }
}

fn unauthenticated(limits: &Limits) -> Entry {
    let bytes = usize::try_from(limits.unauthenticated_body_bytes).unwrap_or(usize::MAX);
    Entry {
        allowance: BodyLimits {
            bytes,
            within: Some(limits.body()),
            is_stream: false,
        },
        known: false,
        work: None,
    }
}

async fn of_client(
    shared: &Arc<NodeContext>,
    parts: &Parts,
    caller: &Caller,
    limits: &Limits,
) -> Result<Entry, Problem> {
    let path = parts.uri.path();
    // A webhook reads no body before it has verified the secret, and has bounds of its own.
    let known_later = path.starts_with(HOOKS);
    let for_operators = OF_OPERATORS.iter().any(|service| path.starts_with(service));
    let open = OPEN.contains(&path) || for_operators;
    if known_later || open || !path.starts_with(WITH_SESSION) {
        let mut entry = unauthenticated(limits);
        if known_later {
            entry.allowance.bytes = CLIENT_MESSAGE_BYTES_MAX;
        } else if path.starts_with(REFLECTION) {
            entry.allowance.within = Some(limits.body() * REFLECTION_PATIENCE);
        }
        return Ok(entry);
    }
    let token = Credential::in_headers(&parts.headers).session();
    let token = token.map_err(|problem| shared.refuse_if_away().err().unwrap_or(problem))?;
    let known = match shared.sessions.get(&token) {
        Some(known) => known,
        None => {
            shared.refuse_if_away()?;
            let deadline = Deadline::in_headers(&parts.headers);
            let caller = Unknown::at(caller.address, deadline);
            let limit = tokio::time::timeout(deadline.left(), shared.session(token, caller));
            limit.await.unwrap_or(Err(Problem::Busy))?
        }
    };
    let meant = parts.headers.get(SESSION);
    if meant.is_some_and(|meant| meant.as_bytes() != known.id.0.to_string().as_bytes()) {
        return Err(log_in_first("the browser has another session by now"));
    }
    let is_stream = parts.uri.path() == OF_MESSAGES;
    Ok(Entry {
        allowance: BodyLimits {
            bytes: match is_stream {
                true => STREAMED_REQUEST_BYTES_MAX,
                // The message, and the prefix with its length.
                false => CLIENT_MESSAGE_BYTES_MAX + 1024,
            },
            within: Some(limits.body()),
            is_stream,
        },
        known: true,
        work: Some(known.work),
    })
}

fn of_peer(
    shared: &Arc<NodeContext>,
    parts: &Parts,
    caller: &Caller,
    limits: &Limits,
) -> Result<Entry, Problem> {
    let path = parts.uri.path();
    let member = match caller.shown {
        Presented::Node(names) => {
            !shared.is_retired(names.node) && shared.security.tls.trusts(names.signed_by)
        }
        Presented::Plain | Presented::Nothing => false,
    };
    if member {
        return Ok(Entry {
            allowance: BodyLimits {
                bytes: usize::MAX,
                within: None,
                is_stream: false,
            },
            known: true,
            work: None,
        });
    }
    if path.starts_with(BETWEEN_NODES) && !OPEN_FOR_MACHINES.contains(&path) {
        // The call itself answers a node that was removed.
        if !matches!(caller.shown, Presented::Node(_)) {
            let sentence = "this port is for nodes of the cluster, with a certificate";
            return Err(shared.refuse(caller, Reason::NotAPeer, sentence.to_owned()));
        }
    }
    Ok(unauthenticated(limits))
}
