//! Tokens and passwords appear in no file, and work on every node.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use conclave_client::{Freshness, Page, Reason};

use crate::{
    command::Home,
    support::{Cluster, until},
    witness::{client_of, person, stranger_at},
};

/// A password that occurs nowhere else.
const PASSWORD: &str = "canary-Xq7vYp2LmZ9-of-the-coal-mine";

#[tokio::test(flavor = "multi_thread")]
async fn no_password_and_no_token_is_on_any_disk() {
    let home = Home::new().await;
    let (_, nodes) = home.three().await;
    let client = nodes[1].client();
    let text = "canary-text-Wd83kPq1";
    client.create_account("canary", PASSWORD).await.unwrap();
    let login = client.login("canary", PASSWORD).await.unwrap();
    assert!(client.login("canary", "wrong-Bn5tGh8RkC2").await.is_err());
    let user = client.with_token(&login.token).unwrap();
    user.send(&person("canary"), text).await.unwrap();
    let mut processes = String::new();
    for node in &nodes {
        // The node answers at least once with the token.
        let user = client_of(&node.client_address, &login.token);
        user.session(Freshness::Linearizable).await.unwrap();
        for of in ["cmdline", "environ"] {
            let bytes = fs::read(format!("/proc/{}/{of}", node.pid())).unwrap();
            processes.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
    assert!(processes.contains("--members"), "nothing was searched");
    let token = token_bytes(&login.token);
    let secrets: [(&str, &[u8]); 4] = [
        ("password", PASSWORD.as_bytes()),
        ("wrong password", b"wrong-Bn5tGh8RkC2"),
        ("token in letters", login.token.as_bytes()),
        ("token", &token),
    ];
    for (what, secret) in secrets {
        assert!(!holds(processes.as_bytes(), secret), "a process: {what}");
    }
    // While the nodes run, and after they have written everything to its final place.
    let (files, texts) = search(&home.path(""), &secrets, text.as_bytes());
    assert!(
        files >= 9 && texts >= 2,
        "{files} {texts}: a majority has it"
    );
    for node in nodes {
        node.stop().await;
    }
    let (files, texts) = search(&home.path(""), &secrets, text.as_bytes());
    assert!(
        files >= 9 && texts >= 3,
        "{files} {texts}: they have stored it"
    );
}

/// Searches every file. Returns the number of files, and the number of files that contain the text.
fn search(directory: &Path, secrets: &[(&str, &[u8])], text: &[u8]) -> (u32, u32) {
    let (mut files, mut texts) = (0, 0);
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let (more, more_texts) = search(&path, secrets, text);
            files += more;
            texts += more_texts;
            continue;
        }
        // A file may disappear while a node runs.
        let Ok(bytes) = fs::read(&path) else { continue };
        let bytes = written(&bytes);
        for (what, secret) in secrets {
            assert!(!holds(&bytes, secret), "{}: {what}", path.display());
        }
        files += 1;
        texts += u32::from(holds(&bytes, text));
    }
    (files, texts)
}

/// Returns the bytes without the chunks that were never written: most of a log.
fn written(bytes: &[u8]) -> Vec<u8> {
    const NOTHING: [u8; 4096] = [0; 4096];
    let chunks = bytes.chunks(NOTHING.len());
    // A secret that lies across two chunks is in both, so they stay side by side.
    let written = chunks.filter(|chunk| *chunk != &NOTHING[..chunk.len()]);
    written.flatten().copied().collect()
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn token_bytes(token: &str) -> Vec<u8> {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.decode(token).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_in_the_data_directory_are_private_to_their_owner() {
    let home = Home::new().await;
    // A directory that was created without care: every user may look into it.
    fs::create_dir(home.path("data")).unwrap();
    fs::set_permissions(home.path("data"), fs::Permissions::from_mode(0o755)).unwrap();
    let node = home.alone("data").await;
    let client = node.client();
    client.create_account("canary", PASSWORD).await.unwrap();
    let login = client.login("canary", PASSWORD).await.unwrap();
    let user = client.with_token(&login.token).unwrap();
    user.send(&person("canary"), "for me alone").await.unwrap();
    assert!(all_private(&home.path("data")) >= 4);
    node.stop().await;
    assert!(all_private(&home.path("data")) >= 3);
}

/// Checks the mode of every file. Returns the number of files.
fn all_private(directory: &Path) -> u32 {
    let mut files = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        // A file may disappear while a node runs.
        let Ok(metadata) = fs::metadata(&path) else {
            continue;
        };
        if metadata.is_dir() {
            files += all_private(&path);
        } else {
            let mode = metadata.permissions().mode();
            assert_eq!(mode & 0o077, 0, "others may read {}", path.display());
            files += 1;
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_works_after_a_restart_and_on_every_node() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let client = stranger_at(&cluster.endpoint(leader));
    client.create_account("alice", PASSWORD).await.unwrap();
    let works_everywhere = async || {
        for node in cluster.nodes() {
            let client = stranger_at(&cluster.endpoint(node));
            let login = client.login("alice", PASSWORD).await.unwrap();
            let user = client.with_token(&login.token).unwrap();
            user.send(&person("alice"), "here").await.unwrap();
            let wrong = client.login("alice", "wrong password").await;
            assert_eq!(wrong.unwrap_err().reason(), Some(Reason::WrongCredentials));
        }
    };
    works_everywhere().await;
    cluster.kill_all().await;
    cluster.start_all().await;
    works_everywhere().await;
    // A follower stores the same hash.
    let leader = cluster.leader().await;
    cluster.kill(leader).await;
    let rest: Vec<u64> = cluster
        .nodes()
        .into_iter()
        .filter(|n| *n != leader)
        .collect();
    for node in rest {
        let client = stranger_at(&cluster.endpoint(node));
        let login = until("there is a leader", async || {
            client.login("alice", PASSWORD).await.ok()
        });
        let user = client_of(&cluster.endpoint(node), &login.await.token);
        let page = user
            .messages(&person("alice"), Page::Newest, 10, Freshness::Linearizable)
            .await;
        assert_eq!(page.unwrap().messages.len(), 6);
    }
}
