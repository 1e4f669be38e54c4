//! What operators ask: how is the cluster, and is this node's state what it should be.

use std::{collections::BTreeSet, sync::Arc};

use conclave_wire::{
    Problem, peer,
    v1::{self, admin_service_server::AdminService},
};
use tonic::{Request, Response, Status};

use crate::{access::Deadline, node::Shared, problems};

pub(crate) struct Admin {
    pub(crate) shared: Arc<Shared>,
}

impl Admin {
    async fn status(&self) -> v1::GetClusterStatusResponse {
        let replica = self.shared.replica.status();
        let statuses = self.shared.statuses().await;
        let up: BTreeSet<u64> = statuses
            .iter()
            .filter(|(_, _, status)| status.is_some())
            .map(|(id, ..)| *id)
            .collect();
        let nodes = statuses.into_iter().map(|(node, member, status)| {
            let known = v1::NodeStatus {
                node_id: node,
                client_address: member.client_address,
                peer_address: member.peer_address,
                ..v1::NodeStatus::default()
            };
            status.map_or(known.clone(), |status| reachable(known, status))
        });
        let margins: Vec<Margin> = replica
            .members
            .voters
            .iter()
            .map(|voters| Margin::of(voters, &up))
            .collect();
        let voters: BTreeSet<u64> = replica.members.voters.iter().flatten().copied().collect();
        v1::GetClusterStatusResponse {
            cluster_id: self.shared.identity.cluster_id.clone(),
            node_id: self.shared.identity.node,
            leader_id: replica.leader.unwrap_or(0),
            nodes: nodes.collect(),
            voters: count(voters.len()),
            voters_reachable: count(voters.intersection(&up).count()),
            tolerates_failures: margins.iter().map(|margin| margin.spare).min().unwrap_or(0),
            quorum: !margins.is_empty() && margins.iter().all(|margin| margin.quorum),
        }
    }

    async fn digest(
        &self,
        request: Request<v1::GetStateDigestRequest>,
    ) -> Result<v1::GetStateDigestResponse, Problem> {
        self.shared.door()?;
        let deadline = Deadline::of(request.metadata());
        let index = request.into_inner().min_applied_index;
        let reached = self
            .shared
            .replica
            .wait_applied(index, deadline.left())
            .await;
        reached.map_err(|error| problems::of_read(&error))?;
        let _turn = self
            .shared
            .digests
            .try_acquire()
            .map_err(|_| Problem::Busy)?;
        let found = self.shared.read(|reader| reader.digest()).await?;
        Ok(v1::GetStateDigestResponse {
            node_id: self.shared.identity.node,
            applied_index: found.applied.map_or(0, |last| last.index),
            digest: found.digest.to_vec().into(),
            chain: found.chain.to_vec().into(),
            messages: found.messages,
            accounts: found.accounts,
        })
    }
}

/// How far one set of voters is from losing its majority.
#[derive(Debug, PartialEq, Eq)]
struct Margin {
    quorum: bool,
    spare: u32,
}

impl Margin {
    fn of(voters: &BTreeSet<u64>, up: &BTreeSet<u64>) -> Self {
        let reachable = voters.intersection(up).count();
        let majority = voters.len() / 2 + 1;
        Self {
            quorum: reachable >= majority,
            spare: count(reachable.saturating_sub(majority)),
        }
    }
}

fn reachable(known: v1::NodeStatus, status: peer::GetNodeStatusResponse) -> v1::NodeStatus {
    v1::NodeStatus {
        reachable: true,
        role: i32::try_from(status.role).unwrap_or(0),
        term: status.term,
        log_index_last: status.log_index_last,
        commit_index: status.commit_index,
        applied_index: status.applied_index,
        version: status.version,
        uptime_ms: status.uptime_ms,
        durable: status.durable,
        leader_id: status.leader_id,
        ..known
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn get_cluster_status(
        &self,
        _request: Request<v1::GetClusterStatusRequest>,
    ) -> Result<Response<v1::GetClusterStatusResponse>, Status> {
        self.shared.reply(Ok(self.status().await))
    }

    async fn get_state_digest(
        &self,
        request: Request<v1::GetStateDigestRequest>,
    ) -> Result<Response<v1::GetStateDigestResponse>, Status> {
        self.shared.reply(self.digest(request).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_margin_is_what_may_still_fail() {
        let margin = |voters: u64, up: u64| {
            let voters: BTreeSet<u64> = (1..=voters).collect();
            Margin::of(&voters, &(1..=up).collect())
        };
        assert_eq!(
            margin(5, 5),
            Margin {
                quorum: true,
                spare: 2
            }
        );
        assert_eq!(
            margin(5, 3),
            Margin {
                quorum: true,
                spare: 0
            }
        );
        assert_eq!(
            margin(5, 2),
            Margin {
                quorum: false,
                spare: 0
            }
        );
        assert_eq!(
            margin(3, 3),
            Margin {
                quorum: true,
                spare: 1
            }
        );
        assert_eq!(
            margin(1, 1),
            Margin {
                quorum: true,
                spare: 0
            }
        );
    }
}
