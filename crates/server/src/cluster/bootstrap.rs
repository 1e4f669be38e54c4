//! Bootstraps a cluster: nodes that are started with the same flags, in any order, find each other
//! and make one cluster.
//!
//! The operator gives all of them the same secret, the same list of addresses and the number of
//! nodes to wait for. A node finds its own place in the list by asking every address; the place is
//! its number.
//!
//! Always true: a node whose data directory took no part in making the cluster never counts as one
//! of its initial members, even at the same address: it might have forgotten its votes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    time::Duration,
};

use conclave_replica::Member;
use conclave_wire::{Problem, peer};
use futures::future::join_all;
use tokio::time::sleep;

use crate::{
    files::durable,
    identity::{
        node_identity::InitialMember,
        secret::{ClusterSecret, check_key},
    },
    peer::join_client::{self, Trust},
};

/// How long another node may take to introduce itself.
const INTRODUCE_LIMIT: Duration = Duration::from_secs(1);
/// Pause between two rounds of requests.
const PAUSE: Duration = Duration::from_millis(200);
/// File with the random digits that tell a directory from others.
const FILE: &str = "instance";
const INSTANCE_BYTES: usize = 16;

/// Result of looking for the other nodes.
pub(crate) enum Discovery {
    /// Make the cluster: this node and the others, in the order of their numbers.
    Bootstrap(Vec<InitialMember>),
    /// The cluster was made without this node: join it.
    Existing,
}

/// What nodes tell each other while they look for each other.
#[derive(Clone)]
pub(crate) struct Introduction {
    secret: ClusterSecret,
    instance: String,
    client_address: String,
    expected: u32,
}

impl Introduction {
    pub(crate) fn new(
        secret: ClusterSecret,
        directory: &Path,
        client_address: String,
        expected: u32,
    ) -> io::Result<Self> {
        Ok(Self {
            secret,
            instance: instance_of(directory)?,
            client_address,
            expected,
        })
    }

    /// Returns what another node learns of this one; refuses a node that has not shown the key.
    pub(crate) fn introduce_to(&self, key: &[u8]) -> Result<peer::IntroduceResponse, Problem> {
        check_key(Some(&self.secret), key)?;
        Ok(peer::IntroduceResponse {
            instance: self.instance.clone(),
            client_address: self.client_address.clone(),
            expected: self.expected,
            initial_members: Vec::new(),
        })
    }
}

/// Returns the random digits that a directory has from its first start on.
fn instance_of(directory: &Path) -> io::Result<String> {
    let file = directory.join(FILE);
    match fs::read_to_string(&file) {
        Ok(text) if text.len() == 2 * INSTANCE_BYTES => return Ok(text),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        // An interrupted start has left a partial file, and has sent its digits to no other node.
        Ok(_) | Err(_) => {}
    }
    let mut bytes = [0_u8; INSTANCE_BYTES];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    durable::replace(&file, text.as_bytes())?;
    Ok(text)
}

/// Asks the addresses until the next step is clear. Never ends while too few nodes are there.
pub(crate) async fn find(own: &Introduction, addresses: &[String], trust: &Trust) -> Discovery {
    let mut told = None;
    let key = own.secret.join_key();
    loop {
        let asked = addresses
            .iter()
            .map(|address| join_client::introduce(address, trust, &key, INTRODUCE_LIMIT));
        let mut answers = Vec::new();
        let mut missing = Vec::new();
        for (address, answer) in addresses.iter().zip(join_all(asked).await) {
            match answer {
                Ok(answer) => answers.push((address.clone(), answer)),
                Err(error) => missing.push(format!("{address}: {error}")),
            }
        }
        match judge(own, addresses, &answers) {
            Ok(found) => return found,
            Err(why) => {
                let why = missing.into_iter().next().unwrap_or(why);
                // Logged once for each reason, not for each round.
                if told.as_ref() != Some(&why) {
                    tracing::info!(reason = %why, "waiting for the other nodes");
                    told = Some(why);
                }
            }
        }
        sleep(PAUSE).await;
    }
}

type Answer = (String, peer::IntroduceResponse);

/// Returns what this node is to do, or why that is not clear yet.
fn judge(
    own: &Introduction,
    addresses: &[String],
    answers: &[Answer],
) -> Result<Discovery, String> {
    let made = answers
        .iter()
        .find(|(_, answer)| !answer.initial_members.is_empty());
    if let Some((_, answer)) = made {
        let initial_members: Vec<InitialMember> = answer
            .initial_members
            .iter()
            .cloned()
            .map(initial_member_in)
            .collect();
        return Ok(match own.number_in(&initial_members) {
            Some(_) => Discovery::Bootstrap(initial_members),
            None => Discovery::Existing,
        });
    }
    let first = addresses.iter().take(own.expected as usize);
    let by_address: BTreeMap<_, _> = answers.iter().map(|(at, answer)| (at, answer)).collect();
    let mut initial_members = Vec::new();
    for (node, address) in (1..).zip(first) {
        let Some(answer) = by_address.get(address) else {
            return Err(format!("{address} has not answered yet"));
        };
        if answer.expected != own.expected {
            let (theirs, ours) = (answer.expected, own.expected);
            return Err(format!(
                "{address} waits for {theirs} nodes, this one for {ours}"
            ));
        }
        initial_members.push(InitialMember {
            node,
            peer_address: address.clone(),
            client_address: answer.client_address.clone(),
            instance: answer.instance.clone(),
        });
    }
    let different: BTreeSet<&str> = initial_members
        .iter()
        .map(|one| one.instance.as_str())
        .collect();
    if different.len() < initial_members.len() {
        return Err("two of the addresses belong to the same node".to_owned());
    }
    if !different.contains(own.instance.as_str()) {
        return Err("the first nodes in the list bootstrap the cluster, not this one".to_owned());
    }
    Ok(Discovery::Bootstrap(initial_members))
}

/// Returns the addresses of the initial members.
pub(crate) fn members_of(initial_members: &[InitialMember]) -> BTreeMap<u64, Member> {
    let members = initial_members.iter().map(|initial_member| {
        let member = Member {
            peer_address: initial_member.peer_address.clone(),
            client_address: initial_member.client_address.clone(),
            witness: false,
            set_aside: false,
        };
        (initial_member.node, member)
    });
    members.collect()
}

impl Introduction {
    /// Returns the number of this node among the initial members.
    pub(crate) fn number_in(&self, initial_members: &[InitialMember]) -> Option<u64> {
        let mine = |initial_member: &&InitialMember| initial_member.instance == self.instance;
        let found = initial_members.iter().find(mine);
        found.map(|initial_member| initial_member.node)
    }
}

fn initial_member_in(initial_member: peer::InitialMember) -> InitialMember {
    let member = initial_member.member.unwrap_or_default();
    InitialMember {
        node: member.node_id,
        peer_address: member.peer_address,
        client_address: member.client_address,
        instance: initial_member.instance,
    }
}

pub(crate) fn initial_member_out(initial_member: InitialMember) -> peer::InitialMember {
    let member = peer::Member {
        node_id: initial_member.node,
        peer_address: initial_member.peer_address,
        client_address: initial_member.client_address,
        set_aside: false,
        witness: false,
    };
    peer::InitialMember {
        member: Some(member),
        instance: initial_member.instance,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn introduction(instance: u8) -> Introduction {
        Introduction {
            secret: ClusterSecret::generate().unwrap(),
            instance: format!("{instance:032}"),
            client_address: format!("h:{instance}"),
            expected: 3,
        }
    }

    fn answer(address: &str, instance: u8) -> Answer {
        let answer = peer::IntroduceResponse {
            instance: format!("{instance:032}"),
            client_address: format!("h:{instance}"),
            expected: 3,
            initial_members: Vec::new(),
        };
        (address.to_owned(), answer)
    }

    fn list() -> Vec<String> {
        ["a:1", "b:1", "c:1", "d:1"].map(str::to_owned).to_vec()
    }

    #[test]
    fn all_initial_members_derive_the_same_node_numbers() {
        let answers = [answer("a:1", 1), answer("b:1", 2), answer("c:1", 3)];
        for own in 1..=3 {
            let Ok(Discovery::Bootstrap(initial_members)) =
                judge(&introduction(own), &list(), &answers)
            else {
                panic!("node {own} does not know what to do");
            };
            let numbers: Vec<u64> = initial_members
                .iter()
                .map(|initial_member| initial_member.node)
                .collect();
            assert_eq!(numbers, [1, 2, 3]);
            let mine = introduction(own).number_in(&initial_members);
            assert_eq!(mine, Some(u64::from(own)));
        }
    }

    #[test]
    fn bootstrap_waits_while_the_initial_members_are_unclear() {
        let own = introduction(1);
        let two = [answer("a:1", 1), answer("b:1", 2)];
        assert!(judge(&own, &list(), &two).is_err(), "one is missing");
        let twice = [answer("a:1", 1), answer("b:1", 2), answer("c:1", 2)];
        assert!(judge(&own, &list(), &twice).is_err(), "one is there twice");
        let mut other = [answer("a:1", 1), answer("b:1", 2), answer("c:1", 3)];
        other[2].1.expected = 5;
        assert!(judge(&own, &list(), &other).is_err(), "one waits for more");
        let late = introduction(4);
        let all = [1, 2, 3, 4].map(|n| answer(&list()[usize::from(n) - 1], n));
        assert!(judge(&late, &list(), &all).is_err(), "the fourth of three");
    }

    #[test]
    fn a_late_node_bootstraps_nothing_unless_it_took_part() {
        let mut made = answer("a:1", 1);
        made.1.initial_members = (1..=3)
            .map(|node: u8| peer::InitialMember {
                member: Some(peer::Member {
                    node_id: u64::from(node),
                    ..peer::Member::default()
                }),
                instance: format!("{node:032}"),
            })
            .collect();
        let took_part = judge(&introduction(2), &list(), std::slice::from_ref(&made));
        assert!(matches!(took_part, Ok(Discovery::Bootstrap(all)) if all.len() == 3));
        let wiped = judge(&introduction(9), &list(), &[made]);
        assert!(matches!(wiped, Ok(Discovery::Existing)));
    }

    #[test]
    fn each_directory_has_a_stable_and_unique_instance_id() {
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [one, other] = [0, 1].map(|n: usize| instance_of(directories[n].path()).unwrap());
        assert_ne!(one, other);
        assert_eq!(instance_of(directories[0].path()).unwrap(), one);
    }
}
