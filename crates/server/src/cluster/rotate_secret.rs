//! Serves operators that ask for a rotation of the cluster's secret, on any node.
//!
//! Always true: a repeated request for the same rotation begins no other one. A rotation begins
//! only if all members answer, because it ends only after all of them have taken part.

use conclave_core::{AuditAct, AuthorityId, OnceId};
use conclave_wire::{Problem, Reason, request, v1};

use crate::{
    base::random,
    context::{
        audit::ToNote,
        call::Call,
        node_context::{NodeContext, StatusOf},
    },
};

impl NodeContext {
    /// Begins a rotation of the secret, or returns how far it is.
    pub(crate) async fn rotate_secret(
        &self,
        call: Call,
        asked: v1::RotateSecretRequest,
    ) -> Result<v1::RotateSecretResponse, Problem> {
        self.for_operators(&call, "RotateSecret").await?;
        let statuses = self.statuses().await;
        let known = self.read(|reader| reader.nodes()).await?.authority;
        let wanted = match asked.rotations {
            0 => known.generation + 1,
            rotations => rotations,
        };
        let mut told = v1::RotateSecretResponse {
            rotations: known.generation,
            under_way: known.next.is_some(),
            ..v1::RotateSecretResponse::default()
        };
        for (node, _, status) in &statuses {
            match status {
                None => told.unreachable_node_ids.push(*node),
                Some(status) if status.rotations < known.generation || known.next.is_some() => {
                    told.waiting_node_ids.push(*node);
                }
                Some(_) => {}
            }
        }
        if asked.dry_run || known.generation >= wanted {
            return Ok(told);
        }
        if known.generation + 1 != wanted {
            let sentence = format!("the next rotation is number {}", known.generation + 1);
            return Err(Problem::refused(Reason::RotationInvalid, &sentence));
        }
        if known.next.is_none() {
            all_answer(&statuses)?;
            self.only_where_trusted()?;
            let id = OnceId(random::bytes()?);
            let command = request::rotate_authority(id, wanted, AuthorityId::WANTED, false);
            self.propose(command, call.deadline).await?;
            told.under_way = true;
            let act = ToNote {
                act: AuditAct::RotateSecret,
                target: &format!("rotation {wanted}"),
                detail: "",
                problem: None,
            };
            self.note_act(&call.credential, act).await;
        }
        Ok(told)
    }
}

fn all_answer(statuses: &[StatusOf]) -> Result<(), Problem> {
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
    Err(Problem::refused(Reason::MembersUnreachable, &sentence))
}
