//! Serves rooms, their members and their webhooks to clients.
//!
//! Always true: a room that the caller may not see does not exist for the caller; and a webhook's
//! secret is shown to its maker once and stored nowhere.

use std::sync::Arc;

use conclave_core::{Accepted, AccountId, MemberRole, NamePattern, Rejection, RoomName, SessionId};
use conclave_storage::state as rows;
use conclave_wire::{
    Problem,
    request::{self, SessionRequest},
    v1::{self, room_service_server::RoomService},
};
use tonic::Request;

use crate::{
    api::edge::{self, Answer},
    auth::sessions::show_token,
    base::random,
    context::{
        access::{accepted, position_of},
        call::Call,
        node_context::NodeContext,
    },
    protocol::{client_port::HOOKS, pages, show},
};

/// Number of rooms or members on a page if the client sets none.
const PAGE_DEFAULT: usize = 100;

pub(crate) struct Rooms {
    pub(crate) shared: Arc<NodeContext>,
}

/// Returns the room with this key if the account may see it.
fn visible(
    reader: &rows::Reader,
    account: AccountId,
    key: &str,
) -> Result<Result<rows::RoomRow, Rejection>, rows::ReadError> {
    let room = reader.room_by_key(account, key)?;
    Ok(room.ok_or(Rejection::NoSuchConversation))
}

impl Rooms {
    async fn create(
        &self,
        call: Call,
        request: v1::CreateRoomRequest,
    ) -> Result<v1::CreateRoomResponse, Problem> {
        let (conversation_id, position) = self.enter(call, request).await?;
        Ok(v1::CreateRoomResponse {
            conversation_id,
            position,
        })
    }

    async fn join(
        &self,
        call: Call,
        request: v1::JoinRoomRequest,
    ) -> Result<v1::JoinRoomResponse, Problem> {
        let (conversation_id, position) = self.enter(call, request).await?;
        Ok(v1::JoinRoomResponse {
            conversation_id,
            position,
        })
    }

    /// Makes the caller a member; returns the room's number and the log position of the outcome.
    async fn enter<R: SessionRequest>(
        &self,
        call: Call,
        request: R,
    ) -> Result<(u64, u64), Problem> {
        let outcome = self.shared.propose_in_session(&call, request).await?;
        accepted(&outcome, |accepted| match accepted {
            Accepted::RoomEntered { conversation } => Some((conversation.0, position_of(&outcome))),
            _ => None,
        })
    }

    async fn list(
        &self,
        call: Call,
        request: v1::ListRoomsRequest,
    ) -> Result<v1::ListRoomsResponse, Problem> {
        let pattern = NamePattern::new(&request.pattern)?;
        let after = pages::key_of(&request.page_token)?;
        let size = request::page_size(request.page_size, PAGE_DEFAULT);
        let only_own = request.only_own;
        let read = move |reader: &rows::Reader, session: &rows::SessionRow| {
            reader.rooms(session.account, &pattern, only_own, after.as_deref(), size)
        };
        let page = self
            .shared
            .read_in_session(&call, request.read, read)
            .await?;
        Ok(v1::ListRoomsResponse {
            rooms: page.rows.into_iter().map(show::room).collect(),
            next_page_token: pages::token_of_key(page.next_after_key),
            page_size: pages::page_size(size),
        })
    }

    async fn retention(
        &self,
        call: Call,
        request: v1::GetRetentionRequest,
    ) -> Result<v1::GetRetentionResponse, Problem> {
        let read = |reader: &rows::Reader, _: &rows::SessionRow| reader.retention();
        let kept = self
            .shared
            .read_in_session(&call, request.read, read)
            .await?;
        Ok(v1::GetRetentionResponse {
            retention: Some(show::cluster_retention(kept)),
        })
    }

    async fn members(
        &self,
        call: Call,
        request: v1::ListMembersRequest,
    ) -> Result<v1::ListMembersResponse, Problem> {
        let key = RoomName::new(request.name)?.key();
        let after = pages::number_of(&request.page_token)?.map(AccountId);
        let size = request::page_size(request.page_size, PAGE_DEFAULT);
        let read = move |reader: &rows::Reader, session: &rows::SessionRow| {
            let room = match visible(reader, session.account, &key)? {
                Ok(room) if room.public || room.role.is_some() => room,
                Ok(_) => return Ok(Err(Rejection::NotAMember)),
                Err(rejection) => return Ok(Err(rejection)),
            };
            reader.members(room.id, after, size).map(Ok)
        };
        let rows = self
            .shared
            .read_in_session(&call, request.read, read)
            .await??;
        let next = rows.last().filter(|_| rows.len() == size);
        Ok(v1::ListMembersResponse {
            next_page_token: pages::token_of_number(next.map(|last| last.account.id.0)),
            members: rows.into_iter().map(show::member).collect(),
            page_size: pages::page_size(size),
        })
    }

    async fn create_webhook(
        &self,
        call: Call,
        request: v1::CreateWebhookRequest,
    ) -> Result<v1::CreateWebhookResponse, Problem> {
        let secret = match request::chosen_token(&request.secret)? {
            Some(secret) => secret,
            None => random::bytes()?,
        };
        let hash = request::token_hash(&secret);
        let command = |session: SessionId| request::create_webhook(session, request, hash);
        let outcome = self.shared.propose_in_session(&call, command).await?;
        accepted(&outcome, |accepted| match accepted {
            Accepted::WebhookCreated { webhook, .. } => Some(v1::CreateWebhookResponse {
                webhook_id: webhook.0,
                path: format!("{}{}", HOOKS, show_token(&secret)),
                position: position_of(&outcome),
            }),
            _ => None,
        })
    }

    async fn webhooks(
        &self,
        call: Call,
        request: v1::ListWebhooksRequest,
    ) -> Result<v1::ListWebhooksResponse, Problem> {
        let key = RoomName::new(request.name)?.key();
        let read = move |reader: &rows::Reader, session: &rows::SessionRow| {
            let room = match visible(reader, session.account, &key)? {
                Ok(room) if room.role >= Some(MemberRole::Moderator) => room,
                Ok(_) => return Ok(Err(Rejection::NotAllowed)),
                Err(rejection) => return Ok(Err(rejection)),
            };
            reader.webhooks(room.id).map(Ok)
        };
        let rows = self
            .shared
            .read_in_session(&call, request.read, read)
            .await??;
        Ok(v1::ListWebhooksResponse {
            webhooks: rows.into_iter().map(show::webhook).collect(),
        })
    }
}

#[tonic::async_trait]
impl RoomService for Rooms {
    async fn create_room(
        &self,
        request: Request<v1::CreateRoomRequest>,
    ) -> Answer<v1::CreateRoomResponse> {
        edge::answer(request, |call, request| self.create(call, request)).await
    }

    async fn join_room(
        &self,
        request: Request<v1::JoinRoomRequest>,
    ) -> Answer<v1::JoinRoomResponse> {
        edge::answer(request, |call, request| self.join(call, request)).await
    }

    async fn leave_room(
        &self,
        request: Request<v1::LeaveRoomRequest>,
    ) -> Answer<v1::LeaveRoomResponse> {
        let tell = |position| v1::LeaveRoomResponse { position };
        edge::done(&self.shared, request, tell).await
    }

    async fn invite_to_room(
        &self,
        request: Request<v1::InviteToRoomRequest>,
    ) -> Answer<v1::InviteToRoomResponse> {
        let tell = |position| v1::InviteToRoomResponse { position };
        edge::done(&self.shared, request, tell).await
    }

    async fn kick_from_room(
        &self,
        request: Request<v1::KickFromRoomRequest>,
    ) -> Answer<v1::KickFromRoomResponse> {
        let tell = |position| v1::KickFromRoomResponse { position };
        edge::done(&self.shared, request, tell).await
    }

    async fn set_topic(
        &self,
        request: Request<v1::SetTopicRequest>,
    ) -> Answer<v1::SetTopicResponse> {
        let tell = |position| v1::SetTopicResponse { position };
        edge::done(&self.shared, request, tell).await
    }

    async fn set_member_role(
        &self,
        request: Request<v1::SetMemberRoleRequest>,
    ) -> Answer<v1::SetMemberRoleResponse> {
        let tell = |position| v1::SetMemberRoleResponse { position };
        edge::done(&self.shared, request, tell).await
    }

    async fn set_room_retention(
        &self,
        request: Request<v1::SetRoomRetentionRequest>,
    ) -> Answer<v1::SetRoomRetentionResponse> {
        let tell = |position| v1::SetRoomRetentionResponse { position };
        edge::done(&self.shared, request, tell).await
    }

    async fn get_retention(
        &self,
        request: Request<v1::GetRetentionRequest>,
    ) -> Answer<v1::GetRetentionResponse> {
        edge::answer(request, |call, request| self.retention(call, request)).await
    }

    async fn list_rooms(
        &self,
        request: Request<v1::ListRoomsRequest>,
    ) -> Answer<v1::ListRoomsResponse> {
        edge::answer(request, |call, request| self.list(call, request)).await
    }

    async fn list_members(
        &self,
        request: Request<v1::ListMembersRequest>,
    ) -> Answer<v1::ListMembersResponse> {
        edge::answer(request, |call, request| self.members(call, request)).await
    }

    async fn create_webhook(
        &self,
        request: Request<v1::CreateWebhookRequest>,
    ) -> Answer<v1::CreateWebhookResponse> {
        edge::answer(request, |call, request| self.create_webhook(call, request)).await
    }

    async fn list_webhooks(
        &self,
        request: Request<v1::ListWebhooksRequest>,
    ) -> Answer<v1::ListWebhooksResponse> {
        edge::answer(request, |call, request| self.webhooks(call, request)).await
    }

    async fn delete_webhook(
        &self,
        request: Request<v1::DeleteWebhookRequest>,
    ) -> Answer<v1::DeleteWebhookResponse> {
        let tell = |position| v1::DeleteWebhookResponse { position };
        edge::done(&self.shared, request, tell).await
    }
}
