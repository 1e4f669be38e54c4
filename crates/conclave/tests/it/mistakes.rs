//! Values that operators mistype or leave behind are refused with a sentence, or do no harm.

use std::fs;

use conclave_server::ClusterSecret;
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    command::{ANY_PORT, Home, Served, run},
    support::until,
    witness::{PASSWORD, sign_up},
};

/// The exit code of a command line that is wrong.
const USAGE: i32 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn invalid_addresses_are_refused_before_anything_is_created() {
    let home = Home::new().await;
    let wrong: [(&[&str], &str); 9] = [
        (&["--advertise", "127.0.0.1:22400"], "a host has no port"),
        (&["--advertise", ""], "the host is empty"),
        (&["--advertise", "chat.example/"], "no slash"),
        (&["--advertise", "my host"], "no blanks"),
        (&["--advertise", "fe80::1%lo"], "one machine only"),
        (&["--join", "::1:7401"], "in brackets"),
        (&["--join", "https://chat.example:7401"], "no scheme"),
        (
            &["--members", "1=0.0.0.0:7401/10.0.0.1:7400"],
            "every address",
        ),
        (
            &["--members", "1=10.0.0.1:7401/10.0.0.256:7400"],
            "not an IPv4",
        ),
    ];
    for (flags, sentence) in wrong {
        let refused = home.try_alone("data", flags, &[]).await;
        refused.unwrap_err().failed(USAGE, sentence);
        assert!(!home.path("data").exists(), "{flags:?}");
    }
    // The client checks addresses by the same rules as the server.
    let person = crate::command::Person::new(&["::1:22400".to_owned()]);
    let refused = person.run(&["cluster", "status"]).await;
    refused.failed(USAGE, "in brackets");
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_of_the_first_start_do_no_harm() {
    let home = Home::new().await;
    let left_over = [("CONCLAVE_JOIN_TOKEN", "conclave-join-1.used-long-ago")];
    let new = home.try_alone("data", &[], &left_over).await;
    new.unwrap_err().failed(USAGE, "CONCLAVE_JOIN_TOKEN");
    let node = home.alone("data").await;
    sign_up(&node.client(), "alice").await;
    node.stop().await;
    let node = home.try_alone("data", &[], &left_over).await.unwrap();
    node.client().login("alice", PASSWORD).await.unwrap();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unused_signals_are_ignored_and_sighup_reloads_the_settings() {
    let home = Home::new().await;
    let file = home.path("conclave.toml");
    fs::write(&file, "log = \"warn\"\n").unwrap();
    let mut node = home
        .try_alone("data", &["--config", file.to_str().unwrap()], &[])
        .await
        .unwrap();
    let pid = Pid::from_raw(i32::try_from(node.pid()).unwrap()).unwrap();
    for signal in [Signal::USR1, Signal::USR2, Signal::PIPE] {
        kill_process(pid, signal).unwrap();
    }
    sign_up(&node.client(), "alice").await;
    assert!(!node.log().contains("were reloaded"), "{}", node.log());
    fs::write(&file, "log = \"no such=filter=at all\"\n").unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    until("a bad filter changes nothing", async || {
        node.log()
            .contains("failed to reload the settings")
            .then_some(())
    })
    .await;
    fs::write(&file, "log = \"debug\"\n").unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    until("it logs more", async || {
        node.log().contains("settings were reloaded").then_some(())
    })
    .await;
    assert!(node.has_ended().is_none());
    node.client().login("alice", PASSWORD).await.unwrap();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn joining_at_the_client_port_is_named_as_the_mistake() {
    let home = Home::new().await;
    let data = |name: &str| home.path(name).display().to_string();
    let addresses = ["--client-address", ANY_PORT, "--peer-address", ANY_PORT];
    let first = data("first");
    let args = [&["--data", first.as_str()][..], &addresses].concat();
    let mut one = Served::start_encrypted(&home.path("one.log"), &args)
        .await
        .unwrap();
    let fingerprint = one.says("fingerprint ").await;
    let person = crate::command::Person::new(std::slice::from_ref(&one.client_address));
    home.operator().await;
    let file = home.path("first").join("operator.token");
    let mut create = person.command(&["token", "create", "-o", "json"]);
    create.env("CONCLAVE_OPERATOR_FILE", file);
    create.env("CONCLAVE_FINGERPRINT", fingerprint);
    let made = run(create, b"").await.json();
    let token = made[0]["token"].as_str().unwrap();
    let second = data("second");
    let flags = ["--data", &second, "--join", &one.client_address];
    let lost = [&["serve"][..], &flags, &addresses].concat();
    let mut lost = crate::command::program(&lost);
    // White space that was copied with it does not matter.
    lost.env("CONCLAVE_JOIN_TOKEN", format!(" {token}\n"));
    let log = home.path("two.log");
    lost.stderr(fs::File::create(&log).unwrap());
    let mut lost = lost.spawn().unwrap();
    until("it names the cause", async || {
        let said = fs::read_to_string(&log).unwrap();
        said.contains("is it the port for clients?").then_some(())
    })
    .await;
    lost.kill().await.unwrap();
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn differing_member_lists_are_logged_once_without_peer_flapping() {
    let home = Home::new().await;
    let ports = conclave_local_cluster::Ports::free(2).expect("there are free ports");
    let (one, two) = (ports.peer(1), ports.peer(2));
    let list = |first: &str| format!("1={first}/{},2={two}/{}", ports.client(1), ports.client(2));
    let secret = home.path("secret");
    fs::write(&secret, ClusterSecret::generate().unwrap().to_text()).unwrap();
    let secret = secret.display().to_string();
    let written = [list(&one), list(&one.replace("127.0.0.1", "localhost"))];
    let mut nodes = Vec::new();
    for (number, members) in (1..).zip(&written) {
        let data = home.path(&format!("data-{number}")).display().to_string();
        let (client, peer) = (ports.client(number), ports.peer(number));
        let number = number.to_string();
        let args = ["--data", &data, "--node", &number, "--members", members];
        let places = ["--client-address", &client, "--peer-address", &peer];
        let log = home.path(&format!("{number}.log"));
        let args = [&args[..], &places, &["--secret-file", &secret]].concat();
        nodes.push(Served::start(&log, &args, &[]).await.unwrap());
    }
    until("one says how the lists differ", async || {
        let mut logs = nodes.iter().map(Served::log);
        let told = |log: String| log.contains("same list, letter by letter") && log.contains(&one);
        logs.any(told).then_some(())
    })
    .await;
    for node in &nodes {
        let log = node.log();
        assert!(!log.contains("peer reachable"), "{log}");
    }
    for node in nodes {
        node.kill().await;
    }
}
