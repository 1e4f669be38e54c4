//! Which words of the audit log each call of administrators and operators has.
//!
//! Always true: a call that only they may make is in the table, and so is every word; a call that
//! the table says to be recorded by the log is found there after it was made.

use std::collections::BTreeSet;

use conclave_core::AuditAct;
use conclave_wire::v1;

use super::{
    rows::{OK, Row, rows},
    world::{Caller, Target, World},
};

/// What the audit log has of a call.
enum Audit {
    /// Nothing: the call changes nothing.
    Reads,
    /// What the log decides.
    Log(&'static [AuditAct]),
    /// A note of the node, because the log does not decide it.
    Note(&'static [AuditAct]),
}

use Audit::{Log, Note, Reads};

/// Every call that callers with other sessions, and callers without any, may not make.
const CALLS: [(&str, Audit); 32] = [
    (
        "AccountService/CreateAccount",
        Log(&[AuditAct::CreateAccount]),
    ),
    ("AdminService/GetStateDigest", Reads),
    (
        "AdminService/SetAccountRole",
        Log(&[AuditAct::SetAccountRole]),
    ),
    (
        "AdminService/SetSuspended",
        Log(&[AuditAct::SuspendAccount, AuditAct::ReactivateAccount]),
    ),
    ("AdminService/EndSessions", Log(&[AuditAct::EndSessions])),
    (
        "AdminService/ResetPassword",
        Log(&[AuditAct::ResetPassword]),
    ),
    (
        "AdminService/RemoveAccount",
        Log(&[AuditAct::RemoveAccount]),
    ),
    ("AdminService/CreateBot", Log(&[AuditAct::CreateBot])),
    ("AdminService/CreateInvite", Log(&[AuditAct::CreateInvite])),
    ("AdminService/ListInvites", Reads),
    ("AdminService/RevokeInvite", Log(&[AuditAct::RevokeInvite])),
    (
        "AdminService/ChangeMembers",
        Note(&[AuditAct::ChangeMembers]),
    ),
    (
        "AdminService/CreateJoinToken",
        Log(&[AuditAct::CreateJoinToken]),
    ),
    ("AdminService/ListJoinTokens", Reads),
    (
        "AdminService/RevokeJoinToken",
        Log(&[AuditAct::RevokeJoinToken]),
    ),
    (
        "AdminService/CreateOperator",
        Log(&[AuditAct::CreateOperator]),
    ),
    ("AdminService/ListOperators", Reads),
    (
        "AdminService/RevokeOperator",
        Log(&[AuditAct::RevokeOperator]),
    ),
    ("AdminService/PreferLeader", Log(&[AuditAct::PreferLeader])),
    ("AdminService/SetAckPolicy", Log(&[AuditAct::SetAckPolicy])),
    (
        "AdminService/ChangeRetention",
        Log(&[AuditAct::SetRetention]),
    ),
    ("AdminService/GetAccountLimits", Reads),
    (
        "AdminService/SetAccountLimits",
        Log(&[AuditAct::SetAccountLimits]),
    ),
    ("AdminService/CheckCluster", Note(&[AuditAct::CheckCluster])),
    (
        "AdminService/TransferLeader",
        Note(&[AuditAct::TransferLeader]),
    ),
    (
        "AdminService/ChangeLogFilter",
        Note(&[AuditAct::ChangeLogFilter]),
    ),
    ("AdminService/RotateSecret", Note(&[AuditAct::RotateSecret])),
    ("AdminService/CheckUpgrade", Reads),
    (
        "AdminService/FinalizeUpgrade",
        Note(&[AuditAct::FinalizeUpgrade]),
    ),
    (
        "AdminService/DrainNode",
        Note(&[AuditAct::DrainNode, AuditAct::UndrainNode]),
    ),
    ("AdminService/ListAuditEntries", Reads),
    ("BackupService/TakeBackup", Note(&[AuditAct::TakeBackup])),
];

/// Words of acts that are no such call: others may make the call, or no call makes it.
const OTHERS: [AuditAct; 16] = [
    AuditAct::CreateFirstAdmin,
    AuditAct::CreateWebhook,
    AuditAct::DeleteWebhook,
    AuditAct::SetRoomRetention,
    AuditAct::AdmitNode,
    AuditAct::RetireNode,
    AuditAct::AddMember,
    AuditAct::RemoveMember,
    AuditAct::CreateFirstOperator,
    AuditAct::ResetOperators,
    AuditAct::RaiseVersion,
    AuditAct::RotateAuthority,
    AuditAct::ScheduledBackup,
    AuditAct::Restore,
    AuditAct::Import,
    AuditAct::Recover,
];

/// Returns whether only administrators or operators may make a call.
fn is_theirs(row: &Row) -> bool {
    let may = |caller| row.told.to(caller) == OK;
    let others = [Caller::Anonymous, Caller::Stranger, Caller::Owner];
    !others.into_iter().any(may) && (may(Caller::Admin) || may(Caller::Operator))
}

#[test]
fn every_call_of_administrators_and_operators_has_an_audit_word() {
    let theirs = rows().into_iter().filter(is_theirs).map(|row| row.call);
    let theirs: BTreeSet<&str> = theirs.collect();
    let listed: BTreeSet<&str> = CALLS.iter().map(|(call, _)| *call).collect();
    assert_eq!(listed.len(), CALLS.len(), "a call is listed twice");
    assert_eq!(theirs, listed, "the calls, and those of the table");
    let of_call = |audit: &Audit| match audit {
        Reads => Vec::new(),
        Log(acts) | Note(acts) => acts.to_vec(),
    };
    let mut words: Vec<AuditAct> = CALLS.iter().flat_map(|(_, audit)| of_call(audit)).collect();
    words.extend(OTHERS);
    words.sort();
    let mut all = AuditAct::ALL.to_vec();
    all.sort();
    assert_eq!(words, all, "each word belongs to one call, or to none");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_decides_is_in_the_audit_log() {
    let mut world = World::start().await;
    // Before its cluster version nothing is recorded.
    while !words(&mut world, Caller::Admin)
        .await
        .contains(AuditAct::RaiseVersion.word())
    {
        tokio::task::yield_now().await;
    }
    for row in rows().into_iter().filter(is_theirs) {
        let may = |caller: &Caller| row.told.to(*caller) == OK;
        let caller = [Caller::Admin, Caller::Operator].into_iter().find(may);
        // Also what is refused, because an earlier call has removed its object, is recorded.
        let _ = world.call(&row, caller.unwrap(), Target::Meant).await;
    }
    let recorded = words(&mut world, Caller::Admin).await;
    assert_eq!(recorded, words(&mut world, Caller::Operator).await);
    for (call, audit) in &CALLS {
        if let Log(acts) = audit {
            let found = acts.iter().any(|act| recorded.contains(act.word()));
            assert!(found, "{call}: {recorded:?}");
        }
    }
}

/// Returns the words in the audit log, as a caller reads it.
async fn words(world: &mut World, caller: Caller) -> BTreeSet<String> {
    let call = "AdminService/ListAuditEntries";
    let told: v1::ListAuditEntriesResponse = world
        .ask(caller, call, |_| v1::ListAuditEntriesRequest::default())
        .await;
    told.entries.into_iter().map(|entry| entry.act).collect()
}
