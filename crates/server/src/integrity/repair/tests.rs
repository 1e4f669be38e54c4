//! Tests of what a node does with a damaged directory before it has called any other node.

use std::{fs, path::Path};

use super::*;
use crate::identity::peers_file::MemberAddresses;
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
        witness: false,
        set_aside: false,
    }
}

async fn come_back(directory: &Path, secret: Option<&ClusterSecret>) -> Result<Stored, StartError> {
    let config = NodeConfig {
        repair_wait_seconds: 0,
        plain: true,
        ..NodeConfig::default()
    };
    let (own, configured) = (own(), BTreeMap::new());
    let around = RepairContext {
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

fn new_place(witness: bool) -> NewPlace {
    NewPlace {
        node: 7,
        voter: true,
        replaces: 3,
        node_first: Some(3),
        aside: 1,
        witness,
    }
}

fn why_stuck(outcome: Result<Stored, StartError>) -> Stuck {
    match outcome {
        Err(StartError::Damaged { stuck, .. }) => stuck,
        other => panic!("it is stuck: {other:?}"),
    }
}

#[test]
fn a_sound_or_empty_directory_is_not_damaged() {
    let directory = used();
    let health = look(&claim(directory.path()));
    assert!(matches!(health, Ok(Health::Node(stored)) if stored.node == 3));
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(look(&claim(empty.path())), Ok(Health::New)));
}

#[test]
fn a_damaged_or_missing_identity_stays_recorded_as_damage() {
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
async fn a_database_is_rebuilt_from_a_whole_log_without_peers() {
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
async fn a_crash_during_the_database_quarantine_is_no_second_damage() {
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
    let crashed = DamageRecord {
        state_aside: Some(1),
        ..before
    };
    store(&claim(path), &crashed).unwrap();
    let same = come_back(path, None).await.unwrap();
    assert_eq!(same, stored(3));
    assert!(!path.join("damaged-2").exists());
}

#[tokio::test]
async fn nothing_is_quarantined_while_no_member_accepts_the_node() {
    let secret = ClusterSecret::generate().unwrap();
    let directory = used();
    let path = directory.path();
    note(&claim(path), &Damage::Log("a frame is bad".to_owned())).unwrap();
    assert!(matches!(
        why_stuck(come_back(path, Some(&secret)).await),
        Stuck::Alone
    ));
    let place = |peer: &str| MemberAddresses {
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
        Stuck::NotAdmitted { .. }
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
async fn a_repaired_witness_is_a_witness_again() {
    let secret = ClusterSecret::generate().unwrap();
    // The second time the identity was moved away before the node was killed.
    for is_moved in [false, true] {
        let directory = used();
        let path = directory.path();
        let mut old = stored(3);
        old.witness = true;
        node_identity::write(path, &old).unwrap();
        note(&claim(path), &Damage::Log("a frame is bad".to_owned())).unwrap();
        let mut noted = noted(&claim(path)).unwrap().unwrap();
        noted.place = Some(new_place(true));
        store(&claim(path), &noted).unwrap();
        if is_moved {
            fs::remove_file(path.join(node_identity::FILE)).unwrap();
        }
        let new = come_back(path, Some(&secret)).await.unwrap();
        assert!(new.witness, "{new:?}");
        let Ok(Health::Node(kept)) = look(&claim(path)) else {
            panic!("it is repaired");
        };
        assert!(claim(path).again(kept, Some(3), true).is_ok());
    }
}

#[test]
fn a_node_asks_to_join_again_in_the_role_that_its_files_name() {
    let (config, configured) = (NodeConfig::default(), BTreeMap::new());
    let asks = |identity: Option<bool>, peers: Option<Option<bool>>, flag: bool| {
        let around = RepairContext {
            config: &config,
            own: &Member {
                witness: flag,
                ..own()
            },
            credentials: None,
            configured: &configured,
        };
        let identity = identity.map(|witness| {
            let mut stored = stored(3);
            stored.witness = witness;
            stored
        });
        let peers = peers.map(|witness| PeersFile {
            witness,
            ..PeersFile::default()
        });
        PreviousIdentity::of(identity.as_ref(), peers.as_ref(), &around).witness
    };
    assert!(asks(Some(true), None, false), "the identity names it");
    assert!(!asks(Some(false), Some(Some(true)), true), "and alone");
    assert!(asks(None, Some(Some(true)), false), "the peers file");
    assert!(!asks(None, Some(Some(false)), true));
    // An earlier version wrote no role.
    assert!(asks(None, Some(None), true) && !asks(None, Some(None), false));
    assert!(asks(None, None, true));
}

#[test]
fn an_interrupted_restore_is_no_new_and_no_damaged_node() {
    // While the backup is unpacked, and after the database is in its place.
    for made in [&["restoring.db"][..], &["state.db", "secret"]] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        for name in [&["restoring"], made].concat() {
            fs::write(path.join(name), "half").unwrap();
        }
        let found = look(&claim(path));
        assert!(matches!(found, Err(IdentityError::Unfinished { .. })));
        assert!(!path.join(FILE).exists(), "nothing is damaged");
    }
    // A restore that was killed after its last file has made a whole node: the mark goes.
    let directory = used();
    let path = directory.path();
    fs::write(path.join("restoring"), "").unwrap();
    assert!(matches!(look(&claim(path)), Ok(Health::Node(_))));
    assert!(!path.join("restoring").exists());
}

#[tokio::test]
async fn a_repair_resumes_after_a_crash_once_the_node_has_joined() {
    let secret = ClusterSecret::generate().unwrap();
    let directory = used();
    let path = directory.path();
    note(&claim(path), &Damage::Log("a frame is bad".to_owned())).unwrap();
    let Ok(Some(mut noted)) = noted(&claim(path)) else {
        panic!("it is noted");
    };
    noted.place = Some(new_place(false));
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
