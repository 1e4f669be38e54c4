//! Short forms of the operations that people request in the tests of readers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "each test binary uses a part")]

pub(crate) mod model;

use conclave_core::{
    AccessOperation, AccountName, AccountOperation, ClusterOperation, ConversationId, MemberRole,
    MessageOperation, MessageRef, MessageText, Operation, Progress, Reaction, Recipient, RoomName,
    RoomOperation, RoomRetention, Sequence, TokenHash, Topic,
};
use conclave_storage::state::{Options, State};

pub(crate) fn opened() -> (tempfile::TempDir, State) {
    let directory = tempfile::tempdir().unwrap();
    let state = State::open(directory.path(), Options::default()).unwrap();
    (directory, state)
}

pub(crate) fn account(name: &str) -> AccountName {
    AccountName::new(name).unwrap()
}

pub(crate) fn room(name: &str) -> RoomName {
    RoomName::new(name).unwrap()
}

pub(crate) fn message(conversation: u64, sequence: u64) -> MessageRef {
    MessageRef {
        conversation: ConversationId(conversation),
        sequence: Sequence(sequence),
    }
}

pub(crate) fn token(byte: u8) -> TokenHash {
    TokenHash([byte; 32])
}

pub(crate) fn create_room(name: &str, public: bool) -> Operation {
    Operation::Room(RoomOperation::CreateRoom {
        name: room(name),
        topic: Topic::new(format!("about {name}")).unwrap(),
        public,
    })
}

pub(crate) fn join(name: &str) -> Operation {
    Operation::Room(RoomOperation::JoinRoom { name: room(name) })
}

pub(crate) fn leave(name: &str) -> Operation {
    Operation::Room(RoomOperation::LeaveRoom { name: room(name) })
}

pub(crate) fn invite(name: &str, user: &str) -> Operation {
    Operation::Room(RoomOperation::InviteToRoom {
        name: room(name),
        account: account(user),
    })
}

pub(crate) fn kick(name: &str, user: &str) -> Operation {
    Operation::Room(RoomOperation::KickFromRoom {
        name: room(name),
        account: account(user),
    })
}

pub(crate) fn set_topic(name: &str, topic: &str) -> Operation {
    Operation::Room(RoomOperation::SetTopic {
        name: room(name),
        topic: Topic::new(topic).unwrap(),
    })
}

pub(crate) fn set_role(name: &str, user: &str, role: MemberRole) -> Operation {
    Operation::Room(RoomOperation::SetMemberRole {
        name: room(name),
        account: account(user),
        role,
    })
}

pub(crate) fn keep_in(name: &str, age_ms: Option<u64>, messages: Option<u64>) -> Operation {
    Operation::Room(RoomOperation::SetRoomRetention {
        name: room(name),
        retention: RoomRetention { age_ms, messages },
    })
}

pub(crate) fn forget(conversations: &[u64]) -> Operation {
    let conversations = conversations.iter().copied().map(ConversationId).collect();
    Operation::Cluster(ClusterOperation::ForgetMessages { conversations })
}

pub(crate) fn webhook(name: &str, poster: &str, secret: u8) -> Operation {
    Operation::Room(RoomOperation::CreateWebhook {
        name: room(name),
        account: account(poster),
        token: token(secret),
    })
}

pub(crate) fn post(secret: u8, text: &str) -> Operation {
    Operation::Access(AccessOperation::PostByWebhook {
        token: token(secret),
        text: MessageText::new(text).unwrap(),
        keyed: true,
    })
}

pub(crate) fn say_room(name: &str, text: &str) -> Operation {
    send(Recipient::Room(room(name)), text, None, false)
}

pub(crate) fn send(to: Recipient, text: &str, reply_to: Option<u64>, action: bool) -> Operation {
    Operation::Message(MessageOperation::SendMessage {
        to,
        text: MessageText::new(text).unwrap(),
        reply_to: reply_to.map(Sequence),
        action,
    })
}

pub(crate) fn edit(conversation: u64, sequence: u64, text: &str) -> Operation {
    Operation::Message(MessageOperation::EditMessage {
        message: message(conversation, sequence),
        text: MessageText::new(text).unwrap(),
    })
}

pub(crate) fn react(conversation: u64, sequence: u64, with: &str, present: bool) -> Operation {
    Operation::Message(MessageOperation::SetReaction {
        message: message(conversation, sequence),
        reaction: Reaction::new(with).unwrap(),
        present,
    })
}

pub(crate) fn advance(conversation: u64, delivered: u64, read: u64) -> Operation {
    let progress = Progress {
        delivered: Sequence(delivered),
        read: Sequence(read),
    };
    Operation::Message(MessageOperation::AdvancePositions {
        positions: vec![(ConversationId(conversation), progress)],
    })
}

pub(crate) fn delete(conversation: u64, sequences: &[u64], for_everyone: bool) -> Operation {
    let named = |sequence: &u64| message(conversation, *sequence);
    Operation::Message(MessageOperation::DeleteMessages {
        messages: sequences.iter().map(named).collect(),
        for_everyone,
    })
}

pub(crate) fn block(name: &str, blocked: bool) -> Operation {
    Operation::Account(AccountOperation::SetBlock {
        name: account(name),
        blocked,
    })
}
