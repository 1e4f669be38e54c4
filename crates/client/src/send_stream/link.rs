//! One stream of messages with one node: requests out, responses in, and a look at the node when
//! it is silent.
//!
//! Always true: waiting for the next event loses nothing when it is given up for another one.

use std::sync::Arc;

use conclave_wire::v1;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::{Client, nodes::Node, retry_decision::Failure, rpc::chat};

/// A stream with one node.
pub(super) struct Link {
    pub(super) node: Arc<Node>,
    requests: mpsc::Sender<v1::SendMessagesRequest>,
    responses: Streaming<v1::SendMessagesResponse>,
    /// Ends when the node has been silent for too long.
    silence: Option<BoxFuture<'static, ()>>,
}

/// What happens on a stream.
pub(super) enum Event {
    /// There is room for a request.
    Room,
    Response(v1::SendMessagesResponse),
    Ended(Option<Status>),
    Silent,
}

impl Link {
    /// Opens a stream with a node or, if it names another one as the leader, with that one.
    pub(super) async fn open(client: Client, node: Arc<Node>) -> Result<Self, Failure> {
        let first = Self::open_with(&client, node).await?;
        let leader = client.shared.nodes.pick();
        if leader.address != first.node.address
            && let Ok(second) = Self::open_with(&client, leader).await
        {
            return Ok(second);
        }
        Ok(first)
    }

    async fn open_with(client: &Client, node: Arc<Node>) -> Result<Self, Failure> {
        let (requests, stream) = mpsc::channel(1);
        let request = client.request(ReceiverStream::new(stream));
        let mut service = chat(node.channel.clone());
        let opened = service.send_messages(request);
        match timeout(client.shared.timeouts.attempt, opened).await {
            Ok(Ok(response)) => {
                client.heed(response.metadata());
                Ok(Self {
                    node,
                    requests,
                    responses: response.into_inner(),
                    silence: None,
                })
            }
            Ok(Err(status)) => {
                client.heed(status.metadata());
                Err(Failure::from_status(&status))
            }
            Err(_) => Err(Failure::Silent),
        }
    }

    /// Waits for the next event: for room only with `may_write`, for silence only with `waits`.
    pub(super) async fn event(&mut self, client: &Client, may_write: bool, waits: bool) -> Event {
        let Self {
            node,
            requests,
            responses,
            silence,
        } = self;
        let room = async {
            // The responses say why no request is taken any more.
            if requests.reserve().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let silent = async {
            match waits {
                true => {
                    let watch = || is_silent(client.clone(), node.clone()).boxed();
                    silence.get_or_insert_with(watch).await;
                }
                false => {
                    *silence = None;
                    std::future::pending().await
                }
            }
        };
        tokio::select! {
            biased;
            response = responses.next() => match response {
                Some(Ok(response)) => {
                    self.silence = None;
                    Event::Response(response)
                }
                Some(Err(status)) => Event::Ended(Some(status)),
                None => Event::Ended(None),
            },
            () = room, if may_write => Event::Room,
            () = silent => Event::Silent,
        }
    }

    /// Sends a request; returns whether there was room for it.
    pub(super) fn write(&self, request: v1::SendMessagesRequest) -> bool {
        self.requests.try_send(request).is_ok()
    }
}

/// Ends when there is reason to leave a node that sends nothing.
async fn is_silent(client: Client, node: Arc<Node>) {
    tokio::select! {
        () = client.left_behind(&node) => {}
        () = sleep(client.shared.timeouts.attempt) => {}
    }
}
