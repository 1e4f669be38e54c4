//! Manages the key of the cluster's authority, and the certificates of nodes without it.
//!
//! Always true: the key goes to voters alone, from a voter that has just asked a majority which
//! nodes vote; a node without the key gets certificates for its own key and its own number.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use conclave_replica::{Lane, Member, NodeMembership, PeerError};
use conclave_wire::{Problem, Reason, peer};
use tokio::time::sleep;

use crate::{
    context::node_context::NodeContext,
    identity::secret::{ClusterSecret, no_key},
    peer::lane::{GrpcPeer, Service},
    protocol::problems,
    tls::{Issued, NodeKey, PeerNames, PublicKey},
};

/// How often a node looks whether it needs a key or certificates.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long one member may take to answer.
const ASK_LIMIT: Duration = Duration::from_secs(2);
/// Pause after no member has given the key or the certificates.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How long the members may take to confirm which nodes vote.
const BARRIER_LIMIT: Duration = Duration::from_secs(1);

/// Returns the refusal of bytes that are not a key.
pub(crate) fn key_invalid() -> Problem {
    Problem::refused(
        Reason::KeyInvalid,
        "a public key is a point of P-256 in 65 bytes",
    )
}

impl NodeContext {
    /// Returns the cluster's secret, if this node has it.
    pub(crate) fn secret(&self) -> Option<ClusterSecret> {
        self.security.tls.secret()
    }

    /// Signs certificates for the key of a machine.
    pub(crate) fn certificates_for(
        &self,
        of: PeerNames,
        public_key: &[u8],
        client_address: &str,
    ) -> Result<peer::Certificates, Problem> {
        let key = PublicKey::from_bytes(public_key).ok_or_else(key_invalid)?;
        let tls = &self.security.tls;
        let signed = tls.sign_for(&key, of, client_address).ok_or_else(no_key)?;
        let signed = signed.map_err(|error| Problem::Broken {
            sentence: error.to_string(),
        })?;
        Ok(signed.to_wire())
    }

    /// Signs new certificates for a member. They give no right to a place: the member has its
    /// place.
    pub(crate) fn renew_certificates(
        &self,
        node: u64,
        public_key: &[u8],
    ) -> Result<peer::Certificates, Problem> {
        let of = PeerNames {
            node,
            ..PeerNames::default()
        };
        let member = self.members().remove(&node).unwrap_or_default();
        self.certificates_for(of, public_key, &member.client_address)
    }

    /// Returns the secret, for a node that votes as a majority knows it.
    pub(crate) async fn authority_key_for(&self, node: u64) -> Result<ClusterSecret, Problem> {
        let confirmed = self.replica.read_barrier(BARRIER_LIMIT).await;
        confirmed.map_err(|error| problems::of_read(&error))?;
        if self.replica.membership_of(node) != NodeMembership::Voter || self.is_retired(node) {
            let sentence = format!("node {node} does not vote");
            return Err(Problem::refused(Reason::PeerRole, &sentence));
        }
        self.secret().ok_or_else(no_key)
    }

    /// Returns every voter but this one, the leader first.
    fn other_voters(&self) -> Vec<(u64, Member)> {
        let leader = *self.replica.leader().borrow();
        let others = self.other_members().into_iter();
        let mut voters: Vec<_> = others
            .filter(|(node, _)| self.replica.membership_of(*node) == NodeMembership::Voter)
            .collect();
        voters.sort_by_key(|(node, _)| Some(*node) != leader);
        voters
    }
}

/// Gets the key of the authority once this node votes, gives it up when the vote is taken from it,
/// and gets new certificates before those of a node without the key expire. Never ends.
pub(crate) async fn keep(shared: Arc<NodeContext>) {
    let mut told = None;
    loop {
        sleep(LOOK_EVERY).await;
        let tls = &shared.security.tls;
        let place = shared.replica.membership_of(shared.identity.node);
        let asked = match (place, tls.is_key_holder()) {
            (NodeMembership::Voter, false) => fetch_key(&shared).await,
            (NodeMembership::Learner, true) if is_demoted(&shared) => give_up_key(&shared).await,
            (_, false) if tls.needs_others() => renew(&shared).await.map(drop),
            _ => continue,
        };
        if let Err(why) = asked {
            if told.as_ref() != Some(&why) {
                tracing::warn!(reason = %why, "failed to get the keys of this node; retrying");
                told = Some(why);
            }
            sleep(ASK_AGAIN).await;
        }
    }
}

/// Asks the other voters for the key, stores it, and lets this node sign for itself from then on.
async fn fetch_key(shared: &Arc<NodeContext>) -> Result<(), String> {
    let mut why = "no other voter is known".to_owned();
    for (node, member) in shared.other_voters() {
        let voter = shared.transport.grpc_peer(node, &member, Lane::Calls);
        let secret = match voter.authority_key(ASK_LIMIT).await {
            Ok(bytes) => ClusterSecret::from_bytes(&bytes),
            Err(error) => {
                why = format!("node {node}: {error}");
                continue;
            }
        };
        let Ok(secret) = secret else {
            why = format!("node {node} sent an invalid key");
            continue;
        };
        if secret.authority_id() != shared.security.tls.authority_id() {
            why = format!("node {node} sent the key of another authority");
            continue;
        }
        let (directory, kept) = (shared.identity.directory().to_owned(), secret.clone());
        let stored = tokio::task::spawn_blocking(move || kept.store(&directory)).await;
        match stored {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(error.to_string()),
            Err(error) => return Err(error.to_string()),
        }
        let made = shared.security.tls.become_key_holder(secret);
        made.map_err(|error| error.to_string())?;
        tracing::info!("this node votes, and has received the key of the cluster's authority");
        return Ok(());
    }
    Err(why)
}

/// Returns whether this node has lost its vote for good. A node that has the secret from the
/// operator, or that is about to get a vote, keeps the key.
fn is_demoted(shared: &NodeContext) -> bool {
    let status = shared.replica.status();
    let own = status.members.nodes.get(&shared.identity.node);
    // One that was set aside gets its vote back.
    let is_settled = status.members_settled && own.is_some_and(|own| !own.set_aside);
    // While the secret is rotated this node is about to get new certificates anyway.
    let is_rotating = shared.peer_authority().next.is_some();
    is_settled
        && !is_rotating
        && !shared.secret_is_given
        && shared.identity.pending_role().is_none()
}

/// Has a voter sign certificates for the key of this node, and removes the secret.
async fn give_up_key(shared: &Arc<NodeContext>) -> Result<(), String> {
    let issued = renew(shared).await?;
    let directory = shared.identity.directory().to_owned();
    let forgotten = tokio::task::spawn_blocking(move || ClusterSecret::forget(&directory)).await;
    let forgotten = forgotten.map_err(|error| error.to_string())?;
    forgotten.map_err(|error| error.to_string())?;
    let given_up = shared.security.tls.become_member(&issued);
    given_up.map_err(|error| error.to_string())?;
    tracing::info!("this node no longer votes, and has deleted the key of the authority");
    Ok(())
}

/// Asks the voters for new certificates.
async fn renew(shared: &Arc<NodeContext>) -> Result<Issued, String> {
    let directory = shared.identity.directory();
    let key = NodeKey::load_or_make(directory).map_err(|error| error.to_string())?;
    let mut why = "no voter is known".to_owned();
    for (node, member) in shared.other_voters() {
        let voter = shared.transport.grpc_peer(node, &member, Lane::Calls);
        let sent = match voter.certificates(key.public(), ASK_LIMIT).await {
            Ok(sent) => sent,
            Err(error) => {
                why = format!("node {node}: {error}");
                continue;
            }
        };
        let issued = Issued::new(&key, &sent).map_err(|error| error.to_string())?;
        if issued.authority_id() != shared.security.tls.authority_id() {
            why = format!("node {node} signed with another authority");
            continue;
        }
        issued.store(directory).map_err(|error| error.to_string())?;
        let taken = shared.security.tls.take(&issued);
        taken.map_err(|error| error.to_string())?;
        tracing::info!("a voter has signed certificates for this node");
        return Ok(issued);
    }
    Err(why)
}

impl GrpcPeer {
    /// Asks the peer for the cluster's secret.
    async fn authority_key(&self, limit: Duration) -> Result<Bytes, PeerError> {
        let request = peer::GetAuthorityKeyRequest {
            envelope: Some(self.envelope()),
        };
        let call = |mut service: Service| async move { service.get_authority_key(request).await };
        Ok(self.call(limit, call).await?.cluster_secret)
    }

    /// Asks the peer for new certificates for the key of this node.
    async fn certificates(
        &self,
        public_key: Vec<u8>,
        limit: Duration,
    ) -> Result<peer::Certificates, PeerError> {
        let request = peer::RenewCertificatesRequest {
            envelope: Some(self.envelope()),
            public_key: public_key.into(),
        };
        let call = |mut service: Service| async move { service.renew_certificates(request).await };
        Ok(self
            .call(limit, call)
            .await?
            .certificates
            .unwrap_or_default())
    }
}
