//! Exports and imports with real processes: what another system has written is read, searched and
//! gone on with in a new cluster.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use conclave_client::{
    CallError, Client, Days, Freshness, Page,
    core::{Recipient, RoomName, Sequence},
    v1,
};
use serde_json::Value;

use crate::{
    command::{ANY_PORT, Person, Ran, Served},
    readme::{blocks, document},
    support::{Cluster, until},
    witness::{PASSWORD, Witness, person},
};

fn sample(name: &str) -> String {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../transfer/samples");
    samples.join(name).to_str().unwrap().to_owned()
}

/// An operator with files.
struct Desk {
    operator: Person,
    files: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self {
            operator: Person::new(&[]),
            files: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    async fn import(&self, source: &str, data: &str, admin: &str) -> Ran {
        let data = self.text(data);
        let args = [
            "import", source, "--data", &data, "--admin", admin, "-o", "json",
        ];
        self.operator.run(&args).await
    }

    async fn serve(&self, data: &str) -> Served {
        let data = self.path(data);
        let log = data.with_extension("served-log");
        let data = data.to_str().unwrap();
        let addresses = ["--client-address", ANY_PORT, "--peer-address", ANY_PORT];
        let args = [&["--data", data], &addresses[..]].concat();
        let served = Served::start(&log, &args, &[]).await;
        served.unwrap_or_else(|ran| panic!("it does not start: {ran:?}"))
    }

    /// Exports what a node has; returns the files.
    async fn export(&self, served: &Served, data: &str, name: &str) -> BTreeMap<String, String> {
        let credential = self.path(data).join(conclave_server::OPERATOR_FILE);
        let credential = until("there is an operator", async || {
            credential
                .exists()
                .then(|| credential.to_str().unwrap().to_owned())
        })
        .await;
        let (backup, directory) = (self.text(&format!("{name}.backup")), self.text(name));
        let operator = Person::new(std::slice::from_ref(&served.client_address));
        let args = ["backup", &backup, "--operator-file", &credential];
        operator.run(&args).await.succeeded();
        let scratch = self.files.path().to_str().unwrap();
        let args = [
            "export",
            &backup,
            &directory,
            "--scratch",
            scratch,
            "-o",
            "json",
        ];
        let told = self.operator.run(&args).await.json().remove(0);
        assert_eq!(told["directory"], directory.as_str());
        let found = files(&self.path(name));
        for file in found.keys() {
            let mode = fs::metadata(self.path(name).join(file))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        found
    }
}

fn files(directory: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for item in fs::read_dir(next).unwrap() {
            let path = item.unwrap().path();
            match path.is_dir() {
                true => left.push(path),
                false => {
                    let name = path.strip_prefix(directory).unwrap().to_str().unwrap();
                    all.insert(name.to_owned(), fs::read_to_string(&path).unwrap());
                }
            }
        }
    }
    all
}

async fn logged_in(served: &Served, name: &str, password: &str) -> Client {
    let client = served.client();
    let login = client.login(name, password).await.unwrap();
    client.with_token(&login.token).unwrap()
}

async fn texts(client: &Client, with: &Recipient) -> Vec<String> {
    let fresh = Freshness::Linearizable;
    let from = Page::After(Sequence(0));
    let page = client.messages(with, from, 1000, fresh).await.unwrap();
    page.messages
        .into_iter()
        .map(|message| message.text)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_of_slack_is_read_searched_and_gone_on_with() {
    let desk = Desk::new();
    let told = desk
        .import(&sample("slack"), "data", "alice")
        .await
        .json()
        .remove(0);
    assert_eq!(told["from"], "slack");
    assert_eq!(
        (&told["messages"], &told["rooms"]),
        (&Value::from(19), &Value::from(4))
    );
    let report = desk.path("data.import.jsonl");
    let mode = fs::metadata(&report).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let told_first = fs::read_to_string(&report).unwrap();
    assert!(told_first.contains("zoë müller (U6)"), "{told_first}");
    // A second import does not touch what is there, nor what the first one has reported.
    desk.import(&sample("slack"), "data", "alice")
        .await
        .failed(5, "is not empty");
    let (other, same) = (desk.text("other"), desk.text("data.import.jsonl"));
    let slack = sample("slack");
    let args = [
        "import", &slack, "--data", &other, "--admin", "alice", "--report", &same,
    ];
    desk.operator.run(&args).await.failed(5, "exists");
    assert!(!desk.path("other/identity.json").exists());
    assert_eq!(fs::read_to_string(&report).unwrap(), told_first);

    let served = desk.serve("data").await;
    // No one knows the passwords of the others until they are given one.
    for password in [PASSWORD, "", "bob.smith"] {
        let refused = served
            .client()
            .login("bob.smith", password)
            .await
            .unwrap_err();
        assert!(matches!(refused, CallError::Refused { .. }), "{refused:?}");
    }
    let alice = logged_in(&served, "alice", PASSWORD).await;
    let given = alice.reset_password("bob.smith").await.unwrap();
    let bob = logged_in(&served, "bob.smith", &given).await;
    let general = Recipient::Room(RoomName::new("general").unwrap());
    let history = texts(&bob, &general).await;
    assert_eq!(history.len(), 13);
    assert!(
        history[0].starts_with("Welcome @bob.smith! See #old &"),
        "{history:?}"
    );
    assert_eq!(
        texts(&bob, &person("alice")).await,
        ["hello Bob", "hello Alice"]
    );
    let found = until("everything is searched", async || {
        let found = bob
            .search("failed in:#general", &Days::default(), 10, "")
            .await
            .ok()?;
        (!found.messages.is_empty()).then_some(found.messages)
    })
    .await;
    assert_eq!(found.len(), 1);
    // What suspended people were told stays closed to them, and the cluster goes on.
    let carol = alice.reset_password("carol").await.unwrap();
    served.client().login("carol", &carol).await.unwrap_err();
    bob.send(&general, "we have moved").await.unwrap();
    assert_eq!(
        texts(&alice, &general).await.last().unwrap(),
        "we have moved"
    );

    // The trail has the import, made by the owner of the directory.
    let made = until("the import is noted", async || {
        let request = v1::ListAuditEntriesRequest {
            act: "import".to_owned(),
            ..Default::default()
        };
        let trail = alice.audit_entries(request, Freshness::Linearizable).await;
        trail.ok()?.entries.pop()
    })
    .await;
    let by = made.actor.unwrap();
    assert_eq!(by.kind(), v1::AuditActorKind::Node);
    let accounts = &told["accounts"];
    let what = format!(" from=slack accounts={accounts} rooms=4 messages=19");
    assert!(made.detail.ends_with(&what), "{}", made.detail);
    until("the file of the note is gone", async || {
        (!desk.path("data/imported.json").exists()).then_some(())
    })
    .await;

    // What was exported of it, imported elsewhere and exported there, is the same.
    let first = desk.export(&served, "data", "first").await;
    assert_eq!(first["rooms/general.jsonl"].lines().count(), 15);
    assert!(first["rooms/general.jsonl"].contains("we have moved"));
    let everything: String = first.values().map(String::as_str).collect();
    for secret in ["argon2", "xoxe-secret", given.as_str()] {
        assert!(!everything.contains(secret), "{secret}");
    }
    let told = desk
        .import(&desk.text("first"), "again", "alice")
        .await
        .json()
        .remove(0);
    assert_eq!(told["from"], "conclave");
    let again = desk.serve("again").await;
    let mut second = desk.export(&again, "again", "second").await;
    // It says of which cluster and entry it is.
    second.insert("export.json".to_owned(), first["export.json"].clone());
    assert_eq!(second, first);
    for served in [served, again] {
        served.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_fails_leaves_an_empty_directory() {
    let desk = Desk::new();
    let empty = desk.path("empty");
    fs::create_dir(&empty).unwrap();
    let none = desk.text("none");
    for (source, admin, code, part) in [
        (
            empty.to_str().unwrap(),
            "alice",
            2,
            "there is no file in it",
        ),
        (&none, "alice", 2, "cannot be read"),
        (&sample("slack"), "deploybot", 2, "is a program's"),
        (&sample("slack"), "al ice", 2, "--admin al ice"),
        (
            &sample("mattermost/export.jsonl"),
            "bEn.",
            2,
            "looks the same",
        ),
    ] {
        desk.import(source, "data", admin).await.failed(code, part);
        let left = fs::read_dir(desk.path("data")).map(|items| {
            let names = items.map(|item| item.unwrap().file_name().into_string().unwrap());
            names.filter(|name| name != "lock").collect::<Vec<_>>()
        });
        assert_eq!(left.unwrap_or_default(), Vec::<String>::new());
        assert!(!desk.path("data.import.jsonl").exists(), "of no import");
    }
    let told = desk
        .import(&sample("mattermost"), "data", "ann")
        .await
        .json()
        .remove(0);
    assert_eq!(told["from"], "mattermost");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_what_is_no_backup_makes_no_directory() {
    let desk = Desk::new();
    fs::write(desk.path("no.backup"), "PK").unwrap();
    let (file, directory) = (desk.text("no.backup"), desk.text("out"));
    let ran = desk.operator.run(&["export", &file, &directory]).await;
    ran.failed(2, "not a backup");
    assert!(!desk.path("out").exists() && !desk.path("out.part").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_work_as_written() {
    let page = document("docs/export.md");
    let block = blocks(&page, "sh").remove(0);
    let cluster = Cluster::start(1).await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    alice.say().await.unwrap();
    let desk = Desk::new();
    let operator = Person::new(&[cluster.endpoint(1)]);
    let credential = cluster.operator_file().await;
    let keep = ["operator", "use", credential.to_str().unwrap()];
    operator.run(&keep).await.succeeded();
    let paths = [
        ("/var/backups/conclave.backup", desk.text("conclave.backup")),
        ("/var/tmp/export", desk.text("export")),
        ("/var/lib/conclave", desk.text("data")),
    ];
    assert_eq!(
        block.lines().count(),
        3,
        "it makes, exports and imports: {block}"
    );
    for line in block.lines() {
        let line = paths.iter().fold(line.to_owned(), |line, (path, here)| {
            line.replace(path, here)
        });
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        operator.run(&words).await.succeeded();
    }
    let served = desk.serve("data").await;
    let alice = logged_in(&served, "alice", PASSWORD).await;
    assert_eq!(texts(&alice, &person("bob")).await.len(), 1);
    served.stop().await;
}
