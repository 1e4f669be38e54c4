//! Who is there. Not in the log: true for a moment, shared between nodes as it is.
//!
//! Each node knows who has a stream with it, and tells the others: at once when that changes, and
//! again and again. What a node told is forgotten when it has been silent for [`SILENT_MAX`]; so
//! the users of a dead node go offline within seconds, unless they have come back elsewhere. Who
//! leaves stays for [`GRACE`], so that a move to another node is not seen.
//!
//! Always true: bounded by the streams of all nodes, and by [`LAST_SEEN_MAX`] for those who left.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use conclave_core::{AccountId, SessionId, Timestamp};
use conclave_wire::v1;
use tokio::{sync::Notify, time::Instant};

/// A node that was silent for so long has nobody any more.
pub(crate) const SILENT_MAX: Duration = Duration::from_secs(4);
/// Who has no stream any more is there for so long.
const GRACE: Duration = Duration::from_secs(3);
/// Accounts whose last time is remembered. At the bound all are forgotten.
const LAST_SEEN_MAX: usize = 65_536;
/// Accounts that one node may tell of: as many as it may have streams.
pub(crate) const TOLD_MAX: usize = 16_384;

/// How somebody is. A greater one wins: somebody who is away on one device and at another is
/// there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Presence {
    #[default]
    Offline,
    Away,
    Online,
}

/// Somebody has come, gone, or gone away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) account: AccountId,
    pub(crate) state: Presence,
    pub(crate) last_seen: Option<Timestamp>,
}

impl Changed {
    /// As clients are told; `account_name` is the name of the account.
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

/// See the head of this file.
#[derive(Default)]
pub(crate) struct Presences {
    table: Mutex<Table>,
    /// Told when what this node tells has changed.
    pub(crate) dirty: Notify,
}

#[derive(Default)]
struct Table {
    own: HashMap<AccountId, Own>,
    others: BTreeMap<u64, Other>,
    /// As it was told to the listeners of this node.
    told: HashMap<AccountId, Presence>,
    last_seen: HashMap<AccountId, Timestamp>,
}

/// The streams of one account with this node.
#[derive(Default)]
struct Own {
    sessions: BTreeMap<SessionId, OwnSession>,
    /// When the last stream ended.
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
        // In its grace somebody is as it was: at its device.
        best.unwrap_or(if self.left.is_some() {
            Presence::Online
        } else {
            Presence::Offline
        })
    }
}

/// A stream of somebody; over when dropped.
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

    /// Somebody has a stream.
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

    /// Somebody says whether it is at its device. Without a stream with this node it means
    /// nothing, and `false` is given.
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

    /// What this node tells the others.
    pub(crate) fn own(&self) -> Vec<(AccountId, Presence)> {
        let table = self.table();
        let own = table.own.iter();
        own.map(|(account, own)| (*account, own.state()))
            .take(TOLD_MAX)
            .collect()
    }

    /// What another node tells: everybody who is with it.
    pub(crate) fn heard(&self, node: u64, accounts: HashMap<AccountId, Presence>) {
        let other = Other {
            heard: Instant::now(),
            accounts,
        };
        self.table().others.insert(node, other);
        self.dirty.notify_one();
    }

    /// How somebody is, as the listeners of this node were told, and when it was last there if it
    /// is not.
    pub(crate) fn of(&self, account: AccountId) -> Changed {
        let table = self.table();
        Changed {
            account,
            state: table.told.get(&account).copied().unwrap_or_default(),
            last_seen: table.last_seen.get(&account).copied(),
        }
    }

    /// Forgets who has been gone for long enough; gives who has changed since the last time.
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
                    if table.last_seen.len() >= LAST_SEEN_MAX {
                        table.last_seen.clear();
                    }
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
    async fn who_moves_to_another_node_is_never_offline() {
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
    async fn somebody_is_away_when_all_its_devices_are() {
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
