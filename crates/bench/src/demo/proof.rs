//! Reads every node completely and checks the record.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use conclave_client::{CallError, Freshness, Page, Reason, core::Sequence, v1};
use conclave_history::{Observed, Verdict, What, judge};
use conclave_local_cluster::LocalCluster;
use tokio::time::{Instant, sleep};

use super::load::{Load, Person, RunState};
use crate::error::{BenchError, failed};

/// Number of messages on one page.
const PAGE: usize = 1000;
/// Interval between two looks at the digests.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Result of the check.
pub(super) struct Proof {
    pub(super) verdict: Verdict,
    pub(super) digests_equal: bool,
}

/// Waits until all nodes have caught up, reads them, and checks the record.
pub(super) async fn read(
    cluster: &LocalCluster,
    load: Load,
    limit: Duration,
) -> Result<Proof, BenchError> {
    cluster.wait_until_caught_up(limit).await?;
    let digests = digests(cluster, limit).await?;
    let shared = &load.shared;
    for answer in &digests {
        shared.record(What::Digest {
            node: answer.node_id,
            applied: answer.applied_index,
            digest: format!("{:?} {:?}", answer.digest, answer.chain),
        });
    }
    let same = |pair: &[v1::GetStateDigestResponse]| {
        pair[0].digest == pair[1].digest && pair[0].chain == pair[1].chain
    };
    let digests_equal = digests.windows(2).all(same);
    for node in cluster.nodes() {
        // One person of each pair is enough: both see the same conversation.
        for person in load.people.iter().step_by(2) {
            observe(shared, cluster, node, person).await?;
        }
    }
    let Load { shared, people, .. } = load;
    drop(people);
    let shared = Arc::into_inner(shared).expect("all clients have stopped");
    Ok(Proof {
        verdict: judge(&shared.recorder.finish()?),
        digests_equal,
    })
}

/// Returns the digests of all nodes at the same position of the log.
async fn digests(
    cluster: &LocalCluster,
    limit: Duration,
) -> Result<Vec<v1::GetStateDigestResponse>, BenchError> {
    let deadline = Instant::now() + limit;
    loop {
        let mut digests: Vec<v1::GetStateDigestResponse> = Vec::new();
        for endpoint in cluster.endpoints() {
            digests.push(cluster.operator_client().state_digest(&endpoint, 0).await?);
        }
        let first = digests[0].applied_index;
        if digests.iter().all(|digest| digest.applied_index == first) {
            return Ok(digests);
        }
        if Instant::now() >= deadline {
            return Err(failed("the nodes do not converge"));
        }
        sleep(LOOK_INTERVAL).await;
    }
}

/// Reads all of a conversation as this node has it.
async fn observe(
    shared: &RunState,
    cluster: &LocalCluster,
    node: u64,
    person: &Person,
) -> Result<(), BenchError> {
    let min_position = shared.position.load(Ordering::Relaxed);
    let asked_us = shared.now_us();
    let mut messages: Vec<Observed> = Vec::new();
    loop {
        // A new client for each page: a client that has learned the leader would ask it and not
        // this node.
        let client = cluster
            .client_builder()
            .endpoints([cluster.endpoint(node)])
            .token(&person.token)
            .build()?;
        let after = Page::After(Sequence(messages.last().map_or(0, |last| last.seq)));
        let stale = Freshness::Stale { min_position };
        let page = match client.messages(&person.to, after, PAGE, stale).await {
            Ok(page) => page,
            // A pair that never got a message through has no conversation.
            Err(CallError::Refused {
                reason: Reason::NoSuchConversation,
                ..
            }) => break,
            Err(error) => return Err(error.into()),
        };
        if page.messages.is_empty() {
            break;
        }
        messages.extend(page.messages.into_iter().map(|message| Observed {
            seq: message.sequence,
            message: message.text,
            deleted: message.deleted,
        }));
    }
    shared.record(What::Observe {
        node,
        client: None,
        conversation: person.conversation.clone(),
        asked_us,
        from_seq: 1,
        messages,
        complete: true,
    });
    Ok(())
}
