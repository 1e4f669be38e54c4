//! Proposes commands of sessions on a node without a vote: each command goes to the leader together
//! with the token that the client sent.
//!
//! The leader trusts a voter to have checked what a client has sent. It does not trust a learner:
//! the learner forwards the token of the session, and the leader checks the token itself. A learner
//! does not accept what the leader would have to take on its word, such as a password that the
//! learner has verified; it sends the client to the leader.
//!
//! Always true: a learner's command is proposed only for the session whose token came with it, or
//! as a note of the operator whose credential came with it.

use conclave_core::{
    AccountOperation, ClusterOperation, Command, Operation, Origin, SessionId, TokenHash,
};
use conclave_replica::{Lane, NodeMembership, Outcome};
use conclave_wire::{Problem, Reason};

use crate::{
    auth::credential::Credential,
    base::deadline::Deadline,
    context::{access::Unknown, call::Call, node_context::NodeContext},
    protocol::problems,
};

impl NodeContext {
    /// Returns whether the leader trusts what this node has verified.
    fn is_trusted(&self) -> bool {
        self.security.tls.is_key_holder()
            || self.replica.membership_of(self.identity.node) == NodeMembership::Voter
    }

    /// Refuses the call on a node without a vote, where the leader would have to trust what this
    /// node verified. The response asks the client to call another node and names the leader.
    pub(crate) fn only_where_trusted(&self) -> Result<(), Problem> {
        match self.is_trusted() {
            true => Ok(()),
            false => Err(Problem::GoingAway),
        }
    }

    /// Proposes the command of a session and returns its outcome.
    pub(crate) async fn propose_proven(
        &self,
        command: Command,
        call: &Call,
    ) -> Result<Outcome, Problem> {
        self.has_room_for(&command)?;
        let _under_way = self.commands.try_acquire().map_err(|_| Problem::Busy)?;
        let (credential, deadline) = (&call.credential, call.deadline);
        let commands = [command];
        let outcomes = self.propose_all_proven(&commands, credential, deadline);
        let lost = || Problem::OutcomeUnknown { waited_ms: 0 };
        outcomes.await?.pop().ok_or_else(lost)
    }

    /// Proposes commands of a session together, for which the caller has places; returns their
    /// outcomes.
    pub(crate) async fn propose_all_proven(
        &self,
        commands: &[Command],
        credential: &Credential,
        deadline: Deadline,
    ) -> Result<Vec<Outcome>, Problem> {
        if self.is_trusted() {
            let outcomes = self.replica.propose_all(commands, deadline.left()).await;
            return outcomes.map_err(|error| problems::of_propose(&error));
        }
        if !commands
            .iter()
            .all(|command| may_be_forwarded(&command.operation))
        {
            return Err(Problem::GoingAway);
        }
        self.at_leader(deadline, |shared, leader, left| {
            let (commands, credential) = (commands.to_vec(), credential.clone());
            Box::pin(async move {
                let outcomes = match leader {
                    // This node has become a voter meanwhile.
                    None => shared.replica.propose_all(&commands, left).await,
                    Some((node, member)) => {
                        let peer = shared.transport.grpc_peer(node, &member, Lane::Calls);
                        peer.forward_proven(&commands, &credential, left).await?
                    }
                };
                outcomes.map_err(|error| problems::of_propose(&error))
            })
        })
        .await
    }

    /// Refuses the commands of a node without a vote that are not of the session whose token came
    /// with them, and are no notes of the operator whose credential did.
    pub(crate) async fn proven(
        &self,
        commands: &[Command],
        credential: &Credential,
        deadline: Deadline,
    ) -> Result<(), Problem> {
        if let Some(by) = credential.operator() {
            let found = self.read(move |reader| reader.operator_by_token(&by));
            let is_known = found.await?.is_some();
            if is_known && commands.iter().all(|command| is_note_of(command, by)) {
                return Ok(());
            }
        }
        // Another node asks, for any of its clients.
        let caller = Unknown::at(None, deadline);
        let session = self.session(credential.session()?, caller).await?;
        match commands.iter().all(|command| is_of(command, session.id)) {
            true => Ok(()),
            false => Err(Problem::refused(
                Reason::PeerRole,
                "a command is not of the session whose token came with it",
            )),
        }
    }
}

fn is_of(command: &Command, session: SessionId) -> bool {
    let same = matches!(command.origin, Origin::Session { session: of, .. } if of == session);
    same && may_be_forwarded(&command.operation)
}

/// Returns whether a command changes nothing but the audit log, under the name of this operator.
fn is_note_of(command: &Command, operator: TokenHash) -> bool {
    matches!(
        command.operation,
        Operation::Cluster(ClusterOperation::NoteAct { by: Some(by), .. }) if by == operator
    )
}

/// Returns whether the token of a session is all that a command needs, so that it does not depend
/// on a password that was verified where the request arrived.
fn may_be_forwarded(operation: &Operation) -> bool {
    !matches!(
        operation,
        Operation::Account(AccountOperation::ChangePassword { .. })
            | Operation::Account(AccountOperation::DeleteAccount { .. })
    )
}

#[cfg(test)]
mod tests {
    use conclave_core::{Digest, OnceId};

    use super::*;

    fn command(origin: Origin, operation: Operation) -> Command {
        Command {
            origin,
            digest: Digest(0),
            operation,
        }
    }

    #[test]
    fn a_token_authorizes_only_the_commands_of_its_session() {
        let of = |session| Origin::Session {
            session: SessionId(session),
            number: 1,
        };
        let harmless = || Operation::Account(AccountOperation::CloseSession);
        let change = Operation::Account(AccountOperation::ChangePassword {
            password_version: 1,
            password_hash: String::new(),
        });
        let delete = Operation::Account(AccountOperation::DeleteAccount {
            password_version: 1,
        });
        for (command, expected) in [
            (command(of(7), harmless()), true),
            (command(of(8), harmless()), false),
            (command(Origin::Once(OnceId([7; 16])), harmless()), false),
            (command(of(7), change), false),
            (command(of(7), delete), false),
        ] {
            assert_eq!(is_of(&command, SessionId(7)), expected, "{command:?}");
        }
    }
}
