//! Faults of every kind at once, while a quorum of the voters is always up and connected: nodes are
//! killed and hang, links are cut in one direction or both, leadership moves, members come and go.
//! People send and read meanwhile; the longest time that one of their requests takes is measured.
//!
//! `CONCLAVE_MIXED_SECONDS` sets how long it lasts, and leaves out the other parts of the story;
//! `CONCLAVE_MIXED_SEED` sets what happens.
//!
//! Always true: in the configuration before a change of the membership and in the one after it, a
//! majority of the voters is well. A node whose fault has ended counts as well only when it has
//! caught up.

mod changes;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use conclave_client::{Client, v1};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{
    DESK, HOSTS, PATIENCE, Story,
    chance::{Dice, KINDS, Kind},
    client,
    host::{Node, endpoint},
    people::People,
};
use changes::GUEST;

pub(crate) const SECONDS: &str = "CONCLAVE_MIXED_SECONDS";
const SEED: &str = "CONCLAVE_MIXED_SEED";
/// Default duration in seconds: long enough for about fifteen faults.
const SECONDS_DEFAULT: u64 = 12;
const SEED_DEFAULT: u64 = 1;
/// Maximum time for a request of a client that retries.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(3);
/// Time before the longest wait from which on the events are printed.
const BEFORE_WAIT: Duration = Duration::from_secs(2);
/// Duration of a fault, in milliseconds: from less than a lease to several elections.
const FAULT_MS: std::ops::Range<u64> = 200..2500;
/// Time between the beginnings of two faults, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 150..900;
/// Time between two looks at the faults and changes that are under way.
const LOOK_INTERVAL: Duration = Duration::from_millis(25);
/// Maximum time for a node to answer who leads: it asks all others, for half a second at most.
const STATUS_LIMIT: Duration = Duration::from_secs(1);
/// Percentage of faults that strike the leader; the others strike any node.
const LEADER_PERCENT: u64 = 60;

/// A fault that a host can have.
#[derive(Clone, Debug)]
enum Fault {
    Killed,
    Hangs,
    Unplugged,
    /// Packets from the first host of a pair to the second are dropped.
    Lost(Vec<(u8, u8)>),
}

/// A host that does not count as well.
struct Trouble {
    host: u8,
    fault: Fault,
    phase: Phase,
}

enum Phase {
    Lasts { until: Instant },
    Recovers(JoinHandle<()>),
}

/// A change of the membership that is under way.
struct Changing {
    host: u8,
    task: JoinHandle<Changed>,
}

enum Changed {
    Votes,
    VotesNoMore,
    Joined(Box<Node>, u64),
    Removed,
}

/// The faults and changes of one run.
struct Storm<'a> {
    story: &'a mut Story,
    dice: Dice,
    began: Instant,
    /// Hosts whose nodes vote.
    voting: BTreeSet<u8>,
    troubles: Vec<Trouble>,
    changing: Option<Changing>,
    /// Number of faults that drop what one host sends to another, by sender and receiver.
    lost: BTreeMap<(u8, u8), u32>,
    /// Events, each with the time since the beginning.
    told: Vec<(Duration, String)>,
    faults: u32,
    changes: u32,
    /// Kinds of faults that have not struck yet in this round.
    kinds: Vec<Kind>,
}

fn number_from(variable: &str, default: u64) -> u64 {
    let asked = std::env::var(variable).ok();
    asked.map_or(default, |text| text.parse().unwrap())
}

impl Story {
    /// Runs all kinds of faults at once and checks that no request takes too long.
    pub(crate) async fn everything_happens(&mut self) {
        let seed = number_from(SEED, SEED_DEFAULT);
        let duration = Duration::from_secs(number_from(SECONDS, SECONDS_DEFAULT));
        let seconds = duration.as_secs();
        self.say(&format!("{SEED}={seed} {SECONDS}={seconds}"));
        let people = People::start(self).await;
        let mut storm = Storm {
            voting: self.numbers.keys().copied().collect(),
            story: self,
            dice: Dice(seed),
            began: Instant::now(),
            troubles: Vec::new(),
            changing: None,
            lost: BTreeMap::new(),
            told: Vec::new(),
            faults: 0,
            changes: 0,
            kinds: Vec::new(),
        };
        storm.blow(duration).await;
        storm.calm().await;
        let Storm {
            told,
            faults,
            changes,
            ..
        } = storm;
        let heard = people.finish().await;
        let longest = &heard.longest;
        // Prints what happened before and during the longest wait, or everything if that wait was
        // too long.
        let (from, to) = (
            longest.at.saturating_sub(BEFORE_WAIT),
            longest.at + longest.wait,
        );
        let is_failed = longest.wait > WAIT_MAX;
        for (at, what) in told {
            if is_failed || (from..to).contains(&at) {
                println!("mixed {at:7.1?}  {what}");
            }
        }
        heard.slow.iter().for_each(|slow| println!("{slow}"));
        self.say(&format!(
            "{faults} faults and {changes} changes of the membership in {seconds} s, \
             {SEED}={seed}; {} requests; longest wait {longest}",
            heard.requests
        ));
        assert!(longest.wait <= WAIT_MAX, "{longest}");
        for (token, peer, acknowledged) in &heard.acknowledged {
            self.is_on_every_host(token, peer, acknowledged).await;
        }
    }
}

impl Storm<'_> {
    async fn blow(&mut self, duration: Duration) {
        let end = self.began + duration;
        let mut next = self.began;
        while Instant::now() < end {
            self.look_after().await;
            if Instant::now() >= next {
                self.strike().await;
                next = Instant::now() + Duration::from_millis(self.dice.within(PAUSE_MS));
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Ends all faults, and restores the votes of the hosts that voted at the beginning.
    async fn calm(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        self.tell("calm");
        for trouble in &mut self.troubles {
            if let Phase::Lasts { until } = &mut trouble.phase {
                *until = Instant::now();
            }
        }
        loop {
            self.look_after().await;
            if self.troubles.is_empty() && self.changing.is_none() {
                let member = self.story.nodes.contains_key(&GUEST);
                let resting = self.story.numbers.keys();
                let resting = resting.copied().find(|host| !self.voting.contains(host));
                match resting {
                    Some(host) => self.promote(host),
                    None if member => self.remove_guest(),
                    None => break,
                }
            }
            assert!(Instant::now() < deadline, "it does not recover");
            sleep(LOOK_INTERVAL).await;
        }
        self.story.has_voters(5).await;
    }

    fn tell(&mut self, what: &str) {
        self.told.push((self.began.elapsed(), what.to_owned()));
    }

    /// Returns the hosts that a fault or change affects now or has affected a moment ago.
    fn busy(&self) -> BTreeSet<u8> {
        let hosts = self.troubles.iter().map(|trouble| trouble.host);
        hosts
            .chain(self.changing.iter().map(|change| change.host))
            .collect()
    }

    /// Returns whether a quorum is left if these hosts are not well, whether or not `changing`
    /// votes.
    fn has_quorum_without(&self, ill: &BTreeSet<u8>, changing: Option<u8>) -> bool {
        let mut with = self.voting.clone();
        with.extend(changing);
        let mut without = self.voting.clone();
        without.retain(|host| Some(*host) != changing);
        [&self.voting, &with, &without].into_iter().all(|voters| {
            let well = voters.iter().filter(|host| !ill.contains(host)).count();
            2 * well > voters.len()
        })
    }

    /// Returns whether one more host may have a fault.
    fn may_strike(&self, host: u8) -> bool {
        let mut ill = self.busy();
        let changing = self.changing.as_ref().map(|change| change.host);
        ill.insert(host) && self.has_quorum_without(&ill, changing)
    }

    /// Returns whether a host may gain or lose its vote now.
    fn may_change(&self, host: u8) -> bool {
        let mut ill = self.busy();
        self.changing.is_none() && ill.insert(host) && self.has_quorum_without(&ill, Some(host))
    }

    /// Ends the faults whose time is over, and records which hosts have recovered or changed.
    async fn look_after(&mut self) {
        let mut troubles = std::mem::take(&mut self.troubles);
        for trouble in &mut troubles {
            match &mut trouble.phase {
                Phase::Lasts { until } if *until <= Instant::now() => {
                    let (host, fault) = (trouble.host, trouble.fault.clone());
                    self.end(host, &fault);
                    trouble.phase = Phase::Recovers(self.recovery(host));
                }
                Phase::Lasts { .. } | Phase::Recovers(_) => {}
            }
        }
        for trouble in troubles {
            match trouble.phase {
                Phase::Recovers(task) if task.is_finished() => {
                    task.await.unwrap();
                    self.tell(&format!("host {} is well again", trouble.host));
                }
                _ => self.troubles.push(trouble),
            }
        }
        if let Some(change) = self.changing.take_if(|change| change.task.is_finished()) {
            let host = change.host;
            let changed = change.task.await.unwrap();
            self.changes += 1;
            let what = match &changed {
                Changed::Votes => "votes again",
                Changed::VotesNoMore => "votes no more",
                Changed::Joined(..) => "has joined",
                Changed::Removed => "was removed",
            };
            self.tell(&format!("host {host} {what}"));
            match changed {
                Changed::Votes => drop(self.voting.insert(host)),
                Changed::VotesNoMore => drop(self.voting.remove(&host)),
                Changed::Joined(node, number) => {
                    self.story.nodes.insert(host, *node);
                    self.story.numbers.insert(host, number);
                    self.voting.insert(host);
                }
                Changed::Removed => {
                    self.voting.remove(&host);
                    self.story.numbers.remove(&host);
                    let mut node = self.story.nodes.remove(&host).unwrap();
                    node.kill().await;
                    Node::wipe(&self.story.lab, host);
                }
            }
        }
    }

    /// Begins one more fault or change, if it may.
    async fn strike(&mut self) {
        if self.kinds.is_empty() {
            self.kinds = KINDS.to_vec();
        }
        let left = u64::try_from(self.kinds.len()).unwrap();
        let place = usize::try_from(self.dice.within(0..left)).unwrap();
        let kind = self.kinds[place];
        let Some(host) = self.target().await else {
            return;
        };
        let others: Vec<u8> = HOSTS.into_iter().filter(|other| *other != host).collect();
        let all = [&others[..], &[DESK]].concat();
        let from = |to: &[u8]| to.iter().map(|to| (host, *to)).collect::<Vec<_>>();
        let to = |from: &[u8]| from.iter().map(|from| (*from, host)).collect::<Vec<_>>();
        let both = |many: &[u8]| [from(many), to(many)].concat();
        let peer = [self.dice.one_of(&others).unwrap()];
        let fault = match kind {
            Kind::Kill => Fault::Killed,
            Kind::Hang => Fault::Hangs,
            Kind::Unplug => Fault::Unplugged,
            Kind::Silence => Fault::Lost(from(&all)),
            Kind::Deafen => Fault::Lost(to(&all)),
            Kind::CutLink => Fault::Lost(match self.dice.within(0..3) {
                0 => both(&peer),
                1 => from(&peer),
                _ => to(&peer),
            }),
            Kind::CutFromPeers => Fault::Lost(both(&others)),
            Kind::CutFromPeople => Fault::Lost(match self.dice.within(0..3) {
                0 => both(&[DESK]),
                1 => from(&[DESK]),
                _ => to(&[DESK]),
            }),
            Kind::Transfer => {
                self.kinds.swap_remove(place);
                return self.transfer();
            }
            Kind::ChangeMembers => {
                if self.change_members() {
                    self.kinds.swap_remove(place);
                }
                return;
            }
        };
        if !self.may_strike(host) {
            return;
        }
        self.kinds.swap_remove(place);
        let lasts = Duration::from_millis(self.dice.within(FAULT_MS));
        self.tell(&format!("host {host}: {fault:?} for {lasts:?}"));
        self.faults += 1;
        self.begin(host, &fault).await;
        let until = Instant::now() + lasts;
        self.troubles.push(Trouble {
            host,
            fault,
            phase: Phase::Lasts { until },
        });
    }

    /// Returns the host of the leader, or another one that votes.
    async fn target(&mut self) -> Option<u8> {
        let busy = self.busy();
        let well = self.voting.iter().copied();
        let well: Vec<u8> = well.filter(|host| !busy.contains(host)).collect();
        if self.dice.within(0..100) >= LEADER_PERCENT {
            return self.dice.one_of(&well);
        }
        let asked = self.dice.one_of(&well)?;
        let stranger = client(&self.story.authority, &[asked], None);
        let asking = endpoint(asked);
        let asking = stranger.cluster_status(&asking);
        let status = timeout(STATUS_LIMIT, asking).await.ok()?.ok()?;
        let is_it = |(_, number): &(&u8, &u64)| **number == status.leader_id;
        let leader = self.story.numbers.iter().find(is_it);
        leader.map(|(host, _)| *host).filter(|h| well.contains(h))
    }

    async fn begin(&mut self, host: u8, fault: &Fault) {
        match fault {
            Fault::Killed => {
                let node = self.story.nodes.get_mut(&host).unwrap();
                node.kill().await;
            }
            Fault::Hangs => self.story.nodes[&host].pause(),
            Fault::Unplugged => self.story.lab.unplug(host),
            Fault::Lost(ways) => {
                for way in ways {
                    let count = self.lost.entry(*way).or_default();
                    *count += 1;
                    if *count == 1 {
                        self.story.lab.mute(way.0, &[way.1]);
                    }
                }
            }
        }
    }

    fn end(&mut self, host: u8, fault: &Fault) {
        self.tell(&format!("host {host}: it is over"));
        match fault {
            Fault::Killed => {
                let node = Node::start(&self.story.lab, host, &[]);
                self.story.nodes.insert(host, node);
            }
            Fault::Hangs => self.story.nodes[&host].resume(),
            Fault::Unplugged => self.story.lab.plug_in(host),
            Fault::Lost(ways) => {
                for way in ways {
                    let count = self.lost.get_mut(way).unwrap();
                    *count -= 1;
                    if *count == 0 {
                        self.story.lab.unmute(way.0, &[way.1]);
                    }
                }
            }
        }
    }

    /// Waits until the node of a host has what was committed a moment ago.
    fn recovery(&self, host: u8) -> JoinHandle<()> {
        let root = self.story.root.clone();
        let number = self.story.numbers[&host];
        tokio::spawn(async move {
            let deadline = Instant::now() + PATIENCE;
            let mut goal = None;
            loop {
                if let Some(status) = status_of(&root, host).await
                    && status.leader_id != 0
                    && let Some(own) = status.nodes.iter().find(|node| node.node_id == number)
                {
                    let commits = status.nodes.iter().map(|node| node.commit_index);
                    let goal = *goal.get_or_insert(commits.max().unwrap_or(0));
                    if own.applied_index >= goal && !own.waits && !own.unreached {
                        return;
                    }
                }
                assert!(Instant::now() < deadline, "host {host} does not recover");
                sleep(LOOK_INTERVAL).await;
            }
        })
    }
}

/// Returns the cluster's status as the node of a host sees it, or `None` if the node does not
/// answer soon.
async fn status_of(root: &Client, host: u8) -> Option<v1::GetClusterStatusResponse> {
    let endpoint = endpoint(host);
    let asking = root.cluster_status(&endpoint);
    timeout(STATUS_LIMIT, asking).await.ok()?.ok()
}
