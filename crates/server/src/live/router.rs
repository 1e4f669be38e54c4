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

use conclave_core::{ConversationId, Event, MessageRef, Position};
use conclave_replica::rows::{
    AccountRow, Delivery, Happened, MessageRow, ReadError, Reader, StreamItem, To,
};

use super::{
    directory::{Between, Directory},
    feed::Block,
    hub::{Audience, Change, Hub, Item, Routed},
};
use crate::protocol::show;

/// How often the thread looks whether the feed has ended.
const IDLE: Duration = Duration::from_secs(1);

/// Starts the thread; it ends when the sending end of the feed is gone.
pub(crate) fn start(
    hub: Arc<Hub>,
    reader: Reader,
    blocks: mpsc::Receiver<Block>,
) -> std::io::Result<thread::JoinHandle<()>> {
    let router = Router {
        hub,
        directory: Directory::new(reader),
        lost: 0,
    };
    thread::Builder::new()
        .name("event-router".to_owned())
        .spawn(move || router.run(&blocks))
}

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
            match event {
                Event::SessionClosed { session, .. } | Event::SessionForgotten { session } => {
                    self.hub.end_session(*session);
                }
                // A program's session is refused, but does not end.
                Event::AccountSuspended {
                    account,
                    suspended: true,
                } => self.hub.end_account(*account),
                Event::AccountDeleted { account } => self.directory.forget(*account),
                event if wanted => {
                    if let Err(error) = self.route(*position, event, &mut routed) {
                        tracing::warn!(%error, "streams catch up from the database");
                        self.hub.lose(up_to);
                        return;
                    }
                }
                _ => {}
            }
        }
        self.hub.publish(wanted.then_some(routed), up_to);
    }

    fn route(
        &mut self,
        position: Position,
        event: &Event,
        routed: &mut Vec<Routed>,
    ) -> Result<(), ReadError> {
        match event {
            Event::MessageSent { .. } => {
                if let Some((audience, row)) = self.sent(position, event)? {
                    routed.push(tell(position, audience, Happened::Sent(row)));
                }
            }
            Event::MessageEdited {
                conversation,
                sequence,
                ..
            } => {
                let message = MessageRef {
                    conversation: *conversation,
                    sequence: *sequence,
                };
                if let (Some(audience), Some(row)) = (
                    self.audience(*conversation)?,
                    self.directory.reader.message_for_all(message)?,
                ) {
                    routed.push(tell(position, audience, Happened::Edited(row)));
                }
            }
            Event::MemberJoined {
                conversation,
                account,
                ..
            } => {
                let what = Happened::Joined {
                    conversation: *conversation,
                    room_name: self.room_name(*conversation)?,
                    account: *account,
                    name: self.directory.account(*account)?,
                };
                routed.push(Routed::Change(
                    position,
                    Change::Enters(*conversation, *account),
                ));
                routed.push(tell(position, Audience::Room(*conversation), what));
            }
            Event::MemberLeft {
                conversation,
                account,
                by,
            } => {
                let what = Happened::Left {
                    conversation: *conversation,
                    room_name: self.room_name(*conversation)?,
                    account: *account,
                    name: self.directory.account(*account)?,
                    by: *by,
                };
                routed.push(tell(position, Audience::Room(*conversation), what));
                routed.push(Routed::Change(
                    position,
                    Change::Leaves(*conversation, *account),
                ));
            }
            Event::ConversationOpened {
                conversation,
                members: (low, high),
                ..
            } => {
                let two = [(*low, *high), (*high, *low)];
                let distinct = if low == high { &two[..1] } else { &two[..] };
                for (member, peer) in distinct {
                    let what = Happened::Opened {
                        conversation: *conversation,
                        peer_name: self.directory.account(*peer)?,
                    };
                    routed.push(tell(position, Audience::One(*member), what));
                }
            }
            event => {
                if let Some((audience, what)) = self.simple(event)? {
                    routed.push(tell(position, audience, what));
                }
            }
        }
        Ok(())
    }

    /// Returns the item of an event that is the same for its whole audience.
    fn simple(&mut self, event: &Event) -> Result<Option<(Audience, Happened)>, ReadError> {
        let message =
            |conversation: &ConversationId, sequence: &conclave_core::Sequence| MessageRef {
                conversation: *conversation,
                sequence: *sequence,
            };
        let of = |audience: Option<Audience>, what| Ok(audience.map(|audience| (audience, what)));
        match event {
            Event::MessageDeleted {
                conversation,
                sequence,
                ..
            } => {
                let what = Happened::Deleted(message(conversation, sequence));
                of(self.audience(*conversation)?, what)
            }
            Event::MessageHidden {
                conversation,
                sequence,
                account,
            } => {
                let what = Happened::Hidden(message(conversation, sequence));
                of(Some(Audience::One(*account)), what)
            }
            Event::ReactionChanged {
                conversation,
                sequence,
                account,
                reaction,
                present,
            } => {
                let what = Happened::Reaction {
                    message: message(conversation, sequence),
                    account: *account,
                    name: self.directory.account(*account)?,
                    reaction: reaction.as_str().to_owned(),
                    present: *present,
                };
                of(self.audience(*conversation)?, what)
            }
            Event::PositionAdvanced {
                conversation,
                account,
                progress,
            } => {
                let audience = match self.audience(*conversation)? {
                    Some(Audience::Room(_)) => Some(Audience::One(*account)),
                    audience => audience,
                };
                let what = Happened::Advanced {
                    conversation: *conversation,
                    account: *account,
                    progress: *progress,
                };
                of(audience, what)
            }
            Event::MemberRoleChanged {
                conversation,
                account,
                role,
            } => {
                let what = Happened::RoleChanged {
                    conversation: *conversation,
                    account: *account,
                    role: *role,
                };
                of(Some(Audience::Room(*conversation)), what)
            }
            Event::TopicChanged {
                conversation,
                topic,
            } => {
                let what = Happened::TopicChanged {
                    conversation: *conversation,
                    topic: topic.as_str().to_owned(),
                };
                of(Some(Audience::Room(*conversation)), what)
            }
            Event::MemberInvited {
                conversation,
                account,
                by,
            } => {
                let what = Happened::Invited {
                    conversation: *conversation,
                    room_name: self.room_name(*conversation)?,
                    by: *by,
                };
                of(Some(Audience::One(*account)), what)
            }
            Event::PasswordChanged { account, .. }
            | Event::DisplayNameChanged { account, .. }
            | Event::AccountRoleChanged { account, .. }
            | Event::BlockChanged { account, .. } => {
                let row: Option<AccountRow> = self.directory.reader.account(*account)?;
                let audience = Some(Audience::One(*account));
                Ok(row.and_then(|row| Some((audience?, Happened::AccountChanged(row)))))
            }
            _ => Ok(None),
        }
    }

    /// Returns the message of an event, and its audience; `None` if its conversation is gone
    /// already.
    fn sent(
        &mut self,
        position: Position,
        event: &Event,
    ) -> Result<Option<(Audience, MessageRow)>, ReadError> {
        let Event::MessageSent {
            conversation,
            sequence,
            by,
            at,
            text,
            reply_to,
            action,
            mentions,
            ..
        } = event
        else {
            unreachable!("the caller has looked");
        };
        let Some(between) = self.directory.conversation(*conversation)? else {
            return Ok(None);
        };
        let (audience, to) = match between {
            Between::Two(low, high) => {
                let peer = if low == *by { high } else { low };
                let to = To::Peer {
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
            Between::Room(name) => (Audience::Room(*conversation), To::Room { name }),
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
        Ok(Some((audience, row)))
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

fn tell(position: Position, audience: Audience, what: Happened) -> Routed {
    let item = Item::new(show::event(StreamItem { position, what }));
    Routed::Tell(position, audience, Arc::new(item))
}
