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
        node_identity::Founder,
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
pub(crate) enum Found {
    /// Make the cluster: this node and the others, in the order of their numbers.
    Founders(Vec<Founder>),
    /// The cluster was made without this node: join it.
    Made,
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
            founders: Vec::new(),
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
pub(crate) async fn find(own: &Introduction, addresses: &[String], trust: &Trust) -> Found {
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
fn judge(own: &Introduction, addresses: &[String], answers: &[Answer]) -> Result<Found, String> {
    let made = answers
        .iter()
        .find(|(_, answer)| !answer.founders.is_empty());
    if let Some((_, answer)) = made {
        let founders: Vec<Founder> = answer.founders.iter().cloned().map(founder_in).collect();
        return Ok(match own.number_in(&founders) {
            Some(_) => Found::Founders(founders),
            None => Found::Made,
        });
    }
    let first = addresses.iter().take(own.expected as usize);
    let by_address: BTreeMap<_, _> = answers.iter().map(|(at, answer)| (at, answer)).collect();
    let mut founders = Vec::new();
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
        founders.push(Founder {
            node,
            peer_address: address.clone(),
            client_address: answer.client_address.clone(),
            instance: answer.instance.clone(),
        });
    }
    let different: BTreeSet<&str> = founders.iter().map(|one| one.instance.as_str()).collect();
    if different.len() < founders.len() {
        return Err("two of the addresses are of the same node".to_owned());
    }
    if !different.contains(own.instance.as_str()) {
        return Err("this node is none of the first in the list: they go first".to_owned());
    }
    Ok(Found::Founders(founders))
}

/// Returns the addresses of the initial members.
pub(crate) fn members_of(founders: &[Founder]) -> BTreeMap<u64, Member> {
    let members = founders.iter().map(|founder| {
        let member = Member {
            peer_address: founder.peer_address.clone(),
            client_address: founder.client_address.clone(),
        };
        (founder.node, member)
    });
    members.collect()
}

impl Introduction {
    /// Returns the number of this node among the initial members.
    pub(crate) fn number_in(&self, founders: &[Founder]) -> Option<u64> {
        let mine = |founder: &&Founder| founder.instance == self.instance;
        let found = founders.iter().find(mine);
        found.map(|founder| founder.node)
    }
}

fn founder_in(founder: peer::Founder) -> Founder {
    let member = founder.member.unwrap_or_default();
    Founder {
        node: member.node_id,
        peer_address: member.peer_address,
        client_address: member.client_address,
        instance: founder.instance,
    }
}

pub(crate) fn founder_out(founder: Founder) -> peer::Founder {
    let member = peer::Member {
        node_id: founder.node,
        peer_address: founder.peer_address,
        client_address: founder.client_address,
    };
    peer::Founder {
        member: Some(member),
        instance: founder.instance,
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
            founders: Vec::new(),
        };
        (address.to_owned(), answer)
    }

    fn list() -> Vec<String> {
        ["a:1", "b:1", "c:1", "d:1"].map(str::to_owned).to_vec()
    }

    #[test]
    fn all_find_the_same_numbers_once_all_are_there() {
        let answers = [answer("a:1", 1), answer("b:1", 2), answer("c:1", 3)];
        for own in 1..=3 {
            let Ok(Found::Founders(founders)) = judge(&introduction(own), &list(), &answers) else {
                panic!("node {own} does not know what to do");
            };
            let numbers: Vec<u64> = founders.iter().map(|founder| founder.node).collect();
            assert_eq!(numbers, [1, 2, 3]);
            let mine = introduction(own).number_in(&founders);
            assert_eq!(mine, Some(u64::from(own)));
        }
    }

    #[test]
    fn nobody_goes_ahead_while_it_is_not_clear() {
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
    fn who_comes_after_it_was_made_founds_nothing_unless_it_took_part() {
        let mut made = answer("a:1", 1);
        made.1.founders = (1..=3)
            .map(|node: u8| peer::Founder {
                member: Some(peer::Member {
                    node_id: u64::from(node),
                    ..peer::Member::default()
                }),
                instance: format!("{node:032}"),
            })
            .collect();
        let took_part = judge(&introduction(2), &list(), std::slice::from_ref(&made));
        assert!(matches!(took_part, Ok(Found::Founders(founders)) if founders.len() == 3));
        let wiped = judge(&introduction(9), &list(), &[made]);
        assert!(matches!(wiped, Ok(Found::Made)));
    }

    #[test]
    fn a_directory_is_told_from_another_and_stays_the_same() {
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [one, other] = [0, 1].map(|n: usize| instance_of(directories[n].path()).unwrap());
        assert_ne!(one, other);
        assert_eq!(instance_of(directories[0].path()).unwrap(), one);
    }
}
