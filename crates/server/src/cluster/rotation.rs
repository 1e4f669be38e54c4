//! Rotates the secret of the cluster while it runs, so that the secret or the certificates on a
//! removed machine, or in a copy of a directory, prove nothing any more.
//!
//! 1. The log says that another authority of the peers is wanted. The leader makes the secret that
//!    the authority follows from, stores it, and has the log announce the authority: its
//!    fingerprint, never the secret.
//! 2. The leader sends it to every member: the secret to voters, certificates to all others. They
//!    store it beside their present one and trust both authorities. The leader sends it and members
//!    never fetch it: a client with a stolen certificate gets nothing.
//! 3. When all members have it the leader asks each of them once more, and adds no member from then
//!    on: a member that came meanwhile is prepared, too, and all make their connections anew. A
//!    connection from a prepared member to one that was not is of the old authority, and would be
//!    refused between the moments at which the two go on.
//! 4. The log ends the rotation, in the term in which that leader did all this: every node goes on
//!    with the new authority alone, also a node that was down by then.
//!
//! A member that is removed meanwhile may have got the secret: then the log wants another one.
//!
//! A new leader continues the rotation; a leader without the secret that was announced makes and
//! announces another one. Always true: no member is left behind, because the log ends nothing
//! before all members have on disk what they need.

use std::{io, path::Path, sync::Arc, time::Duration};

use conclave_core::{AuthorityId, Command, OnceId, lookup::PeerAuthority};
use conclave_replica::{Lane, Member, Members, NodeMembership, Role};
use conclave_wire::{
    Problem, Reason,
    peer::{self, prepare_rotation_request::Means},
    request,
};
use futures::future::join_all;
use tokio::time::sleep;

use crate::{
    base::{deadline::Deadline, random},
    context::{
        node_context::NodeContext,
        rotation_state::{forget, install, store},
    },
    identity::secret::ClusterSecret,
    peer::lane::GrpcPeer,
    protocol::problems,
    tls::{Issued, Next, NodeKey, PeerNames, PublicKey},
};

/// How often a node looks for work.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long one member may take to be prepared: it waits for its log and its disk.
const PREPARE_LIMIT: Duration = Duration::from_secs(3);
/// How long the members may take to confirm what the log says.
const BARRIER_LIMIT: Duration = Duration::from_secs(1);
/// How long the log may take to announce an authority, or to end the rotation.
const PROPOSE_LIMIT: Duration = Duration::from_secs(3);

/// Takes this node's steps of a rotation, for as long as it runs.
pub(crate) async fn keep(shared: Arc<NodeContext>) {
    loop {
        sleep(LOOK_EVERY).await;
        let (tls, known) = (&shared.security.tls, shared.peer_authority());
        let is_idle = known.next.is_none() && known.generation <= tls.rotations();
        if is_idle && tls.prepared().is_none() {
            continue;
        }
        let done = match shared.settle().await {
            Ok(()) => shared.drive().await,
            Err(problem) => Err(problem.to_string()),
        };
        if let Err(why) = done
            && shared.rotation.logged.should_log(why.clone())
        {
            tracing::warn!(reason = %why, "the rotation of the secret waits");
        }
    }
}

impl NodeContext {
    /// Follows the log up to what a majority knows now: if a rotation has ended by then, this node
    /// goes on before it returns, and what it signs afterwards counts.
    ///
    /// # Errors
    /// If no majority confirms it in time, or this node cannot go on.
    pub(crate) async fn follow_rotation(&self) -> Result<(), Problem> {
        let confirmed = self.replica.read_barrier(BARRIER_LIMIT).await;
        confirmed.map_err(|error| problems::of_read(&error))?;
        self.settle().await
    }

    async fn authority_now(&self) -> Result<PeerAuthority, Problem> {
        Ok(self.read(|reader| reader.nodes()).await?.authority)
    }

    /// Follows the log: continues with what was prepared, or removes it.
    async fn settle(&self) -> Result<(), Problem> {
        let _turn = self.rotation.settling.lock().await;
        let (tls, known) = (&self.security.tls, self.authority_now().await?);
        let has_ended = known.generation > tls.rotations();
        let Some(prepared) = tls.prepared() else {
            return match has_ended {
                true => Err(Problem::refused(
                    Reason::ExchangeMissed,
                    "it has ended without this node: let the machine join again with an empty \
                     directory and a new token",
                )),
                false => Ok(()),
            };
        };
        if has_ended {
            self.on_disk(install).await?;
            tls.go_on_with_next();
            let rotations = known.generation;
            tracing::info!(rotations, "the secret of the cluster was rotated");
            return Ok(());
        }
        // Only after a barrier does this node know whether another authority was announced since.
        if known.next != Some(prepared) {
            let confirmed = self.replica.read_barrier(BARRIER_LIMIT).await;
            confirmed.map_err(|error| problems::of_read(&error))?;
            let known = self.authority_now().await?;
            if known.next != Some(prepared) && known.generation <= tls.rotations() {
                self.on_disk(forget).await?;
                tls.forget_next();
            }
        }
        Ok(())
    }

    /// Works in the directory of the node; calls are served meanwhile, however long the disk takes.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Problem> {
        let directory = self.identity.directory().to_owned();
        let done = tokio::task::spawn_blocking(move || work(&directory)).await;
        let done = done.map_err(io::Error::other).flatten();
        done.map_err(|error| Problem::Broken {
            sentence: format!("the directory of the node cannot be used: {error}"),
        })
    }

    /// Trusts the next authority from now on, and stores what proves this node to its peers.
    async fn prepare(&self, next: Next) -> Result<(), Problem> {
        let kept = next.clone();
        self.on_disk(move |directory| store(directory, &kept))
            .await?;
        let prepared = self.security.tls.prepare(&next);
        prepared.map_err(|error| Problem::refused(Reason::CertificatesInvalid, error.to_string()))
    }

    /// Prepares this node at the request of the leader.
    pub(crate) async fn prepare_here(
        &self,
        request: peer::PrepareRotationRequest,
    ) -> Result<peer::PrepareRotationResponse, Problem> {
        let invalid = |why: &str| Problem::refused(Reason::RotationInvalid, why);
        let id = AuthorityId::try_from(&request.authority_sha256[..]);
        let id = id.map_err(|_| invalid("an authority is named by 32 bytes"))?;
        let confirmed = self.replica.read_barrier(BARRIER_LIMIT).await;
        confirmed.map_err(|error| problems::of_read(&error))?;
        let _turn = self.rotation.settling.lock().await;
        if self.authority_now().await?.next != Some(id) {
            return Err(invalid("the log has not announced this authority"));
        }
        let tls = &self.security.tls;
        if tls.prepared() != Some(id) {
            let key = self.on_disk(NodeKey::load_or_make).await?;
            let next = match request.means {
                Some(Means::ClusterSecret(bytes)) => {
                    let secret = ClusterSecret::from_bytes(&bytes);
                    Next::Secret(secret.map_err(|_| invalid("this is no secret"))?)
                }
                Some(Means::Certificates(sent)) => {
                    let issued = Issued::new(&key, &sent);
                    Next::Issued(issued.map_err(|error| invalid(&error.to_string()))?)
                }
                // Certificates for a machine that is to vote say so; other certificates do not.
                None if self.identity.pending_role().is_some() && !self.votes() => {
                    return Err(invalid("this node has not joined yet"));
                }
                None => {
                    return Ok(peer::PrepareRotationResponse {
                        prepared: false,
                        public_key: key.public().into(),
                    });
                }
            };
            let is_next = next.generation() == tls.rotations() + 1;
            if next.authority_id() != id || next.cluster_id() != tls.cluster_id() || !is_next {
                return Err(invalid("it is not of the authority that was announced"));
            }
            self.prepare(next).await?;
            tracing::info!("prepared for the next secret of the cluster");
        }
        if request.connect_anew {
            tls.connect_anew();
        }
        Ok(peer::PrepareRotationResponse {
            prepared: true,
            ..peer::PrepareRotationResponse::default()
        })
    }

    fn votes(&self) -> bool {
        self.replica.membership_of(self.identity.node) == NodeMembership::Voter
    }

    /// Takes the next steps of a rotation, if this node leads.
    async fn drive(&self) -> Result<(), String> {
        let status = self.replica.status();
        if status.role != Role::Leader || self.peer_authority().next.is_none() {
            return Ok(());
        }
        // After this barrier the node knows what earlier leaders have proposed.
        let confirmed = self.replica.read_barrier(BARRIER_LIMIT).await;
        confirmed.map_err(|error| error.to_string())?;
        let known = self
            .authority_now()
            .await
            .map_err(|error| error.to_string())?;
        let Some(announced) = known.next else {
            return Ok(());
        };
        let next = match self.security.tls.next_secret() {
            Some(next) if next.authority_id() == announced => next,
            _ => self.announce_another().await?,
        };
        self.prepare_others(&next, false).await?;
        // The slow part is over. Those that have come meanwhile are prepared in the second round.
        let _adding = self.rotation.adding.lock().await;
        let members = self.settled_members()?;
        self.security.tls.connect_anew();
        self.prepare_others(&next, true).await?;
        // A change that its caller gave up before this lock was taken may be written after it.
        if self.settled_members()? != members {
            return Err("the membership was changed".to_owned());
        }
        self.end(&next, status.term).await?;
        self.settle().await.map_err(|problem| problem.to_string())
    }

    /// Makes another secret and has the log announce it.
    async fn announce_another(&self) -> Result<ClusterSecret, String> {
        let secret = self.secret();
        let secret = secret.ok_or("the leader does not have the key of the authority yet")?;
        let next = secret.rotate().map_err(|error| error.to_string())?;
        // Without this lock `settle` would remove the secret before the log has announced it.
        let _turn = self.rotation.settling.lock().await;
        let prepared = self.prepare(Next::Secret(next.clone())).await;
        prepared.map_err(|problem| problem.to_string())?;
        let announced = async {
            let command = rotate_to(&next, false)?;
            self.propose(command, Deadline::after(PROPOSE_LIMIT)).await
        };
        announced.await.map_err(|problem| problem.to_string())?;
        Ok(next)
    }

    fn settled_members(&self) -> Result<Members, String> {
        let status = self.replica.status();
        let settled = status.members_settled.then_some(status.members);
        settled.ok_or_else(|| "the membership is being changed".to_owned())
    }

    /// Has the log end the rotation, if no other node has led since this one began to lead in
    /// `term`: another leader may have added a member that is not prepared.
    async fn end(&self, next: &ClusterSecret, term: u64) -> Result<(), String> {
        let command = rotate_to(next, true).map_err(|problem| problem.to_string())?;
        let ended = self.replica.propose_in_term(command, term, PROPOSE_LIMIT);
        ended.await.map(drop).map_err(|error| error.to_string())
    }

    /// Prepares every other member that is not prepared yet, and has all of them make their
    /// connections anew if `connect_anew` says so; fails if one of them is not prepared then.
    async fn prepare_others(&self, next: &ClusterSecret, connect_anew: bool) -> Result<(), String> {
        let mut members = self.replica.status().members.nodes;
        members.remove(&self.identity.node);
        // A member's own announcement is newer than the log.
        let moved = self.roll.moved();
        let preparing = members.into_iter().map(|(node, member)| {
            let member = moved.get(&node).cloned().unwrap_or(member);
            async move {
                let prepared = self.prepare_other(node, &member, next, connect_anew).await;
                prepared.map_err(|why| format!("node {node}: {why}"))
            }
        });
        join_all(preparing).await.into_iter().collect()
    }

    async fn prepare_other(
        &self,
        node: u64,
        member: &Member,
        next: &ClusterSecret,
        connect_anew: bool,
    ) -> Result<(), String> {
        let peer = self.transport.grpc_peer(node, member, Lane::Calls);
        let id = next.authority_id();
        let asked = peer.prepare_rotation(id, None, connect_anew).await?;
        if asked.prepared {
            return Ok(());
        }
        let means = match self.replica.membership_of(node) {
            NodeMembership::Voter => Means::ClusterSecret(next.to_bytes().into()),
            NodeMembership::Learner | NodeMembership::Unknown => {
                let key = PublicKey::from_bytes(&asked.public_key).ok_or("it has no key")?;
                let of = PeerNames {
                    node,
                    ..PeerNames::default()
                };
                let tls = &self.security.tls;
                let signed = tls.sign_next_for(&key, of, &member.client_address);
                let signed = signed.ok_or("the rotation was begun anew")?;
                Means::Certificates(signed.map_err(|error| error.to_string())?.to_wire())
            }
        };
        let given = peer.prepare_rotation(id, Some(means), connect_anew).await?;
        match given.prepared {
            true => Ok(()),
            false => Err("it is not prepared".to_owned()),
        }
    }
}

/// Returns the command that announces an authority, or that ends the rotation to it.
fn rotate_to(next: &ClusterSecret, is_final: bool) -> Result<Command, Problem> {
    let id = OnceId(random::bytes()?);
    let (generation, authority) = (next.generation(), next.authority_id());
    Ok(request::rotate_authority(
        id, generation, authority, is_final,
    ))
}

impl GrpcPeer {
    async fn prepare_rotation(
        &self,
        id: AuthorityId,
        means: Option<Means>,
        connect_anew: bool,
    ) -> Result<peer::PrepareRotationResponse, String> {
        let request = peer::PrepareRotationRequest {
            envelope: Some(self.envelope()),
            authority_sha256: id.0.to_vec().into(),
            means,
            connect_anew,
        };
        let prepared = self.call(PREPARE_LIMIT, |mut service| async move {
            service.prepare_rotation(request).await
        });
        prepared.await.map_err(|error| error.to_string())
    }
}
