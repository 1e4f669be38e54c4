//! Exchanges the secret of the cluster while it runs, so that what a machine has kept that was
//! removed, or what was copied from a directory, proves nothing any more.
//!
//! 1. The log says that another authority of the peers is wanted. The leader makes the secret from
//!    which it follows, keeps it, and has the log announce the authority: its fingerprint, never
//!    the secret.
//! 2. The leader brings it to every member: the secret to voters, certificates to all others. They
//!    keep it beside what they have and believe both authorities. It is brought and not fetched:
//!    who comes with a stolen certificate gets nothing.
//! 3. Once all members have it they make their connections anew, and the log ends the exchange:
//!    every node goes on with the new one alone, also one that was down by then.
//!
//! A member that goes meanwhile may have got the secret: then the log wants another one.
//!
//! Whoever leads goes on with it; a leader that has not got the secret that was announced makes and
//! announces another one. Always true: no member is left behind, because the log ends nothing
//! before all members have on disk what they need.

use std::{io, path::Path, sync::Arc, time::Duration};

use conclave_core::{AuthorityId, OnceId, lookup::PeerAuthority};
use conclave_replica::{Lane, Member, Place, Role};
use conclave_wire::{
    Problem,
    peer::{self, prepare_exchange_request::Means},
    request,
};
use futures::future::join_all;
use tokio::{sync::Mutex, time::sleep};

use crate::{
    deadline::Deadline,
    durable, problems, random,
    sealed::{self, SealError},
    secret::ClusterSecret,
    shared::Shared,
    tls::{Issued, Next, NodeKey, PeerNames, PublicKey, Tls},
    told::Told,
    transport::GrpcPeer,
};

/// Where the secret stands until the exchange ends.
const SECRET_FILE: &str = "secret.next";
/// Where certificates stand, on a node without a vote.
const CERTIFICATES_FILE: &str = "certificates.next.json";
/// How often a node looks whether there is something to do.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long one member may take to be prepared: it waits for its log and its disk.
const PREPARE_LIMIT: Duration = Duration::from_secs(3);
/// How long the members may take to confirm what the log says.
const BARRIER_LIMIT: Duration = Duration::from_secs(1);
/// How long the log may take to announce an authority, or to end the exchange.
const PROPOSE_LIMIT: Duration = Duration::from_secs(3);

/// What has to happen one after the other.
#[derive(Default)]
pub(crate) struct Exchange {
    /// Changes of what this node proves and believes.
    settling: Mutex<()>,
    /// Whoever adds a member, and the end of an exchange: one that is added must be prepared.
    pub(crate) adding: Mutex<()>,
    /// What the log was told of exchanges that wait.
    told: Told<String>,
}

/// Goes on, after a start, with what this node was prepared for before.
pub(crate) fn resume(directory: &Path, tls: &Tls) -> io::Result<()> {
    let Some(next) = load(directory)? else {
        return Ok(());
    };
    // It was put in its place right before the node ended.
    if next.generation() != tls.exchanges() + 1 {
        return forget(directory);
    }
    tls.prepare(&next).map_err(io::Error::other)
}

fn load(directory: &Path) -> io::Result<Option<Next>> {
    match sealed::read::<String>(&directory.join(SECRET_FILE)) {
        Ok(Some(text)) => {
            let secret = ClusterSecret::from_text(&text).map_err(io::Error::other)?;
            return Ok(Some(Next::Secret(secret)));
        }
        Ok(None) => {}
        Err(SealError::Io(error)) => return Err(error),
        Err(error) => tracing::warn!(%error, file = SECRET_FILE, "a file is of no use"),
    }
    let issued = Issued::load_from(directory, CERTIFICATES_FILE)?;
    Ok(issued.map(Next::Issued))
}

fn store(directory: &Path, next: &Next) -> io::Result<()> {
    forget(directory)?;
    match next {
        Next::Secret(secret) => sealed::write(&directory.join(SECRET_FILE), &secret.to_text()),
        Next::Issued(issued) => sealed::write(&directory.join(CERTIFICATES_FILE), issued),
    }
}

fn forget(directory: &Path) -> io::Result<()> {
    durable::remove(&directory.join(SECRET_FILE))?;
    durable::remove(&directory.join(CERTIFICATES_FILE))
}

/// Puts it in the place of what was before. Interrupted, a start finds the newer of the two.
fn install(directory: &Path) -> io::Result<()> {
    match load(directory)? {
        Some(Next::Secret(secret)) => secret.store(directory)?,
        Some(Next::Issued(issued)) => {
            issued.store(directory)?;
            ClusterSecret::forget(directory)?;
        }
        None => return Err(io::Error::other("what this node was prepared with is lost")),
    }
    forget(directory)
}

/// Does what an exchange needs of this node, for as long as it runs.
pub(crate) async fn keep(shared: Arc<Shared>) {
    loop {
        sleep(LOOK_EVERY).await;
        let (tls, known) = (&shared.security.tls, shared.peer_authority());
        let is_idle = known.next.is_none() && known.generation <= tls.exchanges();
        if is_idle && tls.prepared().is_none() {
            continue;
        }
        let done = match shared.settle().await {
            Ok(()) => shared.drive().await,
            Err(problem) => Err(problem.to_string()),
        };
        if let Err(why) = done
            && shared.exchange.told.is_news(why.clone())
        {
            tracing::warn!(reason = %why, "the exchange of the secret waits");
        }
    }
}

impl Shared {
    async fn authority_now(&self) -> Result<PeerAuthority, Problem> {
        Ok(self.read(|reader| reader.nodes()).await?.authority)
    }

    /// Follows what the log says: goes on with what was prepared, or forgets it.
    async fn settle(&self) -> Result<(), Problem> {
        let _turn = self.exchange.settling.lock().await;
        let (tls, known) = (&self.security.tls, self.authority_now().await?);
        let has_ended = known.generation > tls.exchanges();
        let Some(prepared) = tls.prepared() else {
            return match has_ended {
                true => Err(problems::refused(
                    "EXCHANGE_MISSED",
                    "it has ended without this node: let the machine join again with an empty \
                     directory and a new token",
                )),
                false => Ok(()),
            };
        };
        if has_ended {
            self.on_disk(install).await?;
            tls.go_on_with_next();
            let exchanges = known.generation;
            tracing::info!(exchanges, "the secret of the cluster was exchanged");
            return Ok(());
        }
        // Only what is known to be the newest says that something else was announced since.
        if known.next != Some(prepared) {
            let confirmed = self.replica.read_barrier(BARRIER_LIMIT).await;
            confirmed.map_err(|error| problems::of_read(&error))?;
            let known = self.authority_now().await?;
            if known.next != Some(prepared) && known.generation <= tls.exchanges() {
                self.on_disk(forget).await?;
                tls.forget_next();
            }
        }
        Ok(())
    }

    async fn on_disk(
        &self,
        change: impl FnOnce(&Path) -> io::Result<()> + Send + 'static,
    ) -> Result<(), Problem> {
        let directory = self.identity.directory().to_owned();
        let done = tokio::task::spawn_blocking(move || change(&directory)).await;
        let done = done.map_err(io::Error::other).flatten();
        done.map_err(|error| Problem::Broken {
            sentence: format!("the directory of the node cannot be written: {error}"),
        })
    }

    /// Believes the next authority from now on, and keeps what proves this node to those who do.
    async fn prepare(&self, next: Next) -> Result<(), Problem> {
        let kept = next.clone();
        self.on_disk(move |directory| store(directory, &kept))
            .await?;
        let prepared = self.security.tls.prepare(&next);
        prepared.map_err(|error| problems::refused("CERTIFICATES_INVALID", &error.to_string()))
    }

    /// Prepares this node, as the leader asks for it.
    pub(crate) async fn prepare_here(
        &self,
        request: peer::PrepareExchangeRequest,
    ) -> Result<peer::PrepareExchangeResponse, Problem> {
        let invalid = |why: &str| problems::refused("EXCHANGE_INVALID", why);
        let id = AuthorityId::try_from(&request.authority_sha256[..]);
        let id = id.map_err(|_| invalid("an authority is named by 32 bytes"))?;
        let confirmed = self.replica.read_barrier(BARRIER_LIMIT).await;
        confirmed.map_err(|error| problems::of_read(&error))?;
        let _turn = self.exchange.settling.lock().await;
        if self.authority_now().await?.next != Some(id) {
            return Err(invalid("the log has not announced this authority"));
        }
        let tls = &self.security.tls;
        if tls.prepared() != Some(id) {
            let key = NodeKey::load_or_make(self.identity.directory());
            let key = key.map_err(|error| invalid(&error.to_string()))?;
            let next = match request.means {
                Some(Means::ClusterSecret(bytes)) => {
                    let secret = ClusterSecret::from_bytes(&bytes);
                    Next::Secret(secret.map_err(|_| invalid("this is no secret"))?)
                }
                Some(Means::Certificates(sent)) => {
                    let issued = Issued::new(&key, &sent);
                    Next::Issued(issued.map_err(|error| invalid(&error.to_string()))?)
                }
                // Certificates of a machine that is to vote say so; others do not.
                None if self.identity.wish().is_some() && !self.votes() => {
                    return Err(invalid("this node has not got its place yet"));
                }
                None => {
                    return Ok(peer::PrepareExchangeResponse {
                        prepared: false,
                        public_key: key.public().into(),
                    });
                }
            };
            let is_next = next.generation() == tls.exchanges() + 1;
            if next.authority_id() != id || next.cluster_id() != tls.cluster_id() || !is_next {
                return Err(invalid("it is not of the authority that was announced"));
            }
            self.prepare(next).await?;
            tracing::info!("this node is prepared for another secret of the cluster");
        }
        if request.connect_anew {
            tls.connect_anew();
        }
        Ok(peer::PrepareExchangeResponse {
            prepared: true,
            ..peer::PrepareExchangeResponse::default()
        })
    }

    fn votes(&self) -> bool {
        self.replica.place_of(self.identity.node) == Place::Voter
    }

    /// Takes the next steps of an exchange, if this node leads.
    async fn drive(&self) -> Result<(), String> {
        let leads = self.replica.status().role == Role::Leader;
        if !leads || self.peer_authority().next.is_none() {
            return Ok(());
        }
        // What leaders before have proposed is known then.
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
        let _adding = self.exchange.adding.lock().await;
        if !self.replica.status().members_settled {
            return Err("the membership changes".to_owned());
        }
        self.security.tls.connect_anew();
        self.prepare_others(&next, true).await?;
        let ended = self.step(&next, true).await;
        ended.map_err(|problem| problem.to_string())?;
        self.settle().await.map_err(|problem| problem.to_string())
    }

    /// Makes another secret and has the log announce it.
    async fn announce_another(&self) -> Result<ClusterSecret, String> {
        let secret = self.secret();
        let secret = secret.ok_or("the leader has not got the key of the authority yet")?;
        let next = secret.exchange().map_err(|error| error.to_string())?;
        // Until the log has announced it, it would be forgotten.
        let _turn = self.exchange.settling.lock().await;
        let prepared = self.prepare(Next::Secret(next.clone())).await;
        prepared.map_err(|problem| problem.to_string())?;
        let announced = self.step(&next, false).await;
        announced.map_err(|problem| problem.to_string())?;
        Ok(next)
    }

    async fn step(&self, next: &ClusterSecret, is_final: bool) -> Result<(), Problem> {
        let id = OnceId(random::bytes()?);
        let (generation, authority) = (next.generation(), next.authority_id());
        let command = request::exchange_authority(id, generation, authority, is_final);
        let deadline = Deadline::after(PROPOSE_LIMIT);
        self.propose(command, deadline).await.map(drop)
    }

    /// Prepares every other member; all of them, or it is an error.
    async fn prepare_others(&self, next: &ClusterSecret, connect_anew: bool) -> Result<(), String> {
        let mut members = self.replica.status().members.nodes;
        members.remove(&self.identity.node);
        // Where a member says that it is counts for more.
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
        let asked = peer.prepare_exchange(id, None, connect_anew).await?;
        if asked.prepared {
            return Ok(());
        }
        let means = match self.replica.place_of(node) {
            Place::Voter => Means::ClusterSecret(next.to_bytes().into()),
            Place::Learner | Place::Unknown => {
                let key = PublicKey::from_bytes(&asked.public_key).ok_or("it has no key")?;
                let of = PeerNames {
                    node,
                    ..PeerNames::default()
                };
                let tls = &self.security.tls;
                let signed = tls.sign_next_for(&key, of, &member.client_address);
                let signed = signed.ok_or("the exchange was begun anew")?;
                Means::Certificates(signed.map_err(|error| error.to_string())?.to_wire())
            }
        };
        let given = peer.prepare_exchange(id, Some(means), connect_anew).await?;
        match given.prepared {
            true => Ok(()),
            false => Err("it is not prepared".to_owned()),
        }
    }
}

impl GrpcPeer {
    async fn prepare_exchange(
        &self,
        id: AuthorityId,
        means: Option<Means>,
        connect_anew: bool,
    ) -> Result<peer::PrepareExchangeResponse, String> {
        let request = peer::PrepareExchangeRequest {
            envelope: Some(self.envelope()),
            authority_sha256: id.0.to_vec().into(),
            means,
            connect_anew,
        };
        let prepared = self.call(PREPARE_LIMIT, |mut service| async move {
            service.prepare_exchange(request).await
        });
        prepared.await.map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{Holder, LIFETIME};

    fn tls(secret: &ClusterSecret) -> Tls {
        Tls::new(secret, Holder::at(Some(1), &[]), LIFETIME).unwrap()
    }

    fn issued_by(keeper: &Tls, directory: &Path) -> Issued {
        let key = NodeKey::load_or_make(directory).unwrap();
        let public = PublicKey::from_bytes(&key.public()).unwrap();
        let of = PeerNames {
            node: 4,
            ..PeerNames::default()
        };
        let signed = keeper.sign_for(&public, of, "h:1").unwrap().unwrap();
        Issued::new(&key, &signed.to_wire()).unwrap()
    }

    #[test]
    fn a_node_that_ends_at_any_point_finds_what_it_was_prepared_for() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let first = ClusterSecret::generate().unwrap();
        let second = first.exchange().unwrap();
        first.store(directory).unwrap();
        let next = Next::Secret(second.clone());
        store(directory, &next).unwrap();
        let started = tls(&first);
        resume(directory, &started).unwrap();
        assert_eq!(started.prepared(), Some(second.authority_id()));
        assert!(started.believes(0) && started.believes(1) && !started.believes(2));
        // It ends before what is done with is removed.
        second.store(directory).unwrap();
        let started = tls(&ClusterSecret::load(directory).unwrap().unwrap());
        resume(directory, &started).unwrap();
        assert_eq!((started.prepared(), started.exchanges()), (None, 1));
        assert!(!started.believes(0) && load(directory).unwrap().is_none());

        store(directory, &Next::Secret(second.exchange().unwrap())).unwrap();
        install(directory).unwrap();
        let third = ClusterSecret::load(directory).unwrap().unwrap();
        assert_eq!((third.generation(), load(directory).unwrap()), (2, None));
        assert!(install(directory).is_err(), "there is nothing");
    }

    #[test]
    fn certificates_take_the_place_of_a_secret_where_a_node_does_not_vote() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let first = ClusterSecret::generate().unwrap();
        first.store(directory).unwrap();
        let keeper = tls(&first.exchange().unwrap());
        let issued = issued_by(&keeper, directory);
        assert_eq!(
            (issued.generation, &issued.cluster_id),
            (1, &first.cluster_id())
        );
        let node = tls(&first);
        store(directory, &Next::Issued(issued.clone())).unwrap();
        resume(directory, &node).unwrap();
        assert!(node.is_keeper() && node.next_secret().is_none());
        install(directory).unwrap();
        node.go_on_with_next();
        assert!(!node.is_keeper() && node.exchanges() == 1 && node.prepared().is_none());
        assert_eq!(node.authority_id(), keeper.authority_id());
        assert_eq!(node.fingerprint(), tls(&first).fingerprint());
        assert_eq!(ClusterSecret::load(directory).unwrap(), None);
        assert_eq!(Issued::load(directory).unwrap(), Some(issued));
    }
}
