//! Backups of a cluster that serves: taken under load, verified, and restored as a new cluster.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use conclave_client::{CallError, Client, Freshness, Page, Reason, core::Sequence};
use conclave_server::OPERATOR_FILE;
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    command::{ANY_PORT, Person, Ran, Served, run},
    readme::{blocks, document},
    support::{Cluster, PATIENCE, until},
    witness::{PASSWORD, Witness, client_of, person, stranger_at},
};

/// Lifetime of a token.
const HOUR: Duration = Duration::from_secs(3600);

/// An operator at a terminal, with the files that the commands of the documents name.
struct Desk {
    operator: Person,
    credential: PathBuf,
    files: tempfile::TempDir,
}

impl Desk {
    async fn at(cluster: &Cluster) -> Self {
        let nodes = cluster.nodes().into_iter();
        let endpoints: Vec<String> = nodes.map(|node| cluster.endpoint(node)).collect();
        Self {
            operator: Person::new(&endpoints),
            credential: cluster.operator_file().await,
            files: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Runs a command of an operator.
    async fn run(&self, args: &[&str]) -> Ran {
        let credential = self.credential.to_str().unwrap();
        let args = [args, &["--operator-file", credential]].concat();
        self.operator.run(&args).await
    }

    async fn backup(&self, file: &Path) -> Value {
        let args = ["backup", file.to_str().unwrap(), "-o", "json"];
        self.run(&args).await.json().remove(0)
    }

    async fn verify(&self, file: &Path) -> Ran {
        let scratch = self.files.path().to_str().unwrap();
        let args = ["backup", "verify", file.to_str().unwrap(), "-o", "json"];
        let args = [&args[..], &["--scratch", scratch]].concat();
        self.operator.run(&args).await
    }

    async fn restore(&self, file: &Path, data: &Path) -> Ran {
        let (file, data) = (file.to_str().unwrap(), data.to_str().unwrap());
        let args = ["restore", file, "--data", data, "-o", "json"];
        self.operator.run(&args).await
    }

    fn files(&self) -> Vec<String> {
        let names = fs::read_dir(self.files.path()).unwrap();
        let names = names.map(|name| name.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Starts a node with this directory; `more` are further arguments.
async fn serve(data: &Path, more: &[&str]) -> Served {
    let (data_text, log) = (data.to_str().unwrap(), data.with_extension("served-log"));
    let args = [
        "--data",
        data_text,
        "--client-address",
        ANY_PORT,
        "--peer-address",
        ANY_PORT,
    ];
    let served = Served::start(&log, &[&args[..], more].concat(), &[]).await;
    served.unwrap_or_else(|ran| panic!("it does not start: {ran:?}"))
}

/// Returns the texts of a conversation with this account, in order.
async fn texts(client: &Client, with: &str) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    loop {
        let after = Page::After(Sequence(texts.len() as u64));
        let fresh = Freshness::Linearizable;
        let page = client
            .messages(&person(with), after, 1000, fresh)
            .await
            .unwrap();
        if page.messages.is_empty() {
            return texts;
        }
        texts.extend(page.messages.into_iter().map(|message| message.text));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_becomes_a_new_cluster_with_everything() {
    let cluster = Cluster::start(3).await;
    let desk = Desk::at(&cluster).await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    // The digest of one node after each entry, while another may make the backup.
    let (asker, endpoint) = (cluster.operator_client().await, cluster.endpoint(1));
    let stop = Arc::new(AtomicBool::new(false));
    let (talking, is_over) = (alice.clone(), stop.clone());
    let (progress, mut said_so_far) = tokio::sync::watch::channel(0_usize);
    let load = tokio::spawn(async move {
        let mut digests = BTreeMap::new();
        let mut said = 0;
        while !is_over.load(Ordering::Relaxed) {
            let sent = talking.say().await.expect("no message fails");
            said += 1;
            let index = sent.position.index();
            let digest = asker.state_digest(&endpoint, index).await.unwrap();
            digests.insert(digest.applied_index, hex(&digest.digest));
            progress.send_replace(said);
        }
        (said, digests)
    });
    let enough = timeout(PATIENCE, said_so_far.wait_for(|said| *said >= 20)).await;
    let before = *enough.expect("messages get through").unwrap();
    let file = desk.path("under load.backup");
    let made = desk.backup(&file).await;
    stop.store(true, Ordering::Relaxed);
    let (said, digests): (usize, BTreeMap<u64, String>) = load.await.unwrap();

    let (index, messages) = (
        made["index"].as_u64().unwrap(),
        made["messages"].as_u64().unwrap(),
    );
    assert!(
        messages >= before as u64 && messages <= said as u64,
        "{made}"
    );
    let digest = digests.get(&index).expect("each entry was looked at");
    assert_eq!(made["digest"], **digest, "{made}");
    let verified = desk.verify(&file).await.json().remove(0);
    assert_eq!(verified["digest"], made["digest"]);
    assert_eq!(verified["verified"], true);
    assert_eq!(verified["accounts"], 2);

    let data = desk.path("restored");
    let restored = desk.restore(&file, &data).await.json().remove(0);
    let name = cluster.name().await;
    assert_eq!(restored["backup"]["cluster"], *name);
    assert_ne!(restored["cluster"], *name);
    // A directory of a node is never restored over.
    desk.restore(&file, &data).await.failed(5, "is not empty");

    let one = serve(&data, &[]).await;
    let ended = client_of(&one.client_address, &alice.token);
    let refused = ended.session(Freshness::Linearizable).await.unwrap_err();
    let has_ended = matches!(refused, CallError::SessionExpired { .. });
    assert!(has_ended, "{refused}");
    let client = one.client();
    let login = client.login("alice", PASSWORD).await.unwrap();
    let client = client.with_token(&login.token).unwrap();
    let all = texts(&alice.client, "bob").await;
    let found = texts(&client, "bob").await;
    assert_eq!(found, all[..usize::try_from(messages).unwrap()]);
    client
        .send(&person("bob"), "after the restore")
        .await
        .unwrap();

    // Others join with the credential of a new operator, and have the same.
    let credential = data.join(OPERATOR_FILE);
    let operator = until("there is an operator", async || {
        let text = fs::read_to_string(&credential).ok()?;
        conclave_client::OperatorCredential::from_text(text.trim())
    })
    .await;
    let operator = client.with_operator(&operator);
    let token = operator.create_join_token(HOUR, false).await.unwrap();
    let join = ["--join", &one.peer_address, "--token", &token.token];
    let two = serve(&desk.path("joined"), &join).await;
    until("two vote and agree", async || {
        let status = operator.cluster_status(&one.client_address).await.ok()?;
        (status.voters == 2 && status.voters_reachable == 2).then_some(())?;
        let first = operator.state_digest(&one.client_address, 0).await.ok()?;
        let second = stranger_at(&two.client_address).with_operator(&operator_of(&credential));
        let second = second
            .state_digest(&two.client_address, first.applied_index)
            .await
            .ok()?;
        (first.applied_index == second.applied_index).then(|| {
            assert_eq!(first.digest, second.digest);
        })
    })
    .await;
    // A restart finds the same node.
    one.stop().await;
    let again = serve(&data, &[]).await;
    until("it leads or follows again", async || {
        let status = operator_at(&again, &credential);
        let status = status.cluster_status(&again.client_address).await.ok()?;
        (status.leader_id > 0 && status.voters_reachable == 2).then_some(())
    })
    .await;
    // The old operators and sessions are none of this cluster.
    let old = stranger_at(&again.client_address).with_operator(&cluster.operator().await);
    let refused = old.operators().await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::NotAnOperator));
}

fn operator_of(credential: &Path) -> conclave_client::OperatorCredential {
    let text = fs::read_to_string(credential).unwrap();
    conclave_client::OperatorCredential::from_text(text.trim()).unwrap()
}

fn operator_at(served: &Served, credential: &Path) -> Client {
    stranger_at(&served.client_address).with_operator(&operator_of(credential))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_replaces_nothing_and_damage_is_found() {
    let cluster = Cluster::start(1).await;
    let desk = Desk::at(&cluster).await;
    let file = desk.path("state.backup");
    let path = file.to_str().unwrap();
    // Only an operator gets one.
    desk.operator
        .run(&["backup", path])
        .await
        .failed(4, "operator");
    assert_eq!(desk.files(), Vec::<String>::new(), "no draft is left");
    desk.backup(&file).await;
    desk.run(&["backup", path]).await.failed(5, "exists");
    let replaced = desk.run(&["backup", path, "--force", "--rate", "1M"]).await;
    assert!(replaced.succeeded().contains("0 messages of 0 accounts"));
    let missing = desk.path("missing").join("state.backup");
    desk.run(&["backup", missing.to_str().unwrap()])
        .await
        .failed(1, "cannot be written");

    // A pipe, which the program at its end verifies.
    let credential = desk.credential.to_str().unwrap();
    let script = format!(
        "\"$CONCLAVE\" backup - --operator-file '{credential}' | \
         \"$CONCLAVE\" backup verify - -o json"
    );
    let piped = run(desk.operator.shell(&script), b"")
        .await
        .json()
        .remove(0);
    assert_eq!(piped["verified"], true);

    let whole = fs::read(&file).unwrap();
    let damaged = desk.path("damaged.backup");
    for place in [20, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        fs::write(&damaged, bytes).unwrap();
        desk.verify(&damaged).await.failed(65, "damaged");
    }
    fs::write(&damaged, &whole[..whole.len() - 1]).unwrap();
    desk.verify(&damaged).await.failed(65, "ends too early");
    let data = desk.path("restored");
    desk.restore(&damaged, &data)
        .await
        .failed(65, "ends too early");
    // What failed leaves a directory into which another backup can be restored.
    desk.restore(&file, &data).await.succeeded();
    desk.verify(&cluster.directory(1).join("state.db"))
        .await
        .failed(2, "not a backup");
    let expected = ["damaged.backup", "restored", "state.backup"];
    assert_eq!(desk.files(), expected, "nothing else is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_quorum_still_gives_a_stale_backup() {
    let cluster = Cluster::start(3).await;
    let desk = Desk::at(&cluster).await;
    let alice = Witness::new()
        .speaker(&cluster.client(), "alice", "bob")
        .await;
    alice.say().await.expect("it is sent");
    cluster.all_rejoined().await;
    cluster.kill(1).await;
    cluster.kill(2).await;
    let file = desk.path("survivor.backup");
    let args = ["backup", file.to_str().unwrap(), "--timeout", "5"];
    assert_eq!(desk.run(&args).await.code, Some(69));
    let made = desk.run(&[&args[..], &["--stale"]].concat()).await;
    assert!(made.succeeded().contains("1 message of 2 accounts"));
    desk.verify(&file).await.succeeded();
}

#[tokio::test(flavor = "multi_thread")]
async fn scheduled_backups_are_made_and_old_ones_removed() {
    let mut cluster = Cluster::prepare(3).await;
    let backups = tempfile::tempdir().unwrap();
    for (name, value) in [
        (
            "CONCLAVE_BACKUP_DIRECTORY",
            backups.path().to_str().unwrap(),
        ),
        ("CONCLAVE_BACKUP_EVERY", "1s"),
        ("CONCLAVE_BACKUP_KEEP", "2"),
    ] {
        cluster.set_variable(2, name, value);
    }
    cluster.start_all().await;
    let desk = Desk::at(&cluster).await;
    let files = || {
        let found = fs::read_dir(backups.path()).unwrap();
        let found = found.map(|file| file.unwrap().path());
        let mut found: Vec<PathBuf> = found.collect();
        found.sort();
        found
    };
    let is_whole = |file: &PathBuf| file.extension().is_some_and(|end| end == "backup");
    let first = until("there is one", async || files().into_iter().find(is_whole)).await;
    let alice = Witness::new()
        .speaker(&cluster.client(), "alice", "bob")
        .await;
    let mut talking = alice.keep_talking();
    talking.go_on(5).await;
    until("the first one has made room for others", async || {
        let found = files();
        let whole = found.iter().all(is_whole);
        (whole && found.len() == 2 && !found.contains(&first)).then_some(())
    })
    .await;
    talking.finish_without_error().await;
    let status = desk
        .run(&["cluster", "status", "-o", "json"])
        .await
        .json()
        .remove(0);
    let node = |number: usize| &status["nodes"][number - 1];
    assert_eq!(node(2)["node"], 2);
    assert!(
        node(2)["last_backup_at_ms"]
            .as_u64()
            .is_some_and(|at| at > 0),
        "{status}"
    );
    assert!(node(1)["last_backup_at_ms"].is_null(), "{status}");
    // The audit log has one note of them all, by the node itself.
    let noted = until("the backups are noted", async || {
        let args = ["audit", "--act", "scheduled_backup", "-o", "json"];
        let found: Vec<Value> = desk.run(&args).await.json();
        (!found.is_empty()).then_some(found)
    })
    .await;
    assert_eq!(noted.len(), 1, "{noted:?}");
    assert_eq!(noted[0]["actor"]["kind"], "node", "{noted:?}");
    assert_eq!(noted[0]["target"], "node 2", "{noted:?}");
    let detail = noted[0]["detail"].as_str().unwrap();
    let directory = backups.path().to_str().unwrap();
    assert!(detail.ends_with(directory), "{detail}");
    cluster.kill(2).await;
    // Of a node that has ended all files are whole, or have the name of a draft.
    let newest = files()
        .into_iter()
        .rfind(|file| file.extension().unwrap() == "backup");
    let told = desk.verify(&newest.unwrap()).await.json().remove(0);
    assert_eq!(told["node"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runbook_of_backups_works_as_written() {
    let operations = document("docs/operations.md");
    let mut found = blocks(&operations, "sh").into_iter();
    let block = found
        .find(|block| block.starts_with("conclave backup"))
        .unwrap();
    let [make, verify, restore] = &block.lines().collect::<Vec<_>>()[..] else {
        panic!("it makes, verifies and restores: {block}");
    };
    let cluster = Cluster::start(1).await;
    let desk = Desk::at(&cluster).await;
    let (file, data) = (desk.path("conclave.backup"), desk.path("data"));
    let as_written = async |line: &str| {
        let line = line.replace("/var/backups/conclave.backup", file.to_str().unwrap());
        let line = line.replace("/var/lib/conclave", data.to_str().unwrap());
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        desk.run(&words).await.succeeded()
    };
    as_written(make).await;
    let listed = as_written(verify).await;
    assert!(
        listed.contains(&format!("cluster\t{}", cluster.name().await)),
        "{listed}"
    );
    let told = as_written(restore).await;
    assert!(told.contains("node 1 of the new cluster"), "{told}");
    // The head is for people.
    let head = fs::read(&file).unwrap();
    let head = String::from_utf8_lossy(&head[..200]).into_owned();
    assert!(
        head.lines().nth(1).unwrap().starts_with("cluster: "),
        "{head}"
    );
    // A node that is given the settings of the documents makes backups by itself.
    let settings = blocks(&operations, "toml").into_iter();
    let settings = settings.filter(|block| block.starts_with("[backup]"));
    let settings = settings.collect::<Vec<_>>().concat();
    let directory = desk.path("backups");
    let settings = settings.replace("/var/backups/conclave", directory.to_str().unwrap());
    assert!(settings.contains(directory.to_str().unwrap()), "{settings}");
    let config = desk.path("node.toml");
    fs::write(&config, settings).unwrap();
    let _served = serve(&data, &["--config", config.to_str().unwrap()]).await;
    until("there is a backup", async || {
        let mut made = fs::read_dir(&directory).ok()?;
        let is_whole = |made: PathBuf| made.extension().is_some_and(|end| end == "backup");
        made.any(|made| is_whole(made.unwrap().path()))
            .then_some(())
    })
    .await;
}
