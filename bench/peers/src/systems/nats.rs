//! NATS JetStream: one message is one publication to a stream with a copy on each server.

use std::{fs, time::Duration};

use anyhow::{Context, anyhow};
use async_nats::jetstream::{
    self,
    stream::{Config, StorageType},
};

use super::{Caller as AnyCaller, Cluster, Shape};
use crate::{
    load::payload,
    servers::{Servers, find, free_ports, output},
};

const STREAM: &str = "CHAT";
const SUBJECT: &str = "chat.room";
/// Longest time until a publication is acknowledged.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Longest time until the stream is made: servers that do not know each other yet never answer.
const MAKE_LIMIT: Duration = Duration::from_secs(1);

/// Publishes messages by one connection to the server that leads the stream.
#[derive(Clone)]
pub(crate) struct Caller {
    context: jetstream::Context,
    payload: u64,
}

impl Caller {
    pub(crate) async fn send(&self, message: u64) -> anyhow::Result<()> {
        let text = payload(message, self.payload).into();
        let sent = self
            .context
            .publish(SUBJECT, text)
            .await
            .map_err(|error| anyhow!("{error}"))?;
        sent.await.map_err(|error| anyhow!("{error}"))?;
        Ok(())
    }

    pub(crate) async fn stored(&self) -> anyhow::Result<u64> {
        let stream = self.context.get_stream(STREAM).await;
        let mut stream = stream.map_err(|error| anyhow!("{error}"))?;
        let info = stream.info().await.map_err(|error| anyhow!("{error}"))?;
        Ok(info.state.messages)
    }
}

pub(super) fn promises() -> anyhow::Result<[String; 5]> {
    let version = output("nats-server", &["--version"])?;
    Ok([
        version
            .trim()
            .trim_start_matches("nats-server: v")
            .to_owned(),
        "a publication to a file stream with three copies, one connection to its leader; all \
         settings are the defaults"
            .to_owned(),
        "**nothing is synced**: the system writes it within two minutes; this version has no \
         setting that syncs before it answers"
            .to_owned(),
        "in the memory of a majority".to_owned(),
        "is stored again; not within two minutes if the caller gives each message an id (not \
         measured)"
            .to_owned(),
    ])
}

pub(super) async fn start(shape: Shape<'_>) -> anyhow::Result<Cluster> {
    let mut servers = Servers::new("nats", shape.directory)?;
    let ports = free_ports(2 * shape.nodes)?;
    let (clients, peers) = ports.split_at(shape.nodes);
    let routes: Vec<String> = peers
        .iter()
        .map(|port| format!("nats-route://127.0.0.1:{port}"))
        .collect();
    let program = find("nats-server").context("there is no `nats-server`")?;
    for (number, (client, peer)) in clients.iter().zip(peers).enumerate() {
        let directory = servers.directory(&format!("n{number}"))?;
        let configuration = directory.join("nats.conf");
        let text = format!(
            "server_name: n{number}\nlisten: 127.0.0.1:{client}\n\
             jetstream {{ store_dir: \"{}\", max_mem: 1G, max_file: 40G }}\n\
             cluster {{ name: peers, listen: 127.0.0.1:{peer}, routes: [{}] }}\n",
            directory.display(),
            routes.join(", "),
        );
        fs::write(&configuration, text)?;
        servers.start(&program, |command| {
            command.arg("-c").arg(configuration);
        })?;
    }
    let nodes = shape.nodes;
    let made = servers.wait_for("NATS has a stream", || stream_leader(clients[0], nodes));
    let leader = made.await?;
    let caller = Caller {
        context: connect(clients[leader], ANSWER_LIMIT).await?,
        payload: shape.payload,
    };
    let ids = servers.ids();
    Ok(Cluster {
        caller: AnyCaller::Nats(caller),
        servers,
        ids,
        leader,
    })
}

async fn connect(port: u16, limit: Duration) -> anyhow::Result<jetstream::Context> {
    let client = async_nats::connect(format!("nats://127.0.0.1:{port}")).await?;
    let mut context = jetstream::new(client);
    context.set_timeout(limit);
    Ok(context)
}

/// Makes the stream, once all servers are there, and returns the number of its leader.
async fn stream_leader(port: u16, nodes: usize) -> anyhow::Result<usize> {
    let context = connect(port, MAKE_LIMIT).await?;
    let stream = context.get_or_create_stream(Config {
        name: STREAM.to_owned(),
        subjects: vec!["chat.>".to_owned()],
        num_replicas: nodes,
        storage: StorageType::File,
        ..Config::default()
    });
    let mut stream = stream.await.map_err(|error| anyhow!("{error}"))?;
    let info = stream.info().await.map_err(|error| anyhow!("{error}"))?;
    let cluster = info.cluster.as_ref().context("the stream has no cluster")?;
    let others = cluster
        .replicas
        .iter()
        .filter(|replica| replica.current)
        .count();
    if others + 1 != nodes {
        return Err(anyhow!("{others} other servers have the stream"));
    }
    let leader = cluster
        .leader
        .as_ref()
        .context("the stream has no leader")?;
    Ok(leader.trim_start_matches('n').parse()?)
}
