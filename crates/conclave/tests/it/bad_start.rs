//! A node that cannot run correctly does not start, or stops: it says why, and loses nothing.

use std::{fs, net::TcpListener};

use conclave_client::{Client, Freshness, Page};

use crate::{
    command::{ANY_PORT, Home, Served},
    readme::{blocks, document},
    witness::{client_of, person, sign_up},
};

/// Reads that see what other clients have had acknowledged.
const FRESH: Freshness = Freshness::Linearizable;

/// Creates alice, logs her in at this node and returns her client; she writes to herself.
async fn alice_at(node: &Served) -> Client {
    let login = sign_up(&node.client(), "alice").await;
    client_of(&node.client_address, &login.token)
}

async fn say(alice: &Client, text: &str) {
    alice.send(&person("alice"), text).await.unwrap();
}

async fn history(alice: &Client) -> Vec<String> {
    let page = alice
        .messages(&person("alice"), Page::Newest, 1000, FRESH)
        .await;
    let page = page.unwrap().messages;
    page.into_iter().map(|message| message.text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_of_another_node_is_refused() {
    let home = Home::new().await;
    let node = home.alone("data").await;
    let alice = alice_at(&node).await;
    say(&alice, "kept").await;
    node.stop().await;
    let other = home.try_alone("data", &["--node", "2"], &[]).await;
    other
        .unwrap_err()
        .failed(1, "belongs to node 1, not to node 2");
    let node = home.alone("data").await;
    let alice = alice_at(&node).await;
    assert_eq!(history(&alice).await, ["kept"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_in_use_is_refused() {
    let home = Home::new().await;
    let node = home.alone("data").await;
    let alice = alice_at(&node).await;
    let second = home.try_alone("data", &[], &[]).await;
    second.unwrap_err().failed(1, "is in use");
    say(&alice, "goes on").await;
    // A process that was killed holds no lock.
    node.kill().await;
    let node = home.alone("data").await;
    let alice = alice_at(&node).await;
    assert_eq!(history(&alice).await, ["goes on"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_a_clear_error() {
    let home = Home::new().await;
    let taken = TcpListener::bind(ANY_PORT).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--client-address", "--peer-address"] {
        let other = match flag {
            "--client-address" => "--peer-address",
            _ => "--client-address",
        };
        let data = home.path("data");
        let args = [
            "--data",
            data.to_str().unwrap(),
            flag,
            &address,
            other,
            ANY_PORT,
        ];
        let ran = Served::start(&home.path("log"), &args, &[])
            .await
            .unwrap_err();
        assert!(ran.stderr.contains("another address"), "{ran:?}");
        ran.failed(1, &format!("the address {address} for "));
        assert!(
            !data.exists(),
            "it touched the disk before it had its ports"
        );
    }
    drop(taken);
    let bad = home
        .try_alone("data", &["--log", "no=such=filter"], &[])
        .await;
    bad.unwrap_err().failed(2, "filter");
    home.alone("data").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_members_are_refused() {
    let home = Home::new().await;
    let wrong = [
        ("nonsense", "nonsense"),
        ("1=a:1", "two addresses"),
        ("x=a:1/a:2", "number"),
        ("0=a:1/a:2", "begin with 1"),
        ("1=a/a:2", "HOST:PORT"),
        ("1=:1/a:2", "no host"),
        ("1=a:1/a:99999", "65535"),
        ("1=a:1/a:2,1=b:1/b:2", "node 1 is named twice"),
        ("1=a:1/a:2,2=a:1/b:2", "a:1"),
        ("2=a:1/a:2", "node 1 is not among the members"),
    ];
    for (members, part) in wrong {
        let args = ["--members", members];
        home.try_alone("data", &args, &[])
            .await
            .unwrap_err()
            .failed(2, part);
        let variable = [("CONCLAVE_MEMBERS", members)];
        home.try_alone("data", &[], &variable)
            .await
            .unwrap_err()
            .failed(2, part);
    }
    let eight = (1..=8).map(|node| format!("{node}=h{node}:1/h{node}:2"));
    let eight: Vec<String> = eight.collect();
    let args = ["--members", &eight.join(",")];
    home.try_alone("data", &args, &[])
        .await
        .unwrap_err()
        .failed(2, "at most 7");
    assert!(
        !home.path("data").exists(),
        "a wrong start leaves nothing behind"
    );
}

#[cfg(not(feature = "otlp"))]
#[tokio::test(flavor = "multi_thread")]
async fn traces_that_the_program_cannot_send_are_refused() {
    let home = Home::new().await;
    let environment = [("CONCLAVE_TRACE_OTLP", "http://127.0.0.1:4317")];
    let refused = home.try_alone("data", &[], &environment).await;
    refused.unwrap_err().failed(2, "the feature `otlp`");
    let mut written = blocks(&document("docs/operations.md"), "toml").into_iter();
    let written = written.find(|block| block.starts_with("[trace]"));
    let file = home.path("traces.toml");
    fs::write(&file, written.unwrap()).unwrap();
    let args = ["--config", file.to_str().unwrap()];
    let refused = home.try_alone("data", &args, &[]).await;
    refused.unwrap_err().failed(2, "the feature `otlp`");
    for wrong in ["1.5", "-1", "many"] {
        let environment = [("CONCLAVE_TRACE_SAMPLE", wrong)];
        let refused = home.try_alone("data", &[], &environment).await;
        refused.unwrap_err().failed(2, "trace");
    }
    // How many calls would be traced says nothing about whether they are.
    let environment = [("CONCLAVE_TRACE_SAMPLE", "0.5")];
    let node = home.try_alone("data", &[], &environment).await.unwrap();
    node.stop().await;
}
