//! Runs one stream: it sends the stored events first, then new ones.
//!
//! It reads the database until it has seen everything, takes a place in the hub, and follows. If it
//! lags it reads the database again from its position. It keeps a position and nothing else; so a
//! client that reads slowly costs the bounded queue of its place and no more.
//!
//! Always true: events of the log leave in order of their positions, each once.

use std::{sync::Arc, time::Duration};

use conclave_core::{ConversationId, Position, TokenHash};
use conclave_storage::state::{self as rows, StreamPage};
use conclave_wire::{Problem, v1};
use futures::{Stream, future::BoxFuture};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::Instant,
};

use super::token::ResumeTokenCodec;
use crate::{
    auth::{read_turns::ReadTurn, sessions::session_ended},
    context::{access::open_session, node_context::NodeContext},
    live::{
        hub::HubSubscription,
        presence,
        subscriber::{End, Taken},
    },
    protocol::show,
};

/// Number of events that are read from the database at once.
const PAGE: usize = 200;
/// Approximate maximum of encoded bytes of events in one response.
const RESPONSE_BYTES_MAX: usize = 64 * 1024;
/// A client that has not read for this long while its queue was full is sent away.
const TOO_SLOW_AFTER: Duration = Duration::from_secs(30);
/// Pause before a busy database is read again.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// How long a page waits until the database has what was published; then the client hears a sign
/// of life, and the wait begins again.
const WRITTEN_LIMIT: Duration = Duration::from_secs(2);
/// How often a stream checks its session: a session that has expired ends its streams.
const SESSION_LOOK_EVERY: Duration = Duration::from_secs(60);

/// Item of a stream. After a problem the stream ends.
pub(crate) type Response = Result<v1::SubscribeResponse, Problem>;

/// State of a stream.
pub(crate) struct Subscription {
    pub(crate) shared: Arc<NodeContext>,
    pub(crate) token: TokenHash,
    pub(crate) account: conclave_core::AccountId,
    pub(crate) place: HubSubscription,
    /// Position up to which everything was sent.
    pub(crate) position: Position,
    pub(crate) heartbeat: Duration,
    pub(crate) _presence: presence::Stream,
    pub(crate) _permit: OwnedSemaphorePermit,
}

impl Subscription {
    /// Returns the stream. It does nothing while it is not polled.
    pub(crate) fn stream(self) -> impl Stream<Item = Response> + Send {
        let now = Instant::now();
        let addresses = self.shared.addresses.subscribe();
        let state = State {
            subscription: self,
            phase: Phase::Start,
            looks: Looks {
                node: now,
                session: now,
            },
            addresses,
        };
        futures::stream::unfold(state, |mut state| async {
            let response = state.next().await?;
            Some((response, state))
        })
    }
}

struct State {
    subscription: Subscription,
    phase: Phase,
    looks: Looks,
    addresses: watch::Receiver<Arc<[String]>>,
}

/// Times of the last looks at what ends a stream: they come by the clock, however many events there
/// are.
struct Looks {
    /// At whether the node is cut off.
    node: Instant,
    /// At whether the session may still be used.
    session: Instant,
}

impl Looks {
    /// Returns whether to look at the node now: once in this time.
    fn is_node_due(&mut self, every: Duration) -> bool {
        let is_due = self.node.elapsed() >= every;
        if is_due {
            self.node = Instant::now();
        }
        is_due
    }

    fn is_session_due(&self) -> bool {
        self.session.elapsed() > SESSION_LOOK_EVERY
    }
}

enum Phase {
    Start,
    CatchingUp,
    Following,
    Over,
}

/// A page of the stream, if the session may still be used.
type Page = Result<Option<StreamPage>, Problem>;

impl State {
    async fn next(&mut self) -> Option<Response> {
        loop {
            match self.phase {
                Phase::Start => {
                    self.phase = Phase::CatchingUp;
                    let shared = &self.subscription.shared;
                    let applied = *shared.replica.applied().borrow();
                    let started = v1::Started {
                        node_id: shared.identity.node,
                        account_id: self.subscription.account.0,
                        applied_position: Position::end_of(applied).0,
                    };
                    self.addresses.mark_changed();
                    let mut events = vec![unlogged(v1::event::Event::Started(started))];
                    events.extend(self.members_if_changed());
                    return Some(Ok(self.respond(events)));
                }
                Phase::CatchingUp => {
                    if let Some(response) = self.catch_up().await {
                        return Some(response);
                    }
                }
                Phase::Following => {
                    if let Some(response) = self.follow().await {
                        return Some(response);
                    }
                }
                Phase::Over => return None,
            }
        }
    }

    /// Reads a page; returns `None` if it has nothing to send.
    async fn catch_up(&mut self) -> Option<Response> {
        // Boxed, so that an idle stream does not keep room for it.
        if !Box::pin(self.subscription.is_written()).await {
            return Some(Ok(self.tell(v1::event::Event::Heartbeat(v1::Heartbeat {}))));
        }
        let turn = Box::pin(self.subscription.turn()).await;
        let Some(turn) = turn else {
            return Some(Ok(self.tell(v1::event::Event::Heartbeat(v1::Heartbeat {}))));
        };
        let page = match self.subscription.page(turn).await {
            Ok(Some(page)) => page,
            Ok(None) => return Some(self.fail(session_ended())),
            Err(Problem::Busy) => {
                tokio::time::sleep(BUSY_PAUSE).await;
                return None;
            }
            Err(problem) => return Some(self.fail(problem)),
        };
        self.looks.session = Instant::now();
        let before = self.subscription.position;
        self.subscription.position = before.max(page.scanned_to);
        if page.complete && self.attach(&page.rooms) {
            self.phase = Phase::Following;
        }
        let mut events = Vec::with_capacity(page.items.len() + 1);
        if page.gap {
            let gap = v1::Gap {
                after_position: before.0,
            };
            let first = page.items.first().map(|item| item.position.0);
            events.push(v1::Event {
                position: first.unwrap_or(0),
                event: Some(v1::event::Event::Gap(gap)),
            });
        }
        events.extend(page.items.into_iter().map(show::event));
        (!events.is_empty()).then(|| Ok(self.respond(events)))
    }

    fn attach(&self, rooms: &[ConversationId]) -> bool {
        let subscription = &self.subscription;
        subscription.place.attach(subscription.position, rooms)
    }

    /// Takes waiting events, or waits for some; returns `None` to look again.
    async fn follow(&mut self) -> Option<Response> {
        if self.looks.is_node_due(self.subscription.heartbeat)
            && let Err(problem) = self.subscription.is_reached()
        {
            return Some(self.fail(problem));
        }
        match self.subscription.place.take(RESPONSE_BYTES_MAX) {
            Taken::Items(items) => {
                let after = self.subscription.position.0;
                let is_new = |event: &v1::Event| event.position == 0 || event.position > after;
                let events = items.iter().map(|item| item.event.clone());
                let mut events: Vec<v1::Event> = events.filter(is_new).collect();
                let last = events.iter().map(|event| event.position).max()?;
                events.extend(self.members_if_changed());
                self.subscription.position = Position(last.max(after));
                self.look_at_session();
                return Some(Ok(self.respond(events)));
            }
            Taken::Nothing(published) => {
                self.subscription.position = self.subscription.position.max(published);
                if self.look_at_session() {
                    return None;
                }
            }
            Taken::Lagged(since) => {
                self.phase = Phase::CatchingUp;
                if since.elapsed() > TOO_SLOW_AFTER {
                    return Some(self.go_away(v1::GoingAwayReason::TooSlow));
                }
                return None;
            }
            Taken::End(End::Stopping) => {
                return Some(self.go_away(v1::GoingAwayReason::Stopping));
            }
            Taken::End(End::SessionClosed) => {
                return Some(self.fail(session_ended()));
            }
        }
        let changed = self.subscription.place.changed();
        if tokio::time::timeout(self.subscription.heartbeat, changed)
            .await
            .is_ok()
        {
            return None;
        }
        if let Err(problem) = self.subscription.is_reached() {
            return Some(self.fail(problem));
        }
        self.look_at_session();
        let mut events = vec![unlogged(v1::event::Event::Heartbeat(v1::Heartbeat {}))];
        events.extend(self.members_if_changed());
        Some(Ok(self.respond(events)))
    }

    /// Reads a page next if it is time to look at the session; returns whether it is. The page is
    /// empty most likely; its purpose is the check of the session.
    fn look_at_session(&mut self) -> bool {
        let is_due = self.looks.is_session_due();
        if is_due {
            self.phase = Phase::CatchingUp;
        }
        is_due
    }

    /// Returns the client addresses of the nodes, unless they were sent already.
    fn members_if_changed(&mut self) -> Option<v1::Event> {
        // An error means that the node is stopping.
        if !self.addresses.has_changed().unwrap_or(false) {
            return None;
        }
        let client_addresses = self.addresses.borrow_and_update().to_vec();
        let members = v1::Members { client_addresses };
        Some(unlogged(v1::event::Event::Members(members)))
    }

    fn go_away(&mut self, reason: v1::GoingAwayReason) -> Response {
        self.phase = Phase::Over;
        let going_away = v1::GoingAway {
            reason: reason.into(),
        };
        Ok(self.tell(v1::event::Event::GoingAway(going_away)))
    }

    fn fail(&mut self, problem: Problem) -> Response {
        self.phase = Phase::Over;
        tracing::debug!(%problem, "a stream has ended");
        Err(problem)
    }

    fn tell(&self, event: v1::event::Event) -> v1::SubscribeResponse {
        self.respond(vec![unlogged(event)])
    }

    fn respond(&self, events: Vec<v1::Event>) -> v1::SubscribeResponse {
        let position = self.subscription.position;
        let codec = ResumeTokenCodec::new(&self.subscription.shared.identity.cluster_id);
        v1::SubscribeResponse {
            resume_token: codec.token(position).into(),
            position: position.0,
            events,
        }
    }
}

/// Returns an event that is not in the log.
fn unlogged(event: v1::event::Event) -> v1::Event {
    v1::Event {
        position: 0,
        event: Some(event),
    }
}

impl Subscription {
    /// Refuses if the node is cut off from the others: the stream would receive no events.
    fn is_reached(&self) -> Result<(), Problem> {
        self.shared.not_cut_off()?;
        match self.shared.roll.is_unreached() {
            true => Err(Problem::Behind),
            false => Ok(()),
        }
    }

    /// Waits until the database has everything that was published, and so everything that the
    /// client has seen: a page that ends before that could neither be attached to what follows, nor
    /// say of which rooms the account is a member by then.
    async fn is_written(&self) -> bool {
        let index = self.position.max(self.place.published()).index();
        let replica = &self.shared.replica;
        replica.wait_applied(index, WRITTEN_LIMIT).await.is_ok()
    }

    /// Takes the turn to read a page; `None` if other streams hold all turns for longer than the
    /// client may go without a response.
    async fn turn(&self) -> Option<ReadTurn> {
        let pages = &self.shared.live.pages;
        pages.take(self.account, self.heartbeat).await
    }

    /// Reads the next page after the position.
    fn page(&self, mut turn: ReadTurn) -> BoxFuture<'static, Page> {
        let shared = self.shared.clone();
        let (token, account, after) = (self.token, self.account, self.position);
        Box::pin(async move {
            shared.not_cut_off()?;
            let now = shared.log_time();
            let read = move |reader: &rows::Reader| {
                turn.begins();
                match open_session(reader, &token, now)? {
                    Some(_) => reader.stream(account, after, PAGE).map(Some),
                    None => Ok(None),
                }
            };
            shared.read(read).await
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_looks_by_the_clock_however_many_events_it_has() {
        let now = Instant::now();
        let mut looks = Looks {
            node: now,
            session: now,
        };
        let heartbeat = Duration::from_secs(15);
        let mut count = 0;
        // One event in a second, for two minutes.
        for second in 1..=120 {
            advance(Duration::from_secs(1)).await;
            count += u32::from(looks.is_node_due(heartbeat));
            assert_eq!(looks.is_session_due(), second > 60, "{second}");
        }
        assert_eq!(count, 8);
    }
}
