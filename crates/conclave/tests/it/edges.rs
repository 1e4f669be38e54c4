//! Calls every RPC of the protocol with every field at every edge, as every kind of caller, against
//! three nodes: each answer is a success or an error with a reason, and the nodes stay alive, equal
//! and able to start again.
//!
//! The calls and their fields come from the descriptors, so a new call or field is tried without
//! a change here; what a sensible request looks like is in `edges/sensible.rs`. One field at a
//! time is at an edge.

#![allow(clippy::print_stderr, reason = "it tells what it has tried")]

use std::{collections::BTreeMap, time::Duration};

use conclave_client::{Client, Freshness, Reason, v1};
use conclave_wire::Problem;
use futures::future::join_all;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, Value};
use tokio::time::{Instant, timeout};
use tonic::{Code, Request, Status, client::Grpc, transport::Channel};
use v1::change_members_request::Change;

use crate::{
    foreign::channel,
    grpcurl::call::Dynamic,
    support::{Cluster, until},
    witness::{agreed_digests, exists},
};

use sensible::{Caller, Kind};

mod sensible;
mod values;

/// Maximum time for a call: longer than a node waits at most, so that its reason arrives even from
/// a busy machine.
const CALL_LIMIT: Duration = Duration::from_secs(12);
/// Maximum time for a call that waits for something that never happens.
const WAIT_LIMIT: Duration = Duration::from_millis(150);
/// Number of parts in which each kind of caller makes its calls side by side.
const PARTS: usize = 2;
/// Number of calls after which the caller asks for its next request number.
const LEARN_EVERY: usize = 64;
/// Of a call that the caller may not make, one of this many edges is tried.
const SAMPLE_OF_REFUSED: usize = 3;
const PACKAGE: &str = "conclave.v1.";

/// Calls that change what all others rely on: limits, members, the leader, which nodes serve. They
/// run last, one after the other.
const LAST: [&str; 8] = [
    "RotateSecret",
    "SetAccountLimits",
    "ChangeRetention",
    "PreferLeader",
    "TransferLeader",
    "CheckCluster",
    "ChangeMembers",
    "DrainNode",
];

/// The nodes, and the clients that govern them.
struct Edges {
    cluster: Cluster,
    root: Client,
    operator: String,
    channels: Vec<Channel>,
}

/// Results of many calls.
#[derive(Default)]
struct Tally {
    calls: u32,
    successes: u32,
    reasons: BTreeMap<String, u32>,
    wrong: Vec<String>,
}

impl Tally {
    fn note(&mut self, what: &str, answer: Result<(), Status>) {
        self.calls += 1;
        let Err(status) = answer else {
            self.successes += 1;
            return;
        };
        let problem = Problem::from_status(&status);
        let reason = problem
            .as_ref()
            .map_or("none", |problem| problem.reason().name());
        *self.reasons.entry(reason.to_owned()).or_default() += 1;
        let is_typed = match &problem {
            None | Some(Problem::Broken { .. }) => false,
            Some(_) => !matches!(status.code(), Code::Internal | Code::Unknown),
        };
        if !is_typed || status.message().is_empty() {
            self.wrong.push(format!("{what}: {status:?}"));
        }
    }

    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.successes += other.successes;
        for (reason, count) in other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
        self.wrong.extend(other.wrong);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_of_every_call_may_have_any_value() {
    let cluster = Cluster::start(3).await;
    let (root, _) = cluster.administrator().await;
    // A request that is refused for its rate says nothing about its value.
    without_limits(&root).await;
    for name in [sensible::PEER, sensible::VICTIM] {
        exists(&root, name).await;
    }
    root.create_room("hall", "", false).await.unwrap();
    let operator = cluster.operator().await.to_header();
    let mut channels = Vec::new();
    for node in cluster.nodes() {
        channels.push(channel(&cluster.endpoint(node)).await);
    }
    let edges = Edges {
        cluster,
        root,
        operator,
        channels,
    };
    let pool = DescriptorPool::decode(conclave_wire::DESCRIPTORS).unwrap();
    let services = pool
        .services()
        .filter(|service| service.full_name().starts_with(PACKAGE));
    let methods: Vec<MethodDescriptor> = services
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .collect();
    assert!(methods.len() > 50, "{}", methods.len());
    let is_last = |method: &&MethodDescriptor| LAST.contains(&method.name());
    let first: Vec<_> = methods.iter().filter(|m| !is_last(m)).cloned().collect();
    let began = Instant::now();
    let mut tally = Tally::default();
    let parts = first.chunks(first.len().div_ceil(PARTS));
    let callers = parts.flat_map(|part| Kind::ALL.map(|kind| edges.calls_of(kind, part)));
    for of_one in join_all(callers).await {
        tally.add(of_one);
    }
    let first_took = began.elapsed();
    for name in LAST {
        let method = methods.iter().find(|method| method.name() == name);
        let method = method
            .unwrap_or_else(|| panic!("there is no {name}"))
            .clone();
        for kind in Kind::ALL {
            tally.add(edges.calls_of(kind, std::slice::from_ref(&method)).await);
        }
        without_limits(&edges.root).await;
    }
    let told = format!(
        "{} calls, {} successes in {:?}, of which {first_took:?} side by side; refused: {:?}",
        tally.calls,
        tally.successes,
        began.elapsed(),
        tally.reasons
    );
    eprintln!("{told}");
    assert!(tally.wrong.is_empty(), "{told}\n{}", tally.wrong.join("\n"));
    // Otherwise the test has tried nothing.
    assert!(tally.successes > 500 && tally.reasons.len() > 30, "{told}");
    edges.nodes_are_as_they_were().await;
}

/// Removes the rate limits and quotas, so that no account is refused for how much it asks.
async fn without_limits(root: &Client) {
    let read = Freshness::Linearizable;
    let limits = root.account_limits(read).await.unwrap();
    // A rate or a quota of 0 means no limit; a bucket always has a size.
    let names = limits.into_iter().map(|limit| limit.name);
    let names = names.filter(|name| !name.ends_with("-burst"));
    let limits = names.map(|name| (name, 0));
    root.set_account_limits(limits).await.unwrap();
}

impl Edges {
    /// Tries all edges of these calls as one caller, one after the other, at each node in turn.
    async fn calls_of(&self, kind: Kind, methods: &[MethodDescriptor]) -> Tally {
        let mut tally = Tally::default();
        let caller = || Caller::new(&self.root, &self.operator, kind);
        let mut own = caller().await;
        for method in methods {
            let name = method.name();
            own.learn_numbers().await;
            let count = values::all(&own.request(&method.input())).len();
            let mut step = 1;
            for place in 0..count {
                if place % step != 0 {
                    continue;
                }
                let channel = &self.channels[place % self.channels.len()];
                let (what, mut answer) = edge(channel, method, place, &mut own).await;
                // An answer about the cost of earlier edges says nothing about this one.
                if own.has_session() && is_about_the_caller(&answer) {
                    own = caller().await;
                    answer = edge(channel, method, place, &mut own).await.1;
                }
                let is_done = answer.is_ok();
                if place == 0 && is_not_for_the_caller(&answer) {
                    step = SAMPLE_OF_REFUSED;
                }
                tally.note(&format!("{kind:?} calls {name}, {what}"), answer);
                if is_done && name == "SetAccountLimits" {
                    without_limits(&self.root).await;
                }
                if is_done && own.has_session() && sensible::ends_the_caller(name) {
                    own = caller().await;
                } else if place % LEARN_EVERY == LEARN_EVERY - 1 {
                    own.learn_numbers().await;
                }
            }
        }
        tally
    }

    /// Checks that no node has ended or panicked, and that all have the same state, also after a
    /// restart.
    async fn nodes_are_as_they_were(&self) {
        let cluster = &self.cluster;
        let status = cluster.status(1).await;
        for node in status.nodes.iter().filter(|node| node.node_id > 3) {
            let request = v1::ChangeMembersRequest {
                change: Some(Change::RemoveNodeId(node.node_id)),
                ..Default::default()
            };
            self.root.change_members(request).await.unwrap();
        }
        for restarted in [false, true] {
            if restarted {
                cluster.kill_all().await;
                cluster.start_all().await;
            }
            let digests = agreed_digests(cluster).await;
            let of =
                |digest: &v1::GetStateDigestResponse| (digest.digest.clone(), digest.chain.clone());
            let (_, first) = &digests[0];
            for (node, digest) in &digests {
                assert_eq!(of(digest), of(first), "node {node}, restarted: {restarted}");
            }
            for node in cluster.nodes() {
                assert!(!cluster.has_ended(node), "{}", cluster.log(node));
                let log = cluster.log(node);
                assert!(!log.contains("panicked"), "node {node}: {log}");
            }
        }
        let id = until("a check begins", async || {
            let begun = self
                .root
                .check_cluster(&cluster.endpoint(1), 0)
                .await
                .ok()?;
            Some(begun.check_id)
        })
        .await;
        let checked = until("the check ends", async || {
            let told = self
                .root
                .check_cluster(&cluster.endpoint(1), id)
                .await
                .ok()?;
            told.finished.then_some(told)
        })
        .await;
        assert_eq!(checked.nodes.len(), 3);
        for node in checked.nodes {
            assert_eq!(node.verdict(), v1::CheckVerdict::Same, "{node:?}");
        }
    }
}

/// Returns whether a caller was refused for what it did before.
fn is_about_the_caller(answer: &Result<(), Status>) -> bool {
    let problem = answer.as_ref().err().and_then(Problem::from_status);
    matches!(
        problem,
        Some(Problem::SessionExpired { .. } | Problem::LoginThrottled { .. })
    )
}

/// Returns whether a caller was refused for what it is, whatever it asks for.
fn is_not_for_the_caller(answer: &Result<(), Status>) -> bool {
    let problem = answer.as_ref().err().and_then(Problem::from_status);
    let reason = problem.as_ref().map(Problem::reason);
    matches!(
        reason,
        Some(Reason::SessionExpired | Reason::NotAnOperator | Reason::NotAllowed)
    )
}

/// Calls a method with the edge at this place; returns which edge that is, and the answer.
async fn edge(
    channel: &Channel,
    method: &MethodDescriptor,
    place: usize,
    own: &mut Caller,
) -> (String, Result<(), Status>) {
    let base = own.request(&method.input());
    let mut edged = values::all(&base).swap_remove(place);
    let is_only_tried = match method.name() {
        "ChangeMembers" => sensible::takes_a_vote(&edged.request),
        // The nodes here are started with the old secret, again and again.
        "RotateSecret" => true,
        _ => false,
    };
    if is_only_tried {
        edged
            .request
            .set_field_by_name("dry_run", Value::Bool(true));
    }
    let what = edged.what;
    let limits: &[Duration] = match sensible::may_wait(&what) {
        true => &[WAIT_LIMIT, CALL_LIMIT],
        false => &[CALL_LIMIT],
    };
    for limit in limits {
        let request = edged.request.clone();
        let call = call(channel, method, request, own.header.as_deref(), *limit);
        let answer = timeout(2 * CALL_LIMIT, call).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answer: {} {what}", method.name()));
        // The client has noticed the end of the deadline before the node did.
        let is_over = |status: &Status| status.message() == "Timeout expired";
        if *limit == CALL_LIMIT || !answer.as_ref().is_err_and(is_over) {
            return (what, answer);
        }
    }
    unreachable!("the last limit gives an answer")
}

/// Calls a method, and returns the first answer if there are many.
async fn call(
    channel: &Channel,
    method: &MethodDescriptor,
    request: DynamicMessage,
    header: Option<&str>,
    limit: Duration,
) -> Result<(), Status> {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let mut request = Request::new(request);
    request.set_timeout(limit);
    if let Some(header) = header {
        let metadata = request.metadata_mut();
        metadata.insert("authorization", header.parse().unwrap());
    }
    let mut service = Grpc::new(channel.clone());
    service.ready().await.expect("the node listens");
    let (path, codec) = (path.parse().unwrap(), Dynamic(method.output()));
    let answers = service.server_streaming(request, path, codec).await?;
    answers.into_inner().message().await?;
    Ok(())
}
