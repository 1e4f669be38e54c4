//! Serves the audit log to operators and administrators.
//!
//! Always true: a caller that is neither learns nothing of it; the names in it are those of the
//! time of the act.

use conclave_core::{Rejection, Timestamp};
use conclave_storage::state::{
    AuditActor, AuditFilter, AuditPage, AuditRefusal, AuditRow, Reader, SessionRow,
};
use conclave_wire::{Problem, Reason, request, v1};

use crate::{
    api::admin::Admin,
    context::{
        access::administrators_only,
        call::{Call, Freshness},
    },
    protocol::pages,
};

/// Entries of a page whose length the caller does not say.
const PAGE_DEFAULT: usize = 100;

impl Admin {
    /// Lists entries of the audit log, the newest first.
    pub(crate) async fn audit_entries(
        &self,
        call: Call,
        asked: v1::ListAuditEntriesRequest,
    ) -> Result<v1::ListAuditEntriesResponse, Problem> {
        let size = request::page_size(asked.page_size, PAGE_DEFAULT);
        let before = Some(asked.before_sequence).filter(|before| *before != 0);
        let filter = AuditFilter {
            actor: asked.actor,
            act: asked.act,
            since: Timestamp(asked.since_ms),
            until: Some(Timestamp(asked.until_ms)).filter(|until| until.0 != 0),
        };
        let find = move |reader: &Reader| reader.audit(before, &filter, size);
        let page = if call.credential.operator().is_some() {
            self.for_operators_as_fresh(&call, asked.read).await?;
            self.shared.read(find).await?
        } else {
            let read =
                move |reader: &Reader, session: &SessionRow| match administrators_only(session) {
                    Ok(()) => find(reader).map(Ok),
                    Err(refused) => Ok(Err(refused)),
                };
            let found: Result<AuditPage, Rejection> =
                self.shared.read_in_session(&call, asked.read, read).await?;
            found?
        };
        Ok(v1::ListAuditEntriesResponse {
            entries: page.rows.into_iter().map(entry).collect(),
            next_before_sequence: page.next_before.unwrap_or(0),
            page_size: pages::page_size(size),
        })
    }

    /// Checks the credential of an operator, and makes the node as fresh as the caller asks for.
    async fn for_operators_as_fresh(
        &self,
        call: &Call,
        asked: Option<v1::ReadOptions>,
    ) -> Result<(), Problem> {
        let (shared, name) = (&self.shared, "ListAuditEntries");
        shared.refuse_if_away()?;
        match Freshness::from(asked) {
            // This waits for everything that was acknowledged.
            Freshness::Latest => shared.for_operators(call, name).await.map(|_| ()),
            stale @ Freshness::AtLeast(_) => {
                shared.for_operators_here(call, name).await?;
                shared.freshen(stale, call.deadline).await
            }
        }
    }
}

fn entry(row: AuditRow) -> v1::AuditEntry {
    use v1::AuditActorKind as Kind;
    let (kind, name, id) = match row.actor {
        AuditActor::Cluster => (Kind::Cluster, String::new(), 0),
        AuditActor::Account { id, name } => (Kind::Account, name, id.0),
        AuditActor::Operator(name) => (Kind::Operator, name, 0),
        AuditActor::Node(node) => (Kind::Node, String::new(), node.0),
        AuditActor::Unknown => (Kind::Unspecified, String::new(), 0),
    };
    v1::AuditEntry {
        sequence: row.sequence,
        log_index: row.log_index,
        at_ms: row.date.0,
        log_time_ms: row.log_time.0,
        actor: Some(v1::AuditActor {
            kind: kind.into(),
            name,
            id,
        }),
        act: row.act,
        target: row.target,
        detail: row.detail,
        refusal: row.refusal.map_or_else(String::new, refusal),
    }
}

fn refusal(refusal: AuditRefusal) -> String {
    match refusal {
        AuditRefusal::ByTheLog(Err(rejection)) => Reason::from(&rejection).name().to_owned(),
        AuditRefusal::Noted(reason) if !reason.is_empty() => reason,
        // A later version has refused it, for a reason that this one does not know.
        AuditRefusal::ByTheLog(Ok(_)) | AuditRefusal::Noted(_) => Reason::Unknown.name().to_owned(),
    }
}
