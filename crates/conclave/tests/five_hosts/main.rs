//! Five hosts: nodes on machines of their own, with links that fail.
//!
//! Network namespaces are the machines. The story runs on a sixth of them, a person's desk, from
//! which clients send messages; it prints what it does, and fails at the first promise that does
//! not hold. It needs root and iproute2 and says so where they are missing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "it prints its progress")]

mod chance;
mod host;
mod lab;
mod mixed;
mod people;
mod talk;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Command, ExitCode},
    time::Duration,
};

use conclave_client::{Authority, Client, Grant, fetch_authority, v1};
use host::{Node, endpoint};
use lab::Lab;
use talk::{Talk, all_texts};
use tokio::time::{Instant, sleep};

/// Hosts with nodes: five, and one that is added later.
const HOSTS: [u8; 6] = [1, 2, 3, 4, 5, 6];
/// Machine on which the story runs.
const DESK: u8 = Lab::DESKS;
/// Environment variable with the laboratory's name, for the process that runs at the desk.
const LAB: &str = "FIVE_HOSTS_LAB";
const DIRECTORY: &str = "FIVE_HOSTS_DIRECTORY";
/// Maximum time for anything that must happen.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest pause that people may notice after a fault: leaving a node, an election, and a new
/// attempt.
const STALL_MAX: Duration = Duration::from_millis(1500);
/// Messages that must get through after each change.
const MESSAGES: usize = 50;
const PASSWORD: &str = "correct horse battery";
const TOKEN_TTL: Duration = Duration::from_secs(3600);
/// Maximum time that a client waits at a host that is cut off.
const IMPATIENCE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    if let (Ok(lab), Ok(directory)) = (std::env::var(LAB), std::env::var(DIRECTORY)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(Box::pin(Story::tell(Lab::visit(&lab, directory.as_ref()))));
        return ExitCode::SUCCESS;
    }
    // A run that lists tests, or that asks for a test of another name, does not mean this one.
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let names = asked.iter().filter(|word| !word.starts_with('-'));
    if asked.iter().any(|word| word == "--list") || names.clone().any(|name| name != "five_hosts") {
        return ExitCode::SUCCESS;
    }
    if let Some(why) = Lab::obstacle() {
        println!("five_hosts: SKIPPED, {why}");
        return ExitCode::SUCCESS;
    }
    let directory = tempfile::tempdir().unwrap();
    let lab = Lab::build(&[&HOSTS[..], &[DESK]].concat(), directory.path());
    let program = std::env::current_exe().unwrap();
    let status = lab
        .on(DESK, &program)
        .env(LAB, lab.name())
        .env(DIRECTORY, directory.path())
        .status();
    match status.unwrap().success() {
        true => ExitCode::SUCCESS,
        false => {
            let kept = directory.keep();
            println!(
                "five_hosts: the logs of the hosts are in {}",
                kept.display()
            );
            ExitCode::FAILURE
        }
    }
}

struct Story {
    lab: Lab,
    nodes: BTreeMap<u8, Node>,
    /// Numbers that the cluster has given to the nodes, by host.
    numbers: BTreeMap<u8, u64>,
    began: Instant,
    authority: Authority,
    root: Client,
    alice_token: String,
}

impl Story {
    async fn tell(lab: Lab) {
        let mut story = Self::begin(lab).await;
        let talk = Talk::start(story.alice(), "bob");
        story.grows_to_five(&talk).await;
        if std::env::var_os(mixed::SECONDS).is_some() {
            // Only this part of the story is requested.
            story.everything_happens().await;
            return story.nothing_was_lost(talk).await;
        }
        story.two_hosts_are_lost(&talk).await;
        story.the_leader_is_cut_off(&talk).await;
        story.one_direction_is_lost(&talk).await;
        story.everything_happens().await;
        story.a_dead_host_is_replaced(&talk).await;
        story.nothing_was_lost(talk).await;
    }

    /// Bootstraps a cluster of one host; a person at the desk signs up.
    async fn begin(lab: Lab) -> Self {
        let began = Instant::now();
        let mut first = Node::start(&lab, 1, &[]);
        let number = first.says("ready node=").await;
        assert!(number.starts_with("1 "), "{number}");
        let fingerprint = first.says("fingerprint").await;
        let setup = first.says("setup-token").await;
        let authority = fetch_authority(&endpoint(1), PATIENCE).await.unwrap();
        assert_eq!(authority.fingerprint().to_string(), fingerprint);
        let stranger = client(&authority, &[1], None);
        let grant = Grant::Setup(setup);
        let made = stranger.create_account_with("root", PASSWORD, grant);
        made.await.unwrap();
        let root = stranger.login("root", PASSWORD).await.unwrap().token;
        for name in ["alice", "bob"] {
            stranger.create_account(name, PASSWORD).await.unwrap();
        }
        let alice = stranger.login("alice", PASSWORD).await.unwrap().token;
        let operator = first.operator().await;
        let story = Self {
            lab,
            nodes: BTreeMap::from([(1, first)]),
            numbers: BTreeMap::from([(1, 1)]),
            began,
            root: client(&authority, &HOSTS, Some(&root)).with_operator(&operator),
            authority,
            alice_token: alice,
        };
        story.say("host 1 has made a cluster; alice talks to bob from another machine");
        story
    }

    fn say(&self, what: &str) {
        let seconds = self.began.elapsed().as_secs_f64();
        println!("five_hosts {seconds:6.1} s  {what}");
    }

    fn alice(&self) -> Client {
        client(&self.authority, &HOSTS, Some(&self.alice_token))
    }

    /// Adds four hosts, one command for each, as `conclave token create` prints it.
    async fn grows_to_five(&mut self, talk: &Talk) {
        let since = Instant::now();
        for host in 2..=5 {
            self.join(host, &[]).await;
            self.has_voters(u32::from(host)).await;
            talk.go_on(MESSAGES).await;
        }
        let stall = talk.stall_since(since);
        self.say(&format!(
            "hosts 2 to 5 have joined by token; longest pause {stall:?}"
        ));
        assert!(stall < STALL_MAX, "people have noticed it: {stall:?}");
    }

    async fn join(&mut self, host: u8, more: &[&str]) {
        let made = self.root.create_join_token(TOKEN_TTL, false).await.unwrap();
        let addresses = made.peer_addresses.join(",");
        let words = [&["--join", &addresses, "--token", &made.token][..], more].concat();
        let mut node = Node::start(&self.lab, host, &words);
        let said = node.says("ready node=").await;
        let number = said.split(' ').next().unwrap().parse().unwrap();
        self.numbers.insert(host, number);
        self.nodes.insert(host, node);
    }

    async fn has_voters(&self, voters: u32) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.status().await
                && status.voters == voters
                && status.voters_reachable == voters
                && status.tolerates_failures == (voters - 1) / 2
                && status.leader_id != 0
            {
                return;
            }
            assert!(Instant::now() < deadline, "there are never {voters} voters");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Returns the cluster's status as reported by the node that sees most.
    async fn status(&self) -> Option<v1::GetClusterStatusResponse> {
        let answers = self.root.cluster_statuses().await.into_iter();
        let answers = answers.filter_map(|(_, status)| status.ok());
        answers.max_by_key(|status| (status.voters_reachable, status.leader_id != 0))
    }

    /// Returns the host whose node leads.
    async fn leader(&self) -> u8 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.status().await.filter(|status| status.quorum) {
                let of =
                    |(host, number): (&u8, &u64)| (*number == status.leader_id).then_some(*host);
                if let Some(host) = self.numbers.iter().find_map(of) {
                    return host;
                }
            }
            assert!(Instant::now() < deadline, "there is no leader");
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn others(&self, not: &[u8]) -> Vec<u8> {
        let hosts = self.numbers.keys().copied();
        hosts.filter(|host| !not.contains(host)).collect()
    }

    /// Unplugs the leader and another host at the same time.
    async fn two_hosts_are_lost(&self, talk: &Talk) {
        let leader = self.leader().await;
        let other = self.others(&[leader])[0];
        let since = Instant::now();
        for host in [leader, other] {
            self.lab.unplug(host);
        }
        talk.go_on(2 * MESSAGES).await;
        let stall = talk.stall_since(since);
        self.say(&format!(
            "hosts {leader} (it led) and {other} are unplugged; longest pause {stall:?}"
        ));
        assert!(stall < STALL_MAX, "{stall:?}");
        for host in [leader, other] {
            self.lab.plug_in(host);
        }
        self.has_voters(5).await;
        talk.go_on(MESSAGES).await;
        self.say("they are plugged in again and have caught up");
    }

    /// Cuts off the leader while a client at the leader's host does not know about it.
    async fn the_leader_is_cut_off(&self, talk: &Talk) {
        let leader = self.leader().await;
        let since = Instant::now();
        self.lab.unplug(leader);
        let seconds = IMPATIENCE.as_secs().to_string();
        let fingerprint = self.authority.fingerprint().to_string();
        let at_lonely = |words: &[&str]| {
            let mut command = self.lab.on(leader, env!("CARGO_BIN_EXE_conclave").as_ref());
            command
                .args(words)
                .args(["--endpoints", &endpoint(leader), "--timeout", &seconds])
                .env("CONCLAVE_TOKEN", &self.alice_token)
                .env("CONCLAVE_FINGERPRINT", &fingerprint)
                .env("HOME", &self.lab.directory);
            command
        };
        let asked = Instant::now();
        let refused = output(at_lonely(&["send", "bob", "said to a leader that is none"])).await;
        let waited = asked.elapsed();
        assert!(
            !refused.status.success(),
            "an isolated leader has acknowledged: {refused:?}"
        );
        assert!(waited < IMPATIENCE + Duration::from_secs(1), "{waited:?}");
        let fresh = output(at_lonely(&["read", "--with", "bob", "--limit", "1"])).await;
        assert!(
            !fresh.status.success(),
            "a linearizable read without a majority: {fresh:?}"
        );
        let stale = output(at_lonely(&[
            "read", "--with", "bob", "--limit", "1", "--stale",
        ]))
        .await;
        assert!(
            stale.status.success() && !stale.stdout.is_empty(),
            "{stale:?}"
        );
        talk.go_on(2 * MESSAGES).await;
        let stall = talk.stall_since(since);
        self.say(&format!(
            "host {leader} was cut off while it led: it acknowledged nothing, refused within \
             {waited:.1?}, and answered a stale read; the others paused for {stall:?}"
        ));
        assert!(stall < STALL_MAX, "{stall:?}");
        self.lab.plug_in(leader);
        self.has_voters(5).await;
        talk.go_on(MESSAGES).await;
    }

    /// Drops what one host sends, then what is sent to it.
    async fn one_direction_is_lost(&self, talk: &Talk) {
        for deaf in [false, true] {
            let leader = self.leader().await;
            let others = [self.others(&[leader]), vec![DESK]].concat();
            let since = Instant::now();
            if deaf {
                others
                    .iter()
                    .for_each(|host| self.lab.mute(*host, &[leader]));
            } else {
                self.lab.mute(leader, &others);
            }
            talk.go_on(2 * MESSAGES).await;
            let stall = talk.stall_since(since);
            let what = if deaf { "hears" } else { "says" };
            self.say(&format!(
                "nothing arrives of what host {leader} {what} (it led); longest pause {stall:?}"
            ));
            assert!(stall < 2 * STALL_MAX, "{stall:?}");
            if deaf {
                others
                    .iter()
                    .for_each(|host| self.lab.unmute(*host, &[leader]));
            } else {
                self.lab.unmute(leader, &others);
            }
            self.has_voters(5).await;
            talk.go_on(MESSAGES).await;
        }
    }

    /// Kills a host for good and replaces it with another one.
    async fn a_dead_host_is_replaced(&mut self, talk: &Talk) {
        let leader = self.leader().await;
        let dead = self.others(&[leader])[0];
        let mut node = self.nodes.remove(&dead).unwrap();
        node.kill().await;
        self.lab.unplug(dead);
        let number = self.numbers.remove(&dead).unwrap();
        let began = Instant::now();
        self.join(6, &["--replaces", &number.to_string()]).await;
        self.has_voters(5).await;
        let took = began.elapsed();
        let status = self.status().await.unwrap();
        let members: Vec<u64> = status.nodes.iter().map(|node| node.node_id).collect();
        assert!(!members.contains(&number), "{members:?}");
        assert_eq!(status.tolerates_failures, 2);
        talk.go_on(MESSAGES).await;
        self.say(&format!(
            "host {dead} is dead; host 6 votes in its place after {took:.1?}, under number {}",
            self.numbers[&6]
        ));
    }

    /// Checks that every node has all acknowledged messages, once and in order.
    async fn nothing_was_lost(self, talk: Talk) {
        let acknowledged = talk.finish().await;
        self.is_on_every_host(&self.alice_token, "bob", &acknowledged)
            .await;
        self.say(&format!(
            "{} messages were acknowledged; hosts {:?} have each of them once, in order, and \
             nothing else",
            acknowledged.len(),
            self.others(&[])
        ));
    }

    /// Waits until every node has exactly the acknowledged messages of a conversation.
    async fn is_on_every_host(&self, token: &str, peer: &str, acknowledged: &[String]) {
        let deadline = Instant::now() + PATIENCE;
        for host in self.others(&[]) {
            let at_node = || client(&self.authority, &[host], Some(token));
            loop {
                let texts = all_texts(at_node, peer).await;
                let there: BTreeSet<&String> = texts.iter().collect();
                let missing = acknowledged
                    .iter()
                    .filter(|text| !there.contains(text))
                    .count();
                if missing == 0 {
                    assert_eq!(texts, acknowledged, "host {host} has something else");
                    break;
                }
                assert!(
                    Instant::now() < deadline,
                    "host {host} lacks {missing} messages"
                );
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// Returns a client at the desk that knows these hosts.
fn client(authority: &Authority, hosts: &[u8], token: Option<&str>) -> Client {
    let builder = Client::builder().pinned(authority);
    let builder = builder.endpoints(hosts.iter().map(|host| endpoint(*host)));
    match token {
        Some(token) => builder.token(token).build().unwrap(),
        None => builder.build().unwrap(),
    }
}

async fn output(command: Command) -> std::process::Output {
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true).output().await.unwrap()
}
