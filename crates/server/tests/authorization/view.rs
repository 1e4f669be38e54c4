//! The data that people can read of a cluster, compared before and after a refusal.
//!
//! The digest of the state is not compared: it includes the refusals, which the state remembers.

use bytes::Bytes;
use conclave_wire::v1::{self, list_messages_request::Conversation};
use prost::Message;

use crate::world::{Caller, World};

/// Each request that reads, with its answer.
#[derive(Debug)]
pub(crate) struct View(Vec<(String, Bytes)>);

impl View {
    /// Returns the first request whose answers differ.
    pub(crate) fn differs_from(&self, other: &Self) -> Option<String> {
        let mut pairs = self.0.iter().zip(&other.0);
        let (one, _) = pairs.find(|(one, other)| one != other)?;
        Some(one.0.clone())
    }
}

impl World {
    /// Returns what the owner, a member and the blocked account read now.
    pub(crate) async fn view(&mut self) -> View {
        let mut read = Vec::new();
        for caller in [Caller::Owner, Caller::Member, Caller::Blocked] {
            let of_all: [(&str, Vec<u8>); 5] = [
                (
                    "ChatService/ListConversations",
                    bytes(v1::ListConversationsRequest::default()),
                ),
                (
                    "ChatService/ListUnread",
                    bytes(v1::ListUnreadRequest::default()),
                ),
                (
                    "RoomService/ListRooms",
                    bytes(v1::ListRoomsRequest::default()),
                ),
                (
                    "AccountService/ListBlocks",
                    bytes(v1::ListBlocksRequest::default()),
                ),
                (
                    "SessionService/ListSessions",
                    bytes(v1::ListSessionsRequest::default()),
                ),
            ];
            for (call, request) in of_all {
                read.push(self.look(caller, call, request).await);
            }
        }
        for conversation in [self.vault, self.square, self.direct] {
            let list = v1::ListMessagesRequest {
                conversation: Some(Conversation::ConversationId(conversation)),
                ..Default::default()
            };
            read.push(
                self.look(Caller::Owner, "ChatService/ListMessages", bytes(list))
                    .await,
            );
        }
        for name in ["vault", "square"] {
            let list = v1::ListMembersRequest {
                name: name.to_owned(),
                ..Default::default()
            };
            read.push(
                self.look(Caller::Owner, "RoomService/ListMembers", bytes(list))
                    .await,
            );
            let list = v1::ListWebhooksRequest {
                name: name.to_owned(),
                ..Default::default()
            };
            read.push(
                self.look(Caller::Owner, "RoomService/ListWebhooks", bytes(list))
                    .await,
            );
        }
        let invites = bytes(v1::ListInvitesRequest::default());
        read.push(
            self.look(Caller::Admin, "AdminService/ListInvites", invites)
                .await,
        );
        let accounts = bytes(v1::ListAccountsRequest::default());
        read.push(
            self.look(Caller::Admin, "AccountService/ListAccounts", accounts)
                .await,
        );
        View(read)
    }

    async fn look(&self, caller: Caller, call: &str, request: Vec<u8>) -> (String, Bytes) {
        let path = format!("/conclave.v1.{call}");
        let answer = self.call_bytes(&path, request, caller).await.unwrap();
        (format!("{call} of {caller:?}"), answer)
    }
}

fn bytes(request: impl Message) -> Vec<u8> {
    request.encode_to_vec()
}
