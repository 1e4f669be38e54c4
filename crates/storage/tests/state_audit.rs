//! The audit log: the same on every node, complete, bounded, and silent before its cluster version.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod read_support;
mod state_support;
mod story;

use std::collections::BTreeSet;

use bytes::Bytes;
use conclave_core::{
    AccessOperation, AccountRole, ActNote, AdminOperation, AuditAct, AuditText, ClusterOperation,
    ClusterVersion, Command, Grant, NodeId, Operation, OperatorName, OperatorRequest, Rejection,
    TokenHash,
    limits::{AUDIT_AGE_MS_MAX, AUDIT_AGED_EVERY, AUDIT_KEPT_MAX, AUDIT_REFUSALS_KEPT_MAX},
};
use conclave_storage::state::{
    AuditActor, AuditFilter, AuditRefusal, AuditRow, Entry, Options, Payload, State,
};
use read_support::{account, create_room, opened, token, webhook};
use rusqlite::Connection;
use state_support::*;
use story::rows;

/// Credential of the operator, and of none.
const OPERATOR: u8 = 90;
const NO_OPERATOR: u8 = 91;

fn raise(to: u32) -> Command {
    let raise = Operation::Cluster(ClusterOperation::RaiseVersion {
        to: ClusterVersion(to),
        asked: vec![NodeId(1), NodeId(2), NodeId(3)],
    });
    once(u128::from(to) << 100, raise)
}

fn suspend(name: &str, suspended: bool) -> Operation {
    let name = account(name);
    Operation::Admin(AdminOperation::SetSuspended { name, suspended })
}

fn by_operator(credential: u8, request: OperatorRequest) -> Operation {
    Operation::Cluster(ClusterOperation::ByOperator {
        credential: token(credential),
        request,
    })
}

fn note(by: Option<TokenHash>, act: AuditAct, refusal: &str) -> Operation {
    Operation::Cluster(ClusterOperation::NoteAct {
        by,
        note: ActNote {
            node: NodeId(3),
            act: AuditText::cut(act.word()),
            target: AuditText::cut("node 2"),
            detail: AuditText::cut("force"),
            refusal: AuditText::cut(refusal),
        },
    })
}

/// Commands that make ann, account 1, an administrator with session 1; bea and cyd, accounts 2 and
/// 3, people with sessions 2 and 3; and an operator.
fn prepare() -> Vec<Command> {
    let setup = token(80);
    let ann = Operation::Access(AccessOperation::CreateAccount {
        name: account("Ann"),
        password_hash: "$argon2id$ann".to_owned(),
        grant: Grant::Setup(setup),
    });
    let operations = [
        Operation::Access(AccessOperation::OfferSetup { token: setup }),
        ann,
        create("bea"),
        create("cyd"),
        login(1),
        login(2),
        login(3),
        Operation::Cluster(ClusterOperation::MakeFirstOperator {
            token: token(OPERATOR),
        }),
    ];
    (1..)
        .zip(operations)
        .map(|(id, operation)| once(id, operation))
        .collect()
}

/// Acts of every kind of caller, some refused.
fn acts() -> Vec<Command> {
    let revoked = OperatorName::new("eva").unwrap();
    vec![
        ask(1, 1, suspend("bea", true)),
        ask(1, 2, suspend("bea", false)),
        ask(1, 3, suspend("no-account", true)),
        ask(1, 3, suspend("no-account", true)),
        ask(1, 4, create_room("lobby", true)),
        ask(1, 5, webhook("lobby", "hook", 70)),
        once(
            100,
            by_operator(
                OPERATOR,
                OperatorRequest::CreateOperator {
                    name: revoked.clone(),
                    token: token(92),
                },
            ),
        ),
        once(
            101,
            by_operator(92, OperatorRequest::RevokeOperator { name: revoked }),
        ),
        once(
            102,
            by_operator(NO_OPERATOR, OperatorRequest::PreferLeader { node: None }),
        ),
        once(
            103,
            note(Some(token(OPERATOR)), AuditAct::DrainNode, "WOULD_LOSE"),
        ),
        once(103, note(Some(token(OPERATOR)), AuditAct::DrainNode, "")),
        once(104, note(None, AuditAct::Restore, "")),
        ask(3, 1, suspend("ann", true)),
    ]
}

fn members(index: u64, nodes: &[u64]) -> Entry {
    let payload = Payload::Membership {
        bytes: Bytes::copy_from_slice(format!("{nodes:?}").as_bytes()),
        nodes: nodes.iter().copied().collect(),
    };
    entry(index, payload)
}

/// The whole log: everything once before the version has the audit log, and once after it.
fn log(raised_to: u32) -> Vec<Entry> {
    let mut entries = vec![members(1, &[1, 2, 3])];
    let mut at = 1_000;
    let mut next = |commands| {
        at += 1_000;
        let index = at / 1_000;
        entries.push(entry(index, batch(at, commands)));
    };
    next(prepare());
    next(vec![ask(1, 20, suspend("bea", false))]);
    next(vec![raise(raised_to)]);
    for act in acts() {
        next(vec![act]);
    }
    let index = entries.len() as u64 + 1;
    entries.push(members(index, &[1, 3, 4]));
    entries
}

fn state_of(directory: &std::path::Path, options: Options, entries: &[Entry]) -> State {
    let mut state = State::open(directory, options).unwrap();
    state.apply(entries).unwrap();
    state
}

fn trail(state: &State) -> Vec<AuditRow> {
    let page = state.reader().audit(None, &AuditFilter::default(), 1000);
    let mut rows = page.unwrap().rows;
    rows.reverse();
    rows
}

/// Returns an entry in short: the caller, the act, what it is about, and why it was refused.
fn short(row: &AuditRow) -> (String, String, String, String) {
    let actor = match &row.actor {
        AuditActor::Cluster => "cluster".to_owned(),
        AuditActor::Account { id, name } => format!("{name}={id}"),
        AuditActor::Operator(name) => format!("operator {name}"),
        AuditActor::Node(node) => format!("node {}", node.0),
        AuditActor::Unknown => "unknown".to_owned(),
    };
    let refusal = match &row.refusal {
        None => String::new(),
        Some(AuditRefusal::ByTheLog(answer)) => format!("{:?}", answer.clone().unwrap_err()),
        Some(AuditRefusal::Noted(reason)) => reason.clone(),
    };
    (actor, row.act.clone(), row.target.clone(), refusal)
}

#[test]
fn every_act_is_recorded_once_with_its_caller_and_its_result() {
    let directory = tempfile::tempdir().unwrap();
    let state = state_of(directory.path(), Options::default(), &log(3));
    let rows = trail(&state);
    let no_account = format!("{:?}", Rejection::NoSuchAccount);
    let not_allowed = format!("{:?}", Rejection::NotAllowed);
    let no_operator = format!("{:?}", Rejection::NotAnOperator);
    let expected = [
        ("cluster", "raise_version", "version 3", ""),
        ("Ann=1", "suspend_account", "bea", ""),
        ("Ann=1", "reactivate_account", "bea", ""),
        (
            "Ann=1",
            "suspend_account",
            "no-account",
            no_account.as_str(),
        ),
        ("Ann=1", "create_webhook", "#lobby", ""),
        ("operator operator", "create_operator", "eva", ""),
        // The operator is named although it is gone afterwards.
        ("operator eva", "revoke_operator", "eva", ""),
        ("unknown", "prefer_leader", "none", no_operator.as_str()),
        ("operator operator", "drain_node", "node 2", "WOULD_LOSE"),
        ("node 3", "restore", "node 2", ""),
        ("cyd=3", "suspend_account", "ann", not_allowed.as_str()),
        ("cluster", "remove_member", "node 2", ""),
        ("cluster", "add_member", "node 4", ""),
    ];
    let expected = expected.map(|(actor, act, target, refusal)| {
        (
            actor.to_owned(),
            act.to_owned(),
            target.to_owned(),
            refusal.to_owned(),
        )
    });
    let found: Vec<_> = rows.iter().map(short).collect();
    assert_eq!(found, expected);
    let numbers: Vec<u64> = rows.iter().map(|row| row.sequence).collect();
    assert_eq!(numbers, (1..=13).collect::<Vec<u64>>());
    assert_eq!(rows[1].log_index, 5);
    assert_eq!((rows[1].date.0, rows[1].log_time.0), (5_000, 5_000));
    assert_eq!(rows[8].detail, "force");
}

#[test]
fn nodes_have_the_same_trail_however_they_got_the_log() {
    let entries = log(3);
    let directories = [(); 4].map(|()| tempfile::tempdir().unwrap());
    let whole = state_of(directories[0].path(), Options::default(), &entries);
    let mut slow = State::open(directories[1].path(), tiny()).unwrap();
    for entry in &entries {
        slow.apply(std::slice::from_ref(entry)).unwrap();
    }
    // One that was brought up to date by a snapshot half way, and one that was opened again.
    let half = entries.len() / 2;
    let before = state_of(directories[2].path(), Options::default(), &entries[..half]);
    let file = directories[2].path().join("snapshot");
    before.reader().snapshot_to(&file).unwrap();
    let mut brought = State::open(directories[3].path(), Options::default()).unwrap();
    brought.install(&file).unwrap();
    brought.apply(&entries[half..]).unwrap();
    drop(before);
    let mut again = State::open(directories[2].path(), Options::default()).unwrap();
    again.apply(&entries[half..]).unwrap();
    for other in [&slow, &brought, &again] {
        assert_eq!(trail(other), trail(&whole));
        assert_eq!(digest(other), digest(&whole));
    }
}

#[test]
fn below_its_version_nothing_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let state = state_of(directory.path(), Options::default(), &log(2));
    assert!(trail(&state).is_empty());
    let sql = "SELECT audit_last, audit_entries, audit_refusals FROM meta";
    assert_eq!(rows(directory.path(), sql), ["0|0|0"]);
    // A digest of that version knows nothing of it, as an earlier build does.
    let before = digest(&state).digest;
    let connection = Connection::open(directory.path().join("state.db")).unwrap();
    let sql = "INSERT INTO audit VALUES (1, 1, 1, 1, 0, NULL, '', 'restore', '', '', NULL, NULL);
        UPDATE meta SET audit_last = 1, audit_entries = 1";
    connection.execute_batch(sql).unwrap();
    assert_eq!(digest(&state).digest, before);
}

#[test]
fn a_witness_records_nothing_and_keeps_nothing_of_a_snapshot() {
    let witness = || Options {
        witness: true,
        ..Options::default()
    };
    let directories = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let [full, follower, joined] = &directories;
    let state = state_of(full.path(), Options::default(), &log(3));
    assert!(!trail(&state).is_empty());
    let follower = state_of(follower.path(), witness(), &log(3));
    assert!(trail(&follower).is_empty());
    let file = full.path().join("snapshot");
    state.reader().snapshot_to(&file).unwrap();
    let mut late = State::open(joined.path(), witness()).unwrap();
    late.install(&file).unwrap();
    assert!(trail(&late).is_empty());
    let sql = "SELECT audit_entries, audit_refusals FROM meta";
    assert_eq!(rows(joined.path(), sql), ["0|0"]);
}

/// Makes as many entries as are kept, of which the first ones are refused acts.
fn fill(directory: &std::path::Path, entries: u64, refusals: u64, log_time: u64) {
    let connection = Connection::open(directory.join("state.db")).unwrap();
    let sql = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {entries})
        INSERT INTO audit SELECT i, 1, {log_time}, {log_time}, 0, NULL, '', 'restore', '', '', NULL,
            iif(i <= {refusals}, 'NOT_ALLOWED', NULL) FROM n;
        UPDATE meta SET audit_last = {entries}, audit_entries = {entries},
            audit_refusals = {refusals}"
    );
    connection.execute_batch(&sql).unwrap();
}

/// Returns the number of entries, of refused acts, and the first and last number.
fn counted(directory: &std::path::Path) -> String {
    let sql = "SELECT count(*), sum(refusal IS NOT NULL OR noted_refusal IS NOT NULL),
        min(sequence), max(sequence) FROM audit";
    let found = rows(directory, sql).remove(0);
    let sql = "SELECT audit_entries, audit_refusals, audit_last FROM meta";
    let told = rows(directory, sql).remove(0);
    format!("{found} {told}")
}

#[test]
fn refusals_push_out_refusals_and_never_an_act_that_was_done() {
    let (directory, mut state) = opened();
    accept(&mut state, prepare());
    accept(&mut state, vec![raise(3)]);
    drop(state);
    Connection::open(directory.path().join("state.db"))
        .unwrap()
        .execute("DELETE FROM audit", [])
        .unwrap();
    fill(
        directory.path(),
        AUDIT_KEPT_MAX,
        AUDIT_REFUSALS_KEPT_MAX,
        START,
    );
    let mut state = State::open(directory.path(), Options::default()).unwrap();
    // An account that may not do it asks again and again.
    for number in 1..=5 {
        let refused = apply(&mut state, vec![ask(2, number, suspend("ann", true))]);
        assert_eq!(refused.answers, [Err(Rejection::NotAllowed)]);
    }
    let (kept, refused) = (AUDIT_KEPT_MAX, AUDIT_REFUSALS_KEPT_MAX);
    let last = kept + 5;
    let expected = format!("{kept}|{refused}|6|{last} {kept}|{refused}|{last}");
    assert_eq!(counted(directory.path()), expected);
    // An act that is carried out takes the place of the oldest entry.
    accept(&mut state, vec![ask(1, 1, suspend("bea", true))]);
    let (last, refused) = (last + 1, refused - 1);
    let expected = format!("{kept}|{refused}|7|{last} {kept}|{refused}|{last}");
    assert_eq!(counted(directory.path()), expected);
}

#[test]
fn old_entries_go_a_few_at_a_time() {
    let (directory, mut state) = opened();
    accept(&mut state, prepare());
    accept(&mut state, vec![raise(3)]);
    drop(state);
    Connection::open(directory.path().join("state.db"))
        .unwrap()
        .execute("DELETE FROM audit", [])
        .unwrap();
    fill(directory.path(), 2 * AUDIT_AGED_EVERY, 3, START);
    let mut state = State::open(directory.path(), Options::default()).unwrap();
    let go_to = |state: &mut State, index: u64, at: u64| {
        let from = state.applied().last.unwrap().index + 1;
        let entries: Vec<Entry> = (from..=index)
            .map(|index| entry(index, batch(at, Vec::new())))
            .collect();
        state.apply(&entries).unwrap();
        trail(state).len() as u64
    };
    let young = START + AUDIT_AGE_MS_MAX;
    let every = AUDIT_AGED_EVERY;
    assert_eq!(go_to(&mut state, every, young), 2 * every, "not yet");
    assert_eq!(go_to(&mut state, every + 1, young + 1), 2 * every);
    assert_eq!(go_to(&mut state, 2 * every, young + 1), every);
    assert_eq!(go_to(&mut state, 3 * every, young + 1), 0);
    let sql = "SELECT audit_entries, audit_refusals, audit_last FROM meta";
    let expected = format!("0|0|{}", 2 * every);
    assert_eq!(rows(directory.path(), sql), [expected]);
}

#[test]
fn a_reader_pages_through_what_it_asks_for() {
    let directory = tempfile::tempdir().unwrap();
    let state = state_of(directory.path(), Options::default(), &log(3));
    let all = trail(&state);
    let paged = |filter: &AuditFilter, limit| {
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let page = state.reader().audit(before, filter, limit).unwrap();
            assert!(page.rows.len() <= limit);
            found.extend(page.rows);
            before = page.next_before;
            if before.is_none() {
                found.reverse();
                return found;
            }
        }
    };
    for limit in [1, 2, 5, 1000] {
        assert_eq!(paged(&AuditFilter::default(), limit), all);
    }
    let kept = |keep: &dyn Fn(&AuditRow) -> bool| -> Vec<AuditRow> {
        all.iter().filter(|row| keep(row)).cloned().collect()
    };
    let by_ann = AuditFilter {
        actor: "aNN".to_owned(),
        ..AuditFilter::default()
    };
    let ann = |row: &AuditRow| matches!(&row.actor, AuditActor::Account { id, .. } if id.0 == 1);
    assert_eq!(paged(&by_ann, 2), kept(&ann));
    let suspended = AuditFilter {
        act: AuditAct::SuspendAccount.word().to_owned(),
        ..AuditFilter::default()
    };
    assert_eq!(paged(&suspended, 2).len(), 3);
    let (since, until) = (all[3].date, all[7].date);
    let between = AuditFilter {
        since,
        until: Some(until),
        ..AuditFilter::default()
    };
    let is_between = |row: &AuditRow| (since..until).contains(&row.date);
    assert_eq!(paged(&between, 2), kept(&is_between));
    assert_eq!(kept(&is_between).len(), 4);
    let nothing = state.reader().audit(Some(1), &AuditFilter::default(), 10);
    assert!(nothing.unwrap().rows.is_empty());
}

#[test]
fn the_name_of_a_caller_stays_after_its_account_is_gone() {
    let (_directory, mut state) = opened();
    accept(&mut state, prepare());
    accept(&mut state, vec![raise(3)]);
    let role = Operation::Admin(AdminOperation::SetAccountRole {
        name: account("bea"),
        role: AccountRole::Admin,
    });
    let remove = Operation::Admin(AdminOperation::RemoveAccount {
        name: account("ann"),
    });
    accept(&mut state, vec![ask(1, 1, role), ask(2, 1, remove)]);
    let callers: BTreeSet<String> = trail(&state).iter().map(|row| short(row).0).collect();
    let expected = ["Ann=1", "bea=2", "cluster"].map(str::to_owned);
    assert_eq!(callers, BTreeSet::from(expected));
}
