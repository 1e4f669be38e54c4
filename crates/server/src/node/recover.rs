//! Recovers one survivor as a cluster of its own, when a majority of the voters is gone for good.
//!
//! Offline: it claims the directory of a node that does not run, and copies what is in it
//! (`copies.rs`) before it changes anything. The cluster gets another name (`epoch.rs`), so that
//! the lost nodes, should they come back, are refused by this one and by all that join it; their
//! numbers are used up.
//!
//! Always true: the name changes before the membership does. A directory that was left between the
//! two belongs to no node's cluster and has no majority; the same command goes on from there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use conclave_core::{
    AckPolicy, ActNote, AuditAct, AuditText, Batch, ClusterVersion, Command, NodeId, OnceId,
    Timestamp, VersionRange,
};
use conclave_replica::{Member, Members, Survivor, SurvivorState};
use conclave_wire::request;

use crate::{
    base::{random, system_time::system_time},
    cluster::fail_stop::GoesAlone,
    context::space::RESERVE,
    identity::{
        copies::{self, CopyError},
        epoch, incarnations,
        node_identity::{self, Claim, IdentityError, Stored},
        owner,
        peers_file::{MemberAddresses, PeersFile},
        recovered,
    },
    integrity::repair::{self, Health},
    peer::codec::WireCodec,
};

pub(crate) mod running;

/// A survivor cannot be recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// There is no node in the directory.
    #[error("there is no node in {directory}")]
    NoNode {
        /// Directory without a node.
        directory: PathBuf,
    },
    /// Another process has the directory, or it cannot be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The survivor's data is damaged: another survivor must be chosen.
    #[error("the data in {directory} is damaged: {why}")]
    Damaged {
        /// Directory of the damaged data.
        directory: PathBuf,
        /// How the damage shows.
        why: String,
    },
    /// The survivor's log or database cannot be opened.
    #[error("the data cannot be opened")]
    Replica(#[from] conclave_replica::StartError),
    /// The node has no vote: it followed only, or its log is empty.
    #[error("node {node} is not a voter of its cluster")]
    NoVoter {
        /// Number of the node.
        node: u64,
    },
    /// The node is a witness: it has no messages.
    #[error("node {node} is a witness, which has the log alone")]
    Witness {
        /// Number of the node.
        node: u64,
    },
    /// The node must not recover by itself: something may have been acknowledged without it.
    #[error("the cluster cannot be recovered without an operator: {why}")]
    NotCertain {
        /// The condition that does not hold.
        why: &'static str,
    },
    /// The other voters cannot be asked whether they run.
    #[error("the other voters cannot be asked whether they run: {why}")]
    CannotAsk {
        /// What the node lacks to ask them.
        why: String,
    },
    /// The disk has no room for a copy. Nothing was changed.
    #[error(
        "the disk has no room for a copy of {directory}: it needs {needed} bytes and some to \
         spare, and {free} are free"
    )]
    NoRoom {
        /// Directory that was to be copied.
        directory: PathBuf,
        /// Size of the copy, in bytes.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The recovery has begun to change the directory, and did not end.
    #[error("the recovery was interrupted; {backup} has everything as it was")]
    Interrupted {
        /// Directory of the copy.
        backup: PathBuf,
        /// Cause of the failure.
        #[source]
        source: Box<RecoverError>,
    },
    /// The file system refuses.
    #[error("{what} failed")]
    Io {
        /// Operation that failed.
        what: String,
        /// Cause of the failure.
        #[source]
        source: io::Error,
    },
}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> RecoverError {
    let what = what.into();
    |source| RecoverError::Io { what, source }
}

/// A survivor that does not run, and its data.
pub struct Recovery {
    claim: Claim,
    stored: Stored,
    standing: SurvivorState,
}

/// Result of a recovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Directory of the copy.
    pub backup: PathBuf,
    /// Name of the cluster from now on.
    pub cluster_id: String,
    /// Number of the node, which is alone now.
    pub node: u64,
    /// Last entry of its log.
    pub log_index_last: u64,
}

impl Recovery {
    /// Opens the directory of a node that does not run, as the user that runs it.
    ///
    /// # Errors
    /// See [`RecoverError`]; nothing was changed that a start would not change.
    pub fn open(data: &Path) -> Result<Self, RecoverError> {
        owner::check_owner(data)?;
        Self::open_own(data)
    }

    fn open_own(data: &Path) -> Result<Self, RecoverError> {
        // A relative name, such as `.`, would say little in an error and of the copy.
        let directory = fs::canonicalize(data).unwrap_or_else(|_| data.to_owned());
        if !directory.join(node_identity::FILE).exists() {
            return Err(RecoverError::NoNode { directory });
        }
        let claim = Claim::take(&directory)?;
        let stored = match repair::look(&claim)? {
            Health::Node(stored) => stored,
            Health::New => return Err(RecoverError::NoNode { directory }),
            Health::Damaged(note, _) => {
                let why = note.why().to_owned();
                return Err(RecoverError::Damaged { directory, why });
            }
        };
        if stored.witness {
            return Err(RecoverError::Witness { node: stored.node });
        }
        let codec = Arc::new(WireCodec::of(VersionRange::BUILD));
        let survivor = Survivor::open(&directory, codec);
        let survivor = survivor.map_err(|error| match error.damage() {
            Some(damage) => RecoverError::Damaged {
                directory,
                why: damage.to_string(),
            },
            None => error.into(),
        })?;
        let standing = survivor.standing().clone();
        survivor.close();
        Ok(Self {
            claim,
            stored,
            standing,
        })
    }

    /// Returns the number of the node.
    #[must_use]
    pub fn node(&self) -> u64 {
        self.stored.node
    }

    /// Returns the name of the cluster until now.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.stored.cluster_id
    }

    /// Returns what the survivor's data holds.
    #[must_use]
    pub fn standing(&self) -> &SurvivorState {
        &self.standing
    }

    /// Returns the members whose data is given up.
    #[must_use]
    pub fn lost(&self) -> BTreeSet<u64> {
        let members = self.standing.members.nodes.keys().copied();
        members.filter(|node| *node != self.stored.node).collect()
    }

    /// Copies the directory, and makes its node the only member of the cluster, under a new name of
    /// the cluster.
    ///
    /// # Errors
    /// See [`RecoverError`]. Only after [`RecoverError::Interrupted`] something was changed; the
    /// copy has everything as it was.
    pub fn carry_out(self) -> Result<Recovered, RecoverError> {
        let node = self.stored.node;
        if !self.standing.members.all_voters().contains(&node) {
            return Err(RecoverError::NoVoter { node });
        }
        let directory = self.claim.directory();
        let is_left_out = |name: &str| name == RESERVE || repair::is_quarantine(name);
        let backup = copies::make(directory, &is_left_out).map_err(|error| match error {
            CopyError::NoRoom { needed, free } => RecoverError::NoRoom {
                directory: directory.to_owned(),
                needed,
                free,
            },
            CopyError::Io(source) => {
                failed(format!("copying what {} has", directory.display()))(source)
            }
        })?;
        match self.change() {
            Ok((cluster_id, log_index_last)) => Ok(Recovered {
                backup,
                cluster_id,
                node,
                log_index_last,
            }),
            Err(error) => Err(RecoverError::Interrupted {
                backup,
                source: Box::new(error),
            }),
        }
    }

    /// Makes the node the only member. Returns the new name of the cluster, and the last entry.
    fn change(&self) -> Result<(String, u64), RecoverError> {
        let (node, data) = (self.stored.node, self.claim.directory());
        let cluster_id = epoch::next(&self.stored.cluster_id)
            .map_err(|problem| failed("naming the cluster")(io::Error::other(problem)))?;
        let stored = self.stored.alone(cluster_id.clone());
        node_identity::write(data, &stored).map_err(failed("writing the node's identity"))?;
        incarnations::forget_others(data).map_err(failed("forgetting the lost nodes"))?;
        let own = self.standing.members.nodes.get(&node).cloned();
        let own = Member {
            set_aside: false,
            ..own.unwrap_or_default()
        };
        let place = MemberAddresses {
            peer_address: own.peer_address.clone(),
            client_address: own.client_address.clone(),
        };
        let peers_file = PeersFile {
            node,
            node_first: stored.node_first,
            voter: true,
            witness: Some(stored.witness),
            members: BTreeMap::from([(node, place)]),
        };
        let forgotten = peers_file.store(data);
        forgotten.map_err(failed("forgetting the lost nodes"))?;
        let members = Members {
            voters: vec![BTreeSet::from([node])],
            nodes: BTreeMap::from([(node, own)]),
        };
        let batch = Batch {
            // Log time and date stay what they were.
            proposed_at: Timestamp(0),
            date: Timestamp(0),
            commands: self.commands()?,
        };
        let survivor = Survivor::open(data, Arc::new(WireCodec::of(VersionRange::BUILD)))?;
        let last = survivor.rule_alone(node, &members, &batch);
        let last = last.map_err(failed("writing the new membership"))?;
        Ok((cluster_id, last.index))
    }
}

impl Recovery {
    /// Returns the first commands of the recovered cluster: they retire the lost nodes, and note
    /// the recovery for the audit log.
    fn commands(&self) -> Result<Vec<Command>, RecoverError> {
        let id = || {
            random::bytes().map(OnceId).map_err(|problem| {
                failed("retiring the lost nodes")(io::Error::other(problem.to_string()))
            })
        };
        let mut commands = Vec::new();
        for lost in self.lost() {
            commands.push(request::retire_node(id()?, NodeId(lost)));
        }
        if self.standing.cluster_version >= Some(ClusterVersion::AUDIT) {
            let node = self.stored.node;
            let machine = system_time().duration_since(SystemTime::UNIX_EPOCH);
            let machine_ms = machine.unwrap_or_default().as_millis();
            let lost: Vec<String> = self.lost().iter().map(u64::to_string).collect();
            let detail = format!("lost={} machine_ms={machine_ms}", lost.join(","));
            let note = ActNote {
                node: NodeId(node),
                act: AuditText::cut(AuditAct::Recover.word()),
                target: AuditText::cut(&format!("node {node}")),
                detail: AuditText::cut(&detail),
                refusal: AuditText::default(),
            };
            commands.push(request::note_act(id()?, None, note));
        }
        Ok(commands)
    }
}

/// Recovers the cluster on the node of this directory, as the running node has decided
/// ([`Node::goes_alone`](crate::Node::goes_alone)) just before, and notes that it was not an
/// operator.
///
/// # Errors
/// See [`RecoverError`]. Only after [`RecoverError::Interrupted`] something was changed.
pub fn recover_alone(data: &Path, decided: &GoesAlone) -> Result<Recovered, RecoverError> {
    let recovery = Recovery::open_own(data)?;
    let standing = recovery.standing();
    let not_certain = |why| Err(RecoverError::NotCertain { why });
    if recovery.cluster_id() != decided.cluster_id {
        return not_certain("it has another name by now");
    }
    if standing.ack_policy != AckPolicy::All || standing.members.all_voters().len() != 2 {
        return not_certain("something may have been acknowledged without this node");
    }
    let given_up = recovery.lost().into_iter().collect();
    let done = recovery.carry_out()?;
    let at_ms = system_time().duration_since(SystemTime::UNIX_EPOCH);
    let at_ms = at_ms.unwrap_or_default().as_millis();
    let noted = recovered::Recovered {
        at_ms: u64::try_from(at_ms).unwrap_or(u64::MAX),
        proven: decided.proven,
        given_up,
    };
    recovered::note(data, &noted).map_err(failed("noting the recovery"))?;
    Ok(done)
}
