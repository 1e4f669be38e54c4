//! A node that cannot do right does not start, stops, or waits: it says why, and loses nothing.

use std::net::TcpListener;

use conclave_client::{Client, Freshness, Page};

use crate::{
    cluster::Ports,
    command::{ANY_PORT, Home, Served},
    small_disk::SmallDisk,
    support::until,
    witness::{client_of, person, sign_up},
};

/// Room for the log of a small node and its state; the mark is a tenth, the reserve a fortieth.
const DISK_MIB: u32 = 256;
/// So many messages of 8 KiB, each in the log and in the state, are more than the reserve.
const BEYOND_RESERVE: usize = 600;
/// What everybody else has acknowledged is seen.
const FRESH: Freshness = Freshness::Linearizable;

/// Somebody who is logged in at this node, to talk to herself.
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
    // A process that was killed holds nothing.
    node.kill().await;
    let node = home.alone("data").await;
    let alice = alice_at(&node).await;
    assert_eq!(history(&alice).await, ["goes on"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_no_node_and_loses_nothing() {
    let home = Home::new().await;
    let ports = Ports::free(3).expect("there are free ports");
    let Some(disk) = SmallDisk::mount(&home.path("small"), DISK_MIB) else {
        // Seen with `--nocapture`, and in the output of the continuous integration.
        eprintln!("SKIPPED: this machine lets nobody mount a small disk; run as root");
        return;
    };
    let data = [home.path("one"), home.path("two"), home.path("small/data")];
    let start = async |node: u64, data| home.one_of_three(ports, node, data).await.unwrap();
    // The third comes last, so that it does not lead.
    let (one, two) = tokio::join!(start(1, &data[0]), start(2, &data[1]));
    let mut small = start(3, &data[2]).await;
    let login = sign_up(&one.client(), "alice").await;
    let both = Client::builder().endpoints([&one.client_address, &two.client_address]);
    let client = both.token(&login.token).build().unwrap();
    let mut sent = Vec::new();
    let mut say = async || {
        let text = format!("{} {}", sent.len(), "x".repeat(8 * 1024));
        client.send(&person("alice"), text.clone()).await.unwrap();
        sent.push(text);
    };
    say().await;
    disk.fill();
    until("the node knows how its disk is", async || {
        small
            .log()
            .contains("the reserve is given up")
            .then_some(())
    })
    .await;
    // The others go on while the disk of the third takes no more.
    for _ in 0..BEYOND_RESERVE {
        say().await;
    }
    assert_eq!(small.has_ended(), None, "{}", small.log());
    assert!(!small.log().contains("panicked"), "{}", small.log());
    disk.make_room();
    say().await;
    let third = client_of(&small.client_address, &login.token);
    let alices = person("alice");
    let seen = until("the third node has everything", async || {
        let stale = Freshness::Stale { min_position: 0 };
        let page = third.messages(&alices, Page::Newest, 1000, stale).await;
        let page = page.ok()?.messages;
        (page.last()?.sequence == sent.len() as u64).then_some(page)
    })
    .await;
    let seen: Vec<String> = seen.into_iter().map(|message| message.text).collect();
    assert_eq!(seen, sent[sent.len() - seen.len()..]);
    assert_eq!(small.has_ended(), None, "{}", small.log());
    for node in [one, two, small] {
        node.kill().await;
    }
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
