//! Makes of each event of the log what clients receive, and selects its audience, on a thread of
//! its own.
//!
//! Always true: events are delivered in log order. If the data for an event cannot be read, all
//! subscribers catch up from the database instead of missing it.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use conclave_core::{
    AccountEvent, ConversationEvent, ConversationId, Event, MessageEvent, MessageRef, Position,
    RoomEvent, SentMessage, Sequence, SessionEvent,
};
use conclave_replica::Written;
use conclave_storage::state::{
    AccountRow, Delivery, Destination, MessageRow, ReadError, Reader, RoomChange, StreamEvent,
    StreamItem,
};

use super::{
    directory::{Between, Directory},
    feed::Block,
    hub::{Audience, Change, Hub, Routed},
    subscriber::Item,
};
use crate::protocol::show;

/// How often the thread looks whether the feed has ended.
const IDLE: Duration = Duration::from_secs(1);

/// Starts the thread; it ends when the sending end of the feed is gone.
pub(crate) fn start(
    hub: Arc<Hub>,
    reader: Reader,
    written: Written,
    blocks: mpsc::Receiver<Block>,
) -> std::io::Result<thread::JoinHandle<()>> {
    let router = Router {
        hub,
        directory: Directory::new(reader, written),
        lost: 0,
    };
    thread::Builder::new()
        .name("event-router".to_owned())
        .spawn(move || router.run(&blocks))
}

/// What is told about an event, and its audience.
type LogOnce = Option<(Audience, StreamEvent)>;

struct Router {
    hub: Arc<Hub>,
    directory: Directory,
    /// Number of blocks known to be lost.
    lost: u64,
}

impl Router {
    fn run(mut self, blocks: &mpsc::Receiver<Block>) {
        loop {
            match blocks.recv_timeout(IDLE) {
                Ok(block) => self.take(block),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn take(&mut self, block: Block) {
        let up_to = Position::end_of(block.index);
        self.directory.begin(block.index);
        if block.lost != self.lost {
            tracing::warn!(
                blocks = block.lost - self.lost,
                "streams catch up from the database"
            );
            self.lost = block.lost;
            self.hub.lose(up_to);
        }
        let wanted = self.hub.is_wanted();
        let mut routed = Vec::new();
        for (position, event) in &block.events {
            self.end(event);
            if wanted && let Err(error) = self.route(*position, event, &mut routed) {
                tracing::warn!(%error, "streams catch up from the database");
                self.hub.lose(up_to);
                return;
            }
        }
        self.hub.publish(wanted.then_some(routed), up_to);
    }

    /// Ends the streams of a session or an account that may have none any more, and forgets what
    /// is gone.
    fn end(&mut self, event: &Event) {
        match event {
            Event::Session(
                SessionEvent::Closed { session, .. } | SessionEvent::Forgotten { session },
            ) => self.hub.end_session(*session),
            // A program's session is refused, but does not end.
            Event::Account(AccountEvent::Suspended {
                account,
                suspended: true,
            }) => self.hub.end_account(*account),
            Event::Account(AccountEvent::Deleted { account }) => self.directory.forget(*account),
            _ => {}
        }
    }

    fn route(
        &mut self,
        position: Position,
        event: &Event,
        routed: &mut Vec<Routed>,
    ) -> Result<(), ReadError> {
        let told = match event {
            Event::Account(event) => self.of_account(event)?,
            Event::Conversation(event) => return self.route_conversation(position, event, routed),
            Event::Message(event) => self.of_message(position, event)?,
            Event::Room(event) => self.of_room(position, event, routed)?,
            Event::Access(_) | Event::Session(_) | Event::Cluster(_) => None,
        };
        routed.extend(told.map(|(audience, what)| tell(position, audience, what)));
        Ok(())
    }

    fn of_account(&mut self, event: &AccountEvent) -> Result<LogOnce, ReadError> {
        match event {
            AccountEvent::PasswordChanged { account, .. }
            | AccountEvent::DisplayNameChanged { account, .. }
            | AccountEvent::RoleChanged { account, .. }
            | AccountEvent::BlockChanged { account, .. } => {
                let row: Option<AccountRow> = self.directory.reader()?.account(*account)?;
                Ok(row.map(|row| (Audience::One(*account), StreamEvent::AccountChanged(row))))
            }
            AccountEvent::Created { .. }
            | AccountEvent::PasswordRehashed { .. }
            | AccountEvent::Suspended { .. }
            | AccountEvent::Deleted { .. }
            | AccountEvent::LimitsChanged { .. } => Ok(None),
        }
    }

    fn route_conversation(
        &mut self,
        position: Position,
        event: &ConversationEvent,
        routed: &mut Vec<Routed>,
    ) -> Result<(), ReadError> {
        match event {
            ConversationEvent::Opened {
                conversation,
                members: (low, high),
                ..
            } => {
                let two = [(*low, *high), (*high, *low)];
                let distinct = if low == high { &two[..1] } else { &two[..] };
                for (member, peer) in distinct {
                    let what = StreamEvent::Opened {
                        conversation: *conversation,
                        peer_name: self.directory.account(*peer)?,
                    };
                    routed.push(tell(position, Audience::One(*member), what));
                }
            }
            ConversationEvent::PositionAdvanced {
                conversation,
                account,
                progress,
            } => {
                let audience = match self.audience(*conversation)? {
                    Some(Audience::Room(_)) => Some(Audience::One(*account)),
                    audience => audience,
                };
                let what = StreamEvent::Advanced {
                    conversation: *conversation,
                    account: *account,
                    progress: *progress,
                };
                routed.extend(audience.map(|audience| tell(position, audience, what)));
            }
            ConversationEvent::Forgotten {
                conversation,
                through,
            } => {
                let audience = self.audience(*conversation)?;
                let what = StreamEvent::Forgotten {
                    conversation: *conversation,
                    through: *through,
                };
                routed.extend(audience.map(|audience| tell(position, audience, what)));
            }
        }
        Ok(())
    }

    fn of_message(
        &mut self,
        position: Position,
        event: &MessageEvent,
    ) -> Result<LogOnce, ReadError> {
        let (conversation, what) = match event {
            MessageEvent::Sent(message) => return self.sent(position, message),
            MessageEvent::Edited {
                conversation,
                sequence,
                ..
            } => {
                let message = message(*conversation, *sequence);
                let Some(row) = self.directory.reader()?.message_for_all(message)? else {
                    return Ok(None);
                };
                (conversation, StreamEvent::Edited(row))
            }
            MessageEvent::Deleted {
                conversation,
                sequence,
                ..
            } => {
                let what = StreamEvent::Deleted(message(*conversation, *sequence));
                (conversation, what)
            }
            MessageEvent::Hidden {
                conversation,
                sequence,
                account,
            } => {
                let what = StreamEvent::Hidden(message(*conversation, *sequence));
                return Ok(Some((Audience::One(*account), what)));
            }
            MessageEvent::ReactionChanged {
                conversation,
                sequence,
                account,
                reaction,
                present,
                count,
            } => {
                let what = StreamEvent::Reaction {
                    message: message(*conversation, *sequence),
                    account: *account,
                    name: self.directory.account(*account)?,
                    reaction: reaction.as_str().to_owned(),
                    present: *present,
                    count: *count,
                };
                (conversation, what)
            }
        };
        let audience = self.audience(*conversation)?;
        Ok(audience.map(|audience| (audience, what)))
    }

    /// Returns the item of an event of a room. A new member is in the audience of its own coming,
    /// and a former one in that of its going.
    fn of_room(
        &mut self,
        position: Position,
        event: &RoomEvent,
        routed: &mut Vec<Routed>,
    ) -> Result<LogOnce, ReadError> {
        let (conversation, what) = match event {
            RoomEvent::MemberJoined {
                conversation,
                account,
                ..
            } => {
                let what = StreamEvent::Room(RoomChange::Joined {
                    conversation: *conversation,
                    room_name: self.room_name(*conversation)?,
                    account: *account,
                    name: self.directory.account(*account)?,
                });
                let change = Change::Enters(*conversation, *account);
                routed.push(Routed::Change(position, change));
                (conversation, what)
            }
            RoomEvent::MemberLeft {
                conversation,
                account,
                by,
            } => {
                let what = StreamEvent::Room(RoomChange::Left {
                    conversation: *conversation,
                    room_name: self.room_name(*conversation)?,
                    account: *account,
                    name: self.directory.account(*account)?,
                    by: *by,
                });
                routed.push(tell(position, Audience::Room(*conversation), what));
                let change = Change::Leaves(*conversation, *account);
                routed.push(Routed::Change(position, change));
                return Ok(None);
            }
            RoomEvent::MemberRoleChanged {
                conversation,
                account,
                role,
            } => {
                let what = StreamEvent::Room(RoomChange::RoleChanged {
                    conversation: *conversation,
                    account: *account,
                    role: *role,
                });
                (conversation, what)
            }
            RoomEvent::TopicChanged {
                conversation,
                topic,
            } => {
                let what = StreamEvent::Room(RoomChange::TopicChanged {
                    conversation: *conversation,
                    topic: topic.as_str().to_owned(),
                });
                (conversation, what)
            }
            RoomEvent::MemberInvited {
                conversation,
                account,
                by,
            } => {
                let what = StreamEvent::Room(RoomChange::Invited {
                    conversation: *conversation,
                    room_name: self.room_name(*conversation)?,
                    by: *by,
                });
                return Ok(Some((Audience::One(*account), what)));
            }
            RoomEvent::Created { .. }
            | RoomEvent::RetentionChanged { .. }
            | RoomEvent::InvitationRemoved { .. }
            | RoomEvent::WebhookCreated { .. }
            | RoomEvent::WebhookDeleted { .. } => return Ok(None),
        };
        Ok(Some((Audience::Room(*conversation), what)))
    }

    /// Returns the message of an event, and its audience; `None` if its conversation is gone
    /// already.
    fn sent(&mut self, position: Position, message: &SentMessage) -> Result<LogOnce, ReadError> {
        let SentMessage {
            conversation,
            sequence,
            by,
            at,
            text,
            reply_to,
            action,
            mentions,
            ..
        } = message;
        let Some(between) = self.directory.conversation(*conversation)? else {
            return Ok(None);
        };
        let (audience, to) = match between {
            Between::Two(low, high) => {
                let peer = if low == *by { high } else { low };
                let to = Destination::Peer {
                    account: peer,
                    name: self.directory.account(peer)?,
                    delivery: if low == high {
                        Delivery::Read
                    } else {
                        Delivery::Queued
                    },
                };
                (Audience::Two(low, high), to)
            }
            Between::Room(name) => (Audience::Room(*conversation), Destination::Room { name }),
        };
        let row = MessageRow {
            position,
            conversation: *conversation,
            sequence: *sequence,
            by: *by,
            by_name: self.directory.account(*by)?,
            to,
            sent_at: *at,
            text: Some(text.as_str().to_owned()),
            edited_at: None,
            reply_to: *reply_to,
            action: *action,
            mentions: mentions.clone(),
            reactions: Vec::new(),
        };
        Ok(Some((audience, StreamEvent::Sent(row))))
    }

    fn audience(&mut self, id: ConversationId) -> Result<Option<Audience>, ReadError> {
        let between = self.directory.conversation(id)?;
        Ok(between.map(|between| match between {
            Between::Two(a, b) => Audience::Two(a, b),
            Between::Room(_) => Audience::Room(id),
        }))
    }

    fn room_name(&mut self, id: ConversationId) -> Result<Option<String>, ReadError> {
        Ok(match self.directory.conversation(id)? {
            Some(Between::Room(name)) => Some(name),
            Some(Between::Two(..)) | None => None,
        })
    }
}

fn message(conversation: ConversationId, sequence: Sequence) -> MessageRef {
    MessageRef {
        conversation,
        sequence,
    }
}

fn tell(position: Position, audience: Audience, what: StreamEvent) -> Routed {
    let item = Item::new(show::event(StreamItem { position, what }));
    Routed::Tell(position, audience, Arc::new(item))
}
