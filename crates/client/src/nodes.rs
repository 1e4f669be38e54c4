//! Chooses which of the nodes that a client knows to ask.
//!
//! A client stays with one node: the leader, once a node has named it. It goes to the next one
//! when that node fails.
//!
//! Always true: the client does not choose a node that has just failed merely because another one
//! still names it as the leader.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::Instant;
use tonic::transport::Channel;

use crate::{
    connect::{BuildError, channel, without_scheme},
    limits::ENDPOINTS_MAX,
    trust::{NamedBy, Trust},
};

/// Time after a failure during which hints at that node are ignored: longer than an election, after
/// which the others name the new leader. Twice as long after each further failure in a row: a node
/// that is cut off may name a dead leader for ever, and the others must be tried, too.
const HINT_DISTRUST: Duration = Duration::from_secs(1);
/// Longest such time: enough to try all others.
const HINT_DISTRUST_MAX: Duration = Duration::from_secs(8);

/// A node and its channel.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) address: String,
    pub(crate) channel: Channel,
}

#[derive(Debug)]
pub(crate) struct Nodes {
    connect: Duration,
    trust: Trust,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    known: Vec<KnownNode>,
    preferred: usize,
}

#[derive(Debug)]
struct KnownNode {
    node: Arc<Node>,
    failed_at: Option<Instant>,
    /// Number of failures since the node last served.
    failures: u32,
    /// Whether other nodes have named it, and not the application.
    learned: bool,
}

impl Nodes {
    pub(crate) fn new(
        addresses: &[String],
        connect: Duration,
        trust: Trust,
    ) -> Result<Self, BuildError> {
        let mut known: Vec<KnownNode> = Vec::with_capacity(addresses.len());
        for address in addresses {
            if known
                .iter()
                .all(|k| k.node.address != without_scheme(address))
            {
                known.push(KnownNode::new(address, connect, &trust)?);
            }
        }
        let state = State {
            known,
            preferred: 0,
        };
        Ok(Self {
            connect,
            trust,
            state: Mutex::new(state),
        })
    }

    /// Returns the node to ask now.
    pub(crate) fn pick(&self) -> Arc<Node> {
        let state = self.state();
        Arc::clone(&state.known[state.preferred].node)
    }

    /// Returns a node for a stream: the preferred node first, then any other that is not in
    /// `tried`, preferably one that has not failed just now. `chance` makes the choice random, so
    /// that the streams of a node that died do not all move to the same node. `None` once all were
    /// tried.
    pub(crate) fn pick_untried(&self, tried: &[String], chance: u64) -> Option<Arc<Node>> {
        let state = self.state();
        let untried = |known: &&KnownNode| !tried.contains(&known.node.address);
        let preferred = &state.known[state.preferred];
        if tried.is_empty() {
            return Some(Arc::clone(&preferred.node));
        }
        let mut left: Vec<&KnownNode> = state.known.iter().filter(untried).collect();
        if left.iter().any(|known| !known.failed_just_now()) {
            left.retain(|known| !known.failed_just_now());
        }
        let count = u64::try_from(left.len()).expect("nodes are few");
        let chosen = usize::try_from(chance.checked_rem(count)?).expect("nodes are few");
        Some(Arc::clone(&left[chosen].node))
    }

    /// Returns up to `count` nodes other than this one.
    pub(crate) fn others(&self, node: &Node, count: usize) -> Vec<Arc<Node>> {
        let state = self.state();
        let length = state.known.len();
        let after = state.index_of(&node.address).unwrap_or(0) + 1;
        (after..after + length)
            .map(|index| &state.known[index % length].node)
            .filter(|other| other.address != node.address)
            .take(count)
            .map(Arc::clone)
            .collect()
    }

    /// Records that the node did not serve: the next call goes to another node, if this one was
    /// preferred. Nodes that have just failed come after the others.
    pub(crate) fn failed(&self, node: &Node) {
        let mut state = self.state();
        let Some(index) = state.index_of(&node.address) else {
            return;
        };
        let known = &mut state.known[index];
        // Calls that were under way at the same time have seen the same failure.
        if !known.failed_just_now() {
            known.failures = known.failures.saturating_add(1);
        }
        known.failed_at = Some(Instant::now());
        if state.preferred == index {
            state.preferred = state.next_after(index);
        }
    }

    /// Records that the node has served.
    pub(crate) fn served(&self, node: &Node) {
        let mut state = self.state();
        if let Some(index) = state.index_of(&node.address) {
            state.known[index].failures = 0;
        }
    }

    /// Records that a node names the node at `address` as the leader.
    pub(crate) fn leads(&self, address: &str) {
        let mut state = self.state();
        let index = match state.index_of(address) {
            Some(index) => index,
            None if state.known.len() < ENDPOINTS_MAX => {
                // A node may send anything as an address, so it is checked.
                let Ok(known) = KnownNode::learned(address, self.connect, &self.trust) else {
                    return;
                };
                state.known.push(known);
                state.known.len() - 1
            }
            None => return,
        };
        if !state.known[index].failed_just_now() {
            state.preferred = index;
        }
    }

    /// Takes over the list of all nodes of the cluster. Nodes that the application named stay in
    /// any case; others are removed once they are not in the list any more.
    pub(crate) fn learn(&self, addresses: &[String]) {
        let mut state = self.state();
        let preferred = Arc::clone(&state.known[state.preferred].node);
        state.known.retain(|known| {
            let is_there = || {
                addresses
                    .iter()
                    .any(|a| without_scheme(a) == known.node.address)
            };
            !known.learned || known.node.address == preferred.address || is_there()
        });
        for address in addresses {
            if state.known.len() < ENDPOINTS_MAX && state.index_of(address).is_none() {
                // A node may send anything as an address, so it is checked.
                let learned = KnownNode::learned(address, self.connect, &self.trust);
                state.known.extend(learned);
            }
        }
        state.preferred = state.index_of(&preferred.address).unwrap_or(0);
    }

    /// Returns the node at this address: a known one, or a new one for this call alone.
    pub(crate) fn at(&self, address: &str) -> Result<Arc<Node>, BuildError> {
        let known = {
            let state = self.state();
            state
                .index_of(address)
                .map(|index| Arc::clone(&state.known[index].node))
        };
        match known {
            Some(node) => Ok(node),
            None => Ok(KnownNode::new(address, self.connect, &self.trust)?.node),
        }
    }

    /// Returns all addresses.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let state = self.state();
        state.known.iter().map(|k| k.node.address.clone()).collect()
    }

    /// Returns the rule by which the nodes are trusted.
    pub(crate) fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Returns the number of nodes.
    pub(crate) fn len(&self) -> usize {
        self.state().known.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("its holders do not panic")
    }
}

impl State {
    fn index_of(&self, address: &str) -> Option<usize> {
        let address = without_scheme(address);
        self.known.iter().position(|k| k.node.address == address)
    }

    /// Returns the next node in order that has not failed just now, or else the one that failed
    /// first.
    fn next_after(&self, index: usize) -> usize {
        let count = self.known.len();
        let in_turn = (index + 1..=index + count).map(|place| place % count);
        let sound = in_turn
            .clone()
            .find(|place| !self.known[*place].failed_just_now());
        let first_failed = in_turn.min_by_key(|place| self.known[*place].failed_at);
        sound.or(first_failed).unwrap_or(index)
    }
}

impl KnownNode {
    /// Makes a node that another node has named.
    fn learned(address: &str, connect: Duration, trust: &Trust) -> Result<Self, BuildError> {
        if !trust.follows(without_scheme(address)) {
            let address = address.to_owned();
            return Err(BuildError::Unprotected { address });
        }
        let known = Self::reached(address, connect, trust, NamedBy::Node)?;
        Ok(Self {
            learned: true,
            ..known
        })
    }

    /// Makes a node that the application has named.
    fn new(address: &str, connect: Duration, trust: &Trust) -> Result<Self, BuildError> {
        trust.name(without_scheme(address));
        Self::reached(address, connect, trust, NamedBy::Application)
    }

    fn reached(
        address: &str,
        connect: Duration,
        trust: &Trust,
        named_by: NamedBy,
    ) -> Result<Self, BuildError> {
        let channel = channel(address, connect, trust, named_by)?;
        let node = Node {
            address: without_scheme(address).to_owned(),
            channel,
        };
        Ok(Self {
            node: Arc::new(node),
            failed_at: None,
            failures: 0,
            learned: false,
        })
    }

    fn failed_just_now(&self) -> bool {
        let doublings = self.failures.saturating_sub(1).min(u32::BITS - 1);
        let distrust = HINT_DISTRUST.saturating_mul(1 << doublings);
        let distrust = distrust.min(HINT_DISTRUST_MAX);
        self.failed_at.is_some_and(|at| at.elapsed() < distrust)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(addresses: &[&str]) -> Nodes {
        let addresses: Vec<String> = addresses.iter().map(|a| (*a).to_owned()).collect();
        Nodes::new(&addresses, Duration::from_secs(1), Trust::no_node()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_node_is_left_and_leader_hints_to_it_are_distrusted() {
        let nodes = nodes(&["a:1", "https://b:1/", "a:1"]);
        assert_eq!(nodes.addresses(), ["a:1", "b:1"], "each node is known once");
        let first = nodes.pick();
        nodes.failed(&first);
        nodes.failed(&first);
        assert_eq!(nodes.pick().address, "b:1", "it moves once, not twice");
        nodes.leads("a:1");
        assert_eq!(nodes.pick().address, "b:1");
        tokio::time::advance(HINT_DISTRUST).await;
        nodes.leads("a:1");
        assert_eq!(nodes.pick().address, "a:1");
    }

    #[tokio::test(start_paused = true)]
    async fn a_web_certificate_does_not_allow_redirects_to_other_hosts() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut web = rcgen::CertificateParams::default();
        web.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let web = web.self_signed(&key).unwrap().pem();
        let roots = crate::trust::Roots::from_pem(web.as_bytes()).unwrap();
        let named = ["chat.example:1".to_owned()];
        let trust = Trust::named(&roots);
        let nodes = Nodes::new(&named, Duration::from_secs(1), trust).unwrap();
        nodes.leads("evil.example:1");
        nodes.learn(&["evil.example:1".to_owned(), "chat.example:2".to_owned()]);
        assert_eq!(nodes.addresses(), ["chat.example:1", "chat.example:2"]);
        assert_eq!(nodes.pick().address, "chat.example:1");
    }

    #[tokio::test(start_paused = true)]
    async fn hints_to_a_dead_leader_do_not_hide_the_other_nodes() {
        let nodes = nodes(&["dead:1", "lonely:1", "sound:1"]);
        let mut seen = Vec::new();
        while !seen.contains(&"sound:1".to_owned()) {
            assert!(seen.len() < 8, "{seen:?}");
            let node = nodes.pick();
            tokio::time::advance(HINT_DISTRUST).await;
            if node.address == "lonely:1" {
                nodes.leads("dead:1");
            }
            nodes.failed(&node);
            seen.push(node.address.clone());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn recently_failed_nodes_are_skipped_while_others_remain() {
        let nodes = nodes(&["a:1", "b:1", "c:1"]);
        nodes.failed(&nodes.at("b:1").unwrap());
        nodes.failed(&nodes.pick());
        assert_eq!(nodes.pick().address, "c:1");
        // The follower names the leader, and cannot know that this client does not reach it.
        tokio::time::advance(HINT_DISTRUST).await;
        nodes.leads("a:1");
        nodes.failed(&nodes.pick());
        assert_eq!(nodes.pick().address, "b:1", "that was long ago");
        tokio::time::advance(HINT_DISTRUST / 2).await;
        for address in ["b:1", "c:1"] {
            nodes.failed(&nodes.at(address).unwrap());
        }
        assert_eq!(
            nodes.pick().address,
            "a:1",
            "all have failed, and it was the first"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_serves_again_is_trusted_as_before() {
        let nodes = nodes(&["a:1", "b:1"]);
        let first = nodes.pick();
        for _ in 0..5 {
            nodes.failed(&first);
            tokio::time::advance(HINT_DISTRUST_MAX).await;
        }
        nodes.served(&first);
        nodes.failed(&first);
        tokio::time::advance(HINT_DISTRUST).await;
        nodes.leads("a:1");
        assert_eq!(nodes.pick().address, "a:1");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_tries_each_node_once_and_failed_nodes_last() {
        let nodes = nodes(&["a:1", "b:1", "c:1"]);
        let first = nodes.pick_untried(&[], 7).unwrap();
        assert_eq!(first.address, "a:1", "where the other calls go");
        nodes.failed(&nodes.at("b:1").unwrap());
        let tried = ["a:1", "c:1", "b:1"].map(str::to_owned);
        for (count, expected) in [(1, "c:1"), (2, "b:1")] {
            for chance in 0..5 {
                let node = nodes.pick_untried(&tried[..count], chance).unwrap();
                assert_eq!(node.address, expected);
            }
        }
        assert!(nodes.pick_untried(&tried, 0).is_none());
        let others = nodes.others(&first, 9);
        let others: Vec<&str> = others.iter().map(|node| &*node.address).collect();
        assert_eq!(others, ["b:1", "c:1"]);
    }

    #[tokio::test]
    async fn hints_add_nodes_up_to_a_bound() {
        let nodes = nodes(&["a:1"]);
        nodes.leads("new:7");
        assert_eq!(nodes.pick().address, "new:7");
        nodes.leads("not an address");
        assert_eq!(nodes.len(), 2);
        for port in 1..100 {
            nodes.leads(&format!("many:{port}"));
        }
        assert_eq!(nodes.len(), ENDPOINTS_MAX);
    }

    #[tokio::test]
    async fn malformed_endpoints_are_refused() {
        for bad in ["", "host", "host:", ":1", "host:99999", "http://host:1"] {
            let refused = Nodes::new(&[bad.to_owned()], Duration::from_secs(1), Trust::no_node());
            assert!(refused.is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn plain_text_endpoints_are_allowed_only_on_loopback() {
        let new = |address: &str| {
            let addresses = [address.to_owned()];
            Nodes::new(&addresses, Duration::from_secs(1), Trust::Loopback)
        };
        for far in ["host:1", "http://10.0.0.1:1", "https://127.0.0.1:1"] {
            let refused = new(far).err();
            let is_unprotected = matches!(refused, Some(BuildError::Unprotected { .. }));
            assert!(is_unprotected, "{far}: {refused:?}");
        }
        let nodes = new("http://127.0.0.1:1").unwrap();
        nodes.learn(&["10.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned()]);
        nodes.leads("10.0.0.2:1");
        assert_eq!(
            nodes.addresses(),
            ["127.0.0.1:1", "127.0.0.1:2"],
            "also when nodes say so"
        );
    }

    #[tokio::test]
    async fn learned_members_are_added_and_forgotten_again() {
        let nodes = nodes(&["a:1", "b:1"]);
        nodes.learn(&["b:1".to_owned(), "c:1".to_owned(), "no address".to_owned()]);
        assert_eq!(nodes.addresses(), ["a:1", "b:1", "c:1"]);
        nodes.leads("c:1");
        assert_eq!(nodes.pick().address, "c:1");
        nodes.learn(&["d:1".to_owned()]);
        assert_eq!(nodes.pick().address, "c:1", "it is in use");
        nodes.leads("d:1");
        nodes.learn(&["d:1".to_owned()]);
        assert_eq!(nodes.addresses(), ["a:1", "b:1", "d:1"]);
        assert_eq!(nodes.pick().address, "d:1");
        let many: Vec<String> = (0..100).map(|n| format!("n{n}:1")).collect();
        nodes.learn(&many);
        assert_eq!(nodes.len(), ENDPOINTS_MAX);
    }
}
