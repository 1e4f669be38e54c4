//! Finds out which node this is: from its data directory or, if that is new, from its flags and the
//! other nodes.
//!
//! Always true: the data directory takes precedence. A crash at any point leaves a directory that
//! belongs to no node yet, or to the node that it will belong to for good.

use std::{collections::BTreeMap, fs, io, path::Path};

use conclave_replica::Member;
use conclave_wire::peer::{self, join_request};
use tokio::net::TcpListener;

use crate::{
    cluster::{
        bootstrap::{self, Discovery, Introduction},
        join::{self, issued_in},
        start_error::StartError,
    },
    config::node_config::NodeConfig,
    files::durable,
    http::serve::BootstrapListener,
    identity::{
        epoch,
        join_token::JoinToken,
        node_identity::{Claim, Identity, PendingRole, Stored},
        secret::ClusterSecret,
    },
    integrity::repair::{self, DamageRecord, Health, RepairContext},
    node::listeners,
    peer::join_client::Trust,
    tls::{
        CertificateSubject, Issued, NodeKey, Security,
        security::{self, Credentials, SecurityError},
    },
};

/// File in which a machine that asks to join keeps the name of its request, so that it is the same
/// machine after it was killed in between.
const REQUEST_FILE: &str = "joining";
const REQUEST_ID_BYTES: usize = 16;

/// Identity of the node, with its credentials and members.
pub(crate) struct ResolvedNode {
    pub(crate) identity: Identity,
    /// Proof that the node belongs to the cluster.
    pub(crate) credentials: Credentials,
    /// Addresses of the members as far as flags name them, including this node.
    pub(crate) members: BTreeMap<u64, Member>,
    /// Whether its data was damaged and is repaired now.
    pub(crate) repaired: bool,
}

/// Finds out which node this is. Waits for as long as that depends on other nodes.
pub(crate) async fn find(
    config: &NodeConfig,
    mut own: Member,
    peers: &TcpListener,
) -> Result<ResolvedNode, StartError> {
    let configured = config.members()?;
    let claim = Claim::take(&config.data)?;
    own.witness = config.witness;
    let given = given_secret(config)?;
    let kept = ClusterSecret::load(&config.data).map_err(unusable)?;
    let secret = match (kept, given) {
        (Some(kept), Some(given)) if kept.follows(&given) => {
            tracing::warn!("the given secret is older than the last rotation: replace its file");
            Some(kept)
        }
        // The operator brings back a voter that has missed a rotation.
        (Some(kept), Some(given)) if given.follows(&kept) => {
            given.store(&config.data).map_err(unusable)?;
            Some(given)
        }
        (Some(kept), Some(given)) if kept != given => {
            let sentence = "the given secret is not that of this data directory";
            return Err(StartError::Join(sentence.to_owned()));
        }
        (kept, given) => kept.or(given),
    };
    let issued = Issued::load(&config.data).map_err(unusable)?;
    let mut resolver = StartupResolver {
        config,
        own,
        secret,
        issued,
        configured,
    };
    match repair::look(&claim)? {
        Health::Node(stored) => {
            resolver.own.witness = stored.witness;
            return resolver.again(claim, stored);
        }
        Health::New => {}
        Health::Damaged(note, stored) => {
            if let Some(stored) = &stored {
                resolver.own.witness = stored.witness;
            }
            let stored = resolver.come_back(&claim, note, stored).await?;
            resolver.own.witness = stored.witness;
            return Ok(ResolvedNode {
                repaired: true,
                ..resolver.again(claim, stored)?
            });
        }
    }
    config.check_joining()?;
    if config.join_token.is_some() {
        resolver.join_by_token(claim).await
    } else if config.bootstrap_expect > 0 {
        resolver.bootstrap(claim, peers).await
    } else if !config.join.is_empty() {
        resolver.wait_to_be_added(claim).await
    } else {
        resolver.make(claim)
    }
}

struct StartupResolver<'a> {
    config: &'a NodeConfig,
    own: Member,
    secret: Option<ClusterSecret>,
    /// Certificates that were signed for this machine before.
    issued: Option<Issued>,
    configured: BTreeMap<u64, Member>,
}

impl StartupResolver<'_> {
    fn again(self, claim: Claim, stored: Stored) -> Result<ResolvedNode, StartError> {
        let initial_members = bootstrap::members_of(&stored.initial_members);
        let identity = claim.again(stored, self.config.node, self.config.witness)?;
        let mut members = match self.configured.is_empty() {
            true => initial_members,
            false => self.configured,
        };
        members.entry(identity.node).or_insert(self.own.clone());
        // After a repair they may differ from before.
        let issued = Issued::load(&self.config.data).map_err(unusable)?;
        let credentials =
            Credentials::of(self.secret, issued).ok_or(SecurityError::SecretMissing)?;
        Ok(ResolvedNode {
            identity,
            credentials,
            members,
            repaired: false,
        })
    }

    /// Quarantines what was damaged, and brings the node back.
    async fn come_back(
        &self,
        claim: &Claim,
        note: DamageRecord,
        stored: Option<Stored>,
    ) -> Result<Stored, StartError> {
        let around = RepairContext {
            config: self.config,
            own: &self.own,
            credentials: self.credentials(),
            configured: &self.configured,
        };
        repair::come_back(claim, note, stored, &around).await
    }

    /// Returns the security that holds before the node has its place.
    fn security(&self, node: Option<u64>) -> Result<Security, SecurityError> {
        let subject = CertificateSubject::at(node, &[]);
        security::of(self.config.plain, self.credentials().as_ref(), subject)
    }

    fn credentials(&self) -> Option<Credentials> {
        Credentials::of(self.secret.clone(), self.issued.clone())
    }

    /// Makes a cluster of the members that the flags name, or of this node alone.
    fn make(self, claim: Claim) -> Result<ResolvedNode, StartError> {
        let alone = self.configured.is_empty();
        let node = self.config.node.unwrap_or(1);
        let members = match alone {
            true => BTreeMap::from([(node, self.own.clone())]),
            false => self.configured,
        };
        // Several nodes without a given secret cannot agree on one.
        let secret = match (self.secret, alone) {
            (Some(secret), _) => secret,
            (None, true) => ClusterSecret::generate().map_err(unusable)?,
            (None, false) => return Err(SecurityError::SecretMissing.into()),
        };
        secret.store(&self.config.data).map_err(unusable)?;
        let name = match alone {
            true => secret.cluster_id(),
            false => name_of_cluster(&secret, &members),
        };
        let identity = claim.keep(Stored::made(name, node))?;
        Ok(ResolvedNode {
            identity,
            credentials: Credentials::Secret(secret),
            members,
            repaired: false,
        })
    }

    async fn join_by_token(self, claim: Claim) -> Result<ResolvedNode, StartError> {
        let text = self.config.join_token.as_deref().unwrap_or_default();
        let not_one = || StartError::Join("this is not a join token".to_owned());
        let token = JoinToken::from_text(text).ok_or_else(not_one)?;
        let credential = join_request::Credential::TokenSecret(token.secret.to_vec().into());
        let trust = Trust::of_token(&token);
        self.join(claim, credential, &trust).await
    }

    async fn join(
        self,
        claim: Claim,
        credential: join_request::Credential,
        trust: &Trust,
    ) -> Result<ResolvedNode, StartError> {
        let data = &self.config.data;
        let key = NodeKey::load_or_make(data).map_err(unusable)?;
        let request = peer::JoinRequest {
            request_id: request_id(data).map_err(unusable)?.into(),
            public_key: key.public().into(),
            credential: Some(credential),
            peer_address: self.own.peer_address.clone(),
            client_address: self.own.client_address.clone(),
            witness: self.own.witness,
            replaces_node_id: self.config.replaces.unwrap_or(0),
            oldest_version: self.config.versions().oldest.0,
            newest_version: self.config.versions().newest.0,
        };
        let asked = join::ask(&self.config.join, trust, &request).await;
        let admitted = asked.map_err(|problem| StartError::Refused(Box::new(problem)))?;
        let credentials = match self.secret {
            Some(secret) => Credentials::Secret(secret),
            None => Credentials::Issued(issued_in(&key, &admitted)?),
        };
        credentials.store(data).map_err(unusable)?;
        let pending_role = PendingRole {
            voter: admitted.voter,
            replaces: admitted.replaces_node_id,
        };
        let cluster_id = epoch::name(&admitted.cluster_id, &credentials.cluster_id());
        let mut stored = Stored::joined(cluster_id, admitted.node_id, Some(pending_role));
        stored.witness = self.own.witness;
        let identity = claim.keep(stored)?;
        Ok(ResolvedNode {
            members: BTreeMap::from([(identity.node, self.own.clone())]),
            identity,
            credentials,
            repaired: false,
        })
    }

    /// Makes a cluster with the other nodes, or joins it if they have made it before.
    async fn bootstrap(
        self,
        claim: Claim,
        peers: &TcpListener,
    ) -> Result<ResolvedNode, StartError> {
        let missing = || {
            let sentence = "nodes that find each other need the same --secret-file";
            StartError::Join(sentence.to_owned())
        };
        let secret = self.secret.clone().ok_or_else(missing)?;
        let data = &self.config.data;
        let (own, expected) = (
            self.own.client_address.clone(),
            self.config.bootstrap_expect,
        );
        let introduction =
            Introduction::new(secret.clone(), data, own, expected).map_err(unusable)?;
        let security = self.security(None)?;
        let trust = Trust::of_key_holders(&security);
        let port = listeners::introducing(&self.config.limits, introduction.clone(), &security);
        let introducing = BootstrapListener::start(port, same(peers).map_err(unusable)?);
        let found = bootstrap::find(&introduction, &self.config.join, &trust).await;
        introducing.end().await;
        let Discovery::Bootstrap(initial_members) = found else {
            let credential = join_request::Credential::JoinKey(secret.join_key().to_vec().into());
            return self.join(claim, credential, &trust).await;
        };
        let node = introduction.number_in(&initial_members).unwrap_or(0);
        secret.store(data).map_err(unusable)?;
        let mut stored = Stored::made(secret.cluster_id(), node);
        let members = bootstrap::members_of(&initial_members);
        stored.initial_members = initial_members;
        Ok(ResolvedNode {
            identity: claim.keep(stored)?,
            credentials: Credentials::Secret(secret),
            members,
            repaired: false,
        })
    }

    /// Waits until an administrator has added this node by its number.
    async fn wait_to_be_added(self, claim: Claim) -> Result<ResolvedNode, StartError> {
        let node = self.config.node.unwrap_or(1);
        let trust = Trust::of(&self.security(Some(node))?);
        let cluster = join::find(&self.config.join, node, &trust).await;
        let credentials = self.credentials().ok_or(SecurityError::SecretMissing)?;
        credentials.store(&self.config.data).map_err(unusable)?;
        Ok(ResolvedNode {
            identity: claim.keep(Stored::joined(cluster.cluster_id, node, None))?,
            credentials,
            members: BTreeMap::from([(node, self.own.clone())]),
            repaired: false,
        })
    }
}

fn unusable(error: io::Error) -> StartError {
    StartError::System(error.to_string())
}

fn given_secret(config: &NodeConfig) -> Result<Option<ClusterSecret>, StartError> {
    let Some(file) = &config.secret_file else {
        return Ok(None);
    };
    let wrong = |why: String| {
        let sentence = format!("the secret in {} cannot be used: {why}", file.display());
        StartError::Join(sentence)
    };
    let text = fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let secret = ClusterSecret::from_text(&text).map_err(|error| wrong(error.to_string()))?;
    Ok(Some(secret))
}

/// Returns the name of this machine's request: the same after a crash.
fn request_id(data: &Path) -> io::Result<Vec<u8>> {
    let file = data.join(REQUEST_FILE);
    match fs::read(&file) {
        Ok(bytes) if bytes.len() == REQUEST_ID_BYTES => return Ok(bytes),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        // The name was not synced before the crash, so no node was asked with it.
        Ok(_) | Err(_) => {}
    }
    let mut bytes = [0; REQUEST_ID_BYTES];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    durable::replace(&file, &bytes)?;
    Ok(bytes.to_vec())
}

/// Names a cluster by its secret and by the list that its nodes were started with: nodes whose
/// lists differ in one letter begin with different entries, and must not be one cluster.
fn name_of_cluster(secret: &ClusterSecret, members: &BTreeMap<u64, Member>) -> String {
    let mut hasher = blake3::Hasher::new();
    for (node, member) in members {
        hasher.update(format!("{node}={}\n", member.peer_address).as_bytes());
    }
    let list = hasher.finalize().to_hex();
    format!("{}-{}", secret.cluster_id(), &list[..8])
}

/// Returns the same socket: a connection that one of the two does not accept waits for the other.
fn same(listener: &TcpListener) -> io::Result<TcpListener> {
    let socket = std::os::fd::AsFd::as_fd(listener).try_clone_to_owned()?;
    TcpListener::from_std(std::net::TcpListener::from(socket))
}
