//! Tests of what a node does with a damaged directory before it has called any other node.

use std::{fs, path::Path};

use super::*;
use crate::identity::peers_file::Place;
use crate::identity::secret::ClusterSecret;

fn claim(directory: &Path) -> Claim {
    Claim::take(directory).unwrap()
}

fn stored(node: u64) -> Stored {
    Stored::made("abc".to_owned(), node)
}

/// Returns a directory that node 3 has used.
fn used() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    node_identity::write(directory.path(), &stored(3)).unwrap();
    fs::create_dir(directory.path().join("log")).unwrap();
    fs::write(directory.path().join("state.db"), "rows").unwrap();
    directory
}

fn own() -> Member {
    Member {
        peer_address: "c:1".to_owned(),
        client_address: "c:2".to_owned(),
    }
}

async fn come_back(directory: &Path, secret: Option<&ClusterSecret>) -> Result<Stored, StartError> {
    let config = NodeConfig {
        repair_wait_seconds: 0,
        plain: true,
        ..NodeConfig::default()
    };
    let (own, configured) = (own(), BTreeMap::new());
    let around = Surroundings {
        config: &config,
        own: &own,
        credentials: secret.cloned().map(Credentials::Secret),
        configured: &configured,
    };
    let claim = claim(directory);
    let Ok(Health::Damaged(note, stored)) = look(&claim) else {
        panic!("it is damaged");
    };
    super::come_back(&claim, note, stored, &around).await
}

fn why_stuck(outcome: Result<Stored, StartError>) -> Stuck {
    match outcome {
        Err(StartError::Damaged { stuck, .. }) => stuck,
        other => panic!("it is stuck: {other:?}"),
    }
}

#[test]
fn a_sound_directory_and_an_empty_one_are_no_damage() {
    let directory = used();
    let health = look(&claim(directory.path()));
    assert!(matches!(health, Ok(Health::Node(stored)) if stored.node == 3));
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(look(&claim(empty.path())), Ok(Health::New)));
}

#[test]
fn an_identity_that_is_damaged_or_gone_is_noted_and_stays_noted() {
    for damage in [Some("{}"), None] {
        let directory = used();
        let file = directory.path().join(node_identity::FILE);
        match damage {
            Some(text) => fs::write(&file, text).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let Ok(Health::Damaged(first, None)) = look(&claim(directory.path())) else {
            panic!("it is damaged");
        };
        // Also if the file is intact again later: the node cannot know what has happened meanwhile.
        node_identity::write(directory.path(), &stored(3)).unwrap();
        let Ok(Health::Damaged(again, Some(_))) = look(&claim(directory.path())) else {
            panic!("it stays noted");
        };
        assert_eq!(again, first, "the request to be let in is the same one");
    }
}

#[tokio::test]
async fn a_database_is_made_again_from_a_whole_log_without_anybody() {
    let directory = used();
    let damage = Damage::State {
        why: "a page is bad".to_owned(),
        log_has_all: true,
    };
    note(&claim(directory.path()), &damage).unwrap();
    let same = come_back(directory.path(), None).await.unwrap();
    assert_eq!(same, stored(3));
    assert!(!directory.path().join("state.db").exists());
    assert!(directory.path().join("damaged-1/state.db").exists());
    assert!(directory.path().join("log").exists());
    let health = look(&claim(directory.path()));
    assert!(matches!(health, Ok(Health::Node(_))));
    // The second time within an hour the log is not trusted either.
    note(&claim(directory.path()), &damage).unwrap();
    let stuck = why_stuck(come_back(directory.path(), None).await);
    assert!(matches!(stuck, Stuck::Alone));
}

#[tokio::test]
async fn a_crash_while_the_database_is_set_aside_is_no_second_damage() {
    let directory = used();
    let path = directory.path();
    let damage = Damage::State {
        why: "a page is bad".to_owned(),
        log_has_all: true,
    };
    note(&claim(path), &damage).unwrap();
    let Ok(Some(before)) = noted(&claim(path)) else {
        panic!("it is noted");
    };
    come_back(path, None).await.unwrap();
    let crashed = Note {
        state_aside: Some(1),
        ..before
    };
    store(&claim(path), &crashed).unwrap();
    let same = come_back(path, None).await.unwrap();
    assert_eq!(same, stored(3));
    assert!(!path.join("damaged-2").exists());
}

#[tokio::test]
async fn nothing_is_set_aside_while_nobody_lets_the_node_in() {
    let secret = ClusterSecret::generate().unwrap();
    let directory = used();
    let path = directory.path();
    note(&claim(path), &Damage::Log("a frame is bad".to_owned())).unwrap();
    assert!(matches!(
        why_stuck(come_back(path, Some(&secret)).await),
        Stuck::Alone
    ));
    let place = |peer: &str| Place {
        peer_address: peer.to_owned(),
        client_address: String::new(),
    };
    let members = BTreeMap::from([(2, place("127.0.0.1:1")), (3, place("c:1"))]);
    let peers_file = PeersFile {
        node: 3,
        voter: true,
        members,
        ..PeersFile::default()
    };
    peers_file.store(path).unwrap();
    assert!(matches!(
        why_stuck(come_back(path, None).await),
        Stuck::NoSecret
    ));
    assert!(matches!(
        why_stuck(come_back(path, Some(&secret)).await),
        Stuck::NotLetIn { .. }
    ));
    assert!(path.join("log").exists() && path.join("state.db").exists());
    for number in 1..=KEPT_MAX {
        fs::create_dir(path.join(format!("damaged-{number}"))).unwrap();
    }
    assert!(matches!(
        why_stuck(come_back(path, Some(&secret)).await),
        Stuck::TooOften { times: KEPT_MAX }
    ));
}

#[tokio::test]
async fn a_node_that_was_let_in_before_a_crash_goes_on_from_there() {
    let secret = ClusterSecret::generate().unwrap();
    let directory = used();
    let path = directory.path();
    note(&claim(path), &Damage::Log("a frame is bad".to_owned())).unwrap();
    let Ok(Some(mut noted)) = noted(&claim(path)) else {
        panic!("it is noted");
    };
    noted.place = Some(NewPlace {
        node: 7,
        voter: true,
        replaces: 3,
        node_first: Some(3),
        aside: 1,
    });
    store(&claim(path), &noted).unwrap();
    let new = come_back(path, Some(&secret)).await.unwrap();
    assert_eq!((new.node, new.joined, new.node_first), (7, true, Some(3)));
    assert!(path.join("damaged-1/log").exists() && !path.join("log").exists());
    // The node was killed before the record was removed.
    store(&claim(path), &noted).unwrap();
    let health = look(&claim(path));
    assert!(matches!(health, Ok(Health::Node(stored)) if stored == new));
    assert!(matches!(look(&claim(path)), Ok(Health::Node(_))));
}
