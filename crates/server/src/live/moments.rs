//! What is true only for a moment, from node to node: who has a stream with whom, who is writing.
//!
//! Always true: nothing here waits for a peer that is slow; what is lost is not sent again,
//! because the next one says it all.

use std::{sync::Arc, time::Duration};

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
};
use crate::context::shared::Shared;

/// How often a node tells who is with it, though nothing has changed.
const TELL_EVERY: Duration = Duration::from_millis(1200);
/// Shortest time between two tellings.
const TELL_PAUSE: Duration = Duration::from_millis(300);
/// How long a peer may take to hear.
const HEAR_LIMIT: Duration = Duration::from_millis(500);
/// Largest room whose members see who is writing. In a larger one some member always is, and one
/// keystroke would be as many notices as the room has members.
const TYPING_MEMBERS_MAX: u64 = 256;

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
        let changed = shared.live.presences.settle(shared.date());
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
            let presence = one.to_wire(name.clone());
            let event = v1::Event {
                position: 0,
                event: Some(v1::event::Event::Presence(presence)),
            };
            let hub = &shared.live.hub;
            hub.tell_ephemeral(Audience::One(peer), one.account, event);
        }
    }
}
