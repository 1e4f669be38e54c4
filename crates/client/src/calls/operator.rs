//! Requests of operators: the members of the cluster, its leader, its secret and its operators.
//!
//! All of these need a client with a credential: see [`Client::with_operator`].

use std::time::Duration;

use bytes::Bytes;
use conclave_core::Position;
use conclave_wire::{OperatorCredential, request::TOKEN_BYTES, v1};

use crate::{CallError, Client, calls::account::REQUEST_ID_BYTES, random};

/// Makes the random name of a request, which stays the same however often it is tried.
fn request_id() -> Bytes {
    random::bytes::<REQUEST_ID_BYTES>().to_vec().into()
}

/// Makes a new credential, for [`Client::create_operator`].
#[must_use]
pub fn new_credential() -> OperatorCredential {
    OperatorCredential::from_bytes(random::bytes())
}

impl Client {
    /// Creates a token with which one machine can join within `ttl`; with `learner` it never votes.
    /// The token in the answer is a secret that is shown once.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_AN_OPERATOR`, `JOIN_TOKEN_OUT_OF_RANGE`, `TOO_MANY`; `NO_SECRET`: the
    /// cluster was started without a secret.
    pub async fn create_join_token(
        &self,
        ttl: Duration,
        learner: bool,
    ) -> Result<v1::CreateJoinTokenResponse, CallError> {
        let request = v1::CreateJoinTokenRequest {
            request_id: request_id(),
            ttl_seconds: ttl.as_secs(),
            learner,
            secret: random::bytes::<TOKEN_BYTES>().to_vec().into(),
        };
        self.ask(request).await
    }

    /// Lists the tokens with which machines can still join.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_AN_OPERATOR`.
    pub async fn join_tokens(&self) -> Result<Vec<v1::JoinToken>, CallError> {
        let request = v1::ListJoinTokensRequest::default();
        Ok(self.ask(request).await?.tokens)
    }

    /// Revokes a join token. A token that no longer exists is no error.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_AN_OPERATOR`, `TOKEN_ID_INVALID`.
    pub async fn revoke_join_token(&self, token_id: &str) -> Result<Position, CallError> {
        let request = v1::RevokeJoinTokenRequest {
            request_id: request_id(),
            token_id: token_id.to_owned(),
        };
        Ok(Position(self.ask(request).await?.position))
    }

    /// Adds an operator with this credential: a secret that no other operator has.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_AN_OPERATOR`, `NAME_TAKEN`, `TOO_MANY`.
    pub async fn create_operator(
        &self,
        name: &str,
        credential: &OperatorCredential,
    ) -> Result<Position, CallError> {
        let request = v1::CreateOperatorRequest {
            request_id: request_id(),
            name: name.to_owned(),
            credential: credential.as_bytes().to_vec().into(),
        };
        Ok(Position(self.ask(request).await?.position))
    }

    /// Lists the operators.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_AN_OPERATOR`.
    pub async fn operators(&self) -> Result<Vec<v1::Operator>, CallError> {
        let request = v1::ListOperatorsRequest::default();
        Ok(self.ask(request).await?.operators)
    }

    /// Removes an operator. An operator that no longer exists is no error.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_AN_OPERATOR`, `LAST_OPERATOR`.
    pub async fn revoke_operator(&self, name: &str) -> Result<Position, CallError> {
        let request = v1::RevokeOperatorRequest {
            request_id: request_id(),
            name: name.to_owned(),
        };
        Ok(Position(self.ask(request).await?.position))
    }

    /// Sets the node that leads while it is healthy; 0 for any elected node.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_AN_OPERATOR`.
    pub async fn prefer_leader(&self, node: u64) -> Result<Position, CallError> {
        let request = v1::PreferLeaderRequest {
            request_id: request_id(),
            node_id: node,
        };
        Ok(Position(self.ask(request).await?.position))
    }

    /// Sets which voters acknowledgements wait for. Returns when those of both policies have it.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_AN_OPERATOR`, `VERSION_TOO_LOW`.
    pub async fn set_ack_policy(&self, policy: v1::AckPolicy) -> Result<Position, CallError> {
        let request = v1::SetAckPolicyRequest {
            request_id: request_id(),
            policy: policy.into(),
        };
        Ok(Position(self.ask(request).await?.position))
    }

    /// Sets how long the cluster keeps messages, and how many, and returns all of it. What is
    /// absent stays as it is; the request's id is chosen here.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_AN_OPERATOR`, `RETENTION_OUT_OF_RANGE`, `VERSION_TOO_LOW`.
    pub async fn change_retention(
        &self,
        change: v1::ChangeRetentionRequest,
    ) -> Result<v1::ClusterRetention, CallError> {
        let request = v1::ChangeRetentionRequest {
            request_id: request_id(),
            ..change
        };
        Ok(self.ask(request).await?.retention.unwrap_or_default())
    }

    /// Changes the members of the cluster. Repeating a request is safe: a change that was made
    /// already changes nothing.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_AN_OPERATOR`; `WOULD_LOSE_QUORUM`, unless it is forced;
    /// `LEARNER_BEHIND`: ask again when the learner has caught up; `NO_SUCH_NODE`,
    /// `NODE_NUMBER_TAKEN`, `NODE_NUMBER_INVALID`, `ADDRESS_TAKEN`, `ADDRESS_INVALID`,
    /// `LAST_VOTER`, `TOO_MANY_VOTERS`, `TOO_MANY_MEMBERS`.
    pub async fn change_members(
        &self,
        request: v1::ChangeMembersRequest,
    ) -> Result<v1::ChangeMembersResponse, CallError> {
        self.ask(request).await
    }

    /// Begins a rotation of the cluster's secret, and returns its progress. Repeating the request
    /// is safe: the exchange with this number is begun once.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_AN_OPERATOR`, `MEMBERS_UNREACHABLE`, `ROTATION_INVALID`.
    pub async fn rotate_secret(
        &self,
        request: v1::RotateSecretRequest,
    ) -> Result<v1::RotateSecretResponse, CallError> {
        self.ask(request).await
    }

    /// Returns whether a node can be stopped to be upgraded now, and whether the upgrade can be
    /// finalized.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_AN_OPERATOR`.
    pub async fn check_upgrade(&self) -> Result<v1::CheckUpgradeResponse, CallError> {
        self.ask(v1::CheckUpgradeRequest {}).await
    }

    /// Raises the cluster version, 0 for the newest one that every member can apply; returns it.
    /// Repeating the request is safe: the version never falls.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_AN_OPERATOR`, `MEMBERS_UNREACHABLE`, `VERSION_UNSUPPORTED`,
    /// `MEMBER_NOT_ASKED`.
    pub async fn finalize_upgrade(&self, cluster_version: u32) -> Result<u32, CallError> {
        let request = v1::FinalizeUpgradeRequest { cluster_version };
        Ok(self.ask(request).await?.cluster_version)
    }

    /// Begins to drain a node, or ends that, and returns how far it is: ask again until it is
    /// drained. Repeating the request is safe.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_AN_OPERATOR`, `NO_SUCH_NODE`; `WOULD_LOSE_QUORUM`, unless it is forced.
    pub async fn drain_node(
        &self,
        request: v1::DrainNodeRequest,
    ) -> Result<v1::DrainNodeResponse, CallError> {
        self.ask(request).await
    }

    /// Transfers leadership to a voter; 0 for the voter that has most of the log. Returns the node
    /// that leads then.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_AN_OPERATOR`, `NO_SUCH_NODE`.
    pub async fn transfer_leader(&self, node: u64) -> Result<u64, CallError> {
        let request = v1::TransferLeaderRequest { node_id: node };
        Ok(self.ask(request).await?.leader_node_id)
    }
}
