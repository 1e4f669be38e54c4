//! Shows times in dates: rules decide in log time, and people read dates.
//!
//! Always true: a time that a later rule compares with log time stays in log time.

use super::ruling::Decision;
use crate::{
    Accepted, AccountEvent, ClusterEvent, ConversationEvent, Event, MessageEvent, Now, RoomEvent,
    SentMessage, SessionEvent, Timestamp,
};

/// Turns the times that people are shown from log time into dates. What is compared with log time
/// later stays as it is.
pub(super) fn show_dates(decision: &mut Decision, now: Now) {
    for at in decision.events.iter_mut().filter_map(shown) {
        *at = now.date_of(*at);
    }
    if let Ok(
        Accepted::MessageSent { sent_at: at, .. }
        | Accepted::SessionOpened { expires_at: at, .. }
        | Accepted::InviteCreated { expires_at: at, .. }
        | Accepted::JoinTokenCreated { expires_at: at },
    ) = &mut decision.answer
    {
        *at = now.date_of(*at);
    }
}

/// Returns the time that an event shows to people, if it shows one. Without a wildcard, so that a
/// new event has an answer before it builds.
fn shown(event: &mut Event) -> Option<&mut Timestamp> {
    match event {
        Event::Account(AccountEvent::Created { at, .. })
        | Event::Session(SessionEvent::Opened { at, .. })
        | Event::Conversation(ConversationEvent::Opened { at, .. })
        | Event::Message(
            MessageEvent::Sent(SentMessage { at, .. })
            | MessageEvent::Edited { at, .. }
            | MessageEvent::Deleted { at, .. },
        )
        | Event::Room(RoomEvent::Created { at, .. } | RoomEvent::WebhookCreated { at, .. })
        | Event::Cluster(
            ClusterEvent::JoinTokenCreated { at, .. } | ClusterEvent::OperatorCreated { at, .. },
        ) => Some(at),
        Event::Account(
            AccountEvent::PasswordChanged { .. }
            | AccountEvent::PasswordRehashed { .. }
            | AccountEvent::Suspended { .. }
            | AccountEvent::DisplayNameChanged { .. }
            | AccountEvent::RoleChanged { .. }
            | AccountEvent::BlockChanged { .. }
            | AccountEvent::Deleted { .. }
            | AccountEvent::LimitsChanged { .. },
        )
        // Log time: a later rule compares it.
        | Event::Access(_)
        | Event::Session(
            SessionEvent::Renewed { .. }
            | SessionEvent::Closed { .. }
            | SessionEvent::Forgotten { .. },
        )
        | Event::Conversation(
            ConversationEvent::PositionAdvanced { .. } | ConversationEvent::Forgotten { .. },
        )
        | Event::Message(MessageEvent::ReactionChanged { .. } | MessageEvent::Hidden { .. })
        | Event::Room(
            RoomEvent::MemberJoined { .. }
            | RoomEvent::MemberLeft { .. }
            | RoomEvent::MemberRoleChanged { .. }
            | RoomEvent::TopicChanged { .. }
            | RoomEvent::RetentionChanged { .. }
            | RoomEvent::MemberInvited { .. }
            | RoomEvent::InvitationRemoved { .. }
            | RoomEvent::WebhookDeleted { .. },
        )
        | Event::Cluster(
            ClusterEvent::JoinTokenRemoved { .. }
            | ClusterEvent::OperatorRemoved { .. }
            | ClusterEvent::NodeAdmitted { .. }
            | ClusterEvent::NodeRetired { .. }
            | ClusterEvent::AuthorityRotated { .. }
            | ClusterEvent::VersionRaised { .. }
            | ClusterEvent::LeaderPreferred { .. }
            | ClusterEvent::RetentionChanged { .. }
            | ClusterEvent::AckPolicyChanged { .. },
        ) => None,
    }
}
