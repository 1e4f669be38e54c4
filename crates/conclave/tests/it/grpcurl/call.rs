//! Calls whose message types become known only when the node has described them.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use conclave_wire::Problem;
use prost_reflect::{
    DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, prost::Message as _,
    prost_types::FileDescriptorProto,
};
use serde_json::Value;
use tokio::time::timeout;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::{Ascii, MetadataKey},
    transport::Channel,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::lines::Invocation;
use crate::{foreign::channel, support::PATIENCE};

/// Result of a command.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) messages: Vec<Value>,
    /// Reason of the refusal, or `None` if the call succeeded.
    pub(super) reason: Option<String>,
}

/// A node and its descriptions of its services.
pub(super) struct Remote {
    channel: Channel,
    services: Vec<String>,
    pool: DescriptorPool,
}

impl Remote {
    pub(super) async fn connect(address: &str) -> Self {
        let channel = channel(address).await;
        let mut remote = Self {
            channel,
            services: Vec::new(),
            pool: DescriptorPool::new(),
        };
        let listed = remote.reflect(MessageRequest::ListServices(String::new()));
        let MessageResponse::ListServicesResponse(listed) = listed.await else {
            panic!("services are not listed");
        };
        let names = listed.service.into_iter().map(|service| service.name);
        remote.services = names.collect();
        let names = remote.services.iter().cloned();
        let mut wanted: Vec<_> = names.map(MessageRequest::FileContainingSymbol).collect();
        let mut files: HashMap<String, FileDescriptorProto> = HashMap::new();
        while let Some(request) = wanted.pop() {
            let MessageResponse::FileDescriptorResponse(found) = remote.reflect(request).await
            else {
                panic!("a file is not described");
            };
            for bytes in found.file_descriptor_proto {
                let file = FileDescriptorProto::decode(&bytes[..]).unwrap();
                let known = files.insert(file.name().to_owned(), file.clone());
                if known.is_none() {
                    let others = file.dependency.into_iter();
                    wanted.extend(others.map(MessageRequest::FileByFilename));
                }
            }
        }
        remote
            .pool
            .add_file_descriptor_protos(files.into_values())
            .unwrap();
        remote
    }

    async fn reflect(&self, request: MessageRequest) -> MessageResponse {
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(request),
        };
        let mut client = ServerReflectionClient::new(self.channel.clone());
        let requests = futures::stream::iter([request]);
        let answers = client.server_reflection_info(requests).await.unwrap();
        let answer = answers.into_inner().message().await.unwrap();
        answer.expect("it answers").message_response.unwrap()
    }

    /// Returns all methods of services with this prefix, as `Service/Method`.
    pub(super) fn methods(&self, package: &str) -> BTreeSet<String> {
        let own =
            |service: &prost_reflect::ServiceDescriptor| service.full_name().starts_with(package);
        let services = self.pool.services().filter(own);
        services
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .map(|method| format!("{}/{}", method.parent_service().full_name(), method.name()))
            .collect()
    }

    /// Runs an invocation as grpcurl does.
    pub(super) async fn run(&self, asked: &Invocation) -> Answer {
        if asked.describe {
            let is_known = self.pool.get_service_by_name(&asked.target).is_some()
                || self.pool.get_message_by_name(&asked.target).is_some();
            assert!(is_known, "there is no {}", asked.target);
        }
        if asked.describe || asked.target == "list" {
            return Answer {
                messages: vec![Value::String(self.services.join("\n"))],
                reason: None,
            };
        }
        let (service, method) = asked.target.split_once('/').expect("it names a method");
        let service = self.pool.get_service_by_name(service);
        let service = service.unwrap_or_else(|| panic!("no service: {asked:?}"));
        let method = service.methods().find(|one| one.name() == method);
        let method = method.unwrap_or_else(|| panic!("no method: {asked:?}"));
        let mut messages = Vec::new();
        let call = self.call(&method, asked, &mut messages);
        let limit = asked.seconds.map_or(PATIENCE, Duration::from_secs);
        let reason = match timeout(limit, call).await {
            Ok(Ok(())) => None,
            Ok(Err(status)) => Some(reason(&status)),
            Err(_) => {
                assert!(asked.seconds.is_some(), "no answer: {asked:?}");
                None
            }
        };
        Answer { messages, reason }
    }

    async fn call(
        &self,
        method: &MethodDescriptor,
        asked: &Invocation,
        messages: &mut Vec<Value>,
    ) -> Result<(), Status> {
        let data = asked.data.as_deref().unwrap_or("{}");
        let mut json = serde_json::Deserializer::from_str(data);
        let message = DynamicMessage::deserialize(method.input(), &mut json);
        let message = message.unwrap_or_else(|error| panic!("{error}: {asked:?}"));
        let mut request = Request::new(message);
        for (name, value) in &asked.headers {
            let name: MetadataKey<Ascii> = name.parse().unwrap();
            request.metadata_mut().insert(name, value.parse().unwrap());
        }
        let path = format!("/{}", asked.target).parse().unwrap();
        let mut service = Grpc::new(self.channel.clone());
        service.ready().await.unwrap();
        let codec = Dynamic(method.output());
        // A call with one answer is a stream with one answer.
        let answers = service.server_streaming(request, path, codec).await?;
        let mut answers = answers.into_inner();
        while let Some(answer) = answers.message().await? {
            messages.push(serde_json::to_value(&answer).unwrap());
        }
        Ok(())
    }
}

/// Returns the stable reason of a refusal, or the whole status.
fn reason(status: &Status) -> String {
    Problem::from_status(status).map_or_else(
        || format!("{status:?}"),
        |problem| problem.reason().to_string(),
    )
}

/// A codec for described messages; holds the description of the answer.
pub(crate) struct Dynamic(pub(crate) MessageDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self(self.0.clone())
    }

    fn decoder(&mut self) -> Self {
        Self(self.0.clone())
    }
}

impl Encoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(target)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        DynamicMessage::decode(self.0.clone(), source)
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}
