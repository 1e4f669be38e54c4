//! Changes of the membership and of the leader in the middle of the faults.
//!
//! Always true: one change of the membership is under way at a time, and only if it leaves a quorum
//! that is well.

use std::time::Duration;

use conclave_client::{Client, v1};
use tokio::time::{Instant, sleep};
use v1::change_members_request::Change;

use super::{Changed, Changing, LOOK_INTERVAL, Storm, status_of};
use crate::{PATIENCE, TOKEN_TTL, host::Node, lab::Lab};

/// Maximum time for a change of the membership.
const CHANGE_MAX: Duration = Duration::from_secs(10);
/// The host whose node is added and removed.
pub(super) const GUEST: u8 = 6;

impl Storm<'_> {
    /// Transfers leadership to another node.
    pub(super) fn transfer(&mut self) {
        let busy = self.busy();
        let well = self.voting.iter().copied();
        let well: Vec<u8> = well.filter(|host| !busy.contains(host)).collect();
        let Some(to) = self.dice.one_of(&well) else {
            return;
        };
        self.tell(&format!("leadership goes to host {to}"));
        let (root, number) = (self.story.root.clone(), self.story.numbers[&to]);
        // The transfer may be refused: the node may be behind.
        tokio::spawn(async move { root.transfer_leader(number).await });
    }

    /// Gives a node a vote or takes it away; returns `false` if no node may change now.
    pub(super) fn change_members(&mut self) -> bool {
        let before = self.changing.is_some();
        let resting = self.story.numbers.keys();
        let resting = resting.copied().find(|host| !self.voting.contains(host));
        if let Some(host) = resting {
            if self.may_change(host) {
                self.promote(host);
            }
        } else if self.dice.within(0..2) == 0 {
            let voting: Vec<u8> = self.voting.iter().copied().collect();
            if let Some(host) = self.dice.one_of(&voting)
                && self.may_change(host)
            {
                let change = Change::DemoteNodeId(self.story.numbers[&host]);
                self.change(host, change, Changed::VotesNoMore);
            }
        } else if self.may_change(GUEST) {
            match self.voting.contains(&GUEST) {
                true => self.remove_guest(),
                false => self.add_guest(),
            }
        }
        !before && self.changing.is_some()
    }

    pub(super) fn promote(&mut self, host: u8) {
        let change = Change::PromoteNodeId(self.story.numbers[&host]);
        self.change(host, change, Changed::Votes);
    }

    pub(super) fn remove_guest(&mut self) {
        let change = Change::RemoveNodeId(self.story.numbers[&GUEST]);
        self.change(GUEST, change, Changed::Removed);
    }

    fn change(&mut self, host: u8, change: Change, changed: Changed) {
        self.tell(&format!("host {host}: {change:?}"));
        let root = self.story.root.clone();
        let task = tokio::spawn(async move {
            make(&root, &change).await;
            changed
        });
        self.changing = Some(Changing { host, task });
    }

    fn add_guest(&mut self) {
        self.tell(&format!("host {GUEST} joins"));
        let lab = Lab::visit(self.story.lab.name(), &self.story.lab.directory);
        let root = self.story.root.clone();
        let task = tokio::spawn(async move {
            let made = root.create_join_token(TOKEN_TTL, false).await.unwrap();
            let addresses = made.peer_addresses.join(",");
            let words = ["--join", &addresses, "--token", &made.token];
            let mut node = Node::start(&lab, GUEST, &words);
            let said = node.says("ready node=").await;
            let number = said.split(' ').next().unwrap().parse().unwrap();
            let deadline = Instant::now() + PATIENCE;
            let votes = |status: v1::GetClusterStatusResponse| {
                let own = status.nodes.into_iter().find(|own| own.node_id == number);
                own.is_some_and(|own| {
                    own.role() == v1::NodeRole::Follower || own.role() == v1::NodeRole::Leader
                })
            };
            while !status_of(&root, GUEST).await.is_some_and(votes) {
                assert!(Instant::now() < deadline, "host {GUEST} never votes");
                sleep(LOOK_INTERVAL).await;
            }
            Changed::Joined(Box::new(node), number)
        });
        self.changing = Some(Changing { host: GUEST, task });
    }
}

/// Requests a change until it is made.
async fn make(root: &Client, change: &Change) {
    let began = Instant::now();
    loop {
        let request = v1::ChangeMembersRequest {
            change: Some(change.clone()),
            // A node that has a fault does not answer.
            force: true,
            ..Default::default()
        };
        let Err(error) = root.change_members(request).await else {
            return;
        };
        let again = error
            .reason()
            .is_none_or(|why| why == conclave_client::Reason::LearnerBehind);
        assert!(again && began.elapsed() < CHANGE_MAX, "{change:?}: {error}");
        sleep(LOOK_INTERVAL).await;
    }
}
