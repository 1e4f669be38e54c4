//! Three servers whose acknowledgements wait for all: two of them are killed under load, at once
//! and one after the other, and the last one is recovered with all that was acknowledged.

use conclave_client::v1::{AckPolicy, GetClusterStatusResponse};
use futures::future::join_all;

use crate::{
    command::{program, run},
    readme::{blocks, document},
    support::{Cluster, until},
    witness::{Speaker, Talking, Witness, person},
};

/// The version from which on the policy can be set.
const NEEDED: u32 = 3;

/// Three nodes that wait for all, and a speaker under way.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) alice: Speaker,
    pub(crate) talking: Talking,
}

impl World {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts nodes with these variables in their environment.
    pub(crate) async fn start_with(variables: &[(&str, &str)]) -> Self {
        let mut cluster = Cluster::prepare(3).await;
        for node in cluster.nodes() {
            for (name, value) in variables {
                cluster.set_variable(node, name, value);
            }
        }
        cluster.start_all().await;
        let operator = cluster.operator_client().await;
        let endpoint = cluster.endpoint(1);
        until("the version is raised", async || {
            let status = operator.cluster_status(&endpoint).await.ok()?;
            (status.cluster_version >= NEEDED).then_some(())
        })
        .await;
        let file = cluster.operator_file().await;
        let (file, endpoints) = (file.display().to_string(), cluster.endpoint(1));
        let operations = document("docs/operations.md");
        let written = blocks(&operations, "sh").into_iter();
        let mut written = written.filter(|block| block.starts_with("conclave cluster ack"));
        let written = written.next().unwrap();
        let args: Vec<&str> = written.split_whitespace().skip(1).collect();
        let options = ["--operator-file", &file, "--endpoints", &endpoints];
        let args = [&args[..], &options].concat();
        let told = run(program(&args), b"").await;
        assert!(
            told.succeeded().contains("wait for all voters"),
            "it is set"
        );
        let witness = Witness::new();
        let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
        let mut talking = alice.keep_talking();
        talking.go_on(30).await;
        Self {
            cluster,
            alice,
            talking,
        }
    }

    pub(crate) async fn status(&self, node: u64) -> Option<GetClusterStatusResponse> {
        let operator = self.cluster.operator_client().await;
        let endpoint = self.cluster.endpoint(node);
        operator.cluster_status(&endpoint).await.ok()
    }

    /// Returns `None` unless all vote and none is set aside, as this node knows it.
    async fn all_vote(&self, asked: u64) -> Option<()> {
        let status = self.status(asked).await?;
        let is_aside = status.nodes.iter().any(|node| node.set_aside);
        (status.voters == 3 && !is_aside).then_some(())
    }

    /// Kills nodes at once.
    pub(crate) async fn kill(&self, nodes: &[u64]) {
        join_all(nodes.iter().map(|node| self.cluster.kill(*node))).await;
    }

    /// Waits until this node was set aside by the others, and messages go through again.
    pub(crate) async fn goes_on_without(&mut self, away: u64, asked: u64) {
        self.talking.go_on(30).await;
        let status = self.status(asked).await.unwrap();
        assert_eq!(status.ack_policy(), AckPolicy::All);
        let mut nodes = status.nodes.iter();
        let known = nodes.find(|node| node.node_id == away).unwrap();
        assert!(known.set_aside && status.voters == 2, "{status:?}");
    }

    /// Recovers the survivor, and checks that it has all that was acknowledged and that the others
    /// are refused with their old data.
    async fn ends_with(self, survivor: u64) {
        let Self {
            cluster,
            alice,
            talking,
        } = self;
        until("there is no quorum", async || {
            (!cluster.status(survivor).await.quorum).then_some(())
        })
        .await;
        cluster.kill(survivor).await;
        let talk = talking.finish().await;
        assert!(talk.unsaid.len() <= 1, "only the last one is unknown");
        let data = cluster.directory(survivor);
        let args = ["cluster", "recover", "--yes", "--data"];
        let args = [&args[..], &[data.to_str().unwrap()]].concat();
        let told = run(program(&args), b"").await.succeeded();
        assert!(told.contains("acknowledgements waited for: all"), "{told}");
        cluster.start_node(survivor).await;
        let status = until("it leads alone", async || {
            let status = cluster.status(survivor).await;
            (status.leader_id == survivor && status.voters == 1).then_some(status)
        })
        .await;
        assert!(status.cluster_id.contains(".1-"), "{}", status.cluster_id);
        let there = alice.all_messages_at(&cluster.endpoint(survivor)).await;
        assert!(
            there.len() as u64 >= talk.said,
            "{} of {} acknowledged messages are there",
            there.len(),
            talk.said
        );
        are_refused(&cluster, others(survivor)).await;
        let sent = alice.client.send(&person("bob"), "on").await;
        sent.expect("it goes on alone");
    }
}

/// Starts lost nodes with their old data, which are a majority of the old cluster, together, and
/// waits until they are refused.
pub(crate) async fn are_refused(cluster: &Cluster, lost: [u64; 2]) {
    join_all(lost.iter().map(|node| cluster.try_start_node(*node))).await;
    for node in lost {
        until("it is refused", async || {
            let log = cluster.log(node);
            log.contains("the cluster was recovered without this node")
                .then_some(())
        })
        .await;
    }
}

/// The other two of three nodes.
pub(crate) fn others(node: u64) -> [u64; 2] {
    let mut rest = (1..=3).filter(|other| *other != node);
    [rest.next().unwrap(), rest.next().unwrap()]
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_killed_at_once_lose_nothing_acknowledged() {
    join_all((1..=3).map(|survivor| async move {
        let world = World::start().await;
        world.kill(&others(survivor)).await;
        world.ends_with(survivor).await;
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_killed_one_by_one_lose_nothing_acknowledged() {
    let orders = (1..=3).flat_map(|first| others(first).map(|second| (first, second)));
    join_all(orders.map(|(first, second)| async move {
        let mut world = World::start().await;
        let survivor = 6 - first - second;
        world.kill(&[first]).await;
        world.goes_on_without(first, survivor).await;
        world.kill(&[second]).await;
        world.ends_with(survivor).await;
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_came_back_survives_the_other_two() {
    let mut world = World::start().await;
    let back = world.cluster.a_follower().await;
    world.kill(&[back]).await;
    let [one, other] = others(back);
    world.goes_on_without(back, one).await;
    world.cluster.start_node(back).await;
    // On a busy machine it may be set aside once more.
    until("it votes again, and messages go through", async || {
        world.all_vote(back).await?;
        world.talking.go_on(30).await;
        world.all_vote(back).await
    })
    .await;
    world.kill(&[one, other]).await;
    world.ends_with(back).await;
}
