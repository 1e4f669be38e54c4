//! Rooms, their members and their webhooks. Names of rooms may be given with or without the leading
//! `#`.

use conclave_core::{ConversationId, Position, WebhookId};
use conclave_wire::{request::TOKEN_BYTES, v1};

use crate::{CallError, Client, Freshness, calls::account::all_pages, random};

impl Client {
    /// Creates a room; the caller becomes its owner. Only members and invited accounts see a
    /// private room.
    ///
    /// # Errors
    /// [`CallError`]; `NAME_TAKEN`, `TOO_MANY`, `LINE_INVALID` for the topic.
    pub async fn create_room(
        &self,
        room: &str,
        topic: &str,
        private: bool,
    ) -> Result<ConversationId, CallError> {
        let request = v1::CreateRoomRequest {
            request: None,
            name: bare(room),
            topic: topic.to_owned(),
            private,
        };
        let created = self.call(request).await?;
        Ok(ConversationId(created.conversation_id))
    }

    /// Joins a public room, or a private one after an invitation. Joining twice is no error.
    ///
    /// # Errors
    /// [`CallError`]; `NO_SUCH_CONVERSATION`, `TOO_MANY`.
    pub async fn join_room(&self, room: &str) -> Result<ConversationId, CallError> {
        let request = v1::JoinRoomRequest {
            request: None,
            name: bare(room),
        };
        let joined = self.call(request).await?;
        Ok(ConversationId(joined.conversation_id))
    }

    /// Leaves a room.
    ///
    /// # Errors
    /// [`CallError`]; `NO_SUCH_CONVERSATION`, `NOT_A_MEMBER`.
    pub async fn leave_room(&self, room: &str) -> Result<Position, CallError> {
        let request = v1::LeaveRoomRequest {
            request: None,
            name: bare(room),
        };
        Ok(Position(self.call(request).await?.position))
    }

    /// Invites an account. An account that is a member or invited already stays so.
    ///
    /// # Errors
    /// [`CallError`]; `NO_SUCH_CONVERSATION`, `NO_SUCH_ACCOUNT`, `NOT_ALLOWED`, `BLOCKED`,
    /// `ONESELF`, `TOO_MANY`.
    pub async fn invite_to_room(&self, room: &str, account: &str) -> Result<Position, CallError> {
        let request = v1::InviteToRoomRequest {
            request: None,
            name: bare(room),
            account_name: account.to_owned(),
        };
        Ok(Position(self.call(request).await?.position))
    }

    /// Removes a member of a lower role, or an invitation.
    ///
    /// # Errors
    /// [`CallError`]; `NO_SUCH_CONVERSATION`, `NOT_A_MEMBER`, `NOT_ALLOWED`, `ONESELF`.
    pub async fn kick_from_room(&self, room: &str, account: &str) -> Result<Position, CallError> {
        let request = v1::KickFromRoomRequest {
            request: None,
            name: bare(room),
            account_name: account.to_owned(),
        };
        Ok(Position(self.call(request).await?.position))
    }

    /// Sets the topic; empty for none.
    ///
    /// # Errors
    /// [`CallError`]; `NO_SUCH_CONVERSATION`, `NOT_ALLOWED`, `LINE_INVALID`.
    pub async fn set_topic(&self, room: &str, topic: &str) -> Result<Position, CallError> {
        let request = v1::SetTopicRequest {
            request: None,
            name: bare(room),
            topic: topic.to_owned(),
        };
        Ok(Position(self.call(request).await?.position))
    }

    /// Sets how long a room keeps messages, and how many; `None`: as the cluster.
    ///
    /// # Errors
    /// [`CallError`]; `NO_SUCH_CONVERSATION`, `NOT_ALLOWED`, `RETENTION_OUT_OF_RANGE`,
    /// `RETENTION_TOO_LONG`, `VERSION_TOO_LOW`.
    pub async fn set_room_retention(
        &self,
        room: &str,
        retention: v1::RoomRetention,
    ) -> Result<Position, CallError> {
        let request = v1::SetRoomRetentionRequest {
            request: None,
            name: bare(room),
            retention: Some(retention),
        };
        Ok(Position(self.call(request).await?.position))
    }

    /// Returns how long the cluster keeps messages, and how many.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn retention(&self, freshness: Freshness) -> Result<v1::ClusterRetention, CallError> {
        let request = v1::GetRetentionRequest {
            read: Some(freshness.options()),
        };
        Ok(self.ask(request).await?.retention.unwrap_or_default())
    }

    /// Changes the role of a member.
    ///
    /// # Errors
    /// [`CallError`]; `NO_SUCH_CONVERSATION`, `NOT_A_MEMBER`, `NOT_ALLOWED`,
    /// `LAST_OF_ITS_KIND` for the last owner.
    pub async fn set_member_role(
        &self,
        room: &str,
        account: &str,
        role: v1::MemberRole,
    ) -> Result<Position, CallError> {
        let request = v1::SetMemberRoleRequest {
            request: None,
            name: bare(room),
            account_name: account.to_owned(),
            role: role.into(),
        };
        Ok(Position(self.call(request).await?.position))
    }

    /// Returns one page of the rooms that the caller may see and whose names match: `*` is any run
    /// of characters, `?` any one. With `only_own`, only rooms that the caller is in or invited to.
    /// `page_token` is from the page before, empty for the first.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn rooms(
        &self,
        pattern: &str,
        only_own: bool,
        page_size: u32,
        page_token: &str,
        freshness: Freshness,
    ) -> Result<v1::ListRoomsResponse, CallError> {
        let request = v1::ListRoomsRequest {
            pattern: bare(pattern),
            page_size,
            page_token: page_token.to_owned(),
            only_own,
            read: Some(freshness.options()),
        };
        self.ask(request).await
    }

    /// Returns the first `count_max` rooms of [`Client::rooms`], fetched page by page.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn all_rooms(
        &self,
        pattern: &str,
        only_own: bool,
        count_max: usize,
        freshness: Freshness,
    ) -> Result<Vec<v1::Room>, CallError> {
        all_pages(count_max, async |size, token| {
            let page = self
                .rooms(pattern, only_own, size, &token, freshness)
                .await?;
            Ok((page.rooms, page.next_page_token))
        })
        .await
    }

    /// Returns one page of the members of a room, in order of the accounts' numbers.
    ///
    /// # Errors
    /// [`CallError`]; `NO_SUCH_CONVERSATION`.
    pub async fn members(
        &self,
        room: &str,
        page_size: u32,
        page_token: &str,
        freshness: Freshness,
    ) -> Result<v1::ListMembersResponse, CallError> {
        let request = v1::ListMembersRequest {
            name: bare(room),
            page_size,
            page_token: page_token.to_owned(),
            read: Some(freshness.options()),
        };
        self.ask(request).await
    }

    /// Returns the first `count_max` members of a room, fetched page by page.
    ///
    /// # Errors
    /// [`CallError`]; `NO_SUCH_CONVERSATION`.
    pub async fn all_members(
        &self,
        room: &str,
        count_max: usize,
        freshness: Freshness,
    ) -> Result<Vec<v1::Member>, CallError> {
        all_pages(count_max, async |size, token| {
            let page = self.members(room, size, &token, freshness).await?;
            Ok((page.members, page.next_page_token))
        })
        .await
    }

    /// Creates a webhook: an address to which programs post messages for a room, under a new
    /// account of this name. The path in the answer is a secret that is shown once.
    ///
    /// # Errors
    /// [`CallError`]; `NO_SUCH_CONVERSATION`, `NOT_ALLOWED`, `NAME_TAKEN`, `TOO_MANY`.
    pub async fn create_webhook(
        &self,
        room: &str,
        account_name: &str,
    ) -> Result<v1::CreateWebhookResponse, CallError> {
        let request = v1::CreateWebhookRequest {
            request: None,
            name: bare(room),
            account_name: account_name.to_owned(),
            secret: random::bytes::<TOKEN_BYTES>().to_vec().into(),
        };
        self.call(request).await
    }

    /// Lists the webhooks of a room.
    ///
    /// # Errors
    /// [`CallError`]; `NO_SUCH_CONVERSATION`, `NOT_ALLOWED`.
    pub async fn webhooks(
        &self,
        room: &str,
        freshness: Freshness,
    ) -> Result<Vec<v1::Webhook>, CallError> {
        let request = v1::ListWebhooksRequest {
            name: bare(room),
            read: Some(freshness.options()),
        };
        Ok(self.ask(request).await?.webhooks)
    }

    /// Removes a webhook and its account.
    ///
    /// # Errors
    /// [`CallError`]; `NO_SUCH_WEBHOOK`, `NOT_ALLOWED`.
    pub async fn delete_webhook(&self, webhook: WebhookId) -> Result<Position, CallError> {
        let request = v1::DeleteWebhookRequest {
            request: None,
            webhook_id: webhook.0,
        };
        Ok(Position(self.call(request).await?.position))
    }
}

/// Returns a room's name without the leading `#`.
fn bare(room: &str) -> String {
    room.strip_prefix('#').unwrap_or(room).to_owned()
}
