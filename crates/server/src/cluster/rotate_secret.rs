//! Serves operators that ask for an exchange of the cluster's secret, on any node.
//!
//! Always true: a repeated request for the same exchange begins no other one. An exchange begins
//! only if all members answer, because it ends only after all of them have taken part.

use conclave_core::{AuthorityId, OnceId};
use conclave_replica::Member;
use conclave_wire::{Problem, peer, request, v1};

use crate::{
    base::random,
    context::{call::Call, shared::Shared},
    protocol::problems,
};

/// A member, and its status if it answers.
type Told = (u64, Member, Option<peer::GetNodeStatusResponse>);

impl Shared {
    /// Begins an exchange of the secret, or returns how far it is.
    pub(crate) async fn rotate_secret(
        &self,
        call: Call,
        asked: v1::RotateSecretRequest,
    ) -> Result<v1::RotateSecretResponse, Problem> {
        self.for_operators(&call, "RotateSecret").await?;
        let statuses = self.statuses().await;
        let known = self.read(|reader| reader.nodes()).await?.authority;
        let wanted = match asked.exchanges {
            0 => known.generation + 1,
            exchanges => exchanges,
        };
        let mut told = v1::RotateSecretResponse {
            exchanges: known.generation,
            under_way: known.next.is_some(),
            ..v1::RotateSecretResponse::default()
        };
        for (node, _, status) in &statuses {
            match status {
                None => told.unreachable_node_ids.push(*node),
                Some(status) if status.exchanges < known.generation || known.next.is_some() => {
                    told.waiting_node_ids.push(*node);
                }
                Some(_) => {}
            }
        }
        if asked.dry_run || known.generation >= wanted {
            return Ok(told);
        }
        if known.generation + 1 != wanted {
            let sentence = format!("the next exchange is number {}", known.generation + 1);
            return Err(problems::refused("EXCHANGE_INVALID", &sentence));
        }
        if known.next.is_none() {
            all_answer(&statuses)?;
            self.only_where_believed()?;
            let id = OnceId(random::bytes()?);
            let command = request::exchange_authority(id, wanted, AuthorityId::WANTED, false);
            self.propose(command, call.deadline).await?;
            told.under_way = true;
        }
        Ok(told)
    }
}

fn all_answer(statuses: &[Told]) -> Result<(), Problem> {
    let silent = statuses.iter().filter(|(.., status)| status.is_none());
    let silent: Vec<u64> = silent.map(|(node, ..)| *node).collect();
    if silent.is_empty() {
        return Ok(());
    }
    let silent: Vec<String> = silent.iter().map(ToString::to_string).collect();
    let sentence = format!(
        "all members must take part, and node {} does not answer: nothing was changed",
        silent.join(", ")
    );
    Err(problems::refused("MEMBERS_UNREACHABLE", &sentence))
}
