//! Entries of the audit log, as rows have them and as readers return them.

use conclave_core::{AccountId, Answer, NodeId, Timestamp};

/// The caller of an act, as it was when the act was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditActor {
    /// The cluster itself: no person asked for it, or only a note says which.
    Cluster,
    /// A person or a program.
    Account {
        /// Number of the account.
        id: AccountId,
        /// Its name then.
        name: String,
    },
    /// An operator, by its name then.
    Operator(String),
    /// A node, or the owner of its data directory.
    Node(NodeId),
    /// A caller whose credential was valid no more, or who showed the setup token.
    Unknown,
}

impl AuditActor {
    /// Returns how it is stored: its kind, its number and its name.
    pub(super) fn columns(&self) -> (i64, Option<u64>, &str) {
        match self {
            Self::Cluster => (0, None, ""),
            Self::Account { id, name } => (1, Some(id.0), name),
            Self::Operator(name) => (2, None, name),
            Self::Node(node) => (3, Some(node.0), ""),
            Self::Unknown => (4, None, ""),
        }
    }

    /// Returns the caller that is stored so. A kind of a later build is unknown.
    pub(super) fn of_columns(kind: i64, number: Option<u64>, name: String) -> Self {
        match (kind, number) {
            (0, _) => Self::Cluster,
            (1, Some(id)) => {
                let id = AccountId(id);
                Self::Account { id, name }
            }
            (2, _) => Self::Operator(name),
            (3, Some(node)) => Self::Node(NodeId(node)),
            _ => Self::Unknown,
        }
    }
}

/// Why an act was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditRefusal {
    /// The log refused it, with this answer.
    ByTheLog(Answer),
    /// A node refused it before the log, for this reason.
    Noted(String),
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// Number of the entry: 1, 2, 3 … in log order.
    pub sequence: u64,
    /// The entry of the log that has it.
    pub log_index: u64,
    /// Log time of that entry.
    pub log_time: Timestamp,
    /// Its date, as people are shown it.
    pub date: Timestamp,
    /// The caller.
    pub actor: AuditActor,
    /// Word of the act.
    pub act: String,
    /// What the act is about; may be empty.
    pub target: String,
    /// How it was done; may be empty.
    pub detail: String,
    /// Why it was refused; `None`: it was carried out.
    pub refusal: Option<AuditRefusal>,
}

/// Which entries a reader wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Name of an account or operator, in whatever case; empty: all callers.
    pub actor: String,
    /// Word of an act; empty: all acts.
    pub act: String,
    /// The earliest date.
    pub since: Timestamp,
    /// The date before which entries are wanted; `None`: without an end.
    pub until: Option<Timestamp>,
}

/// A part of the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditPage {
    /// The newest first.
    pub rows: Vec<AuditRow>,
    /// Where to go on; `None` at the end. A page may be short, even empty, and yet not the last.
    pub next_before: Option<u64>,
}
