//! The panel of a demonstration breaks real nodes, and nothing is lost.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use conclave_client::{Client, Freshness, v1::AccountRole};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    process::{Child, Command},
    sync::SemaphorePermit,
    time::timeout,
};

use crate::support::{PATIENCE, turn, until};

/// What the program prints before the address of the panel.
const PROMPT: &str = "watch and break it: http://";

/// A demonstration that runs.
struct Show {
    child: Child,
    stderr: BufReader<tokio::process::ChildStderr>,
    /// Address of the first node, and the secret.
    node: String,
    secret: String,
    panel: String,
    directory: TempDir,
    _turn: SemaphorePermit<'static>,
}

impl Show {
    async fn start(args: &[&str]) -> Self {
        let turn = turn().await;
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_conclave"))
            .arg("demo")
            .args(args)
            .env("TMPDIR", directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let address = timeout(PATIENCE, async {
            loop {
                let before = said.len();
                let read = stderr.read_line(&mut said).await.unwrap();
                assert!(read > 0, "no address: {said}");
                if let Some(address) = said[before..].trim().strip_prefix(PROMPT) {
                    return address.to_owned();
                }
            }
        });
        let address = address.await.unwrap();
        let (node, secret) = address.split_once("/cluster#demo=").unwrap();
        let (node, secret) = (node.to_owned(), secret.to_owned());
        let config: Value = serde_json::from_str(&get(&node, "/page/config.json").await.1).unwrap();
        let panel = config["demo"].as_str().unwrap().replace("http://", "");
        Self {
            child,
            stderr,
            node,
            secret,
            panel,
            directory,
            _turn: turn,
        }
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let Self { panel, secret, .. } = self;
        let head = format!("{method} {path} HTTP/1.1\r\nauthorization: Bearer {secret}\r\n");
        let (head, body) = exchange(panel, &head, body).await;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(&body).unwrap())
    }

    async fn state(&self) -> Value {
        self.ask("GET", "/state", "").await.1
    }

    async fn act(&self, node: u64, act: &str) {
        let (status, answer) = self.ask("POST", &format!("/nodes/{node}/{act}"), "").await;
        assert_eq!(status, 200, "{act} {node}: {answer}");
    }

    /// Waits until a node leads that is none of these, and returns it.
    async fn another_leader(&self, than: &[u64]) -> u64 {
        until("another node leads", async || {
            let state = self.state().await;
            let mut nodes = state["nodes"].as_array().unwrap().iter();
            let leader = nodes.find(|node| node["leader"] == true)?;
            let leader = leader["node"].as_u64().unwrap();
            (!than.contains(&leader)).then_some(leader)
        })
        .await
    }

    /// Waits until so many more messages were acknowledged.
    async fn goes_on(&self, more: u64) {
        let acked = |state: &Value| state["counts"]["acked"].as_u64().unwrap();
        let before = acked(&self.state().await);
        until("messages are acknowledged", async || {
            (acked(&self.state().await) >= before + more).then_some(())
        })
        .await;
    }

    fn logs(&self) -> String {
        let runs = fs::read_dir(self.directory.path()).unwrap();
        let logs = runs.flat_map(|run| {
            let nodes = (1..=9).map(move |node| format!("node-{node}/node.log"));
            let run = run.unwrap().path();
            nodes.filter_map(move |log| fs::read_to_string(run.join(log)).ok())
        });
        logs.collect()
    }

    fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap());
        kill_process(pid.unwrap(), signal).unwrap();
    }

    async fn end(mut self) -> (Output, TempDir) {
        let mut said = Vec::new();
        let reading = self.stderr.read_to_end(&mut said);
        timeout(2 * PATIENCE, reading).await.unwrap().unwrap();
        let ended = timeout(PATIENCE, self.child.wait_with_output());
        let mut ended = ended.await.unwrap().unwrap();
        ended.stderr = said;
        (ended, self.directory)
    }
}

async fn exchange(address: &str, head: &str, body: &str) -> (String, String) {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        let length = body.len();
        let text = format!(
            "{head}host: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(text.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = timeout(PATIENCE, asked).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

async fn get(address: &str, path: &str) -> (String, String) {
    exchange(address, &format!("GET {path} HTTP/1.1\r\n"), "").await
}

/// Returns the processes that this one has started.
fn children(pid: u32) -> Vec<u32> {
    let list = |task: PathBuf| fs::read_to_string(task.join("children")).unwrap_or_default();
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let lists: String = tasks.map(|task| list(task.unwrap().path()) + " ").collect();
    lists
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

fn runs(pid: &u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

async fn are_gone(nodes: &[u32]) {
    until("no process is left", async || {
        (!nodes.iter().any(runs)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_breaks_nodes_and_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("report.html");
    let path = report.display().to_string();
    let show = Show::start(&["--serve", "-o", "json", "--report", &path]).await;
    let nodes = children(show.pid());
    assert_eq!(nodes.len(), 5);
    // The page may ask the panel, and nothing else besides the nodes.
    let (head, _) = get(&show.node, "/cluster").await;
    let policy = head
        .lines()
        .find(|line| line.starts_with("content-security-policy"));
    assert!(
        policy.unwrap().contains(&format!(" http://{}", show.panel)),
        "{head}"
    );
    // The account of the panel is an administrator.
    let account = show.ask("GET", "/account", "").await.1;
    let text = |name: &str| account[name].as_str().unwrap().to_owned();
    let client = Client::builder()
        .endpoints([show.node.clone()])
        .build()
        .unwrap();
    let login = client
        .login(&text("name"), &text("password"))
        .await
        .unwrap();
    let client = client.with_token(&login.token).unwrap();
    let session = client.session(Freshness::Linearizable).await.unwrap();
    let role = session.account.unwrap().role();
    assert_eq!(role, AccountRole::Admin);

    show.goes_on(50).await;
    let first = show.another_leader(&[]).await;
    show.act(first, "kill").await;
    let second = show.another_leader(&[first]).await;
    show.goes_on(50).await;
    show.act(second, "cut-off").await;
    let third = show.another_leader(&[first, second]).await;
    show.goes_on(50).await;
    // A third failure takes the majority: sending waits, and goes on when it is over.
    show.act(third, "pause").await;
    let state = show.state().await;
    assert_eq!(
        (&state["majority"], &state["down"]),
        (&false.into(), &3.into())
    );
    until("all messages wait", async || {
        let state = show.state().await;
        let beats = state["beats"].as_array().unwrap();
        let silent = beats.iter().rev().take(5).all(|beat| beat[0] == 0);
        (silent && state["counts"]["under_way"] == 8).then_some(())
    })
    .await;
    assert_eq!(show.ask("POST", "/heal", "").await.0, 200);
    show.goes_on(50).await;

    // A wrong clock is noticed by the node, and slow disks by those who send.
    let leader = show.another_leader(&[]).await;
    show.act(leader, "skew").await;
    until("the node knows that its clock is off", async || {
        let logs = show.logs();
        logs.contains("the clock of this node is off").then_some(())
    })
    .await;
    for node in 1..=5 {
        show.act(node, "slow").await;
    }
    until("each message waits for a disk", async || {
        let state = show.state().await;
        let newest = state["beats"].as_array()?.last()?[1].as_u64()?;
        (newest > 100_000).then_some(())
    })
    .await;
    let load = "{\"on\":false,\"rate\":50}";
    assert_eq!(show.ask("POST", "/load", load).await.0, 200);
    until("everything was read, once", async || {
        let state = show.state().await;
        let (counts, found) = (&state["counts"], &state["found"]);
        assert_eq!(
            (&found["lost"], &found["twice"]),
            (&0.into(), &0.into()),
            "{state}"
        );
        (counts["under_way"] == 0 && counts["acked"] == found["verified"]).then_some(())
    })
    .await;

    show.signal(Signal::INT);
    let (ended, _directory) = show.end().await;
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{}: {said}", ended.status);
    assert!(said.contains("healing every node"), "{said}");
    assert!(
        said.contains("3 of 5 down: no majority: sending waits"),
        "{said}"
    );
    let result: Value = serde_json::from_slice(&ended.stdout).unwrap();
    for broken in ["lost", "duplicated", "reordered", "invented"] {
        assert_eq!(result[broken], 0, "{result}");
    }
    assert_eq!(result["digests_equal"], true, "{result}");
    assert!(result["acked"].as_u64().unwrap() > 200, "{result}");
    is_shown(&report, first);
    are_gone(&nodes).await;
}

/// Checks that the report says what happened, and loads nothing.
fn is_shown(report: &Path, killed: u64) {
    let page = fs::read_to_string(report).unwrap();
    for said in [
        &*format!("kill -9 node {killed}, the leader"),
        "once and in order",
        "3 of 5 down: no majority",
        "nothing was acknowledged for ",
        "everything is healed",
    ] {
        assert!(page.contains(said), "{said}");
    }
    assert_eq!(page.matches("<svg").count(), 3);
    for foreign in ["<script", "http:", "https:", "src="] {
        assert!(!page.contains(foreign), "{foreign}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_node_outlives_the_demonstration() {
    // No person has opened the panel: it ends at once.
    let show = Show::start(&["--seconds", "600"]).await;
    let nodes = children(show.pid());
    assert_eq!(nodes.len(), 5);
    show.signal(Signal::INT);
    let (ended, _directory) = show.end().await;
    assert_eq!(ended.status.code(), Some(130), "{}", ended.status);
    are_gone(&nodes).await;

    // It is open, a node hangs, and the program is killed.
    let show = Show::start(&["--seconds", "600", "--kill", "0"]).await;
    let nodes = children(show.pid());
    show.act(2, "pause").await;
    show.signal(Signal::KILL);
    let _ = show.end().await;
    are_gone(&nodes).await;
}
