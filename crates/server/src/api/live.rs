//! Serves the calls of `LiveService`.

use std::{pin::Pin, sync::Arc, time::Duration};

use conclave_core::{AccountName, ConversationId, Position, Rejection};
use conclave_storage::state::{self as rows, SessionRow};
use conclave_wire::{
    Problem, Reason,
    v1::{self, live_service_server::LiveService},
};
use futures::Stream;
use tonic::{Request, Status};

use self::{subscription::Subscription, token::ResumeTokenCodec};
use crate::{
    api::edge::{self, Answer},
    auth::{account_limiters::Paced, sessions::session_ended},
    base::deadline::Deadline,
    cluster::gossip::{self, Typist},
    context::{
        access::{held_back, open_session},
        call::{Call, Freshness},
        node_context::NodeContext,
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
    pub(crate) shared: Arc<NodeContext>,
}

type Responses = Pin<Box<dyn Stream<Item = Result<v1::SubscribeResponse, Status>> + Send>>;

impl Live {
    async fn subscribe(
        &self,
        call: Call,
        request: v1::SubscribeRequest,
    ) -> Result<Responses, Problem> {
        let shared = &self.shared;
        let refuse = || match shared.is_draining() {
            true => Err(Problem::GoingAway),
            false => Ok(()),
        };
        refuse()?;
        let token = call.credential.session()?;
        // Checked first: a caller without a session neither holds a stream's place while it waits,
        // nor learns which positions exist. Every page checks again that the session is open.
        let deadline = call.deadline;
        let now = shared.log_time();
        let open = move |reader: &rows::Reader| open_session(reader, &token, now);
        let session = shared.find(&call, open).await?;
        let session = session.ok_or_else(session_ended)?;
        let of_account = shared.sessions.account_limiters.of(session.account);
        if let Err(rejection) = of_account.check_and_count(Paced::Stream) {
            return Err(held_back(rejection.into(), &of_account, deadline).await);
        }
        let live = &shared.live;
        let permit = live.streams.clone().try_acquire_owned();
        let permit = permit.map_err(|_| Problem::Busy)?;
        let position = self.begin(&request, deadline).await?;
        let place = live
            .hub
            .register(session.account, session.id, request.ephemeral);
        // Streams may have been sent away since.
        refuse()?;
        let place = place.ok_or(Problem::Busy)?;
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
        Ok(Box::pin(edge::stream(subscription.stream())))
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
            (token, _) => {
                ResumeTokenCodec::new(&self.shared.identity.cluster_id).position(token)?
            }
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

    async fn set_typing(
        &self,
        call: Call,
        request: v1::SetTypingRequest,
    ) -> Result<v1::SetTypingResponse, Problem> {
        let conversation = ConversationId(request.conversation_id);
        let read = move |reader: &rows::Reader, session: &SessionRow| {
            Typist::find(reader, session.account, conversation)
        };
        let typist = self
            .shared
            .read_in_session(&call, Freshness::ANY, read)
            .await?;
        let typist = typist.ok_or(Rejection::NoSuchConversation)?;
        gossip::tell_typing(&self.shared, typist);
        Ok(v1::SetTypingResponse {})
    }

    async fn set_presence(
        &self,
        call: Call,
        request: v1::SetPresenceRequest,
    ) -> Result<v1::SetPresenceResponse, Problem> {
        let read = |_: &rows::Reader, session: &SessionRow| Ok((session.account, session.id));
        let who = self
            .shared
            .read_in_session(&call, Freshness::ANY, read)
            .await?;
        let presences = &self.shared.live.presences;
        match presences.set_away(who.0, who.1, request.away) {
            true => Ok(v1::SetPresenceResponse {}),
            false => Err(Problem::refused(
                Reason::NoStream,
                "this session has no stream with this node",
            )),
        }
    }

    async fn get_presence(
        &self,
        call: Call,
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
        let found = self
            .shared
            .read_in_session(&call, Freshness::ANY, read)
            .await?;
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

#[tonic::async_trait]
impl LiveService for Live {
    type SubscribeStream = Responses;

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Answer<Self::SubscribeStream> {
        edge::answer(request, |call, request| self.subscribe(call, request)).await
    }

    async fn set_typing(
        &self,
        request: Request<v1::SetTypingRequest>,
    ) -> Answer<v1::SetTypingResponse> {
        edge::answer(request, |call, request| self.set_typing(call, request)).await
    }

    async fn set_presence(
        &self,
        request: Request<v1::SetPresenceRequest>,
    ) -> Answer<v1::SetPresenceResponse> {
        edge::answer(request, |call, request| self.set_presence(call, request)).await
    }

    async fn get_presence(
        &self,
        request: Request<v1::GetPresenceRequest>,
    ) -> Answer<v1::GetPresenceResponse> {
        edge::answer(request, |call, request| self.get_presence(call, request)).await
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
