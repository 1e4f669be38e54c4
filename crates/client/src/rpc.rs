//! Types for the calls of the protocol: request, answer, and the way to repeat each safely.

use conclave_wire::v1::{
    self, account_service_client::AccountServiceClient, admin_service_client::AdminServiceClient,
    backup_service_client::BackupServiceClient, chat_service_client::ChatServiceClient,
    live_service_client::LiveServiceClient, room_service_client::RoomServiceClient,
    session_service_client::SessionServiceClient,
};
use tonic::{Request, Response, Status, transport::Channel};

use crate::RequestKey;

/// Maximum bytes of one answer that are read: a full page of the longest messages and as much
/// again.
const ANSWER_BYTES_MAX: usize =
    2 * conclave_core::limits::PAGE_MAX * conclave_core::limits::TEXT_BYTES_MAX;

/// Property that makes it safe to repeat a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The request changes nothing.
    Read,
    /// The request carries random bytes by which nodes recognise it.
    Once,
    /// The request carries a number of its session.
    Numbered,
}

/// A unary call.
pub(crate) trait Rpc: Clone + Send + Sync + Sized + 'static {
    const KIND: Kind;
    /// Whether the call carries the credential of an operator, if there is one.
    const FOR_OPERATORS: bool;
    type Answer: Send;

    /// Sets the number of the request, if the call carries one.
    fn set_key(&mut self, key: RequestKey);

    /// Makes one attempt of the call.
    fn ask(
        channel: Channel,
        request: Request<Self>,
    ) -> impl Future<Output = Result<Response<Self::Answer>, Status>> + Send;
}

macro_rules! rpc {
    (Operator $kind:ident $client:ident :: $method:ident, $request:ident => $answer:ident) => {
        rpc!(@call $kind true $client :: $method, $request => $answer);
    };
    ($kind:ident $client:ident :: $method:ident, $request:ident => $answer:ident) => {
        rpc!(@call $kind false $client :: $method, $request => $answer);
    };
    (@call $kind:ident $operators:literal
        $client:ident :: $method:ident, $request:ident => $answer:ident
    ) => {
        impl Rpc for v1::$request {
            const KIND: Kind = Kind::$kind;
            const FOR_OPERATORS: bool = $operators;
            type Answer = v1::$answer;

            rpc!(@set_key $kind);

            async fn ask(
                channel: Channel,
                request: Request<Self>,
            ) -> Result<Response<Self::Answer>, Status> {
                $client::new(channel)
                    .max_decoding_message_size(ANSWER_BYTES_MAX)
                    .$method(request)
                    .await
            }
        }
    };
    (@set_key Numbered) => {
        fn set_key(&mut self, key: RequestKey) {
            let RequestKey { number, nonce } = key;
            self.request = Some(v1::RequestId { number, nonce });
        }
    };
    (@set_key $other:ident) => {
        fn set_key(&mut self, _key: RequestKey) {}
    };
}

rpc!(Once AccountServiceClient::create_account, CreateAccountRequest => CreateAccountResponse);
rpc!(Numbered AccountServiceClient::delete_account,
    DeleteAccountRequest => DeleteAccountResponse);
rpc!(Read AccountServiceClient::list_accounts, ListAccountsRequest => ListAccountsResponse);
rpc!(Numbered AccountServiceClient::change_password,
    ChangePasswordRequest => ChangePasswordResponse);
rpc!(Numbered AccountServiceClient::set_display_name,
    SetDisplayNameRequest => SetDisplayNameResponse);
rpc!(Numbered AccountServiceClient::set_block, SetBlockRequest => SetBlockResponse);
rpc!(Read AccountServiceClient::list_blocks, ListBlocksRequest => ListBlocksResponse);

rpc!(Once SessionServiceClient::open_session, OpenSessionRequest => OpenSessionResponse);
rpc!(Numbered SessionServiceClient::close_session, CloseSessionRequest => CloseSessionResponse);
rpc!(Read SessionServiceClient::get_session, GetSessionRequest => GetSessionResponse);
rpc!(Read SessionServiceClient::list_sessions, ListSessionsRequest => ListSessionsResponse);
rpc!(Numbered SessionServiceClient::end_session, EndSessionRequest => EndSessionResponse);

rpc!(Numbered ChatServiceClient::send_message, SendMessageRequest => SendMessageResponse);
rpc!(Numbered ChatServiceClient::edit_message, EditMessageRequest => EditMessageResponse);
rpc!(Numbered ChatServiceClient::set_reaction, SetReactionRequest => SetReactionResponse);
rpc!(Numbered ChatServiceClient::delete_messages,
    DeleteMessagesRequest => DeleteMessagesResponse);
rpc!(Numbered ChatServiceClient::advance_positions,
    AdvancePositionsRequest => AdvancePositionsResponse);
rpc!(Read ChatServiceClient::list_messages, ListMessagesRequest => ListMessagesResponse);
rpc!(Read ChatServiceClient::list_unread, ListUnreadRequest => ListUnreadResponse);
rpc!(Read ChatServiceClient::list_conversations,
    ListConversationsRequest => ListConversationsResponse);
rpc!(Read ChatServiceClient::list_reactions, ListReactionsRequest => ListReactionsResponse);
rpc!(Read ChatServiceClient::search_messages,
    SearchMessagesRequest => SearchMessagesResponse);

rpc!(Numbered RoomServiceClient::create_room, CreateRoomRequest => CreateRoomResponse);
rpc!(Numbered RoomServiceClient::join_room, JoinRoomRequest => JoinRoomResponse);
rpc!(Numbered RoomServiceClient::leave_room, LeaveRoomRequest => LeaveRoomResponse);
rpc!(Numbered RoomServiceClient::invite_to_room, InviteToRoomRequest => InviteToRoomResponse);
rpc!(Numbered RoomServiceClient::kick_from_room, KickFromRoomRequest => KickFromRoomResponse);
rpc!(Numbered RoomServiceClient::set_topic, SetTopicRequest => SetTopicResponse);
rpc!(Numbered RoomServiceClient::set_room_retention,
    SetRoomRetentionRequest => SetRoomRetentionResponse);
rpc!(Read RoomServiceClient::get_retention, GetRetentionRequest => GetRetentionResponse);
rpc!(Numbered RoomServiceClient::set_member_role,
    SetMemberRoleRequest => SetMemberRoleResponse);
rpc!(Read RoomServiceClient::list_rooms, ListRoomsRequest => ListRoomsResponse);
rpc!(Read RoomServiceClient::list_members, ListMembersRequest => ListMembersResponse);
rpc!(Numbered RoomServiceClient::create_webhook, CreateWebhookRequest => CreateWebhookResponse);
rpc!(Read RoomServiceClient::list_webhooks, ListWebhooksRequest => ListWebhooksResponse);
rpc!(Numbered RoomServiceClient::delete_webhook, DeleteWebhookRequest => DeleteWebhookResponse);

rpc!(Read LiveServiceClient::set_typing, SetTypingRequest => SetTypingResponse);
rpc!(Read LiveServiceClient::set_presence, SetPresenceRequest => SetPresenceResponse);
rpc!(Read LiveServiceClient::get_presence, GetPresenceRequest => GetPresenceResponse);

rpc!(Operator Read AdminServiceClient::get_cluster_status,
    GetClusterStatusRequest => GetClusterStatusResponse);
rpc!(Operator Read AdminServiceClient::get_state_digest,
    GetStateDigestRequest => GetStateDigestResponse);
rpc!(Numbered AdminServiceClient::set_account_role,
    SetAccountRoleRequest => SetAccountRoleResponse);
rpc!(Numbered AdminServiceClient::set_suspended, SetSuspendedRequest => SetSuspendedResponse);
rpc!(Numbered AdminServiceClient::end_sessions, EndSessionsRequest => EndSessionsResponse);
rpc!(Numbered AdminServiceClient::reset_password,
    ResetPasswordRequest => ResetPasswordResponse);
rpc!(Numbered AdminServiceClient::remove_account,
    RemoveAccountRequest => RemoveAccountResponse);
rpc!(Numbered AdminServiceClient::create_bot, CreateBotRequest => CreateBotResponse);
rpc!(Numbered AdminServiceClient::create_invite, CreateInviteRequest => CreateInviteResponse);
rpc!(Read AdminServiceClient::list_invites, ListInvitesRequest => ListInvitesResponse);
rpc!(Operator Read AdminServiceClient::change_members,
    ChangeMembersRequest => ChangeMembersResponse);
rpc!(Operator Once AdminServiceClient::create_join_token,
    CreateJoinTokenRequest => CreateJoinTokenResponse);
rpc!(Operator Read AdminServiceClient::list_join_tokens,
    ListJoinTokensRequest => ListJoinTokensResponse);
rpc!(Operator Once AdminServiceClient::revoke_join_token,
    RevokeJoinTokenRequest => RevokeJoinTokenResponse);
rpc!(Operator Once AdminServiceClient::create_operator,
    CreateOperatorRequest => CreateOperatorResponse);
rpc!(Operator Read AdminServiceClient::list_operators,
    ListOperatorsRequest => ListOperatorsResponse);
rpc!(Operator Once AdminServiceClient::revoke_operator,
    RevokeOperatorRequest => RevokeOperatorResponse);
rpc!(Operator Once AdminServiceClient::prefer_leader, PreferLeaderRequest => PreferLeaderResponse);
rpc!(Operator Once AdminServiceClient::set_ack_policy, SetAckPolicyRequest => SetAckPolicyResponse);
rpc!(Operator Once AdminServiceClient::change_retention,
    ChangeRetentionRequest => ChangeRetentionResponse);
rpc!(Operator Read AdminServiceClient::change_log_filter,
    ChangeLogFilterRequest => ChangeLogFilterResponse);
rpc!(Operator Read AdminServiceClient::check_cluster, CheckClusterRequest => CheckClusterResponse);
rpc!(Operator Read AdminServiceClient::rotate_secret, RotateSecretRequest => RotateSecretResponse);
rpc!(Operator Read AdminServiceClient::check_upgrade,
    CheckUpgradeRequest => CheckUpgradeResponse);
rpc!(Operator Read AdminServiceClient::finalize_upgrade,
    FinalizeUpgradeRequest => FinalizeUpgradeResponse);
rpc!(Operator Read AdminServiceClient::list_audit_entries,
    ListAuditEntriesRequest => ListAuditEntriesResponse);
rpc!(Operator Read AdminServiceClient::drain_node, DrainNodeRequest => DrainNodeResponse);
rpc!(Operator Read AdminServiceClient::transfer_leader,
    TransferLeaderRequest => TransferLeaderResponse);
rpc!(Read AdminServiceClient::get_account_limits,
    GetAccountLimitsRequest => GetAccountLimitsResponse);
rpc!(Numbered AdminServiceClient::set_account_limits,
    SetAccountLimitsRequest => SetAccountLimitsResponse);
rpc!(Numbered AdminServiceClient::revoke_invite, RevokeInviteRequest => RevokeInviteResponse);

/// Makes the client for backups.
pub(crate) fn backups(channel: Channel) -> BackupServiceClient<Channel> {
    BackupServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// Makes the client for the stream of messages.
pub(crate) fn chat(channel: Channel) -> ChatServiceClient<Channel> {
    ChatServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// Makes the client for the stream of events.
pub(crate) fn live(channel: Channel) -> LiveServiceClient<Channel> {
    LiveServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}
