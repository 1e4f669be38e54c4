//! The cluster version that introduced each operation.
//!
//! Always true: an operation is decided only at a version that has it. The matches have no
//! wildcard, so no operation exists without a version.

use crate::{
    AccessOperation, AccountOperation, AdminOperation, ClusterOperation, ClusterVersion,
    MessageOperation, Operation, OperatorRequest, RoomOperation,
};

impl Operation {
    /// Returns the lowest version whose builds can decode and decide this operation.
    #[must_use]
    pub fn needs(&self) -> ClusterVersion {
        match self {
            Self::Account(operation) => of_account(operation),
            Self::Access(operation) => of_access(operation),
            Self::Message(operation) => of_message(operation),
            Self::Room(operation) => of_room(operation),
            Self::Admin(operation) => of_admin(operation),
            Self::Cluster(operation) => of_cluster(operation),
        }
    }

    /// Returns whether the log may hold this operation at a version. The operation that raises the
    /// version may stand before it.
    #[must_use]
    pub fn is_introduced(&self, version: ClusterVersion) -> bool {
        let raises = matches!(self, Self::Cluster(ClusterOperation::RaiseVersion { .. }));
        raises || self.needs() <= version
    }
}

fn of_account(operation: &AccountOperation) -> ClusterVersion {
    match operation {
        AccountOperation::DeleteAccount { .. }
        | AccountOperation::ChangePassword { .. }
        | AccountOperation::SetDisplayName { .. }
        | AccountOperation::SetBlock { .. }
        | AccountOperation::CloseSession
        | AccountOperation::EndSession { .. } => ClusterVersion::FIRST,
    }
}

fn of_access(operation: &AccessOperation) -> ClusterVersion {
    match operation {
        AccessOperation::CreateAccount { .. }
        | AccessOperation::OpenSession { .. }
        | AccessOperation::TryPassword { .. }
        | AccessOperation::OfferSetup { .. }
        | AccessOperation::PostByWebhook { .. } => ClusterVersion::FIRST,
    }
}

fn of_message(operation: &MessageOperation) -> ClusterVersion {
    match operation {
        MessageOperation::SendMessage { .. }
        | MessageOperation::EditMessage { .. }
        | MessageOperation::SetReaction { .. }
        | MessageOperation::AdvancePositions { .. }
        | MessageOperation::DeleteMessages { .. } => ClusterVersion::FIRST,
    }
}

fn of_room(operation: &RoomOperation) -> ClusterVersion {
    match operation {
        RoomOperation::SetRoomRetention { .. } => ClusterVersion::RETENTION,
        RoomOperation::CreateRoom { .. }
        | RoomOperation::JoinRoom { .. }
        | RoomOperation::LeaveRoom { .. }
        | RoomOperation::InviteToRoom { .. }
        | RoomOperation::KickFromRoom { .. }
        | RoomOperation::SetTopic { .. }
        | RoomOperation::SetMemberRole { .. }
        | RoomOperation::CreateWebhook { .. }
        | RoomOperation::DeleteWebhook { .. } => ClusterVersion::FIRST,
    }
}

fn of_admin(operation: &AdminOperation) -> ClusterVersion {
    match operation {
        AdminOperation::SetAccountRole { .. }
        | AdminOperation::SetSuspended { .. }
        | AdminOperation::EndSessions { .. }
        | AdminOperation::ResetPassword { .. }
        | AdminOperation::RemoveAccount { .. }
        | AdminOperation::CreateBot { .. }
        | AdminOperation::CreateInvite { .. }
        | AdminOperation::RevokeInvite { .. }
        | AdminOperation::SetAccountLimits { .. } => ClusterVersion::FIRST,
    }
}

fn of_cluster(operation: &ClusterOperation) -> ClusterVersion {
    match operation {
        ClusterOperation::AdmitNode {
            newest: Some(_), ..
        } => ClusterVersion::ADMISSION_SAYS_VERSION,
        ClusterOperation::AdmitNode { newest: None, .. }
        | ClusterOperation::RetireNode { .. }
        | ClusterOperation::RotateAuthority { .. }
        | ClusterOperation::MakeFirstOperator { .. }
        | ClusterOperation::ResetOperators { .. } => ClusterVersion::FIRST,
        ClusterOperation::ForgetMessages { .. } => ClusterVersion::RETENTION,
        ClusterOperation::NoteAct { .. } => ClusterVersion::AUDIT,
        ClusterOperation::RaiseVersion { to, .. } => *to,
        ClusterOperation::ByOperator { request, .. } => of_operator(request),
    }
}

fn of_operator(request: &OperatorRequest) -> ClusterVersion {
    match request {
        OperatorRequest::SetRetention { .. } => ClusterVersion::RETENTION,
        OperatorRequest::CreateJoinToken { .. }
        | OperatorRequest::RevokeJoinToken { .. }
        | OperatorRequest::PreferLeader { .. }
        | OperatorRequest::CreateOperator { .. }
        | OperatorRequest::RevokeOperator { .. } => ClusterVersion::FIRST,
        OperatorRequest::SetAckPolicy { .. } => ClusterVersion::ACK_POLICY,
    }
}
