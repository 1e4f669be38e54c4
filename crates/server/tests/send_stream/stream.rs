//! A stream of messages as a client has it, and a node with alice and bob.

use conclave_server::Registration;
use conclave_wire::v1::{
    self, chat_service_client::ChatServiceClient, send_message_request::To,
    send_message_result::Outcome,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::people::{PATIENCE, Person, World};

/// A stream of messages as a client has it.
pub(crate) struct Stream {
    pub(crate) requests: mpsc::Sender<v1::SendMessagesRequest>,
    pub(crate) responses: Streaming<v1::SendMessagesResponse>,
}

/// A message to bob with this number.
pub(crate) fn message(number: u64, text: &str) -> v1::SendMessageRequest {
    v1::SendMessageRequest {
        request: Some(v1::RequestId { number, nonce: 7 }),
        to: Some(To::RecipientName("bob".to_owned())),
        text: text.to_owned(),
        ..Default::default()
    }
}

pub(crate) fn messages(numbers: impl Iterator<Item = u64>) -> v1::SendMessagesRequest {
    v1::SendMessagesRequest {
        messages: numbers
            .map(|n| message(n, &format!("message {n}")))
            .collect(),
    }
}

impl Stream {
    pub(crate) async fn open(world: &World, person: &Person) -> Result<Self, Status> {
        let (requests, stream) = mpsc::channel(64);
        let mut chat = ChatServiceClient::new(world.channel.clone());
        let stream = person.ask(ReceiverStream::new(stream));
        let responses = timeout(PATIENCE, chat.send_messages(stream))
            .await
            .unwrap()?;
        Ok(Self {
            requests,
            responses: responses.into_inner(),
        })
    }

    pub(crate) async fn send(&self, request: v1::SendMessagesRequest) {
        timeout(PATIENCE, self.requests.send(request))
            .await
            .unwrap()
            .unwrap();
    }

    /// Returns the results of the next response that has some.
    pub(crate) async fn results(&mut self) -> Result<Vec<v1::SendMessageResult>, Status> {
        loop {
            let response = timeout(PATIENCE, self.responses.message()).await.unwrap()?;
            let results = response
                .map(|response| response.results)
                .unwrap_or_default();
            if !results.is_empty() {
                return Ok(results);
            }
        }
    }

    /// Returns number and outcome of the next results: the sequence, or the reason of a refusal.
    pub(crate) async fn told(&mut self, count: usize) -> Vec<(u64, Result<u64, String>)> {
        let mut told = Vec::new();
        while told.len() < count {
            for result in self.results().await.unwrap() {
                told.push((result.number, outcome(result.outcome)));
            }
        }
        told
    }

    /// Returns the status with which the stream ends, and the results before it.
    pub(crate) async fn end(mut self) -> (Vec<u64>, Status) {
        let mut told = Vec::new();
        loop {
            match timeout(PATIENCE, self.responses.message()).await.unwrap() {
                Ok(Some(response)) => told.extend(response.results.iter().map(|r| r.number)),
                Ok(None) => return (told, Status::ok("")),
                Err(status) => return (told, status),
            }
        }
    }
}

pub(crate) fn outcome(outcome: Option<Outcome>) -> Result<u64, String> {
    match outcome.unwrap() {
        Outcome::Sent(sent) => Ok(sent.sequence),
        Outcome::Refused(refusal) => Err(refusal.reason),
    }
}

/// Returns a node with alice, an administrator without limits, and bob.
pub(crate) async fn world() -> (World, Person) {
    let mut world = World::start(Registration::Open).await;
    let alice = world.administrator("alice").await;
    world.create("bob", None, None).await.unwrap();
    limit(
        &mut world,
        &alice,
        &[("messages-per-minute", 0), ("bytes-per-minute", 0)],
    )
    .await;
    (world, alice)
}

pub(crate) async fn limit(world: &mut World, admin: &Person, limits: &[(&str, u64)]) {
    let limits = limits.iter().map(|(name, value)| v1::AccountLimit {
        name: (*name).to_owned(),
        value: *value,
        ..Default::default()
    });
    let request = v1::SetAccountLimitsRequest {
        request: world.number(),
        limits: limits.collect(),
    };
    let mut service = world.admin();
    service
        .set_account_limits(admin.ask(request))
        .await
        .unwrap();
}

pub(crate) async fn texts(world: &World, person: &Person) -> Vec<String> {
    let mut chat = ChatServiceClient::new(world.channel.clone());
    let mut texts = Vec::new();
    loop {
        let request = v1::ListMessagesRequest {
            conversation: Some(v1::list_messages_request::Conversation::PeerName(
                "bob".to_owned(),
            )),
            from: Some(v1::list_messages_request::From::AfterSequence(
                texts.len() as u64
            )),
            page_size: 1000,
            ..Default::default()
        };
        let page = chat.list_messages(person.ask(request)).await.unwrap();
        let page = page.into_inner().messages;
        if page.is_empty() {
            return texts;
        }
        texts.extend(page.into_iter().map(|message| message.text));
    }
}
