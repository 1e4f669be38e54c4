//! etcd: one message is one put of a key of its own.
//!
//! The messages of its protocol that are needed are written out here, so that no compiler of
//! protocols is.

use std::sync::Arc;

use anyhow::{Context, bail};
use tonic::{
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};

use super::{CALLERS_PER_CONNECTION, Caller as AnyCaller, Cluster, Shape};
use crate::{
    load::payload,
    servers::{Servers, find, free_ports, output},
};

/// Before the number of a message in its key, and what is after the last such key.
const KEYS: (&str, &str) = ("message/", "message0");

#[derive(Clone, PartialEq, prost::Message)]
struct Header {
    #[prost(uint64, tag = "2")]
    member: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RangeRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    end: Vec<u8>,
    #[prost(bool, tag = "9")]
    count_only: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RangeResponse {
    #[prost(int64, tag = "4")]
    count: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

/// Puts messages: by default to the leader, callers sharing connections.
#[derive(Clone)]
pub(crate) struct Caller {
    channels: Arc<Vec<Channel>>,
    servers: Arc<Vec<Endpoint>>,
    payload: u64,
}

impl Caller {
    pub(crate) async fn send(&self, caller: u64, message: u64) -> anyhow::Result<()> {
        let connection = caller / CALLERS_PER_CONNECTION;
        let at = usize::try_from(connection)? % self.channels.len();
        let key = format!("{}{message:016}", KEYS.0).into_bytes();
        let put = PutRequest {
            key,
            value: payload(message, self.payload),
        };
        let _: PutResponse = call(&self.channels[at], "/etcdserverpb.KV/Put", put).await?;
        Ok(())
    }

    pub(crate) async fn stored(&self) -> anyhow::Result<u64> {
        let (key, end) = (KEYS.0.into(), KEYS.1.into());
        let range = RangeRequest {
            key,
            end,
            count_only: true,
        };
        let answer: RangeResponse =
            call(&self.channels[0], "/etcdserverpb.KV/Range", range).await?;
        Ok(u64::try_from(answer.count)?)
    }

    pub(crate) fn one_for_each_server(&self) -> Vec<Self> {
        let one = |server: &Endpoint| Self {
            channels: Arc::new(vec![server.connect_lazy()]),
            ..self.clone()
        };
        self.servers.iter().map(one).collect()
    }
}

pub(super) fn promises() -> anyhow::Result<[String; 5]> {
    let version = output("etcd", &["--version"])?;
    let version = version.lines().next().unwrap_or_default();
    let settings = "a put of a key of its own to the leader, callers share a connection by 64; \
                    default timers, quota of 8 GB";
    Ok([
        version.trim_start_matches("etcd Version: ").to_owned(),
        settings.to_owned(),
        "the log, synced on a majority; the store within 100 ms".to_owned(),
        "in the logs of a majority".to_owned(),
        "puts again: the caller chooses keys so that this does no harm".to_owned(),
    ])
}

pub(super) async fn start(shape: Shape<'_>) -> anyhow::Result<Cluster> {
    let mut servers = Servers::new("etcd", shape.directory)?;
    let ports = free_ports(2 * shape.nodes)?;
    let (clients, peers) = ports.split_at(shape.nodes);
    let at = |port: &u16| format!("http://127.0.0.1:{port}");
    let members = peers.iter().enumerate();
    let members: Vec<String> = members
        .map(|(number, peer)| format!("n{number}={}", at(peer)))
        .collect();
    let program = find("etcd").context("there is no `etcd`")?;
    for (number, (client, peer)) in clients.iter().zip(peers).enumerate() {
        let (client, peer, name) = (at(client), at(peer), format!("n{number}"));
        let directory = servers.directory(&name)?;
        let initial = members.join(",");
        servers.start(&program, |command| {
            command.args(["--name", &name, "--initial-cluster", &initial, "--data-dir"]);
            command.arg(directory);
            command.args([
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
            ]);
            command.args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ]);
            command.args([
                "--log-level",
                "error",
                "--quota-backend-bytes",
                "8000000000",
            ]);
            if shape.quick_timers {
                command.args(["--heartbeat-interval", "50", "--election-timeout", "500"]);
            }
        })?;
    }
    let endpoints: Result<Vec<Endpoint>, _> = clients
        .iter()
        .map(|port| Endpoint::from_shared(at(port)))
        .collect();
    let endpoints = Arc::new(endpoints?);
    let leader = servers
        .wait_for("etcd has a leader", || leader(&endpoints))
        .await?;
    let mut channels = Vec::new();
    for _ in 0..shape.callers.div_ceil(CALLERS_PER_CONNECTION) {
        channels.push(endpoints[leader].connect().await?);
    }
    let caller = Caller {
        channels: Arc::new(channels),
        servers: endpoints,
        payload: shape.payload,
    };
    let ids = servers.ids();
    Ok(Cluster {
        caller: AnyCaller::Etcd(caller),
        servers,
        ids,
        leader,
    })
}

/// Returns the number of the server that leads, once all know of it.
async fn leader(endpoints: &[Endpoint]) -> anyhow::Result<usize> {
    let mut found = None;
    for (number, endpoint) in endpoints.iter().enumerate() {
        let channel = endpoint.connect().await?;
        let path = "/etcdserverpb.Maintenance/Status";
        let status: StatusResponse = call(&channel, path, StatusRequest {}).await?;
        if status.leader == 0 {
            bail!("server {number} knows no leader");
        }
        let member = status.header.map(|header| header.member);
        if member == Some(status.leader) {
            found = Some(number);
        }
    }
    found.context("no server leads")
}

async fn call<Request, Response>(
    channel: &Channel,
    path: &'static str,
    request: Request,
) -> anyhow::Result<Response>
where
    Request: prost::Message + Send + Sync + 'static,
    Response: prost::Message + Default + Send + Sync + 'static,
{
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await?;
    let codec = tonic_prost::ProstCodec::<Request, Response>::default();
    let path = PathAndQuery::from_static(path);
    let answer = client
        .unary(tonic::Request::new(request), path, codec)
        .await;
    Ok(answer
        .map_err(|status| anyhow::anyhow!("{status}"))?
        .into_inner())
}
