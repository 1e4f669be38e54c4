//! Gossip between nodes about what is true only for a moment: which accounts have a stream at which
//! node, and which are writing.
//!
//! Always true: nothing here waits for a slow peer; a lost message is not sent again, because the
//! next one holds the full state.

use std::{sync::Arc, time::Duration};

use conclave_core::{AccountId, ConversationId};
use conclave_replica::Lane;
use conclave_storage::state::{ConversationInfo, ReadError, Reader};
use conclave_wire::{peer, v1};
use futures::future::join_all;
use tokio::time::Instant;

use crate::{
    context::node_context::NodeContext,
    live::{
        hub::Audience,
        presence::{Changed, Presence, TOLD_MAX},
    },
};

/// How often a node sends its presence to the others, although nothing has changed.
const TELL_EVERY: Duration = Duration::from_millis(1200);
/// Shortest time between two such messages.
const TELL_PAUSE: Duration = Duration::from_millis(300);
/// How long a peer may take to receive a message.
const HEAR_LIMIT: Duration = Duration::from_millis(500);
/// Maximum number of members of a room in which members see that an account is writing. In a larger
/// room some member always is, and one keystroke would cause as many notices as the room has
/// members.
const TYPING_MEMBERS_MAX: u64 = 256;

/// An account that is writing, and the accounts that may see it.
pub(crate) struct Typist {
    conversation: ConversationId,
    account: AccountId,
    name: String,
    /// `None` in a room that is too large for such notices.
    audience: Option<Audience>,
}

impl Typist {
    /// Returns the typist; `None` if it is not a member, or a block is between the two.
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

/// Sends to this node's subscribers and to all other nodes that an account is writing, unless that
/// was sent a moment ago.
pub(crate) fn tell_typing(shared: &Arc<NodeContext>, typist: Typist) {
    let typing = &shared.live.typing;
    if typist.audience.is_none() || !typing.admit(typist.conversation, typist.account) {
        return;
    }
    let news = peer::Typing {
        conversation_id: typist.conversation.0,
        account_id: typist.account.0,
    };
    hear_typist(shared, typist);
    let shared = shared.clone();
    // At most four of these tasks for each typist in two seconds, and each ends within its limit.
    tokio::spawn(async move {
        tell_peers(&shared, &peer::gossip_request::News::Typing(news)).await;
    });
}

fn hear_typist(shared: &NodeContext, typist: Typist) {
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

/// Receives a message from another node.
pub(crate) async fn hear(shared: &Arc<NodeContext>, node: u64, news: peer::gossip_request::News) {
    use peer::gossip_request::News;
    match news {
        News::Presences(presences) => {
            let of = |ids: Vec<u64>, state| ids.into_iter().map(move |id| (AccountId(id), state));
            let away = of(presences.away, Presence::Away);
            let all = away.chain(of(presences.online, Presence::Online));
            let live = &shared.live;
            live.presences.heard(node, all.take(TOLD_MAX).collect());
        }
        News::Typing(typing) => {
            let (conversation, account) = (
                ConversationId(typing.conversation_id),
                AccountId(typing.account_id),
            );
            let found = shared.read(move |reader| Typist::find(reader, account, conversation));
            // If it cannot be read now, waiting is not worthwhile.
            if let Ok(Some(typist)) = found.await {
                hear_typist(shared, typist);
            }
        }
    }
}

/// Sends this node's presence to the other nodes, and changes of presence to the subscribers here;
/// runs until it is aborted.
pub(crate) async fn share(shared: Arc<NodeContext>) {
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
            let news = peer::gossip_request::News::Presences(presences);
            tell_peers(&shared, &news).await;
        };
        tokio::join!(peers, tell_listeners(&shared, changed));
    }
}

async fn tell_peers(shared: &NodeContext, news: &peer::gossip_request::News) {
    let others = shared.other_members().into_iter();
    join_all(others.map(|(node, member)| async move {
        let peer = shared.transport.grpc_peer(node, &member, Lane::Calls);
        // A peer that does not answer is recorded where it is called.
        let _ = peer.gossip(news.clone(), HEAR_LIMIT).await;
    }))
    .await;
}

/// Sends changed presence to the accounts that have a direct conversation with the changed account.
async fn tell_listeners(shared: &Arc<NodeContext>, changed: Vec<Changed>) {
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
