//! Bytes that none of our clients would send: calls with hand-made bytes, and bytes that are no
//! calls.

use conclave_server::ClusterSecret;
use conclave_wire::{
    Problem,
    peer::{self, peer_service_client::PeerServiceClient},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::{Channel, Endpoint},
};

use crate::{
    command::Home,
    forger::{self, ANY_PEER, Forger, Use},
    support::PATIENCE,
};

/// An HTTP/1.1 request for a web page by a client that does not keep the connection open.
const HTTP1: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
/// First bytes of an HTTP/2 client, with an empty settings frame.
const HTTP2_BEGIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Header of a data frame of 16 MiB: a thousand times the allowed size.
const HTTP2_FRAME_TOO_LONG: &[u8] = b"\xff\xff\xff\0\0\0\0\0\x01";
/// First bytes of a TLS client.
const TLS_HELLO: &[u8] = b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03";

/// Returns a connection for generated clients.
pub(crate) async fn channel(address: &str) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    endpoint.connect().await.unwrap()
}

/// Makes the same call as a generated client, with `message` as its bytes.
pub(crate) async fn call_with_bytes(
    channel: &Channel,
    path: &'static str,
    token: &str,
    message: Vec<u8>,
) -> Result<(), Status> {
    let mut service = Grpc::new(channel.clone());
    service.ready().await.unwrap();
    let path = tonic::codegen::http::uri::PathAndQuery::from_static(path);
    let answer = service.unary(with_token(message, token), path, Bytes).await;
    answer.map(drop)
}

/// Returns a request of a session.
pub(crate) fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    let token = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", token);
    request
}

/// Returns the code and the reason with which a call was refused.
#[track_caller]
pub(crate) fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.expect_err("it is refused");
    let problem = Problem::from_status(&status);
    let problem = problem.unwrap_or_else(|| panic!("it has no reason: {status:?}"));
    assert!(!status.message().is_empty());
    (status.code(), problem.reason().to_string())
}

/// Returns a node of three that is not this one.
pub(crate) fn other_than(node: u64) -> u64 {
    node % 3 + 1
}

/// Returns a connection as this node of the cluster whose secret is in this home.
pub(crate) fn peer_channel(home: &Home, address: &str, node: u64) -> Channel {
    let text = std::fs::read_to_string(home.secret_file()).unwrap();
    let secret = ClusterSecret::from_text(&text).unwrap();
    let name = format!("node-{node}.peer.{}.conclave.internal", secret.cluster_id());
    let names = [ANY_PEER, &name];
    let pair = Forger::knowing(&secret).issue(&names, Use::Peer);
    forger::channel(&forger::config(&secret, Some(&pair)), address, ANY_PEER)
}

/// Checks that calls are refused that are meant for another node than `own` of `cluster`, with a
/// term that would depose any leader.
pub(crate) async fn foreign_peers_are_refused(
    cluster: &str,
    own: u64,
    mut service: PeerServiceClient<Channel>,
) {
    let other = other_than(own);
    let cases = [
        ("another-cluster", own, "WRONG_CLUSTER"),
        ("", own, "WRONG_CLUSTER"),
        (cluster, other, "WRONG_NODE"),
        (cluster, 0, "WRONG_NODE"),
    ];
    for (cluster, target_node_id, word) in cases {
        let envelope = Some(peer::Envelope {
            cluster_id: cluster.to_owned(),
            source_node_id: other,
            target_node_id,
            source_incarnation: 0,
        });
        let vote = Some(peer::Vote {
            term: 1_000_000,
            node_id: other,
            committed: false,
        });
        let expected = (Code::FailedPrecondition, word.to_owned());
        let request = peer::RequestVoteRequest {
            envelope: envelope.clone(),
            vote,
            ..Default::default()
        };
        assert_eq!(refusal(service.request_vote(request).await), expected);
        let request = peer::TimeoutNowRequest {
            envelope: envelope.clone(),
            from_leader: vote,
            to_node_id: own,
            last_log_id: None,
        };
        assert_eq!(refusal(service.timeout_now(request).await), expected);
        let request = peer::ForwardRequest {
            envelope,
            commands: Vec::new(),
        };
        assert_eq!(refusal(service.forward(request).await), expected);
    }
    let nameless = service.read_index(peer::ReadIndexRequest { envelope: None });
    assert!(nameless.await.is_err());
}

/// A codec for messages whose bytes are given.
#[derive(Clone, Copy)]
pub(crate) struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(target, &item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        let length = bytes::Buf::remaining(source);
        bytes::Buf::advance(source, length);
        Ok(Some(()))
    }
}

/// Returns the first bytes of other protocols, and of no protocol at all.
pub(crate) fn other_protocols() -> Vec<(&'static str, Vec<u8>)> {
    // Bytes that look random and are the same in every run.
    let noise = (0..8192u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8);
    let too_long = [HTTP2_BEGIN, HTTP2_FRAME_TOO_LONG, &[0; 4096]].concat();
    vec![
        ("noise", noise.collect()),
        ("http 1.1", HTTP1.to_vec()),
        ("tls", [TLS_HELLO, &[7; 256]].concat()),
        ("a frame that is too long", too_long),
    ]
}

/// Sends these bytes to a port and waits until the node closes the connection.
pub(crate) async fn is_hung_up_on(address: &str, what: &str, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The node may close the connection before it has read all of them.
    let _ = stream.write_all(bytes).await;
    let mut answer = vec![0; 4096];
    let hung_up = async { while !matches!(stream.read(&mut answer).await, Ok(0) | Err(_)) {} };
    let hung_up = timeout(PATIENCE, hung_up).await;
    assert!(hung_up.is_ok(), "{what}: {address} goes on listening");
}
