//! What the audit log says of each command.
//!
//! It follows from the command and its answer; storage adds the name of the caller, the times and
//! the place in the log.
//!
//! Always true: the match on operations has no wildcard, so no operation exists without a decision
//! on whether it is recorded; and no record has a secret, a hash of one, or a text of a person.

use crate::{
    Accepted, AccessOperation, AccountOperation, AccountRole, AckPolicy, AdminOperation, Answer,
    AuditAct, AuditText, ClusterOperation, Grant, InviteId, JoinCredential, JoinTokenId,
    MessageOperation, NodeId, Operation, OperatorRequest, RoomOperation,
};

/// The callers whose acts of a kind are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditOf {
    /// All callers, refused or not.
    Everyone,
    /// Accounts that are administrators'.
    Administrators,
    /// All callers, if something has changed: the caller is a machine, or is not known.
    Effects,
}

/// What the audit log says of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Word of the act.
    pub act: AuditText,
    /// What the act is about; empty if that is the cluster.
    pub target: AuditText,
    /// How it was done; may be empty.
    pub detail: AuditText,
    /// The callers of which it is recorded.
    pub of: AuditOf,
}

impl AuditRecord {
    /// Returns what the audit log says of a decided command; `None` if it says nothing.
    #[must_use]
    pub fn of(operation: &Operation, answer: &Answer) -> Option<Self> {
        match operation {
            Operation::Access(operation) => of_access(operation),
            Operation::Account(operation) => of_account(operation),
            Operation::Message(operation) => of_message(operation),
            Operation::Room(operation) => of_room(operation),
            Operation::Admin(operation) => Some(of_admin(operation, answer)),
            Operation::Cluster(operation) => of_cluster(operation, answer),
        }
    }

    /// Returns what the audit log says of a node that is a member from now on, or is none any more.
    #[must_use]
    pub fn of_member(node: NodeId, is_member: bool) -> Self {
        let act = match is_member {
            true => AuditAct::AddMember,
            false => AuditAct::RemoveMember,
        };
        record(act, &node_text(node), "")
    }

    fn only(self, of: AuditOf) -> Self {
        Self { of, ..self }
    }
}

fn record(act: AuditAct, target: &str, detail: &str) -> AuditRecord {
    AuditRecord {
        act: AuditText::cut(act.word()),
        target: AuditText::cut(target),
        detail: AuditText::cut(detail),
        of: AuditOf::Everyone,
    }
}

fn node_text(node: NodeId) -> String {
    format!("node {}", node.0)
}

fn of_access(operation: &AccessOperation) -> Option<AuditRecord> {
    match operation {
        AccessOperation::CreateAccount { name, grant, .. } => match grant {
            Grant::Admin(_) => Some(record(AuditAct::CreateAccount, name.as_str(), "")),
            Grant::Setup(_) => {
                let record = record(AuditAct::CreateFirstAdmin, name.as_str(), "");
                Some(record.only(AuditOf::Effects))
            }
            Grant::Open | Grant::Invite(_) => None,
        },
        AccessOperation::OpenSession { .. }
        | AccessOperation::TryPassword { .. }
        | AccessOperation::OfferSetup { .. }
        | AccessOperation::PostByWebhook { .. } => None,
    }
}

fn of_account(operation: &AccountOperation) -> Option<AuditRecord> {
    match operation {
        // People about themselves.
        AccountOperation::DeleteAccount { .. }
        | AccountOperation::ChangePassword { .. }
        | AccountOperation::SetDisplayName { .. }
        | AccountOperation::SetBlock { .. }
        | AccountOperation::CloseSession
        | AccountOperation::EndSession { .. } => None,
    }
}

fn of_message(operation: &MessageOperation) -> Option<AuditRecord> {
    match operation {
        MessageOperation::SendMessage { .. }
        | MessageOperation::EditMessage { .. }
        | MessageOperation::SetReaction { .. }
        | MessageOperation::AdvancePositions { .. }
        | MessageOperation::DeleteMessages { .. } => None,
    }
}

fn of_room(operation: &RoomOperation) -> Option<AuditRecord> {
    let record = match operation {
        RoomOperation::CreateWebhook { name, account, .. } => {
            let target = format!("#{}", name.as_str());
            let detail = format!("account={}", account.as_str());
            record(AuditAct::CreateWebhook, &target, &detail)
        }
        RoomOperation::DeleteWebhook { webhook } => {
            let target = format!("webhook {}", webhook.0);
            record(AuditAct::DeleteWebhook, &target, "")
        }
        RoomOperation::SetRoomRetention { name, retention } => {
            let target = format!("#{}", name.as_str());
            let detail = kept(retention.age_ms, retention.messages, None);
            record(AuditAct::SetRoomRetention, &target, &detail)
        }
        // Members about their rooms: no call of a room is an administrator's alone.
        RoomOperation::CreateRoom { .. }
        | RoomOperation::JoinRoom { .. }
        | RoomOperation::LeaveRoom { .. }
        | RoomOperation::InviteToRoom { .. }
        | RoomOperation::KickFromRoom { .. }
        | RoomOperation::SetTopic { .. }
        | RoomOperation::SetMemberRole { .. } => return None,
    };
    Some(record.only(AuditOf::Administrators))
}

fn of_admin(operation: &AdminOperation, answer: &Answer) -> AuditRecord {
    match operation {
        AdminOperation::SetAccountRole { name, role } => {
            let role = match role {
                AccountRole::User => "role=user",
                AccountRole::Admin => "role=admin",
                AccountRole::Bot => "role=bot",
            };
            record(AuditAct::SetAccountRole, name.as_str(), role)
        }
        AdminOperation::SetSuspended { name, suspended } => {
            let act = match suspended {
                true => AuditAct::SuspendAccount,
                false => AuditAct::ReactivateAccount,
            };
            record(act, name.as_str(), "")
        }
        AdminOperation::EndSessions { name } => record(AuditAct::EndSessions, name.as_str(), ""),
        AdminOperation::ResetPassword { name, .. } => {
            record(AuditAct::ResetPassword, name.as_str(), "")
        }
        AdminOperation::RemoveAccount { name } => {
            record(AuditAct::RemoveAccount, name.as_str(), "")
        }
        AdminOperation::CreateBot { name, .. } => record(AuditAct::CreateBot, name.as_str(), ""),
        AdminOperation::CreateInvite { ttl_ms, uses, .. } => {
            let target = match answer {
                Ok(Accepted::InviteCreated { invite, .. }) => invite_text(*invite),
                _ => String::new(),
            };
            let detail = format!("uses={uses} ttl_ms={ttl_ms}");
            record(AuditAct::CreateInvite, &target, &detail)
        }
        AdminOperation::RevokeInvite { invite } => {
            record(AuditAct::RevokeInvite, &invite_text(*invite), "")
        }
        AdminOperation::SetAccountLimits { values } => {
            let each = values.iter();
            let each = each.map(|(limit, value)| format!("{}={value}", limit.name()));
            let all: Vec<String> = each.collect();
            record(AuditAct::SetAccountLimits, "", &all.join(" "))
        }
    }
}

fn of_cluster(operation: &ClusterOperation, answer: &Answer) -> Option<AuditRecord> {
    Some(match operation {
        ClusterOperation::AdmitNode { credential, .. } => {
            let (target, voter) = match answer {
                Ok(Accepted::NodeAdmitted { node, voter }) => (node_text(*node), Some(*voter)),
                _ => (String::new(), None),
            };
            let by = match credential {
                JoinCredential::Token(token) => {
                    format!("join_token={}", JoinTokenId::of(token))
                }
                JoinCredential::Secret { .. } => "secret".to_owned(),
            };
            let role = match voter {
                Some(true) => " role=voter",
                Some(false) => " role=learner",
                None => "",
            };
            let record = record(AuditAct::AdmitNode, &target, &format!("{by}{role}"));
            record.only(AuditOf::Effects)
        }
        ClusterOperation::RaiseVersion { to, .. } => {
            let target = format!("version {to}");
            record(AuditAct::RaiseVersion, &target, "").only(AuditOf::Effects)
        }
        // The leader alone, because of what was set.
        ClusterOperation::ForgetMessages { .. } => return None,
        ClusterOperation::RetireNode { node } => {
            record(AuditAct::RetireNode, &node_text(*node), "").only(AuditOf::Effects)
        }
        ClusterOperation::RotateAuthority {
            generation,
            is_final,
            ..
        } => {
            let step = match is_final {
                true => "step=last",
                false => "step=first",
            };
            let target = format!("rotation {generation}");
            record(AuditAct::RotateAuthority, &target, step).only(AuditOf::Effects)
        }
        ClusterOperation::ByOperator { request, .. } => of_operator(request),
        ClusterOperation::MakeFirstOperator { .. } => {
            record(AuditAct::CreateFirstOperator, "", "").only(AuditOf::Effects)
        }
        ClusterOperation::ResetOperators { .. } => {
            record(AuditAct::ResetOperators, "", "").only(AuditOf::Effects)
        }
        // One that no node can have sent.
        ClusterOperation::NoteAct { .. } if answer.is_err() => return None,
        ClusterOperation::NoteAct { note, .. } => AuditRecord {
            act: note.act.clone(),
            target: note.target.clone(),
            detail: note.detail.clone(),
            of: AuditOf::Everyone,
        },
    })
}

fn of_operator(request: &OperatorRequest) -> AuditRecord {
    match request {
        OperatorRequest::CreateJoinToken {
            token,
            ttl_ms,
            voter,
        } => {
            let role = match voter {
                true => "voter",
                false => "learner",
            };
            let target = format!("token {}", JoinTokenId::of(token));
            let detail = format!("role={role} ttl_ms={ttl_ms}");
            record(AuditAct::CreateJoinToken, &target, &detail)
        }
        OperatorRequest::RevokeJoinToken { id } => {
            record(AuditAct::RevokeJoinToken, &format!("token {id}"), "")
        }
        OperatorRequest::PreferLeader { node } => {
            let target = node.map_or_else(|| "none".to_owned(), node_text);
            record(AuditAct::PreferLeader, &target, "")
        }
        OperatorRequest::SetAckPolicy { policy } => {
            let voters = match policy {
                AckPolicy::Majority => "voters=majority",
                AckPolicy::All => "voters=all",
            };
            record(AuditAct::SetAckPolicy, "", voters)
        }
        OperatorRequest::SetRetention { change } => {
            let detail = kept(change.age_ms, change.messages, change.rooms_may_exceed);
            record(AuditAct::SetRetention, "", &detail)
        }
        OperatorRequest::CreateOperator { name, .. } => {
            record(AuditAct::CreateOperator, name.as_str(), "")
        }
        OperatorRequest::RevokeOperator { name } => {
            record(AuditAct::RevokeOperator, name.as_str(), "")
        }
    }
}

fn invite_text(invite: InviteId) -> String {
    format!("invite {}", invite.0)
}

/// Returns what is set of a retention; 0 is without a limit.
fn kept(age_ms: Option<u64>, messages: Option<u64>, rooms_may_exceed: Option<bool>) -> String {
    let parts = [
        age_ms.map(|age| format!("age_ms={age}")),
        messages.map(|messages| format!("messages={messages}")),
        rooms_may_exceed.map(|may| format!("rooms_may_exceed={may}")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        AccountLimit, AccountName, Rejection, SessionId, TokenHash, limits::AUDIT_TEXT_BYTES_MAX,
    };

    #[test]
    fn a_record_has_no_secret_and_fits_whatever_was_asked() {
        let name = || AccountName::new("a".repeat(32)).unwrap();
        let token = TokenHash([0xab; 32]);
        let hash = "$argon2id$secret".to_owned();
        let operations = [
            Operation::Admin(AdminOperation::ResetPassword {
                name: name(),
                password_hash: hash.clone(),
            }),
            Operation::Admin(AdminOperation::CreateBot {
                name: name(),
                token,
            }),
            Operation::Admin(AdminOperation::CreateInvite {
                code: token,
                ttl_ms: u64::MAX,
                uses: u32::MAX,
            }),
            Operation::Admin(AdminOperation::SetAccountLimits {
                values: AccountLimit::all().map(|limit| (limit, u64::MAX)).collect(),
            }),
            Operation::Access(AccessOperation::CreateAccount {
                name: name(),
                password_hash: hash,
                grant: Grant::Admin(SessionId(1)),
            }),
            Operation::Cluster(ClusterOperation::ByOperator {
                credential: token,
                request: OperatorRequest::CreateJoinToken {
                    token,
                    ttl_ms: 1,
                    voter: true,
                },
            }),
        ];
        for operation in operations {
            for answer in [Ok(Accepted::Done), Err(Rejection::NotAllowed)] {
                let said = format!("{:?}", AuditRecord::of(&operation, &answer).unwrap());
                assert!(!said.contains("argon2id"), "{said}");
                // Of a token at most its id, which lists show as well.
                assert!(!said.contains("ababababab"), "{said}");
                assert!(said.len() < 4 * AUDIT_TEXT_BYTES_MAX, "{said}");
            }
        }
    }
}
