//! Serves the calls of `LiveService`.

use std::{pin::Pin, sync::Arc, time::Duration};

use conclave_core::{AccountName, ConversationId, Position, Rejection, TokenHash};
use conclave_storage::state::{self as rows, SessionRow};
use conclave_wire::{
    Problem,
    v1::{self, live_service_server::LiveService},
};
use futures::Stream;
use tonic::{Request, Response, Status, metadata::MetadataMap};

use self::{subscription::Subscription, token::Mint};
use crate::{
    auth::{
        fair::Paced,
        sessions::{log_in_first, token_of},
    },
    base::deadline::Deadline,
    cluster::moments::{self, Typist},
    context::{
        access::{held_back, open_session},
        shared::Shared,
    },
};

pub(crate) mod subscription;
pub(crate) mod token;

/// How long a node that has not applied the position of a token yet makes a client wait before it
/// sends the client elsewhere.
const BEHIND_LIMIT: Duration = Duration::from_secs(2);
/// Maximum number of names in one request about presence.
const NAMES_MAX: usize = 100;

pub(crate) struct Live {
    pub(crate) shared: Arc<Shared>,
}

type Responses = Pin<Box<dyn Stream<Item = subscription::Response> + Send>>;

impl Live {
    async fn subscribe(
        &self,
        metadata: &MetadataMap,
        request: v1::SubscribeRequest,
    ) -> Result<Responses, Problem> {
        let shared = &self.shared;
        shared.door()?;
        let token = token_of(metadata)?;
        // Checked first: a caller without a session neither holds a stream's place while it waits,
        // nor learns which positions exist. Every page checks again that the session is open.
        let deadline = Deadline::of(metadata);
        let session = self.session(token, deadline).await?;
        let of_account = shared.sessions.fair.of(session.account);
        if let Err(rejection) = of_account.check_and_count(Paced::Stream) {
            return Err(held_back(rejection.into(), &of_account, deadline).await);
        }
        let live = &shared.live;
        let permit = live.streams.clone().try_acquire_owned();
        let permit = permit.map_err(|_| Problem::Busy)?;
        let position = self.begin(&request, deadline).await?;
        let place = live
            .hub
            .register(session.account, session.id, request.ephemeral)
            .ok_or(Problem::Busy)?;
        let subscription = Subscription {
            shared: shared.clone(),
            token,
            account: session.account,
            place,
            position,
            heartbeat: heartbeat(request.heartbeat_ms),
            _presence: live.presences.enter(session.account, session.id),
            _permit: permit,
        };
        Ok(Box::pin(subscription.stream()))
    }

    /// Returns the position after which the stream begins, once this node has applied it.
    async fn begin(
        &self,
        request: &v1::SubscribeRequest,
        deadline: Deadline,
    ) -> Result<Position, Problem> {
        let replica = &self.shared.replica;
        let position = match (&request.resume_token[..], request.after_position) {
            ([], 0) if request.from_beginning => return Ok(Position(0)),
            ([], 0) => {
                self.shared.barrier(deadline).await?;
                return Ok(Position::end_of(*replica.applied().borrow()));
            }
            ([], after) => token::checked(after)?,
            (token, _) => Mint::new(&self.shared.identity.cluster_id).position(token)?,
        };
        if replica
            .wait_applied(position.index(), BEHIND_LIMIT)
            .await
            .is_ok()
        {
            return Ok(position);
        }
        // Either this node is behind or the position never existed: every position that a node has
        // sent is committed.
        match replica.read_barrier(deadline.left()).await {
            Ok(committed) if committed < position.index() => Err(token::invalid()),
            Ok(_) | Err(_) => Err(Problem::Behind),
        }
    }

    /// Returns the session of a token. A session that this node does not know may have been opened
    /// at another node a moment ago, so this node waits once until it has applied everything that
    /// was acknowledged.
    async fn session(&self, token: TokenHash, deadline: Deadline) -> Result<SessionRow, Problem> {
        for fresh in [false, true] {
            if fresh {
                self.shared.barrier(deadline).await?;
            }
            let now = self.shared.log_time();
            let found = self
                .shared
                .read(move |reader| open_session(reader, &token, now));
            if let Some(session) = found.await? {
                return Ok(session);
            }
        }
        Err(log_in_first("the session has ended; log in"))
    }

    async fn set_typing(
        &self,
        metadata: &MetadataMap,
        request: v1::SetTypingRequest,
    ) -> Result<v1::SetTypingResponse, Problem> {
        let conversation = ConversationId(request.conversation_id);
        let read = move |reader: &rows::Reader, session: &SessionRow| {
            Typist::find(reader, session.account, conversation)
        };
        let typist = self.shared.read_in_session(metadata, STALE, read).await?;
        let typist = typist.ok_or(Rejection::NoSuchConversation)?;
        moments::tell_typing(&self.shared, typist);
        Ok(v1::SetTypingResponse {})
    }

    async fn set_presence(
        &self,
        metadata: &MetadataMap,
        request: v1::SetPresenceRequest,
    ) -> Result<v1::SetPresenceResponse, Problem> {
        let read = |_: &rows::Reader, session: &SessionRow| Ok((session.account, session.id));
        let who = self.shared.read_in_session(metadata, STALE, read).await?;
        let presences = &self.shared.live.presences;
        match presences.set_away(who.0, who.1, request.away) {
            true => Ok(v1::SetPresenceResponse {}),
            false => Err(Problem::Refused {
                reason: "NO_STREAM".to_owned(),
                sentence: "this session has no stream with this node".to_owned(),
                request_last: None,
            }),
        }
    }

    async fn get_presence(
        &self,
        metadata: &MetadataMap,
        request: v1::GetPresenceRequest,
    ) -> Result<v1::GetPresenceResponse, Problem> {
        match request.names.len() {
            0 => return Err(Rejection::ListEmpty.into()),
            1..=NAMES_MAX => {}
            _ => return Err(Rejection::ListTooLong.into()),
        }
        let names = request.names.into_iter().map(AccountName::new);
        let names = names.collect::<Result<Vec<_>, _>>()?;
        let read = move |reader: &rows::Reader, session: &SessionRow| {
            let find = |name: AccountName| {
                let found = reader.account_by_key(&name.key())?;
                // To a caller that is blocked by the account, the account looks offline.
                let seen = match &found {
                    Some(row) => !reader.is_blocked(row.id, session.account)?,
                    None => false,
                };
                Ok((name, found.filter(|_| seen)))
            };
            names.into_iter().map(find).collect::<Result<Vec<_>, _>>()
        };
        let found = self.shared.read_in_session(metadata, STALE, read).await?;
        let presences = found.into_iter().map(|(name, row)| match row {
            Some(row) => self.shared.live.presences.of(row.id).to_wire(row.name),
            None => v1::Presence {
                account_name: name.to_string(),
                state: v1::PresenceState::Offline.into(),
                ..v1::Presence::default()
            },
        });
        Ok(v1::GetPresenceResponse {
            presences: presences.collect(),
        })
    }
}

/// Presence needs no quorum.
const STALE: Option<v1::ReadOptions> = Some(v1::ReadOptions {
    consistency: v1::Consistency::Stale as i32,
    min_position: 0,
});

#[tonic::async_trait]
impl LiveService for Live {
    type SubscribeStream = Responses;

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let (metadata, _, request) = request.into_parts();
        let stream = Self::subscribe(self, &metadata, request).await;
        self.shared.reply(stream)
    }

    async fn set_typing(
        &self,
        request: Request<v1::SetTypingRequest>,
    ) -> Result<Response<v1::SetTypingResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.shared
            .reply(Self::set_typing(self, &metadata, request).await)
    }

    async fn set_presence(
        &self,
        request: Request<v1::SetPresenceRequest>,
    ) -> Result<Response<v1::SetPresenceResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.shared
            .reply(Self::set_presence(self, &metadata, request).await)
    }

    async fn get_presence(
        &self,
        request: Request<v1::GetPresenceRequest>,
    ) -> Result<Response<v1::GetPresenceResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.shared
            .reply(Self::get_presence(self, &metadata, request).await)
    }
}

/// Returns the silence before a heartbeat that a client asked for.
fn heartbeat(asked_ms: u32) -> Duration {
    let ms = match asked_ms {
        0 => 5000,
        asked => asked.clamp(500, 60_000),
    };
    Duration::from_millis(ms.into())
}
