//! The examples of `docs/protocol.md` are run as they stand there, in order, against a node.
//!
//! Where grpcurl is installed it runs them. Elsewhere the same lines are parsed and called here:
//! the descriptors come from the node by reflection, so nothing generated takes part. An RPC
//! without an example fails, and so does a line that the parser does not know.

use std::collections::{BTreeMap, BTreeSet};

use conclave_local_cluster::{Bootstrap, LocalCluster, Options, Ports};
use serde_json::Value;
use tokio::{process::Command, time::timeout};

use crate::support::{PATIENCE, turn, until};

use call::{Answer, Remote};
use lines::{Expected, Invocation, Line};

pub(crate) mod call;
mod lines;

/// Address of the node in the document.
const ADDRESS: &str = "127.0.0.1:7400";
const PROTOCOL: &str = include_str!("../../../../docs/protocol.md");
/// Prefix of the services that belong to the protocol.
const PACKAGE: &str = "conclave.v1.";

#[tokio::test(flavor = "multi_thread")]
async fn every_example_of_the_protocol_works() {
    let _turn = turn().await;
    let directory = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::prepare(Options {
        program: env!("CARGO_BIN_EXE_conclave").into(),
        directory: directory.path().to_owned(),
        nodes: 1,
        initial_members: 1,
        bootstrap: Bootstrap::Numbered,
        ports: Ports::free(1).expect("there are free ports"),
        plain: true,
        relays: false,
        settings: None,
        environment: BTreeMap::new(),
    })
    .unwrap();
    cluster.start_all().await.unwrap();
    let mut tokens = cluster.setup_token();
    let token = timeout(PATIENCE, tokens.wait_for(Option::is_some)).await;
    let token = token.expect("it prints a setup token").unwrap().clone();
    let operator = until("a node has written it", async || cluster.operator()).await;
    let mut story = Story {
        variables: BTreeMap::from([
            ("SETUP_TOKEN".to_owned(), token.unwrap()),
            ("OPERATOR".to_owned(), operator.to_text()),
        ]),
        remote: Remote::connect(&cluster.endpoint(1)).await,
        is_installed: Command::new("grpcurl")
            .arg("-version")
            .output()
            .await
            .is_ok(),
        called: BTreeSet::new(),
    };
    let document = PROTOCOL.replace(ADDRESS, &cluster.endpoint(1));
    for line in lines::of(&document) {
        story.tell(&line).await;
    }
    let all = story.remote.methods(PACKAGE);
    assert!(all.len() > 40, "reflection tells too little: {all:?}");
    let without: Vec<_> = all.difference(&story.called).collect();
    assert!(without.is_empty(), "no example calls these: {without:?}");
}

/// State that the commands so far have left.
struct Story {
    variables: BTreeMap<String, String>,
    remote: Remote,
    is_installed: bool,
    called: BTreeSet<String>,
}

impl Story {
    async fn tell(&mut self, line: &Line) {
        let words = lines::words(&line.command, &self.variables);
        let invocation = Invocation::parse(&words);
        if let Some(data) = &invocation.data {
            // Without this check, no message would say which example is not valid JSON.
            let json: Result<Value, _> = serde_json::from_str(data);
            assert!(json.is_ok(), "no JSON: {line:?}");
        }
        if invocation.target.contains('/') {
            self.called.insert(invocation.target.clone());
        }
        let answer = if self.is_installed {
            run(&words[1..], invocation.seconds.is_some()).await
        } else {
            self.remote.run(&invocation).await
        };
        check(line, &answer);
        if let Some((name, path)) = &line.variable {
            let value = answer.messages.first().and_then(|one| lines::at(one, path));
            let value = value.unwrap_or_else(|| panic!("no {path}: {line:?} {answer:?}"));
            let value = value.as_str().map_or(value.to_string(), str::to_owned);
            self.variables.insert(name.clone(), value);
        }
    }
}

/// Checks that the answer is what the line shows below it, or that the command succeeded if it
/// shows nothing.
fn check(line: &Line, answer: &Answer) {
    let reason = line.expected.iter().find_map(|expected| match expected {
        Expected::Reason(reason) => Some(reason.as_str()),
        Expected::Message(_) => None,
    });
    assert_eq!(answer.reason.as_deref(), reason, "{line:?} {answer:?}");
    for expected in &line.expected {
        if let Expected::Message(shown) = expected {
            let is_there = answer.messages.iter().any(|one| lines::has(one, shown));
            assert!(is_there, "{shown} is not there: {line:?} {answer:?}");
        }
    }
}

/// Runs grpcurl itself. `ends`: the stream stops after its time, which grpcurl calls an error.
async fn run(words: &[String], ends: bool) -> Answer {
    let command = Command::new("grpcurl")
        .arg("-format-error")
        .args(words)
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, command).await.expect("it ends").unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let messages: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(&said)
        .into_iter()
        .collect();
    let reason = if output.status.success() || ends {
        None
    } else {
        let told = String::from_utf8_lossy(&output.stderr);
        let reason = told.split("\"reason\": \"").nth(1);
        let reason = reason.and_then(|rest| rest.split('"').next());
        Some(reason.unwrap_or(&told).to_owned())
    };
    Answer {
        // `list` and `describe` print no JSON.
        messages: messages.unwrap_or_else(|_| vec![Value::String(said)]),
        reason,
    }
}
