//! What is true only for a moment, from node to node: who has a stream with whom, who is writing.
//!
//! Always true: nothing here waits for a peer that is slow; what is lost is not sent again,
//! because the next one says it all.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use conclave_core::{AccountId, ConversationId};
use conclave_replica::{
    Lane,
    rows::{ConversationInfo, ReadError, Reader},
};
use conclave_wire::{peer, v1};
use futures::future::join_all;
use tokio::time::Instant;

use super::{
    hub::Audience,
    presence::{Changed, Presence, TOLD_MAX},
    service,
};
use crate::shared::Shared;

/// How often a node tells who is with it, though nothing has changed.
const TELL_EVERY: Duration = Duration::from_millis(1200);
/// Shortest time between two tellings.
const TELL_PAUSE: Duration = Duration::from_millis(300);
/// How long a peer may take to hear.
const HEAR_LIMIT: Duration = Duration::from_millis(500);
/// Shortest time between two notices that an account is writing in the same conversation.
const TYPING_EVERY: Duration = Duration::from_secs(2);
/// Conversations in which an account is shown as writing within that time: a person writes in one,
/// and has two windows. In further ones it is not shown.
const TYPING_CONVERSATIONS_MAX: usize = 4;
/// Accounts whose writing was told a moment ago. At the bound further ones are not shown.
const TYPISTS_MAX: usize = 16_384;
/// Largest room whose members see who is writing. In a larger one some member always is, and one
/// keystroke would be as many notices as the room has members.
const TYPING_MEMBERS_MAX: u64 = 256;

/// In which conversations each account was shown as writing, and when.
#[derive(Default)]
pub(crate) struct Typing {
    told: Mutex<HashMap<AccountId, Vec<(ConversationId, Instant)>>>,
}

impl Typing {
    /// Whether it is time to tell it again.
    fn admit(&self, conversation: ConversationId, account: AccountId) -> bool {
        let mut told = self.told.lock().unwrap_or_else(|error| error.into_inner());
        let now = Instant::now();
        let is_recent =
            |(_, at): &(ConversationId, Instant)| now.duration_since(*at) < TYPING_EVERY;
        if told.len() >= TYPISTS_MAX && !told.contains_key(&account) {
            told.retain(|_, of_one| of_one.iter().any(is_recent));
            if told.len() >= TYPISTS_MAX {
                return false;
            }
        }
        let of_one = told.entry(account).or_default();
        of_one.retain(is_recent);
        let is_told = of_one.iter().any(|(known, _)| *known == conversation);
        if is_told || of_one.len() >= TYPING_CONVERSATIONS_MAX {
            return false;
        }
        of_one.push((conversation, now));
        true
    }
}

/// Somebody who writes, and who may see it.
pub(crate) struct Typist {
    conversation: ConversationId,
    account: AccountId,
    name: String,
    /// `None` in a room that is too large for it.
    audience: Option<Audience>,
}

impl Typist {
    /// `None` if it is not a member, or a block is between the two.
    pub(crate) fn find(
        reader: &Reader,
        account: AccountId,
        conversation: ConversationId,
    ) -> Result<Option<Self>, ReadError> {
        let (Some(_), Some(row)) = (
            reader.member_role(conversation, account)?,
            reader.account(account)?,
        ) else {
            return Ok(None);
        };
        let audience = match reader.conversation_of(conversation)? {
            Some(ConversationInfo::Direct(low, high)) => {
                let peer = if low == account { high } else { low };
                if reader.is_blocked(peer, account)? || reader.is_blocked(account, peer)? {
                    return Ok(None);
                }
                Some(Audience::One(peer))
            }
            Some(ConversationInfo::Room { .. }) => {
                let members = reader.member_count(conversation)?;
                let is_small = members.is_some_and(|members| members <= TYPING_MEMBERS_MAX);
                is_small.then_some(Audience::Room(conversation))
            }
            None => return Ok(None),
        };
        Ok(Some(Self {
            conversation,
            account,
            name: row.name,
            audience,
        }))
    }
}

/// Tells here and to all other nodes that somebody writes, unless that was told a moment ago.
pub(crate) fn tell_typing(shared: &Arc<Shared>, typist: Typist) {
    let typing = &shared.live.typing;
    if typist.audience.is_none() || !typing.admit(typist.conversation, typist.account) {
        return;
    }
    let moment = peer::Typing {
        conversation_id: typist.conversation.0,
        account_id: typist.account.0,
    };
    hear_typist(shared, typist);
    let shared = shared.clone();
    // At most four of these for each typist in two seconds, and each ends within its limit.
    tokio::spawn(async move {
        tell_peers(&shared, &peer::share_moment_request::Moment::Typing(moment)).await;
    });
}

fn hear_typist(shared: &Shared, typist: Typist) {
    let Some(audience) = typist.audience else {
        return;
    };
    let typing = v1::Typing {
        conversation_id: typist.conversation.0,
        account_id: typist.account.0,
        account_name: typist.name,
    };
    let event = v1::Event {
        position: 0,
        event: Some(v1::event::Event::Typing(typing)),
    };
    let hub = &shared.live.hub;
    hub.tell_ephemeral(audience, typist.account, event);
}

/// Takes what another node tells.
pub(crate) async fn hear(
    shared: &Arc<Shared>,
    node: u64,
    moment: peer::share_moment_request::Moment,
) {
    use peer::share_moment_request::Moment;
    match moment {
        Moment::Presences(presences) => {
            let of = |ids: Vec<u64>, state| ids.into_iter().map(move |id| (AccountId(id), state));
            let away = of(presences.away, Presence::Away);
            let all = away.chain(of(presences.online, Presence::Online));
            let live = &shared.live;
            live.presences.heard(node, all.take(TOLD_MAX).collect());
        }
        Moment::Typing(typing) => {
            let (conversation, account) = (
                ConversationId(typing.conversation_id),
                AccountId(typing.account_id),
            );
            let found = shared.read(move |reader| Typist::find(reader, account, conversation));
            // If it cannot be read now, it is not worth waiting for.
            if let Ok(Some(typist)) = found.await {
                hear_typist(shared, typist);
            }
        }
    }
}

/// Tells the other nodes who is with this one, and the listeners here who has come and gone; runs
/// until it is stopped.
pub(crate) async fn share(shared: Arc<Shared>) {
    let mut told_at = Instant::now();
    loop {
        let dirty = shared.live.presences.dirty.notified();
        let is_dirty = tokio::time::timeout(TELL_EVERY, dirty).await.is_ok();
        if is_dirty {
            tokio::time::sleep_until(told_at + TELL_PAUSE).await;
        }
        told_at = Instant::now();
        let changed = shared.live.presences.settle(shared.now());
        let peers = async {
            let own = shared.live.presences.own();
            let of = |state| {
                let of_state = own.iter().filter(move |(_, found)| *found == state);
                of_state.map(|(account, _)| account.0).collect::<Vec<_>>()
            };
            let presences = peer::Presences {
                online: of(Presence::Online),
                away: of(Presence::Away),
            };
            let moment = peer::share_moment_request::Moment::Presences(presences);
            tell_peers(&shared, &moment).await;
        };
        tokio::join!(peers, tell_listeners(&shared, changed));
    }
}

async fn tell_peers(shared: &Shared, moment: &peer::share_moment_request::Moment) {
    let others = shared.other_members().into_iter();
    join_all(others.map(|(node, member)| async move {
        let peer = shared.transport.grpc_peer(node, &member, Lane::Calls);
        // A peer that is not there is noted where it is called.
        let _ = peer.share(moment.clone(), HEAR_LIMIT).await;
    }))
    .await;
}

/// Those who have a direct conversation with somebody hear how it is.
async fn tell_listeners(shared: &Arc<Shared>, changed: Vec<Changed>) {
    for one in changed {
        let hub = shared.live.hub.clone();
        let find = move |reader: &Reader| {
            let Some(row) = reader.account(one.account)? else {
                return Ok(None);
            };
            let peers = reader.direct_peers(one.account)?;
            let here = peers.into_iter().filter(|peer| hub.has(*peer));
            Ok(Some((row.name, here.collect::<Vec<_>>())))
        };
        let Ok(Some((name, peers))) = shared.read(find).await else {
            continue;
        };
        for peer in peers {
            let presence = service::presence(one, name.clone());
            let event = v1::Event {
                position: 0,
                event: Some(v1::event::Event::Presence(presence)),
            };
            let hub = &shared.live.hub;
            hub.tell_ephemeral(Audience::One(peer), one.account, event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn writing_is_told_once_in_a_while() {
        let typing = Typing::default();
        let (room, alice, bob) = (ConversationId(1), AccountId(1), AccountId(2));
        assert!(typing.admit(room, alice));
        assert!(!typing.admit(room, alice));
        assert!(typing.admit(room, bob));
        tokio::time::advance(TYPING_EVERY).await;
        assert!(typing.admit(room, alice));
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_that_writes_everywhere_is_shown_in_a_few_places() {
        let typing = Typing::default();
        let alice = AccountId(1);
        let shown = |rooms: u64| {
            let rooms = (1..=rooms).map(ConversationId);
            rooms.filter(|room| typing.admit(*room, alice)).count()
        };
        assert_eq!(shown(256), TYPING_CONVERSATIONS_MAX);
        assert_eq!(shown(256), 0);
        tokio::time::advance(TYPING_EVERY).await;
        assert_eq!(shown(256), TYPING_CONVERSATIONS_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn the_memory_of_typists_is_bounded() {
        let typing = Typing::default();
        let admitted = |first: u64| {
            let accounts = (first..first + 2 * TYPISTS_MAX as u64).map(AccountId);
            let room = ConversationId(1);
            accounts.filter(|id| typing.admit(room, *id)).count()
        };
        assert_eq!(admitted(1), TYPISTS_MAX);
        tokio::time::advance(TYPING_EVERY).await;
        assert_eq!(admitted(1_000_000), TYPISTS_MAX);
        assert_eq!(typing.told.lock().unwrap().len(), TYPISTS_MAX);
    }
}
