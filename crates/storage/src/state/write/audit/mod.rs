//! Writes the audit log: an entry for each act of an administrator or operator, in log order.
//!
//! What is recorded of a command is in `core/src/audit/record.rs`; here is the caller added, as it
//! is before the command changes anything.
//!
//! Always true: below the cluster version that has it nothing is written, so that nodes of an
//! earlier build have the same rows; and the entries follow from the log alone.

mod bounds;

use std::collections::BTreeSet;

use conclave_core::{
    AccessOperation, AuditOf, AuditRecord, ClusterOperation, ClusterVersion, Command, Decision,
    Grant, Lookup as _, NodeId, Operation, Origin, Remember, SessionId, TokenHash,
};
use rusqlite::{OptionalExtension as _, params};

use crate::state::{
    ApplyError,
    audited::AuditActor,
    column::{sought, stored},
    write::writer::Writer,
};

/// What the audit log will say of a command.
pub(super) struct Audited {
    record: AuditRecord,
    actor: AuditActor,
    noted_refusal: Option<String>,
}

impl Writer {
    /// Returns what the audit log will say of a command that is decided and not yet written; `None`
    /// if it says nothing, also of an answer from memory.
    pub(super) fn audited(
        &self,
        command: &Command,
        decision: &Decision,
    ) -> Result<Option<Audited>, ApplyError> {
        if self.witness || decision.remember == Remember::No {
            return Ok(None);
        }
        let operation = &command.operation;
        let Some(record) = AuditRecord::of(operation, &decision.answer) else {
            return Ok(None);
        };
        let actor = self.actor_of(command)?;
        let is_recorded = match record.of {
            AuditOf::Everyone => true,
            AuditOf::Effects => !decision.events.is_empty(),
            AuditOf::Administrators => self.is_admin(&actor)?,
        };
        let noted_refusal = match operation {
            Operation::Cluster(ClusterOperation::NoteAct { note, .. }) => {
                Some(note.refusal.as_str().to_owned()).filter(|refusal| !refusal.is_empty())
            }
            _ => None,
        };
        Ok(is_recorded.then_some(Audited {
            record,
            actor,
            noted_refusal,
        }))
    }

    /// Writes what the audit log says of a command, after the command was written. `refusal` is the
    /// binary form of the answer, if that is a refusal.
    pub(super) fn write_audited(
        &mut self,
        index: u64,
        audited: &Audited,
        refusal: Option<&[u8]>,
    ) -> Result<(), ApplyError> {
        // The command that raises the version is the first one.
        if self.version() < ClusterVersion::AUDIT {
            return Ok(());
        }
        let Audited {
            record,
            actor,
            noted_refusal,
        } = audited;
        let (kind, number, name) = actor.columns();
        let now = self.meta.now;
        let sequence = self.meta.audit_last + 1;
        let sql = "INSERT INTO audit (sequence, log_index, log_time, date, actor_kind, actor,
                actor_name, act, target, detail, refusal, noted_refusal)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
        let row = params![
            stored(sequence),
            stored(index),
            stored(now.log_time.0),
            stored(now.date.0),
            kind,
            number.map(stored),
            name,
            record.act.as_str(),
            record.target.as_str(),
            record.detail.as_str(),
            refusal,
            noted_refusal,
        ];
        self.change_one(sql, row)?;
        self.meta.audit_last = sequence;
        self.meta.audit_entries += 1;
        if refusal.is_some() || noted_refusal.is_some() {
            self.meta.audit_refusals += 1;
        }
        self.bound_audit()
    }

    /// Records which nodes become members with an entry of the membership, and which are none any
    /// more.
    pub(super) fn audit_members(
        &mut self,
        index: u64,
        before: &BTreeSet<u64>,
        after: &BTreeSet<u64>,
    ) -> Result<(), ApplyError> {
        // A witness knows no callers, and what it says of members every full node says.
        if self.witness {
            return Ok(());
        }
        let gone = before.difference(after).map(|node| (*node, false));
        let new = after.difference(before).map(|node| (*node, true));
        for (node, is_member) in gone.chain(new) {
            let audited = Audited {
                record: AuditRecord::of_member(NodeId(node), is_member),
                actor: AuditActor::Cluster,
                noted_refusal: None,
            };
            self.write_audited(index, &audited, None)?;
        }
        Ok(())
    }

    fn version(&self) -> ClusterVersion {
        self.meta.cluster_version.unwrap_or(ClusterVersion::FIRST)
    }

    /// Returns whether the caller of a command is an administrator's account.
    fn is_admin(&self, actor: &AuditActor) -> Result<bool, ApplyError> {
        let AuditActor::Account { id, .. } = actor else {
            return Ok(false);
        };
        Ok(self.account(*id)?.is_some_and(|found| found.is_admin()))
    }

    fn actor_of(&self, command: &Command) -> Result<AuditActor, ApplyError> {
        if let Origin::Session { session, .. } = command.origin {
            return self.account_of(session);
        }
        match &command.operation {
            Operation::Access(AccessOperation::CreateAccount {
                grant: Grant::Admin(session),
                ..
            }) => self.account_of(*session),
            Operation::Cluster(ClusterOperation::ByOperator { credential, .. })
            | Operation::Cluster(ClusterOperation::NoteAct {
                by: Some(credential),
                ..
            }) => self.operator_of(credential),
            Operation::Cluster(ClusterOperation::NoteAct { by: None, note }) => {
                Ok(AuditActor::Node(note.node))
            }
            Operation::Cluster(_) => Ok(AuditActor::Cluster),
            _ => Ok(AuditActor::Unknown),
        }
    }

    fn account_of(&self, session: SessionId) -> Result<AuditActor, ApplyError> {
        let Some(session) = self.session(session)? else {
            return Ok(AuditActor::Unknown);
        };
        let id = session.account;
        let sql = "SELECT name FROM accounts WHERE id = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let name = statement.query_row([sought(id.0)], |row| row.get(0));
        Ok(match name.optional()? {
            Some(name) => AuditActor::Account { id, name },
            None => AuditActor::Unknown,
        })
    }

    fn operator_of(&self, credential: &TokenHash) -> Result<AuditActor, ApplyError> {
        Ok(match self.operator_by_token(credential)? {
            Some(name) => AuditActor::Operator(name.as_str().to_owned()),
            None => AuditActor::Unknown,
        })
    }
}
