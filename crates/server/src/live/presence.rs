//! Presence of accounts. It is not in the log: it is true for a moment, and shared between nodes as
//! it is.
//!
//! Each node knows which accounts have a stream with it, and sends that to the others: at once when
//! it changes, and again and again. The state of a node is removed after a silence of
//! [`SILENT_MAX`]; so the users of a dead node go offline within seconds, unless they have come
//! back elsewhere. An account without a stream stays present for [`GRACE`], so that a move to
//! another node is not seen.
//!
//! Always true: bounded by the streams of all nodes, and by [`LAST_SEEN_MAX`] for accounts that
//! left.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use conclave_core::{AccountId, SessionId, Timestamp};
use conclave_storage::RecentMap;
use conclave_wire::v1;
use tokio::{sync::Notify, time::Instant};

/// Silence after which no account counts as present with a node.
pub(crate) const SILENT_MAX: Duration = Duration::from_secs(4);
/// How long an account without a stream stays present.
const GRACE: Duration = Duration::from_secs(3);
/// Maximum number of accounts whose last time is remembered. Half of them, those that were asked
/// for or went last, are never forgotten.
const LAST_SEEN_MAX: usize = 65_536;
/// Maximum number of accounts that one node may report: as many as it may have streams.
pub(crate) const TOLD_MAX: usize = 16_384;

/// Presence of an account. The greater value takes precedence: an account that is away on one
/// device and active on another is online.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Presence {
    #[default]
    Offline,
    Away,
    Online,
}

/// Presence of an account after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) account: AccountId,
    pub(crate) state: Presence,
    pub(crate) last_seen: Option<Timestamp>,
}

impl Changed {
    /// Returns the form for clients; `account_name` is the name of the account.
    pub(crate) fn to_wire(self, account_name: String) -> v1::Presence {
        let state = match self.state {
            Presence::Offline => v1::PresenceState::Offline,
            Presence::Away => v1::PresenceState::Away,
            Presence::Online => v1::PresenceState::Online,
        };
        v1::Presence {
            account_id: self.account.0,
            account_name,
            state: state.into(),
            last_seen_at_ms: self.last_seen.map_or(0, |at| at.0),
        }
    }
}

/// Presence of all accounts; see the head of this file.
#[derive(Default)]
pub(crate) struct Presences {
    table: Mutex<Table>,
    /// Notified when what this node reports has changed.
    pub(crate) dirty: Notify,
}

struct Table {
    own: HashMap<AccountId, Own>,
    others: BTreeMap<u64, Other>,
    /// Presence as the subscribers of this node last received it.
    told: HashMap<AccountId, Presence>,
    last_seen: RecentMap<AccountId, Timestamp>,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            own: HashMap::new(),
            others: BTreeMap::new(),
            told: HashMap::new(),
            last_seen: RecentMap::new(LAST_SEEN_MAX),
        }
    }
}

/// The streams of one account with this node.
#[derive(Default)]
struct Own {
    sessions: BTreeMap<SessionId, OwnSession>,
    /// Time at which the last stream ended.
    left: Option<Instant>,
}

#[derive(Default)]
struct OwnSession {
    streams: u32,
    away: bool,
}

struct Other {
    heard: Instant,
    accounts: HashMap<AccountId, Presence>,
}

impl Own {
    fn state(&self) -> Presence {
        let of = |session: &OwnSession| match session.away {
            true => Presence::Away,
            false => Presence::Online,
        };
        let best = self.sessions.values().map(of).max();
        // During its grace an account counts as active.
        best.unwrap_or(if self.left.is_some() {
            Presence::Online
        } else {
            Presence::Offline
        })
    }
}

/// A stream of an account, until dropped.
pub(crate) struct Stream {
    presences: Arc<Presences>,
    account: AccountId,
    session: SessionId,
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut table = self.presences.table();
        if let Some(own) = table.own.get_mut(&self.account) {
            if let Some(session) = own.sessions.get_mut(&self.session) {
                session.streams -= 1;
                if session.streams == 0 {
                    own.sessions.remove(&self.session);
                }
            }
            if own.sessions.is_empty() {
                own.left = Some(Instant::now());
            }
        }
        drop(table);
        self.presences.dirty.notify_one();
    }
}

impl Presences {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(|error| error.into_inner())
    }

    /// Records that an account has a stream.
    pub(crate) fn enter(self: &Arc<Self>, account: AccountId, session: SessionId) -> Stream {
        let mut table = self.table();
        let own = table.own.entry(account).or_default();
        own.left = None;
        own.sessions.entry(session).or_default().streams += 1;
        drop(table);
        self.dirty.notify_one();
        Stream {
            presences: self.clone(),
            account,
            session,
        }
    }

    /// Records whether an account is away from its device. Without a stream with this node this has
    /// no effect, and `false` is returned.
    pub(crate) fn set_away(&self, account: AccountId, session: SessionId, away: bool) -> bool {
        let mut table = self.table();
        let own = table.own.get_mut(&account);
        let Some(found) = own.and_then(|own| own.sessions.get_mut(&session)) else {
            return false;
        };
        found.away = away;
        drop(table);
        self.dirty.notify_one();
        true
    }

    /// Returns what this node reports to the others.
    pub(crate) fn own(&self) -> Vec<(AccountId, Presence)> {
        let table = self.table();
        let own = table.own.iter();
        own.map(|(account, own)| (*account, own.state()))
            .take(TOLD_MAX)
            .collect()
    }

    /// Records the report of another node: all accounts that have a stream with it.
    pub(crate) fn heard(&self, node: u64, accounts: HashMap<AccountId, Presence>) {
        let other = Other {
            heard: Instant::now(),
            accounts,
        };
        self.table().others.insert(node, other);
        self.dirty.notify_one();
    }

    /// Returns the presence of an account as the subscribers of this node last received it, and the
    /// time at which it was last present if it is offline.
    pub(crate) fn of(&self, account: AccountId) -> Changed {
        let mut table = self.table();
        Changed {
            account,
            state: table.told.get(&account).copied().unwrap_or_default(),
            last_seen: table.last_seen.get(&account),
        }
    }

    /// Removes accounts that have been gone for long enough; returns what has changed since the
    /// last call.
    pub(crate) fn settle(&self, now: Timestamp) -> Vec<Changed> {
        let mut table = self.table();
        let is_over = |own: &Own| own.left.is_some_and(|left| left.elapsed() >= GRACE);
        table.own.retain(|_, own| !is_over(own));
        table
            .others
            .retain(|_, other| other.heard.elapsed() < SILENT_MAX);
        let mut present: HashMap<AccountId, Presence> = HashMap::new();
        let own = table
            .own
            .iter()
            .map(|(account, own)| (*account, own.state()));
        let others = table.others.values().flat_map(|other| &other.accounts);
        for (account, state) in own.chain(others.map(|(account, state)| (*account, *state))) {
            let known = present.entry(account).or_default();
            *known = state.max(*known);
        }
        let mut changed = Vec::new();
        for (account, state) in &present {
            if table.told.get(account) != Some(state) {
                changed.push((*account, *state));
            }
        }
        let gone = table
            .told
            .keys()
            .filter(|account| !present.contains_key(account));
        changed.extend(gone.map(|account| (*account, Presence::Offline)));
        table.told = present;
        let mut told = Vec::with_capacity(changed.len());
        for (account, state) in changed {
            let last_seen = match state {
                Presence::Offline => {
                    table.last_seen.insert(account, now);
                    Some(now)
                }
                Presence::Away | Presence::Online => {
                    table.last_seen.remove(&account);
                    None
                }
            };
            told.push(Changed {
                account,
                state,
                last_seen,
            });
        }
        told.sort_by_key(|changed| changed.account);
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: AccountId = AccountId(1);

    fn states(changed: &[Changed]) -> Vec<(u64, Presence)> {
        changed
            .iter()
            .map(|one| (one.account.0, one.state))
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_moving_to_another_node_is_never_offline() {
        let presences = Arc::new(Presences::default());
        let stream = presences.enter(ALICE, SessionId(1));
        assert_eq!(
            states(&presences.settle(Timestamp(1))),
            [(1, Presence::Online)]
        );
        drop(stream);
        assert_eq!(presences.settle(Timestamp(2)), []);
        tokio::time::advance(GRACE / 2).await;
        presences.heard(2, HashMap::from([(ALICE, Presence::Online)]));
        tokio::time::advance(GRACE / 2).await;
        assert_eq!(presences.settle(Timestamp(3)), []);
    }

    #[tokio::test(start_paused = true)]
    async fn the_users_of_a_silent_node_go_offline() {
        let presences = Arc::new(Presences::default());
        presences.heard(2, HashMap::from([(ALICE, Presence::Away)]));
        assert_eq!(
            states(&presences.settle(Timestamp(1))),
            [(1, Presence::Away)]
        );
        tokio::time::advance(SILENT_MAX).await;
        let changed = presences.settle(Timestamp(9));
        assert_eq!(states(&changed), [(1, Presence::Offline)]);
        assert_eq!(presences.of(ALICE).last_seen, Some(Timestamp(9)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_is_away_when_all_its_devices_are() {
        let presences = Arc::new(Presences::default());
        let _phone = presences.enter(ALICE, SessionId(1));
        let _desk = presences.enter(ALICE, SessionId(2));
        assert!(presences.set_away(ALICE, SessionId(1), true));
        assert_eq!(
            states(&presences.settle(Timestamp(1))),
            [(1, Presence::Online)]
        );
        assert!(presences.set_away(ALICE, SessionId(2), true));
        assert_eq!(
            states(&presences.settle(Timestamp(2))),
            [(1, Presence::Away)]
        );
        assert_eq!(presences.of(ALICE).state, Presence::Away);
        assert!(!presences.set_away(ALICE, SessionId(3), true));
    }
}
