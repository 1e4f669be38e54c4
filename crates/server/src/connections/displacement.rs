//! The open connections of one port: which of them is cut for a place or for memory.
//!
//! Always true: an address loses a connection to a newcomer only if no other has more; an account
//! that has more than its share of all places loses one before a smaller caller does; no known
//! caller is cut for memory while unknown callers hold more than their part.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use super::{
    address::Address,
    meter::{Connection, Cut, PortBytes, Stage},
};

/// Number of the oldest, or of the newest, connections of an address that are considered.
const LOOKED_AT: usize = 64;
/// While all places of a port are taken, an account that has more than one place in this many loses
/// its oldest connection to a newcomer.
const ACCOUNT_SHARE: usize = 16;
/// While the memory of a port is used up, unknown callers that hold more than one byte in this many
/// of it lose a connection before a known caller does.
const UNKNOWN_SHARE: i64 = 4;

/// Open connections of a port; see the head of this file.
#[derive(Default)]
pub(super) struct OpenConnections {
    number_last: u64,
    /// All open connections by number, including those that are about to close.
    pub(super) all: BTreeMap<u64, Arc<Connection>>,
    /// Connections whose caller is not known and that are not about to close.
    unauthenticated: BTreeMap<Address, BTreeSet<u64>>,
    unauthenticated_count: usize,
    /// Addresses of members, for which places are kept.
    pub(super) members: BTreeSet<Address>,
}

/// Holder of the bytes of a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Holder {
    Unknown(Address),
    /// The address in memory of the account's meter, which the connection keeps alive.
    Account(usize),
    /// A connection with the calls of many accounts, or of a member.
    Connection(u64),
}

impl Holder {
    fn of(open: &Connection) -> Self {
        match (open.is_known(), open.account()) {
            (false, _) => Self::Unknown(open.address),
            (true, Some(account)) => Self::Account(account),
            (true, None) => Self::Connection(open.number),
        }
    }
}

/// What one holder has in memory.
struct Holding<'a> {
    bytes: i64,
    largest: (i64, &'a Arc<Connection>),
}

impl OpenConnections {
    /// Makes a connection with the next number.
    pub(super) fn open(&mut self, from: SocketAddr, bytes: Arc<PortBytes>) -> Arc<Connection> {
        self.number_last += 1;
        let connection = Arc::new(Connection::new(self.number_last, from, bytes));
        let of = self.unauthenticated.entry(connection.address).or_default();
        of.insert(connection.number);
        self.unauthenticated_count += 1;
        self.all.insert(connection.number, connection.clone());
        connection
    }

    pub(super) fn remove(&mut self, connection: &Connection) {
        self.forget_unauthenticated(connection);
        self.all.remove(&connection.number);
    }

    pub(super) fn forget_unauthenticated(&mut self, connection: &Connection) {
        if let Some(of) = self.unauthenticated.get_mut(&connection.address)
            && of.remove(&connection.number)
        {
            self.unauthenticated_count -= 1;
            if of.is_empty() {
                self.unauthenticated.remove(&connection.address);
            }
        }
    }

    pub(super) fn unauthenticated(&self) -> usize {
        self.unauthenticated_count
    }

    pub(super) fn unauthenticated_of_others(&self) -> usize {
        let of_members = self
            .members
            .iter()
            .filter_map(|at| self.unauthenticated.get(at));
        self.unauthenticated_count - of_members.map(BTreeSet::len).sum::<usize>()
    }

    /// Returns the number of connections that are about to close.
    pub(super) fn leaving(&self) -> usize {
        let known = self.all.values().filter(|open| open.is_known());
        let staying = self.unauthenticated_count + known.filter(|open| !open.is_cut()).count();
        self.all.len() - staying
    }

    /// Cuts a connection so that a newcomer can have its place, when all `places` of the port are
    /// taken. Returns whether there was one that may go.
    pub(super) fn displace(&mut self, newcomer: Address, places: usize) -> bool {
        let most_unknown = self.displaceable(newcomer).map(|(_, of)| of.len()).max();
        if let Some((count, goes)) = self.largest_account()
            && count > places / ACCOUNT_SHARE
            && count > most_unknown.unwrap_or(0)
        {
            goes.cut(Cut::Displaced);
            return true;
        }
        self.displace_unauthenticated(newcomer) || self.displace_idle()
    }

    /// Cuts a connection of the unknown caller that has most, to make room for a newcomer; returns
    /// whether there was one. Of addresses that have as many, the one goes whose connection has
    /// come least far.
    pub(super) fn displace_unauthenticated(&mut self, newcomer: Address) -> bool {
        let most = self.displaceable(newcomer).map(|(_, of)| of.len()).max();
        let largest = self.displaceable(newcomer).map(|(_, of)| of);
        let largest = largest.filter(|of| Some(of.len()) == most);
        let first = largest.filter_map(|of| self.first_to_go(of));
        let first = first.min_by_key(|(stage, open)| match stage {
            Stage::Waiting => (*stage, u64::MAX - open.number),
            stage => (*stage, open.number),
        });
        let Some(goes) = first.map(|(_, goes)| goes.clone()) else {
            return false;
        };
        self.forget_unauthenticated(&goes);
        goes.cut(Cut::Displaced);
        true
    }

    /// Returns the unknown callers from which this newcomer may take a place.
    fn displaceable(&self, newcomer: Address) -> impl Iterator<Item = (&Address, &BTreeSet<u64>)> {
        // Only a member displaces members.
        let for_member = self.members.contains(&newcomer);
        let all = self.unauthenticated.iter();
        all.filter(move |(address, _)| for_member || !self.members.contains(address))
    }

    /// Returns the connection that goes first among those of an address: the oldest of those that
    /// have come least far. If the oldest wait for their turn or have had it, the newest without a
    /// turn goes: the others get theirs however fast the address connects, and the newest at each
    /// turn of the address stays.
    fn first_to_go(&self, of: &BTreeSet<u64>) -> Option<(Stage, &Arc<Connection>)> {
        let staged = |number| self.all.get(number).map(|open| (open.stage(), open));
        let oldest = of.iter().take(LOOKED_AT).filter_map(staged);
        let first = oldest.min_by_key(|(stage, _)| *stage)?;
        if first.0 < Stage::Waiting {
            return Some(first);
        }
        let mut newest = of.iter().rev().take(LOOKED_AT).filter_map(staged);
        let newest = newest.find(|(stage, _)| *stage <= Stage::Waiting);
        Some(newest.unwrap_or(first))
    }

    /// Returns the account that has most connections, their number, and the one that goes first:
    /// the oldest without a call, or the oldest.
    fn largest_account(&self) -> Option<(usize, &Arc<Connection>)> {
        let mut accounts: BTreeMap<usize, (usize, &Arc<Connection>)> = BTreeMap::new();
        let rank = |open: &Connection| (open.stage() == Stage::Calling, open.number);
        for open in self.all.values().filter(|open| open.is_known()) {
            let Some(account) = open.account().filter(|_| !open.is_cut()) else {
                continue;
            };
            let (count, first) = accounts.entry(account).or_insert((0, open));
            *count += 1;
            if rank(open) < rank(first) {
                *first = open;
            }
        }
        accounts.into_values().max_by_key(|(count, _)| *count)
    }

    /// Cuts the oldest connection without a call of the address that has most of those.
    fn displace_idle(&self) -> bool {
        let mut idle: BTreeMap<Address, (usize, &Arc<Connection>)> = BTreeMap::new();
        for open in self.all.values() {
            if open.stage() != Stage::Calling && !open.is_cut() {
                idle.entry(open.address).or_insert((0, open)).0 += 1;
            }
        }
        let most = idle.into_values().max_by_key(|(count, _)| *count);
        let goes = most.map(|(_, open)| open);
        goes.inspect(|open| open.cut(Cut::Displaced)).is_some()
    }

    /// Returns the connection that is cut when more than `max` bytes wait in memory: the largest of
    /// the holder that has most, among unknown callers if they have more than their part.
    pub(super) fn largest(&self, max: i64) -> Option<&Arc<Connection>> {
        let mut holders: BTreeMap<Holder, Holding<'_>> = BTreeMap::new();
        let mut of_unknown = 0;
        for open in self.all.values() {
            let bytes = open.held();
            if bytes <= 0 || open.is_cut() {
                continue;
            }
            let holder = Holder::of(open);
            if matches!(holder, Holder::Unknown(_)) {
                of_unknown += bytes;
            }
            let none = Holding {
                bytes: 0,
                largest: (0, open),
            };
            let holding = holders.entry(holder).or_insert(none);
            holding.bytes += bytes;
            if bytes > holding.largest.0 {
                holding.largest = (bytes, open);
            }
        }
        let unknown_first = of_unknown > max / UNKNOWN_SHARE;
        let most = holders
            .into_iter()
            .filter(|(holder, _)| !unknown_first || matches!(holder, Holder::Unknown(_)))
            .max_by_key(|(holder, holding)| (holding.bytes, Reverse(*holder)));
        most.map(|(_, holding)| holding.largest.1)
    }
}
