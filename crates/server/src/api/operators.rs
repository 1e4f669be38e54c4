//! Serves operators: people who may run the machines of the cluster, each with a credential of its
//! own.
//!
//! Always true: no session replaces a credential, not even an administrator's; the log decides once
//! more about every change of the log; a call that is refused never reaches the log.

use conclave_core::{
    Accepted, AccessOperation, AuthorityId, ClusterOperation, Command, OnceId, Operation,
    OperatorRequest, Rejection, RetentionChange, TokenHash,
};
use conclave_replica::{Outcome, Refusal};
use conclave_wire::{
    OperatorCredential, Problem,
    request::{self, TOKEN_BYTES, chosen_token},
    v1,
};

use crate::{
    api::accounts::once_id,
    base::random,
    context::{
        access::{accepted, administrators_only, open_session, position_of},
        call::Call,
        node_context::NodeContext,
    },
    protocol::{problems, show},
};

impl NodeContext {
    /// Returns the credential of a call that only operators may make, as the log knows it now.
    pub(crate) async fn for_operators(
        &self,
        call: &Call,
        name: &'static str,
    ) -> Result<TokenHash, Problem> {
        self.refuse_if_stopping()?;
        if let Some(credential) = call.credential.operator() {
            // A credential that another node revoked a moment ago must not work here.
            self.barrier(call.deadline).await?;
            if self.is_operator(call, credential).await? {
                return Ok(credential);
            }
        }
        Err(self.no_operator(call, name))
    }

    /// Checks the same as far as this node knows, for calls that must work without a quorum.
    pub(crate) async fn for_operators_here(
        &self,
        call: &Call,
        name: &'static str,
    ) -> Result<(), Problem> {
        self.refuse_if_stopping()?;
        match call.credential.operator() {
            Some(credential) if self.is_operator(call, credential).await? => Ok(()),
            _ => Err(self.no_operator(call, name)),
        }
    }

    /// Returns whether a call shows the credential of an operator or the session of an
    /// administrator, as far as this node knows.
    pub(crate) async fn may_see_all(&self, call: &Call) -> Result<bool, Problem> {
        if let Some(credential) = call.credential.operator() {
            return self.is_operator(call, credential).await;
        }
        let Ok(token) = call.credential.session() else {
            return Ok(false);
        };
        let now = self.log_time();
        let session = self
            .read_for(call, move |reader| open_session(reader, &token, now))
            .await?;
        Ok(session.is_some_and(|session| administrators_only(&session).is_ok()))
    }

    async fn is_operator(&self, call: &Call, credential: TokenHash) -> Result<bool, Problem> {
        let found = self.read_for(call, move |reader| reader.operator_by_token(&credential));
        Ok(found.await?.is_some())
    }

    fn no_operator(&self, call: &Call, name: &'static str) -> Problem {
        let from = call.address.map(|from| from.ip());
        if self.operators.should_log_from(from, name) {
            let from = from.map(|from| from.to_string());
            tracing::warn!(from, call = name, "a call for operators was refused");
        }
        Rejection::NotAnOperator.into()
    }

    /// Proposes what an operator asks for and returns its outcome.
    async fn operate(
        &self,
        call: &Call,
        name: &'static str,
        request_id: &[u8],
        asked: OperatorRequest,
    ) -> Result<Outcome, Problem> {
        let once = once_id(request_id)?;
        let credential = self.for_operators(call, name).await?;
        let command = request::by_operator(once, credential, asked);
        self.propose(command, call.deadline).await
    }

    /// Proposes a request whose outcome is only that it was done; returns the log position of that
    /// outcome.
    async fn operated(
        &self,
        call: &Call,
        name: &'static str,
        request_id: &[u8],
        asked: OperatorRequest,
    ) -> Result<u64, Problem> {
        let outcome = self.operate(call, name, request_id, asked).await?;
        let position = position_of(&outcome);
        accepted(&outcome, |accepted| {
            matches!(accepted, Accepted::Done).then_some(position)
        })
    }

    /// Makes a token with this hash with which one machine can join.
    pub(crate) async fn make_join_token(
        &self,
        call: &Call,
        request: &v1::CreateJoinTokenRequest,
        token: TokenHash,
    ) -> Result<Outcome, Problem> {
        let asked = request::create_join_token(request, token)?;
        let id = &request.request_id;
        self.operate(call, "CreateJoinToken", id, asked).await
    }

    /// Lists the tokens with which machines can still join.
    pub(crate) async fn list_join_tokens(
        &self,
        call: Call,
        _: v1::ListJoinTokensRequest,
    ) -> Result<v1::ListJoinTokensResponse, Problem> {
        self.for_operators(&call, "ListJoinTokens").await?;
        let now = self.replica.now();
        let read = self.read(move |reader| {
            let mut tokens = reader.join_tokens()?;
            tokens.retain(|token| token.expires_at > now.log_time);
            Ok(tokens)
        });
        let tokens = read.await?.into_iter().map(|token| v1::JoinToken {
            token_id: token.id.to_string(),
            learner: !token.voter,
            by_name: token.by_name,
            created_at_ms: token.created_at.0,
            expires_at_ms: now.date_of(token.expires_at).0,
        });
        Ok(v1::ListJoinTokensResponse {
            tokens: tokens.collect(),
        })
    }

    /// Revokes a token to join.
    pub(crate) async fn revoke_join_token(
        &self,
        call: Call,
        request: v1::RevokeJoinTokenRequest,
    ) -> Result<v1::RevokeJoinTokenResponse, Problem> {
        let asked = request::revoke_join_token(&request.token_id)?;
        let id = &request.request_id;
        let done = self.operated(&call, "RevokeJoinToken", id, asked);
        let position = done.await?;
        Ok(v1::RevokeJoinTokenResponse { position })
    }

    /// Sets the preferred leader: the node that leads while it is healthy.
    pub(crate) async fn prefer_leader(
        &self,
        call: Call,
        request: v1::PreferLeaderRequest,
    ) -> Result<v1::PreferLeaderResponse, Problem> {
        let node = request.node_id;
        let members = self.replica.status().members;
        let refusal = match members.nodes.get(&node) {
            None if node != 0 => Some(Refusal::NoSuchNode(node)),
            Some(member) if member.witness => Some(Refusal::Witness(node)),
            _ => None,
        };
        if let Some(refusal) = refusal {
            self.for_operators(&call, "PreferLeader").await?;
            return Err(problems::of_refusal(refusal));
        }
        let asked = request::prefer_leader(node);
        let id = &request.request_id;
        let position = self.operated(&call, "PreferLeader", id, asked).await?;
        Ok(v1::PreferLeaderResponse { position })
    }

    /// Sets which voters acknowledgements wait for.
    pub(crate) async fn set_ack_policy(
        &self,
        call: Call,
        request: v1::SetAckPolicyRequest,
    ) -> Result<v1::SetAckPolicyResponse, Problem> {
        let asked = request::set_ack_policy(request.policy())?;
        let id = &request.request_id;
        let position = self.operated(&call, "SetAckPolicy", id, asked).await?;
        Ok(v1::SetAckPolicyResponse { position })
    }

    /// Sets how long the cluster keeps messages, and how many, and shows it.
    pub(crate) async fn change_retention(
        &self,
        call: Call,
        request: v1::ChangeRetentionRequest,
    ) -> Result<v1::ChangeRetentionResponse, Problem> {
        let asked = request::set_retention(&request)?;
        let shows = OperatorRequest::SetRetention {
            change: RetentionChange::default(),
        };
        let position = if asked == shows {
            self.for_operators(&call, "ChangeRetention").await?;
            0
        } else {
            let id = &request.request_id;
            let position = self.operated(&call, "ChangeRetention", id, asked).await?;
            self.barrier(call.deadline).await?;
            position
        };
        let kept = self.read(|reader| reader.retention()).await?;
        Ok(v1::ChangeRetentionResponse {
            retention: Some(show::cluster_retention(kept)),
            position,
        })
    }

    /// Adds an operator.
    pub(crate) async fn create_operator(
        &self,
        call: Call,
        request: v1::CreateOperatorRequest,
    ) -> Result<v1::CreateOperatorResponse, Problem> {
        let bytes = match chosen_token(&request.credential)? {
            Some(bytes) => bytes,
            None => random::bytes::<TOKEN_BYTES>()?,
        };
        let credential = OperatorCredential::from_bytes(bytes);
        let name = request.name.clone();
        let asked = request::create_operator(name, credential.hash())?;
        let id = &request.request_id;
        let position = self.operated(&call, "CreateOperator", id, asked).await?;
        Ok(v1::CreateOperatorResponse {
            credential: credential.to_text(),
            position,
        })
    }

    /// Lists the operators.
    pub(crate) async fn list_operators(
        &self,
        call: Call,
        _: v1::ListOperatorsRequest,
    ) -> Result<v1::ListOperatorsResponse, Problem> {
        self.for_operators(&call, "ListOperators").await?;
        let operators = self.read(|reader| reader.operators()).await?;
        let operators = operators.into_iter().map(|row| v1::Operator {
            name: row.name,
            by_name: row.by_name.unwrap_or_default(),
            created_at_ms: row.created_at.0,
        });
        Ok(v1::ListOperatorsResponse {
            operators: operators.collect(),
        })
    }

    /// Removes an operator.
    pub(crate) async fn revoke_operator(
        &self,
        call: Call,
        request: v1::RevokeOperatorRequest,
    ) -> Result<v1::RevokeOperatorResponse, Problem> {
        let asked = request::revoke_operator(request.name.clone())?;
        let id = &request.request_id;
        let position = self.operated(&call, "RevokeOperator", id, asked).await?;
        Ok(v1::RevokeOperatorResponse { position })
    }

    /// Returns whether another node may have this command decided here. Some commands are a
    /// leader's own, and only a voter speaks for the owner of its directory.
    pub(crate) fn may_forward(&self, source: u64, command: &Command) -> bool {
        match &command.operation {
            Operation::Cluster(ClusterOperation::MakeFirstOperator { .. })
            | Operation::Cluster(ClusterOperation::RaiseVersion { .. })
            | Operation::Cluster(ClusterOperation::ForgetMessages { .. })
            | Operation::Access(AccessOperation::OfferSetup { .. }) => false,
            // Any node may forward the request for a rotation; only the leader, which makes the
            // authority, names it.
            Operation::Cluster(ClusterOperation::RotateAuthority {
                authority,
                is_final,
                ..
            }) => *authority == AuthorityId::WANTED && !is_final,
            Operation::Cluster(ClusterOperation::ResetOperators { .. }) => {
                let voters = self.replica.status().members.all_voters();
                voters.contains(&source)
            }
            _ => true,
        }
    }
}

/// Returns the name of a request that is made once for each credential.
pub(crate) fn once_of(credential: &TokenHash) -> OnceId {
    let (first, _) = credential
        .0
        .split_first_chunk()
        .expect("a hash has 32 bytes");
    OnceId(*first)
}
