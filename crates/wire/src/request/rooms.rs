//! Requests about rooms.

use conclave_core::{
    AccountName, Command, MemberRole, Operation, Rejection, RoomName, RoomOperation, RoomRetention,
    SessionId, TokenHash, WebhookId,
};

use super::{SessionRequest, command};
use crate::{Problem, Reason, v1};

/// Returns a command that creates a webhook, with the hash of the secret in its address.
///
/// # Errors
/// [`Problem::Refused`] if a name is none or the request carries no number.
pub fn create_webhook(
    session: SessionId,
    request: v1::CreateWebhookRequest,
    token: TokenHash,
) -> Result<Command, Problem> {
    let name = RoomName::new(request.name)?;
    let account = AccountName::new(request.account_name)?;
    let keys = [name.key(), account.key()];
    let parts = [keys[0].as_bytes(), keys[1].as_bytes(), &token.0];
    let operation = Operation::Room(RoomOperation::CreateWebhook {
        name,
        account,
        token,
    });
    command(
        session,
        request.request,
        "create_webhook",
        &parts,
        operation,
    )
}

impl SessionRequest for v1::CreateRoomRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        let name = RoomName::new(self.name)?;
        let topic = conclave_text::topic(&self.topic)?;
        let key = name.key();
        let parts = [
            key.as_bytes(),
            self.topic.as_bytes(),
            &[u8::from(self.private)],
        ];
        let operation = Operation::Room(RoomOperation::CreateRoom {
            name,
            topic,
            public: !self.private,
        });
        command(session, self.request, "create_room", &parts, operation)
    }
}

impl SessionRequest for v1::JoinRoomRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        let name = RoomName::new(self.name)?;
        let key = name.key();
        let operation = Operation::Room(RoomOperation::JoinRoom { name });
        command(
            session,
            self.request,
            "join_room",
            &[key.as_bytes()],
            operation,
        )
    }
}

impl SessionRequest for v1::LeaveRoomRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        let name = RoomName::new(self.name)?;
        let key = name.key();
        let operation = Operation::Room(RoomOperation::LeaveRoom { name });
        command(
            session,
            self.request,
            "leave_room",
            &[key.as_bytes()],
            operation,
        )
    }
}

impl SessionRequest for v1::InviteToRoomRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        let name = RoomName::new(self.name)?;
        let account = AccountName::new(self.account_name)?;
        let keys = [name.key(), account.key()];
        let operation = Operation::Room(RoomOperation::InviteToRoom { name, account });
        command(
            session,
            self.request,
            "invite_to_room",
            &[keys[0].as_bytes(), keys[1].as_bytes()],
            operation,
        )
    }
}

impl SessionRequest for v1::KickFromRoomRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        let name = RoomName::new(self.name)?;
        let account = AccountName::new(self.account_name)?;
        let keys = [name.key(), account.key()];
        let operation = Operation::Room(RoomOperation::KickFromRoom { name, account });
        command(
            session,
            self.request,
            "kick_from_room",
            &[keys[0].as_bytes(), keys[1].as_bytes()],
            operation,
        )
    }
}

impl SessionRequest for v1::SetTopicRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        let name = RoomName::new(self.name)?;
        let topic = conclave_text::topic(&self.topic)?;
        let key = name.key();
        let operation = Operation::Room(RoomOperation::SetTopic { name, topic });
        command(
            session,
            self.request,
            "set_topic",
            &[key.as_bytes(), self.topic.as_bytes()],
            operation,
        )
    }
}

impl SessionRequest for v1::SetRoomRetentionRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        let name = RoomName::new(self.name)?;
        let set = self.retention.unwrap_or_default();
        let retention = RoomRetention {
            age_ms: set.age_ms,
            messages: set.messages,
        };
        if !retention.is_valid() {
            return Err(Rejection::RetentionOutOfRange.into());
        }
        let number = |value: Option<u64>| match value {
            Some(value) => value.to_le_bytes().to_vec(),
            None => Vec::new(),
        };
        let (key, age, messages) = (name.key(), number(set.age_ms), number(set.messages));
        let parts = [key.as_bytes(), &age, &messages];
        let operation = Operation::Room(RoomOperation::SetRoomRetention { name, retention });
        command(
            session,
            self.request,
            "set_room_retention",
            &parts,
            operation,
        )
    }
}

impl SessionRequest for v1::SetMemberRoleRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        let role = match self.role() {
            v1::MemberRole::Member => MemberRole::Member,
            v1::MemberRole::Moderator => MemberRole::Moderator,
            v1::MemberRole::Owner => MemberRole::Owner,
            v1::MemberRole::Unspecified => {
                return Err(Problem::refused(
                    Reason::RoleMissing,
                    "the request names no role",
                ));
            }
        };
        let name = RoomName::new(self.name)?;
        let account = AccountName::new(self.account_name)?;
        let keys = [name.key(), account.key()];
        let parts = [keys[0].as_bytes(), keys[1].as_bytes(), &[role as u8]];
        let operation = Operation::Room(RoomOperation::SetMemberRole {
            name,
            account,
            role,
        });
        command(session, self.request, "set_member_role", &parts, operation)
    }
}

impl SessionRequest for v1::DeleteWebhookRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        let number = self.webhook_id.to_le_bytes();
        let operation = Operation::Room(RoomOperation::DeleteWebhook {
            webhook: WebhookId(self.webhook_id),
        });
        command(
            session,
            self.request,
            "delete_webhook",
            &[&number],
            operation,
        )
    }
}
