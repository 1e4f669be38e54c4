//! Serves machines that want to join the cluster, on any node.
//!
//! Always true: no machine is admitted without a token that the log revokes in the same moment, the
//! key that follows from the secret, or the certificate of the member whose place it takes. It gets
//! certificates for its own key and number, and nothing that another node could use. A machine that
//! asks again with the same request id and key gets the number that it was given first. A machine
//! whose token the log does not know adds no entry to the log, and takes no place of another one.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use conclave_core::{
    Accepted, ClusterVersion, JoinCredential, NodeId, OnceId, Rejection, TokenHash,
};
use conclave_replica::{Change, MEMBERS_MAX, Member, NodeMembership, ProposeError, Refusal};
use conclave_wire::{
    Problem, Reason, address,
    peer::{self, join_request, join_service_server::JoinService},
    request::{self, token_hash},
};
use tokio::time::sleep;
use tonic::{Request, Response, Status};

use crate::{
    auth::credential::Credential,
    base::deadline::Deadline,
    cluster::{bootstrap::initial_member_out, keys::key_invalid, upgrade::range_in},
    context::{access::accepted, node_context::NodeContext},
    identity::{
        node_identity::InitialMember,
        secret::{check_key, no_key},
    },
    peer::membership::ChangeRequest,
    peer_api::{peer_guard::caller, peer_roles},
    protocol::problems,
    tls::{Caller, PeerNames, Presented, PublicKey},
};

/// How long a machine that was refused keeps its place, so that a machine that guesses does not ask
/// the leader with each guess.
const REFUSED_PAUSE: Duration = Duration::from_millis(250);
/// Maximum number of characters of an address in the log: the longest name of a host, and a port.
const ADDRESS_SHOWN_MAX: usize = 260;
/// How long the members may take to confirm which nodes belong to the cluster.
const BARRIER_LIMIT: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub(crate) struct Admission {
    pub(crate) shared: Arc<NodeContext>,
}

impl Admission {
    async fn admit_machine(
        &self,
        request: peer::JoinRequest,
        deadline: Deadline,
        caller: &Caller,
    ) -> Result<peer::JoinResponse, Problem> {
        let from = caller.address;
        self.shared.refuse_if_stopping()?;
        // The text of a caller is logged only up to the length of an address.
        let shown = request
            .peer_address
            .chars()
            .filter(|char| !char.is_control());
        let address: String = shown.take(ADDRESS_SHOWN_MAX).collect();
        let outcome = self.shared.admit(request, deadline, caller).await;
        match &outcome {
            Ok(admitted) => {
                tracing::info!(node = admitted.node_id, address, "a machine was admitted")
            }
            Err(problem @ Problem::Refused { .. }) => {
                let told = (from.map(|from| from.ip()), problem.reason().to_string());
                if self.shared.callers_refused.should_log(told) {
                    let (from, reason) =
                        (from.map(|from| from.to_string()), problem.reason().name());
                    tracing::warn!(address, from, reason, "a machine was refused");
                }
            }
            Err(problem) => tracing::debug!(address, %problem, "failed to answer a join request"),
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
        let admitted = self.admit_machine(request.into_inner(), deadline, &caller);
        Ok(Response::new(admitted.await?))
    }

    async fn introduce(
        &self,
        request: Request<peer::IntroduceRequest>,
    ) -> Result<Response<peer::IntroduceResponse>, Status> {
        let shared = &self.shared;
        shared.may_ask(&caller(&request), peer_roles::INTRODUCE)?;
        check_key(shared.secret().as_ref(), &request.into_inner().join_key)?;
        let mut initial_members = shared.identity.initial_members();
        if initial_members.is_empty() {
            initial_members = members_as_initial(shared);
        }
        Ok(Response::new(peer::IntroduceResponse {
            instance: String::new(),
            client_address: shared.own_client_address(),
            expected: 0,
            initial_members: initial_members
                .into_iter()
                .map(initial_member_out)
                .collect(),
        }))
    }
}

/// Returns the members in the place of initial members, for a cluster that was not made by nodes
/// that found each other: no machine that asks has made it.
fn members_as_initial(shared: &NodeContext) -> Vec<InitialMember> {
    let members = shared.members().into_iter();
    members
        .map(|(node, member)| InitialMember {
            node,
            peer_address: member.peer_address,
            client_address: member.client_address,
            instance: String::new(),
        })
        .collect()
}

/// Checks the addresses of a machine that asks to join.
fn check_addresses(request: &peer::JoinRequest) -> Result<(), Problem> {
    let invalid = |why| Problem::refused(Reason::AddressInvalid, why);
    for address in [&request.peer_address, &request.client_address] {
        if address.len() > ADDRESS_SHOWN_MAX {
            return Err(invalid("an address has at most 260 bytes"));
        }
        address::check(address).map_err(invalid)?;
    }
    Ok(())
}

/// Returns the number of another member at this address, 0 if there is none.
fn other_at(members: &BTreeMap<u64, Member>, node: u64, peer_address: &str) -> u64 {
    let is_there =
        |(other, member): &(&u64, &Member)| **other != node && member.peer_address == peer_address;
    members.iter().find(is_there).map_or(0, |(other, _)| *other)
}

/// A machine whose credential can be used, as far as this node knows.
struct Applicant {
    id: OnceId,
    credential: JoinCredential,
    has_secret: bool,
    newest: ClusterVersion,
}

impl NodeContext {
    async fn admit(
        &self,
        request: peer::JoinRequest,
        deadline: Deadline,
        caller: &Caller,
    ) -> Result<peer::JoinResponse, Problem> {
        let applicant = self.applicant(&request, deadline, caller).await?;
        let places = match applicant.credential {
            JoinCredential::Token(_) => &self.joins.with_token,
            JoinCredential::Secret { .. } => &self.joins.known,
        };
        let _turn = places.try_acquire().map_err(|_| Problem::Busy)?;
        let admitted = self.admit_applicant(applicant, request, deadline).await;
        if let Err(Problem::Refused { .. }) = &admitted {
            sleep(REFUSED_PAUSE).await;
        }
        admitted
    }

    /// Checks what a machine has sent, without a place and without an entry of the log.
    async fn applicant(
        &self,
        request: &peer::JoinRequest,
        deadline: Deadline,
        caller: &Caller,
    ) -> Result<Applicant, Problem> {
        let secret = self.secret().ok_or_else(no_key)?;
        let missing = || Problem::refused(Reason::RequestIdInvalid, "a request id has 16 bytes");
        let id = request::once_id(&request.request_id)?.ok_or_else(missing)?;
        check_addresses(request)?;
        self.may_have_witnesses(request.witness)?;
        let can = range_in(request.oldest_version, request.newest_version);
        self.fits_the_cluster(can)?;
        let has_secret = matches!(
            request.credential,
            Some(join_request::Credential::JoinKey(_))
        );
        // Checked before a number is used up.
        if !has_secret && PublicKey::from_bytes(&request.public_key).is_none() {
            return Err(key_invalid());
        }
        let credential = match &request.credential {
            Some(join_request::Credential::TokenSecret(shown)) => {
                let token = token_hash(shown);
                self.has_token(token, id, &request.public_key, deadline)
                    .await?;
                JoinCredential::Token(token)
            }
            Some(join_request::Credential::JoinKey(shown)) => {
                check_key(Some(&secret), shown)?;
                JoinCredential::Secret { voter: true }
            }
            None => self.credential_of_member(request, caller)?,
        };
        Ok(Applicant {
            id,
            credential,
            has_secret,
            newest: can.newest,
        })
    }

    /// Refuses a token that cannot be used, unless exactly this request was answered before. The
    /// log is asked only if this node knows neither: another node may have made the token just now.
    async fn has_token(
        &self,
        token: TokenHash,
        id: OnceId,
        key: &[u8],
        deadline: Deadline,
    ) -> Result<(), Problem> {
        let credential = JoinCredential::Token(token);
        let digest = request::admit_node(id, credential, NodeId(0), None, key).digest;
        let look = || {
            self.read(move |reader| {
                let is_usable = reader.is_join_token_usable(&token)?;
                Ok(is_usable || reader.answered_once(&id)? == Some(digest))
            })
        };
        if look().await? {
            return Ok(());
        }
        let turn = self.joins.unknown.try_acquire();
        let _turn = turn.map_err(|_| Problem::Busy)?;
        let limit = BARRIER_LIMIT.min(deadline.left());
        self.barrier(Deadline::after(limit)).await?;
        if look().await? {
            return Ok(());
        }
        sleep(REFUSED_PAUSE).await;
        Err(Rejection::JoinTokenInvalid.into())
    }

    async fn admit_applicant(
        &self,
        applicant: Applicant,
        request: peer::JoinRequest,
        deadline: Deadline,
    ) -> Result<peer::JoinResponse, Problem> {
        let Applicant {
            id,
            credential,
            has_secret,
            newest: can_newest,
        } = applicant;
        let named = request.replaces_node_id;
        let members = self.members_with_room(named, deadline).await?;
        let known_last = NodeId(members.keys().next_back().copied().unwrap_or(0));
        let says = ClusterVersion::ADMISSION_SAYS_VERSION;
        let newest = (self.replica.cluster_version() >= says).then_some(can_newest);
        let key = &request.public_key;
        let command = request::admit_node(id, credential, known_last, newest, key);
        let outcome = self.propose(command, deadline).await?;
        let (node, voter) = accepted(&outcome, |accepted| match accepted {
            Accepted::NodeAdmitted { node, voter } => Some((node.0, *voter)),
            _ => None,
        })?;
        let replaces_node_id = match named {
            0 => other_at(&members, node, &request.peer_address),
            named => named,
        };
        let change = Change::Add {
            node,
            member: Member {
                peer_address: request.peer_address,
                client_address: request.client_address.clone(),
                witness: request.witness,
                set_aside: false,
            },
            replaces: (replaces_node_id != 0).then_some(replaces_node_id),
        };
        let add = ChangeRequest {
            newest: Some(can_newest),
            ..ChangeRequest::of(change)
        };
        let client_address = request.client_address;
        self.change_members(&add, &Credential::Nothing, deadline)
            .await?;
        // The leader adds no member while it ends a rotation of the secret. If one has ended, the
        // machine needs certificates of the new authority: no rotation prepares it for that.
        self.follow_rotation().await?;
        let certificates = match has_secret {
            // The machine signs for itself.
            true => None,
            false => {
                let of = PeerNames {
                    node,
                    key_holder: false,
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

    /// Refuses a witness while the cluster version does not have them.
    fn may_have_witnesses(&self, is_witness: bool) -> Result<(), Problem> {
        let needed = ClusterVersion::WITNESSES;
        match !is_witness || self.replica.cluster_version() >= needed {
            true => Ok(()),
            false => Err(problems::of_propose(&ProposeError::VersionTooLow {
                needed,
            })),
        }
    }

    /// Returns the members, as a majority knows them, if another one may join and `named` (unless
    /// it is 0) is one of them.
    async fn members_with_room(
        &self,
        named: u64,
        deadline: Deadline,
    ) -> Result<BTreeMap<u64, Member>, Problem> {
        let limit = BARRIER_LIMIT.min(deadline.left());
        let confirmed = self.replica.read_barrier(limit).await;
        confirmed.map_err(|error| problems::of_read(&error))?;
        let members = self.replica.status().members.nodes;
        if named != 0 && !members.contains_key(&named) {
            return Err(problems::of_refusal(Refusal::NoSuchNode(named)));
        }
        // One more than may stay: the member that is replaced goes later.
        if members.len() > MEMBERS_MAX {
            return Err(problems::of_refusal(Refusal::TooManyMembers));
        }
        Ok(members)
    }

    /// Returns the credential of a member whose data is damaged: its certificate, for its own
    /// place and with the vote that it has.
    fn credential_of_member(
        &self,
        request: &peer::JoinRequest,
        caller: &Caller,
    ) -> Result<JoinCredential, Problem> {
        let nothing = || Problem::refused(Reason::JoinRefused, "no certificate or token is shown");
        let Presented::Node(names) = caller.shown else {
            return Err(nothing());
        };
        let is_trusted = self.security.tls.trusts(names.signed_by);
        if names.node != request.replaces_node_id || self.is_retired(names.node) || !is_trusted {
            return Err(nothing());
        }
        match self.replica.membership_of(names.node) {
            NodeMembership::Voter => Ok(JoinCredential::Secret { voter: true }),
            NodeMembership::Learner => Ok(JoinCredential::Secret {
                voter: names.may_vote,
            }),
            NodeMembership::Unknown => Err(nothing()),
        }
    }
}
