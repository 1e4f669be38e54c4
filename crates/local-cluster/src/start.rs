//! Starts the nodes of a local cluster and waits until they serve.
//!
//! A throw-away cluster whose ports another process has taken moves to other ports, a few times.

use std::{fs, io::ErrorKind, path::Path, time::Duration};

use futures::future::try_join_all;
use tokio::{process::Command, time::timeout};

use super::{
    Bootstrap, ClusterError, LISTEN_LIMIT, LocalCluster, Node, Options, Phase, Ports, file,
    process, relay, secret_file,
};

/// Maximum number of blocks of ports that a throw-away cluster tries.
const MOVES_MAX: u32 = 5;
/// Maximum number of bytes read of a log to say why a node ended.
const REASON_BYTES_MAX: usize = 4096;
/// Host of the relays, which nodes behind them advertise.
const RELAYS: &str = "127.0.0.1";

impl LocalCluster {
    /// Starts all nodes and waits until they listen and a leader leads them all.
    pub async fn start(options: Options, limit: Duration) -> Result<Self, ClusterError> {
        let cluster = Self::start_listening(options).await?;
        cluster.wait_until_caught_up(limit).await?;
        Ok(cluster)
    }

    async fn start_listening(mut options: Options) -> Result<Self, ClusterError> {
        let mut moves = 0;
        loop {
            let cluster = Self::prepare(options.clone())?;
            let error = match cluster.start_all().await {
                Ok(()) => return Ok(cluster),
                Err(error) => error,
            };
            moves += 1;
            if !options.ports.may_move() || !is_port_taken(&error) || moves >= MOVES_MAX {
                return Err(error);
            }
            for node in cluster.nodes() {
                cluster.kill(node).await?;
                // The directory may already hold the addresses of the members, and nothing else.
                remove(&cluster.directory(node))?;
            }
            let nodes = options.nodes;
            options.ports = Ports::free(nodes).ok_or(ClusterError::NoPorts { nodes })?;
        }
    }

    /// Starts the nodes that do not run, and waits until they listen.
    pub async fn start_all(&self) -> Result<(), ClusterError> {
        let nodes = self.nodes().into_iter();
        let resting = nodes.filter(|node| self.slot(*node).is_none());
        // The first node that fails is the reason: others may wait for it.
        let started = try_join_all(resting.map(|node| self.start_node(node)));
        started.await.map(drop)
    }

    /// Starts this node on its addresses and with its data, and waits until it listens.
    pub async fn start_node(&self, node: u64) -> Result<(), ClusterError> {
        let directory = self.directory(node);
        fs::create_dir_all(&directory).map_err(file(&directory))?;
        let log = self.log_path(node);
        let said_before = fs::metadata(&log).map_or(0, |log| log.len());
        let running = Node::spawn(self.command(node), &log, self.setup_token.clone())
            .map_err(process(node, "start"))?;
        if let Some(relays) = &self.relays {
            relays.has_started(node, running.pid());
        }
        let mut phase = running.phase();
        *self.slot(node) = Some(running);
        let listening = phase.wait_for(|phase| *phase >= Phase::Listening);
        let reached = timeout(LISTEN_LIMIT, listening)
            .await
            .map(|phase| phase.map_or(Phase::Ended, |phase| *phase));
        match reached {
            Ok(Phase::Started | Phase::Listening | Phase::Ready) => Ok(()),
            Ok(Phase::Ended) => {
                self.kill(node).await?;
                let reason = reason(&log, said_before);
                Err(ClusterError::Ended { node, reason })
            }
            Err(_) => {
                self.kill(node).await?;
                let limit = LISTEN_LIMIT;
                Err(ClusterError::Silent { node, limit })
            }
        }
    }

    /// Returns the address at which this node answers probes and serves its metrics.
    pub fn admin_address(&self, node: u64) -> String {
        self.options.ports.admin(node)
    }

    fn command(&self, node: u64) -> Command {
        let options = &self.options;
        let mut command = Command::new(&options.program);
        command
            .arg("serve")
            .arg("--data")
            .arg(self.directory(node))
            .args(["--client-address", &self.endpoint(node)])
            .args(["--peer-address", &self.listens(node)])
            .args(["--admin-address", &self.admin_address(node)])
            .args(self.relays.iter().flat_map(|_| ["--advertise", RELAYS]))
            .args(self.belonging(node))
            .args(options.plain.then_some("--plain"))
            .args(["--die-with-parent", &std::process::id().to_string()])
            .env("NO_COLOR", "1");
        // A variable that is meant for one node alone must not reach all of them.
        for variable in [
            "CONFIG",
            "DATA",
            "NODE",
            "CLIENT_ADDRESS",
            "PEER_ADDRESS",
            "ADMIN_ADDRESS",
            "MEMBERS",
            "JOIN",
            "PLAIN",
            "JOIN_TOKEN",
            "SECRET_FILE",
            "BOOTSTRAP_EXPECT",
            "REPLACES",
            "WITNESS",
            "ADVERTISE",
            "TLS_CERTIFICATE",
            "TLS_KEY",
        ] {
            command.env_remove(format!("CONCLAVE_{variable}"));
        }
        if options.settings.is_some() {
            command.arg("--config").arg(self.settings_file(node));
        }
        if let Some(token) = self.tokens().get(&node) {
            command.env("CONCLAVE_JOIN_TOKEN", token);
        }
        for (name, value) in options.environment.get(&node).into_iter().flatten() {
            command.env(name, value);
        }
        command
    }

    /// Returns the address on which this node listens for its peers.
    fn listens(&self, node: u64) -> String {
        match &self.relays {
            Some(_) => relay::behind(self.options.ports, node).to_string(),
            None => self.peer_address(node),
        }
    }

    /// Returns the arguments with which a node finds its cluster.
    fn belonging(&self, node: u64) -> Vec<String> {
        let options = &self.options;
        let initial_members =
            (1..=options.initial_members).map(|initial_member| options.ports.peer(initial_member));
        let join = [
            "--join".to_owned(),
            initial_members.collect::<Vec<_>>().join(","),
        ];
        let number = ["--node".to_owned(), node.to_string()];
        let secret = secret_file(&options.directory).display().to_string();
        let secret = ["--secret-file".to_owned(), secret];
        if self.tokens().contains_key(&node) {
            return join.to_vec();
        }
        if node > options.initial_members {
            return [join, number, secret].concat();
        }
        match options.bootstrap {
            Bootstrap::Numbered => {
                let members = ["--members".to_owned(), members(options)];
                [members, number, secret].concat()
            }
            Bootstrap::Discovery => {
                let expect = [
                    "--bootstrap-expect".to_owned(),
                    options.initial_members.to_string(),
                ];
                [join, expect, secret].concat()
            }
        }
    }
}

fn members(options: &Options) -> String {
    let member = |node| {
        let (peer, client) = (options.ports.peer(node), options.ports.client(node));
        format!("{node}={peer}/{client}")
    };
    let members: Vec<String> = (1..=options.initial_members).map(member).collect();
    members.join(",")
}

fn is_port_taken(error: &ClusterError) -> bool {
    match error {
        ClusterError::Ended { reason, .. } => reason.to_lowercase().contains("in use"),
        _ => false,
    }
}

fn remove(directory: &Path) -> Result<(), ClusterError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(file(directory)(error)),
        _ => Ok(()),
    }
}

/// Returns why a node ended: its `error:` line, or else its last line.
fn reason(log: &Path, said_before: u64) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let before = usize::try_from(said_before).unwrap_or(usize::MAX);
    let said = bytes.get(before..).unwrap_or_default();
    let said = &said[said.len().saturating_sub(REASON_BYTES_MAX)..];
    let said = String::from_utf8_lossy(said);
    let mut lines = said.lines().rev();
    let last = lines
        .clone()
        .next()
        .unwrap_or("it printed nothing")
        .to_owned();
    let error = lines.find_map(|line| line.strip_prefix("error: "));
    error.map_or(last, str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_error_is_read_from_this_start_only() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("node.log");
        let earlier = "error: the old one\nhint: none\n";
        fs::write(
            &log,
            format!("{earlier}INFO start\nerror: port 1 is in use\nhint: x\n"),
        )
        .unwrap();
        let before = earlier.len() as u64;
        assert_eq!(reason(&log, before), "port 1 is in use");
        fs::write(&log, format!("{earlier}Killed")).unwrap();
        assert_eq!(reason(&log, before), "Killed");
        assert_eq!(reason(&log, 1000), "it printed nothing");
    }

    fn prepare(program: &Path, directory: &Path) -> LocalCluster {
        LocalCluster::prepare(Options {
            program: program.to_owned(),
            directory: directory.to_owned(),
            nodes: 1,
            initial_members: 1,
            bootstrap: Bootstrap::Numbered,
            ports: Ports::free(1).unwrap(),
            plain: true,
            relays: false,
            settings: None,
            environment: Default::default(),
        })
        .unwrap()
    }

    fn runs(pid: u32) -> bool {
        // A zombie, whose parent has not waited for it yet, has ended, too.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[tokio::test]
    async fn a_node_that_exits_at_start_is_reported_with_its_reason() {
        let directory = tempfile::tempdir().unwrap();
        let cluster = prepare(Path::new("/bin/false"), directory.path());
        let error = cluster.start_all().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "node 1 exited during its start: it printed nothing"
        );
        assert_eq!(cluster.pid(1), None);
    }

    #[tokio::test]
    async fn the_newest_setup_token_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake_node.sh");
        let cluster = prepare(&program, directory.path());
        cluster.start_all().await.unwrap();
        let mut token = cluster.setup_token();
        let newest = token.wait_for(|token| token.as_deref() == Some("NEWER"));
        timeout(LISTEN_LIMIT, newest).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn no_process_is_left_after_kill_stop_or_drop() {
        let directory = tempfile::tempdir().unwrap();
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake_node.sh");
        let cluster = prepare(&program, directory.path());
        cluster.start_all().await.unwrap();
        let killed = cluster.pid(1).unwrap();
        assert!(runs(killed));
        assert!(cluster.take_ended().unwrap().is_empty());
        cluster.kill(1).await.unwrap();
        assert!(!runs(killed));

        cluster.start_all().await.unwrap();
        let stopped = cluster.pid(1).unwrap();
        let ended = cluster.stop(1).await.unwrap().unwrap();
        assert!(!ended.success() && !runs(stopped), "{ended}");

        cluster.start_all().await.unwrap();
        let dropped = cluster.pid(1).unwrap();
        drop(cluster);
        let gone = async {
            while runs(dropped) {
                tokio::task::yield_now().await;
            }
        };
        timeout(LISTEN_LIMIT, gone).await.unwrap();
    }
}
