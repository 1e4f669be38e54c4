//! The leader has messages forgotten that are older than what is kept, or too many.
//!
//! It looks through the conversations, a few hundred at a time, and names those with something to
//! forget in a command; while the cluster has more messages in all than it keeps, it has the oldest
//! of all forgotten in between. The rules decide what goes
//! (`core/src/decide/messages/forget_messages.rs`). So nothing depends on what this leader has
//! seen: the next one begins a round of its own.
//!
//! Always true: one command at a time, with a pause after it, so that others hardly notice; where
//! nothing has a limit nothing is looked through.

use std::{sync::Arc, time::Duration};

use conclave_core::{Accepted, ClusterVersion, ConversationId, OnceId};
use conclave_replica::Role;
use conclave_wire::{Problem, request};
use tokio::time::{Instant, sleep};

use crate::{
    base::{deadline::Deadline, random},
    context::{access::accepted, node_context::NodeContext},
};

/// Pause after each page of conversations and after each command: at most 3200 messages are
/// forgotten in a second.
const PAUSE: Duration = Duration::from_millis(20);
/// Pause between two rounds at least, and while this node does not lead.
const ROUND_PAUSE: Duration = Duration::from_secs(5);
/// Longest pause between two rounds; a round itself may take minutes.
const ROUND_PAUSE_MAX: Duration = Duration::from_secs(600);
/// How long one command may take. Its outcome is not needed: the next round looks again.
const COMMAND_LIMIT: Duration = Duration::from_secs(5);
/// Commands for one page before the conversations after it have their turn.
const COMMANDS_PER_PAGE: u32 = 64;

/// Has messages forgotten, whenever this node leads.
pub(crate) async fn keep(shared: Arc<NodeContext>) {
    loop {
        let began = Instant::now();
        if let Err(problem) = round(&shared).await {
            tracing::debug!(%problem, "failed to have messages forgotten; retrying");
        }
        let took = began.elapsed();
        sleep(took.clamp(ROUND_PAUSE, ROUND_PAUSE_MAX)).await;
    }
}

/// Looks through all conversations once.
async fn round(shared: &NodeContext) -> Result<(), Problem> {
    let (mut after, mut commands) = (None, 0);
    while is_due_here(shared) {
        let has_surplus = shared.read(|reader| reader.has_surplus()).await?;
        if has_surplus {
            forget(shared, Vec::new()).await?;
            sleep(PAUSE).await;
        }
        let now = shared.log_time();
        let page = shared.read(move |reader| reader.due(after, now)).await?;
        let is_done = match page.conversations.is_empty() || commands == COMMANDS_PER_PAGE {
            true => true,
            false => forget(shared, page.conversations).await? == 0,
        };
        commands += 1;
        if is_done {
            commands = 0;
            after = page.next_after;
            if after.is_none() && !has_surplus {
                break;
            }
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

/// Returns whether it is for this node to look.
fn is_due_here(shared: &NodeContext) -> bool {
    let is_leader = shared.replica.status().role == Role::Leader;
    is_leader && shared.replica.cluster_version() >= ClusterVersion::RETENTION
}

/// Has forgotten what is due of these conversations; returns how many messages.
async fn forget(shared: &NodeContext, conversations: Vec<ConversationId>) -> Result<u64, Problem> {
    let command = request::forget_messages(OnceId(random::bytes()?), conversations);
    let outcome = shared
        .propose(command, Deadline::after(COMMAND_LIMIT))
        .await?;
    accepted(&outcome, |accepted| match accepted {
        Accepted::MessagesDeleted { count } => Some(*count),
        _ => None,
    })
}
