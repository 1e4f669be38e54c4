//! Serves machines that want to join the cluster, on any node.
//!
//! Always true: no machine is admitted without a token that the log revokes in the same moment, the
//! key that follows from the secret, or the certificate of the member whose place it takes. It gets
//! certificates for its own key and number, and nothing that another node could use. A machine that
//! asks again with the same request id and key gets the number that it was given first.

use std::{sync::Arc, time::Duration};

use conclave_core::{Accepted, NodeId, Pass};
use conclave_replica::{Change, MEMBERS_MAX, Member, Place, Refusal};
use conclave_wire::{
    Problem, address,
    peer::{self, join_request, join_service_server::JoinService},
    request::{self, token_hash},
};
use tokio::time::sleep;
use tonic::{Request, Response, Status};

use crate::{
    auth::credential::Credential,
    base::deadline::Deadline,
    cluster::{bootstrap::founder_out, keys::key_invalid},
    context::{access::accepted, shared::Shared},
    identity::{
        node_identity::Founder,
        secret::{check_key, no_key},
    },
    peer::membership::ChangeRequest,
    peer_api::{peer_guard::caller, peer_roles},
    protocol::problems,
    tls::{Caller, PeerNames, PublicKey, Shown},
};

/// Maximum number of machines that are being admitted at once. At the bound another one is asked to
/// try again.
pub(crate) const JOINS_MAX: usize = 4;
/// How long a machine that was refused keeps its place, so that a machine that guesses does not
/// fill the log.
const REFUSED_PAUSE: Duration = Duration::from_millis(250);
/// Maximum number of characters of an address in the log: the longest name of a host, and a port.
const ADDRESS_SHOWN_MAX: usize = 260;
/// How long the members may take to confirm which nodes belong to the cluster.
const BARRIER_LIMIT: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub(crate) struct Admission {
    pub(crate) shared: Arc<Shared>,
}

impl Admission {
    async fn let_in(
        &self,
        request: peer::JoinRequest,
        deadline: Deadline,
        caller: &Caller,
    ) -> Result<peer::JoinResponse, Problem> {
        let from = caller.address.remote_addr();
        self.shared.door()?;
        let _turn = self.shared.joins.try_acquire().map_err(|_| Problem::Busy)?;
        // A stranger's text is logged only up to the length of an address.
        let shown = request
            .peer_address
            .chars()
            .filter(|char| !char.is_control());
        let address: String = shown.take(ADDRESS_SHOWN_MAX).collect();
        let outcome = self.shared.admit(request, deadline, caller).await;
        match &outcome {
            Ok(let_in) => tracing::info!(node = let_in.node_id, address, "a machine was let in"),
            Err(problem @ Problem::Refused { .. }) => {
                let told = (from.map(|from| from.ip()), problem.reason().to_owned());
                if self.shared.callers_refused.is_news(told) {
                    let (from, reason) = (from.map(|from| from.to_string()), problem.reason());
                    tracing::warn!(address, from, reason, "a machine was refused");
                }
                sleep(REFUSED_PAUSE).await;
            }
            Err(problem) => tracing::debug!(address, %problem, "a machine has to ask again"),
        }
        outcome
    }
}

#[tonic::async_trait]
impl JoinService for Admission {
    async fn join(
        &self,
        request: Request<peer::JoinRequest>,
    ) -> Result<Response<peer::JoinResponse>, Status> {
        let deadline = Deadline::in_headers(request.metadata().as_ref());
        let caller = caller(&request);
        self.shared.may_ask(&caller, peer_roles::JOIN)?;
        let let_in = self.let_in(request.into_inner(), deadline, &caller);
        Ok(Response::new(let_in.await?))
    }

    async fn introduce(
        &self,
        request: Request<peer::IntroduceRequest>,
    ) -> Result<Response<peer::IntroduceResponse>, Status> {
        let shared = &self.shared;
        shared.may_ask(&caller(&request), peer_roles::INTRODUCE)?;
        check_key(shared.secret().as_ref(), &request.into_inner().join_key)?;
        let mut founders = shared.identity.founders();
        if founders.is_empty() {
            founders = members_as_founders(shared);
        }
        Ok(Response::new(peer::IntroduceResponse {
            instance: String::new(),
            client_address: shared.own_client_address(),
            expected: 0,
            founders: founders.into_iter().map(founder_out).collect(),
        }))
    }
}

/// Returns the members in the place of initial members, for a cluster that was not made by nodes
/// that found each other: no machine that asks has made it.
fn members_as_founders(shared: &Shared) -> Vec<Founder> {
    let members = shared.members().into_iter();
    members
        .map(|(node, member)| Founder {
            node,
            peer_address: member.peer_address,
            client_address: member.client_address,
            instance: String::new(),
        })
        .collect()
}

impl Shared {
    async fn admit(
        &self,
        request: peer::JoinRequest,
        deadline: Deadline,
        caller: &Caller,
    ) -> Result<peer::JoinResponse, Problem> {
        let secret = self.secret().ok_or_else(no_key)?;
        let missing = || problems::refused("REQUEST_ID_INVALID", "a request id has 16 bytes");
        let id = request::once_id(&request.request_id)?.ok_or_else(missing)?;
        for address in [&request.peer_address, &request.client_address] {
            let invalid = |why| problems::refused("ADDRESS_INVALID", why);
            if address.len() > ADDRESS_SHOWN_MAX {
                return Err(invalid("an address has at most 260 bytes"));
            }
            address::check(address).map_err(invalid)?;
        }
        let pass = match &request.pass {
            Some(join_request::Pass::TokenSecret(shown)) => Pass::Token(token_hash(shown)),
            Some(join_request::Pass::JoinKey(shown)) => {
                check_key(Some(&secret), shown)?;
                Pass::Secret { voter: true }
            }
            None => self.pass_of_member(&request, caller)?,
        };
        let has_secret = matches!(request.pass, Some(join_request::Pass::JoinKey(_)));
        // Checked before a number is used up.
        if !has_secret && PublicKey::from_bytes(&request.public_key).is_none() {
            return Err(key_invalid());
        }
        let limit = BARRIER_LIMIT.min(deadline.left());
        let confirmed = self.replica.read_barrier(limit).await;
        confirmed.map_err(|error| problems::of_read(&error))?;
        let members = self.replica.status().members.nodes;
        let named = request.replaces_node_id;
        if named != 0 && !members.contains_key(&named) {
            return Err(problems::of_refusal(Refusal::NoSuchNode(named)));
        }
        // One more than may stay: the member that is replaced goes later.
        if members.len() > MEMBERS_MAX {
            return Err(problems::of_refusal(Refusal::TooManyMembers));
        }
        let known_last = NodeId(members.keys().next_back().copied().unwrap_or(0));
        let command = request::admit_node(id, pass, known_last, &request.public_key);
        let outcome = self.propose(command, deadline).await?;
        let (node, voter) = accepted(&outcome, |accepted| match accepted {
            Accepted::NodeAdmitted { node, voter } => Some((node.0, *voter)),
            _ => None,
        })?;
        let same_place = |(other, member): &(&u64, &Member)| {
            **other != node && member.peer_address == request.peer_address
        };
        let replaces_node_id = match named {
            0 => members
                .iter()
                .find(same_place)
                .map_or(0, |(other, _)| *other),
            named => named,
        };
        let add = ChangeRequest::of(Change::Add {
            node,
            member: Member {
                peer_address: request.peer_address,
                client_address: request.client_address.clone(),
            },
            replaces: (replaces_node_id != 0).then_some(replaces_node_id),
        });
        let client_address = request.client_address;
        self.change_members(&add, &Credential::Nothing, deadline)
            .await?;
        let certificates = match has_secret {
            // The machine signs for itself.
            true => None,
            false => {
                let of = PeerNames {
                    node,
                    keeper: false,
                    may_vote: voter,
                    takes: replaces_node_id,
                    ..PeerNames::default()
                };
                Some(self.certificates_for(of, &request.public_key, &client_address)?)
            }
        };
        Ok(peer::JoinResponse {
            node_id: node,
            voter,
            replaces_node_id,
            cluster_id: self.identity.cluster_id.clone(),
            certificates,
        })
    }

    /// Returns the pass of a member whose data is damaged: its certificate, for its own place and
    /// with the vote that it has.
    fn pass_of_member(
        &self,
        request: &peer::JoinRequest,
        caller: &Caller,
    ) -> Result<Pass, Problem> {
        let nothing = || problems::refused("JOIN_REFUSED", "the request shows nothing");
        let Shown::Node(names) = caller.shown else {
            return Err(nothing());
        };
        let is_believed = self.security.tls.believes(names.generation);
        if names.node != request.replaces_node_id || self.is_retired(names.node) || !is_believed {
            return Err(nothing());
        }
        match self.replica.place_of(names.node) {
            Place::Voter => Ok(Pass::Secret { voter: true }),
            Place::Learner => Ok(Pass::Secret {
                voter: names.may_vote,
            }),
            Place::Unknown => Err(nothing()),
        }
    }
}
