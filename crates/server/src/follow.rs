//! One client that follows: what is stored first, then what comes.
//!
//! A follower holds a position and nothing else. When this node has applied more, it reads on from
//! there; so a slow client costs no memory, and the queue to it holds a few pages at most.
//!
//! Always true: messages leave in order of their positions, each once.

use std::{pin::Pin, sync::Arc, time::Duration};

use conclave_core::{Position, TokenHash};
use conclave_replica::rows::{self, MessagesAfter};
use conclave_wire::{Problem, v1};
use futures::Stream;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, metadata::MetadataMap};

use crate::{
    access::{Deadline, open_session},
    chat::message,
    node::Shared,
    sessions::{log_in_first, token_of},
};

/// Messages read and sent at once.
const PAGE: usize = 100;
/// Pages that wait for a client that reads slowly; reading the database waits then.
const PAGES_WAITING_MAX: usize = 4;
/// Longest silence: then a sign of life with the position.
const HEARTBEAT: Duration = Duration::from_secs(5);

type Item = Result<v1::FollowMessagesResponse, Status>;

/// Starts to follow after `after`, once this node has applied that far: a node that is behind
/// waits a bounded time, it never goes backwards.
pub(crate) async fn start(
    shared: Arc<Shared>,
    metadata: &MetadataMap,
    after: Position,
) -> Result<Pin<Box<dyn Stream<Item = Item> + Send>>, Problem> {
    shared.door()?;
    let token = token_of(metadata)?;
    let place = shared
        .followers
        .clone()
        .try_acquire_owned()
        .map_err(|_| Problem::Busy)?;
    let read = Some(v1::ReadOptions {
        consistency: v1::Consistency::Stale.into(),
        min_position: after.0,
    });
    shared.freshen(read, Deadline::of(metadata)).await?;
    // The session may have been opened elsewhere a moment ago: look as for any other call.
    shared
        .read_in_session(metadata, None, |_, _| Ok(()))
        .await?;
    let (pages, receiver) = mpsc::channel(PAGES_WAITING_MAX);
    let follower = Follower {
        shared,
        token,
        pages,
        position: after,
        _place: place,
    };
    tokio::spawn(follower.run());
    Ok(Box::pin(ReceiverStream::new(receiver)))
}

struct Follower {
    shared: Arc<Shared>,
    token: TokenHash,
    pages: mpsc::Sender<Item>,
    position: Position,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    async fn run(mut self) {
        let mut applied = self.shared.replica.applied();
        let mut stopping = self.shared.stopping.subscribe();
        loop {
            applied.mark_unchanged();
            let complete = match self.step().await {
                Ok(complete) => complete,
                Err(problem) => {
                    // A client that is gone does not need to hear it.
                    let _ = self.pages.send(Err(problem.to_status())).await;
                    return;
                }
            };
            if self.pages.is_closed() {
                return;
            }
            if !complete {
                continue;
            }
            tokio::select! {
                changed = applied.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = until_true(&mut stopping) => {
                    let _ = self.pages.send(Err(Problem::GoingAway.to_status())).await;
                    return;
                }
                () = self.pages.closed() => return,
                () = tokio::time::sleep(HEARTBEAT) => self.send(Vec::new()).await,
            }
        }
    }

    /// Sends the next page; gives whether that was everything that was applied.
    async fn step(&mut self) -> Result<bool, Problem> {
        self.shared.door()?;
        let (token, after) = (self.token, self.position);
        let read = move |reader: &rows::Reader| match open_session(reader, &token)? {
            Some(session) => reader
                .messages_after(session.account, after, PAGE)
                .map(Some),
            None => Ok(None),
        };
        let Some(found) = self.shared.read(read).await? else {
            return Err(log_in_first("the session has ended; log in"));
        };
        let MessagesAfter {
            rows,
            scanned_to,
            complete,
        } = found;
        self.position = self.position.max(scanned_to);
        if !rows.is_empty() {
            self.send(rows.into_iter().map(message).collect()).await;
        }
        Ok(complete)
    }

    async fn send(&self, messages: Vec<v1::Message>) {
        let page = v1::FollowMessagesResponse {
            messages,
            position: self.position.0,
        };
        // A client that is gone is noticed by the loop.
        let _ = self.pages.send(Ok(page)).await;
    }
}

/// Ends when the value is true, or will never be any more.
async fn until_true(value: &mut watch::Receiver<bool>) {
    let _ = value.wait_for(|value| *value).await;
}
