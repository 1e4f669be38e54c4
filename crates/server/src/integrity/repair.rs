//! Brings back a node whose data is damaged, as a new node in the place of the old one.
//!
//! The damage is recorded in the directory before anything else happens. The node asks to be
//! admitted under a new number; only when a majority has admitted it does it quarantine the damaged
//! data, in `damaged-N`. So a cluster without a majority loses nothing, and after a crash at any
//! point the repair continues. A damaged database beside a log that has everything is made again
//! from the log, and the node keeps its identity.
//!
//! Always true: no damaged data is deleted before there are [`KEPT_MAX`] newer quarantines, and no
//! node votes under a number whose vote may be damaged.

use std::{collections::BTreeMap, io, time::Duration};

use conclave_replica::{Damage, Member};
use conclave_wire::peer::{self, join_request};
use serde::{Deserialize, Serialize};

use crate::{
    backup::restore,
    base::random,
    cluster::{
        bootstrap,
        join::{self, issued_in},
        start_error::{StartError, Stuck},
    },
    config::node_config::NodeConfig,
    files::{
        checksummed::{self, ChecksumError},
        durable,
    },
    identity::{
        epoch,
        node_identity::{self, Claim, IdentityError, PendingRole, Stored},
        peers_file::PeersFile,
    },
    peer::join_client::Trust,
    tls::{
        CertificateSubject, Issued, NodeKey,
        security::{self, Credentials},
    },
};

mod quarantine;

use quarantine::KEPT_MAX;
pub(crate) use quarantine::{is_quarantine, kept as quarantined};

/// File that records that this directory is damaged.
const FILE: &str = "damaged.json";
const REQUEST_ID_BYTES: usize = 16;

/// Damaged part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum What {
    /// The database alone; the log has everything since the first entry.
    DatabaseOnly,
    /// The log, the database without a whole log, the identity, or an unknown part.
    Everything,
}

/// Record of the damage of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DamageRecord {
    what: What,
    why: String,
    /// Number of the request to join: the same after a crash.
    request_id: [u8; REQUEST_ID_BYTES],
    /// Quarantine for the database, once it was decided to make it again from the log.
    state_aside: Option<u64>,
    /// Place that the cluster has given, and quarantine for the damaged data.
    place: Option<NewPlace>,
    /// Certificates for the new number, if the machine does not have the secret: recorded together
    /// with the place, because with them the machine is no longer the old node.
    #[serde(default)]
    issued: Option<Box<Issued>>,
    /// Name of the cluster that gave the place; empty before.
    #[serde(default)]
    cluster_id: String,
}

impl DamageRecord {
    /// Returns how the damage shows.
    pub(crate) fn why(&self) -> &str {
        &self.why
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct NewPlace {
    node: u64,
    voter: bool,
    replaces: u64,
    node_first: Option<u64>,
    aside: u64,
    /// Whether the node comes back as a witness: its identity is moved away before the new one is
    /// written.
    #[serde(default)]
    witness: bool,
}

impl NewPlace {
    /// Returns the identity of the node in this place.
    fn stored(&self, cluster_id: String) -> Stored {
        let pending_role = PendingRole {
            voter: self.voter,
            replaces: self.replaces,
        };
        let mut stored = Stored::joined(cluster_id, self.node, Some(pending_role));
        stored.node_first = self.node_first;
        stored.witness = self.witness;
        stored
    }
}

/// State in which a data directory was found.
pub(crate) enum Health {
    /// The directory belongs to no node yet.
    New,
    /// The directory belongs to this node.
    Node(Stored),
    /// The directory is damaged; with the identity of its node, if that can still be read.
    Damaged(DamageRecord, Option<Stored>),
}

/// Records in the directory that it is damaged, unless that is recorded already.
pub(crate) fn note(claim: &Claim, damage: &Damage) -> Result<(), IdentityError> {
    let what = match damage {
        Damage::State {
            log_has_all: true, ..
        } => What::DatabaseOnly,
        Damage::State { .. } | Damage::Log(_) | Damage::Diverged(_) => What::Everything,
    };
    let noted = noted(claim)?;
    if noted.is_none() {
        begin(claim, what, damage.to_string())?;
    }
    Ok(())
}

fn begin(claim: &Claim, what: What, why: String) -> Result<DamageRecord, IdentityError> {
    tracing::error!(error = %why, "the data of this node is damaged: it no longer votes");
    let request_id = random::bytes().map_err(|problem| {
        let source = io::Error::other(problem.to_string());
        claim.failed(source)
    })?;
    let note = DamageRecord {
        what,
        why,
        request_id,
        state_aside: None,
        place: None,
        issued: None,
        cluster_id: String::new(),
    };
    store(claim, &note)?;
    Ok(note)
}

fn store(claim: &Claim, note: &DamageRecord) -> Result<(), IdentityError> {
    let file = claim.directory().join(FILE);
    checksummed::write(&file, note).map_err(|source| claim.failed(source))
}

fn noted(claim: &Claim) -> Result<Option<DamageRecord>, IdentityError> {
    match checksummed::read(&claim.directory().join(FILE)) {
        Ok(note) => Ok(note),
        Err(ChecksumError::Io(source)) => Err(claim.failed(source)),
        Err(ChecksumError::Damaged(_) | ChecksumError::Foreign(_)) => {
            let why = "the record of its damage cannot be read".to_owned();
            begin(claim, What::Everything, why).map(Some)
        }
    }
}

/// Finds out the state of the directory, as far as it shows before log and database are opened.
pub(crate) fn look(claim: &Claim) -> Result<Health, IdentityError> {
    let note = noted(claim)?;
    check_unfinished(claim, note.as_ref())?;
    let stored = match claim.stored() {
        Ok(stored) => stored,
        Err(error @ IdentityError::Damaged { .. }) => {
            let note = match note {
                Some(note) => note,
                None => begin(claim, What::Everything, error.to_string())?,
            };
            return Ok(Health::Damaged(note, None));
        }
        Err(error) => return Err(error),
    };
    match (note, stored) {
        (Some(note), Some(stored)) if note.place.is_some_and(|new| new.node == stored.node) => {
            finish(claim)?;
            Ok(Health::Node(stored))
        }
        (Some(note), stored) => Ok(Health::Damaged(note, stored)),
        (None, Some(stored)) => Ok(Health::Node(stored)),
        (None, None) if quarantine::was_used(claim.directory()) => {
            let why = format!("{} is missing beside other data", node_identity::FILE);
            Ok(Health::Damaged(begin(claim, What::Everything, why)?, None))
        }
        (None, None) => Ok(Health::New),
    }
}

/// Refuses a directory in which a restore or an import was interrupted: its files belong to no node
/// yet, and are no damage either. A mark that was left beside an identity is removed: it would say
/// the same of the node's own files once the identity is lost.
fn check_unfinished(claim: &Claim, note: Option<&DamageRecord>) -> Result<(), IdentityError> {
    let directory = claim.directory();
    if !restore::is_unfinished(directory) {
        return Ok(());
    }
    let is_repaired = note.is_some_and(|note| note.place.is_some());
    if is_repaired || directory.join(node_identity::FILE).exists() {
        return restore::remove_mark(directory).map_err(|source| claim.failed(source));
    }
    let directory = directory.to_owned();
    Err(IdentityError::Unfinished { directory })
}

fn finish(claim: &Claim) -> Result<(), IdentityError> {
    let removed = durable::remove(&claim.directory().join(FILE));
    removed.map_err(|source| claim.failed(source))
}

/// What is known besides the directory.
pub(crate) struct RepairContext<'a> {
    pub(crate) config: &'a NodeConfig,
    pub(crate) own: &'a Member,
    /// Proof that the machine belongs to the cluster, if that is not damaged too.
    pub(crate) credentials: Option<Credentials>,
    pub(crate) configured: &'a BTreeMap<u64, Member>,
}

/// Brings the node back; returns its new identity.
///
/// # Errors
/// [`StartError::Damaged`] if it cannot come back by itself: nothing was quarantined.
pub(crate) async fn come_back(
    claim: &Claim,
    mut note: DamageRecord,
    stored: Option<Stored>,
    around: &RepairContext<'_>,
) -> Result<Stored, StartError> {
    let failed = |source| StartError::from(claim.failed(source));
    let directory = claim.directory();
    let lately = quarantine::lately(directory).map_err(failed)?;
    if let (What::DatabaseOnly, Some(_), 0) = (note.what, &stored, lately) {
        note.state_aside = Some(quarantine::next(directory).map_err(failed)?);
        store(claim, &note)?;
    }
    if let (Some(aside), Some(stored)) = (note.state_aside, &stored) {
        quarantine::move_state(directory, aside, &note.why).map_err(failed)?;
        finish(claim)?;
        tracing::warn!("quarantined the damaged database; rebuilding it from the log");
        return Ok(stored.clone());
    }
    let peers_file = PeersFile::load(directory).map_err(failed)?;
    let new = match note.place {
        Some(new) => new,
        None => {
            let stuck = |stuck| StartError::Damaged {
                why: note.why.clone(),
                stuck,
            };
            if lately >= KEPT_MAX {
                return Err(stuck(Stuck::TooOften { times: lately }));
            }
            let old = PreviousIdentity::of(stored.as_ref(), peers_file.as_ref(), around);
            let admitted = ask(&note, &old, around).await?.map_err(stuck)?;
            if let Some(Credentials::Issued(_)) = &around.credentials {
                let key = NodeKey::load_or_make(directory).map_err(failed)?;
                note.issued = Some(Box::new(issued_in(&key, &admitted)?));
            }
            let new = NewPlace {
                node: admitted.node_id,
                voter: admitted.voter && old.voter,
                replaces: admitted.replaces_node_id,
                node_first: old.node_first,
                aside: quarantine::next(directory).map_err(failed)?,
                witness: old.witness,
            };
            note.place = Some(new);
            note.cluster_id = admitted.cluster_id;
            store(claim, &note)?;
            new
        }
    };
    let Some(credentials) = &around.credentials else {
        let why = note.why;
        let stuck = Stuck::NoSecret;
        return Err(StartError::Damaged { why, stuck });
    };
    if let Some(issued) = &note.issued {
        issued.store(directory).map_err(failed)?;
    }
    quarantine::move_all(directory, new.aside, &note.why).map_err(failed)?;
    let stored = new.stored(epoch::name(&note.cluster_id, &credentials.cluster_id()));
    if let Some(mut peers_file) = peers_file {
        peers_file.node = new.node;
        peers_file.node_first = new.node_first;
        peers_file.witness = Some(new.witness);
        peers_file.store(directory).map_err(failed)?;
    }
    node_identity::write(directory, &stored).map_err(failed)?;
    finish(claim)?;
    tracing::warn!(
        node = new.node,
        replaces = new.replaces,
        "quarantined the damaged data; this node joins again under a new number"
    );
    Ok(stored)
}

/// Identity of the old node, as far as any file still records it.
struct PreviousIdentity {
    /// Number of the node; 0 if unknown: then its address says whose place it takes.
    node: u64,
    node_first: Option<u64>,
    voter: bool,
    /// Whether the node kept the log alone. The flag says so only if no file does.
    witness: bool,
    /// Addresses at which other nodes may be reached.
    addresses: Vec<String>,
}

impl PreviousIdentity {
    fn of(
        stored: Option<&Stored>,
        peers_file: Option<&PeersFile>,
        around: &RepairContext<'_>,
    ) -> Self {
        let node = stored.map(|stored| stored.node);
        let node = node.or(peers_file.map(|known| known.node));
        let first = stored.and_then(|stored| stored.node_first);
        let first = first.or(peers_file.and_then(|known| known.node_first));
        let initial_members = stored.map(|stored| bootstrap::members_of(&stored.initial_members));
        let known = peers_file.into_iter().flat_map(|known| {
            // Its own address may have been another one.
            let others = known.members.iter();
            others.filter(|(other, _)| **other != known.node)
        });
        let known = known.map(|(_, place)| place.peer_address.clone());
        let configured = around.configured.values().cloned();
        let members = configured.chain(initial_members.unwrap_or_default().into_values());
        let said = members.map(|member| member.peer_address);
        let mut addresses: Vec<String> = Vec::new();
        for address in known.chain(around.config.join.clone()).chain(said) {
            if address != around.own.peer_address && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let witness = stored.map(|stored| stored.witness);
        let witness = witness.or(peers_file.and_then(|known| known.witness));
        Self {
            node: node.unwrap_or(0),
            witness: witness.unwrap_or(around.own.witness),
            node_first: first.or(node).or(around.config.node),
            voter: peers_file.is_none_or(|known| known.voter),
            addresses,
        }
    }
}

/// Asks the other nodes to admit this machine as a new node.
async fn ask(
    note: &DamageRecord,
    old: &PreviousIdentity,
    around: &RepairContext<'_>,
) -> Result<Result<peer::JoinResponse, Stuck>, StartError> {
    let Some(credentials) = &around.credentials else {
        return Ok(Err(match old.addresses.is_empty() {
            true => Stuck::Alone,
            false => Stuck::NoSecret,
        }));
    };
    if old.addresses.is_empty() {
        return Ok(Err(Stuck::Alone));
    }
    let subject = CertificateSubject::at(None, &[]);
    let security = security::of(around.config.plain, Some(credentials), subject)?;
    let trust = Trust::of_key_holders(&security);
    let (credential, public_key) = match credentials {
        Credentials::Secret(secret) => {
            let key = secret.join_key().to_vec().into();
            (Some(join_request::Credential::JoinKey(key)), Vec::new())
        }
        // Its certificate says which node it was: it comes back in its own place.
        Credentials::Issued(_) => {
            let key = NodeKey::load_or_make(&around.config.data);
            (
                None,
                key.map_err(|error| StartError::System(error.to_string()))?
                    .public(),
            )
        }
    };
    let request = peer::JoinRequest {
        request_id: note.request_id.to_vec().into(),
        credential,
        public_key: public_key.into(),
        peer_address: around.own.peer_address.clone(),
        client_address: around.own.client_address.clone(),
        witness: old.witness,
        replaces_node_id: old.node,
        oldest_version: around.config.versions().oldest.0,
        newest_version: around.config.versions().newest.0,
    };
    tracing::warn!(node = old.node, "asking to join under a new number");
    let waited = Duration::from_secs(around.config.repair_wait_seconds);
    let asked = tokio::time::timeout(waited, join::ask(&old.addresses, &trust, &request)).await;
    Ok(match asked {
        Ok(Ok(admitted)) => Ok(admitted),
        Ok(Err(problem)) => Err(Stuck::Refused(Box::new(problem))),
        Err(_) => Err(Stuck::NotAdmitted { waited }),
    })
}

#[cfg(test)]
mod tests;
