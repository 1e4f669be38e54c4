//! A state with a search, and short forms of the requests in it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "each test binary uses a part")]

use std::{collections::BTreeMap, path::Path, time::Duration};

use conclave_core::{
    Accepted, AccountId, AccountName, Answer, ConversationId, MessageOperation, MessageRef,
    MessageText, Operation, Position, Recipient, RoomName, RoomOperation, Sequence, Topic,
};
use conclave_storage::{
    search::{CancelFlag, Found, Search},
    state::{Options, State},
};
use conclave_words::{SearchQuery, query::Zone};
use tempfile::TempDir;

use crate::state_support::{START, apply_at, ask, people};

pub(crate) const ALICE: u64 = 1;
pub(crate) const BOB: u64 = 2;
pub(crate) const CAROL: u64 = 3;

/// Maximum number of looks at a condition before a test fails: some minutes.
const LOOKS_MAX: usize = 100_000;

/// Accounts 1, 2, 3 … with these names, and their state and search.
pub(crate) struct World {
    pub(crate) directory: TempDir,
    pub(crate) state: State,
    pub(crate) search: Search,
    pub(crate) now: u64,
    /// Last request number of each account's session.
    numbers: BTreeMap<u64, u64>,
}

impl World {
    pub(crate) fn of(names: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut state = State::open(directory.path(), Options::default()).unwrap();
        people(&mut state, names);
        let search = Search::start(directory.path(), state.reader()).unwrap();
        Self {
            directory,
            state,
            search,
            now: START,
            numbers: BTreeMap::new(),
        }
    }

    /// Creates Alice and Bob, who are in the lobby, and Carol, who is not.
    pub(crate) fn with_lobby() -> Self {
        let mut world = Self::of(&["alice", "bob", "carol"]);
        world.room("lobby", ALICE, &[BOB]);
        world
    }

    /// Makes a request of one account, which must be accepted.
    pub(crate) fn asks(&mut self, account: u64, operation: Operation) -> Accepted {
        let mut answers = self.ask_all(account, vec![operation]);
        answers.pop().unwrap().unwrap()
    }

    /// Makes several requests of one account in one entry.
    pub(crate) fn ask_all(&mut self, account: u64, operations: Vec<Operation>) -> Vec<Answer> {
        let commands = operations.into_iter().map(|operation| {
            let number = self.numbers.entry(account).or_default();
            *number += 1;
            ask(account, *number, operation)
        });
        let commands = commands.collect();
        let answers = apply_at(&mut self.state, self.now, commands).answers;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        self.search.notify();
        answers
    }

    /// Creates a room with its owner and members.
    pub(crate) fn room(&mut self, name: &str, owner: u64, members: &[u64]) -> ConversationId {
        let name = RoomName::new(name).unwrap();
        let create = Operation::Room(RoomOperation::CreateRoom {
            name: name.clone(),
            topic: Topic::default(),
            public: true,
        });
        self.asks(owner, create);
        for member in members {
            self.asks(
                *member,
                Operation::Room(RoomOperation::JoinRoom { name: name.clone() }),
            );
        }
        let room = self
            .state
            .reader()
            .room_by_key(AccountId(owner), &name.key());
        room.unwrap().unwrap().id
    }

    pub(crate) fn says(&mut self, by: u64, room: &str, text: &str) -> MessageRef {
        let to = Recipient::Room(RoomName::new(room).unwrap());
        self.sends(by, to, text)
    }

    pub(crate) fn tells(&mut self, by: u64, peer: &str, text: &str) -> MessageRef {
        let to = Recipient::Account(AccountName::new(peer).unwrap());
        self.sends(by, to, text)
    }

    fn sends(&mut self, by: u64, to: Recipient, text: &str) -> MessageRef {
        match self.asks(by, send(to, text)) {
            Accepted::MessageSent {
                conversation,
                sequence,
                ..
            } => MessageRef {
                conversation,
                sequence,
            },
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn edits(&mut self, by: u64, message: MessageRef, text: &str) {
        let text = MessageText::new(text).unwrap();
        self.asks(
            by,
            Operation::Message(MessageOperation::EditMessage { message, text }),
        );
    }

    pub(crate) fn deletes(&mut self, by: u64, message: MessageRef, for_everyone: bool) {
        let delete = Operation::Message(MessageOperation::DeleteMessages {
            messages: vec![message],
            for_everyone,
        });
        self.asks(by, delete);
    }

    pub(crate) fn leaves(&mut self, account: u64, room: &str) {
        let name = RoomName::new(room).unwrap();
        self.asks(account, Operation::Room(RoomOperation::LeaveRoom { name }));
    }

    /// Waits until the index has everything that was applied.
    pub(crate) fn settle(&self) {
        settle(&self.search, &self.state);
    }

    /// Returns the texts that an account finds once the index has everything, newest first.
    pub(crate) fn finds(&self, account: u64, typed: &str) -> Vec<String> {
        self.settle();
        self.finds_at_once(account, typed)
    }

    /// Returns the texts that an account finds without waiting for the index.
    pub(crate) fn finds_at_once(&self, account: u64, typed: &str) -> Vec<String> {
        texts(&find(&self.search, account, typed, None, 100))
    }

    /// Returns the texts that an account finds on all pages.
    pub(crate) fn finds_by_pages(&self, account: u64, typed: &str, limit: usize) -> Vec<String> {
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let found = find(&self.search, account, typed, before, limit);
            assert!(found.rows.len() <= limit);
            seen.extend(texts(&found));
            before = found.next_before;
            if before.is_none() {
                return seen;
            }
        }
    }

    /// Stops the search; one of another directory takes its place.
    pub(crate) fn pause(&mut self) {
        let elsewhere = tempfile::tempdir().unwrap();
        let other = Search::start(elsewhere.path(), self.state.reader()).unwrap();
        drop(std::mem::replace(&mut self.search, other));
    }

    /// Stops the search, calls `between` with the directory, and starts another search.
    pub(crate) fn restart(&mut self, between: impl FnOnce(&Path)) {
        self.pause();
        between(self.directory.path());
        self.search = Search::start(self.directory.path(), self.state.reader()).unwrap();
    }

    /// Closes the state, calls `between` with the directory, and opens the state again.
    pub(crate) fn reopen(self, between: impl FnOnce(&Path)) -> Self {
        let (directory, now, numbers) = (self.directory, self.now, self.numbers);
        drop(self.search);
        drop(self.state);
        between(directory.path());
        let state = State::open(directory.path(), Options::default()).unwrap();
        let search = Search::start(directory.path(), state.reader()).unwrap();
        Self {
            directory,
            state,
            search,
            now,
            numbers,
        }
    }
}

pub(crate) fn send(to: Recipient, text: &str) -> Operation {
    Operation::Message(MessageOperation::SendMessage {
        to,
        text: MessageText::new(text).unwrap(),
        reply_to: None,
        action: false,
    })
}

/// Returns a message into the lobby.
pub(crate) fn to_lobby(text: &str) -> Operation {
    send(Recipient::Room(RoomName::new("lobby").unwrap()), text)
}

pub(crate) fn query(typed: &str) -> SearchQuery {
    SearchQuery::parse(typed, &Zone::default()).unwrap()
}

pub(crate) fn find(
    search: &Search,
    account: u64,
    typed: &str,
    before: Option<Position>,
    limit: usize,
) -> Found {
    search
        .find(
            AccountId(account),
            &query(typed),
            before,
            limit,
            &CancelFlag::default(),
        )
        .unwrap()
}

pub(crate) fn texts(found: &Found) -> Vec<String> {
    let texts = found.rows.iter().map(|row| row.text.clone().unwrap());
    texts.collect()
}

pub(crate) fn applied(state: &State) -> Position {
    Position::end_of(state.applied().last.unwrap().index)
}

/// Calls `look` until it returns a value.
pub(crate) fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..LOOKS_MAX {
        if let Some(seen) = look() {
            return seen;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
    panic!("it never came true");
}

pub(crate) fn settle(search: &Search, state: &State) {
    search.notify();
    wait_for(|| {
        let found = search
            .find(
                AccountId(1),
                &query("word"),
                None,
                1,
                &CancelFlag::default(),
            )
            .ok()?;
        (found.complete_to >= applied(state)).then_some(())
    });
}

/// Returns a time in milliseconds: this hour of this day of January 1970, when the tests take
/// place.
pub(crate) fn january(day: u64, hour: u64) -> u64 {
    ((day - 1) * 24 + hour) * 60 * 60 * 1000
}

pub(crate) fn at(conversation: ConversationId, sequence: u64) -> MessageRef {
    MessageRef {
        conversation,
        sequence: Sequence(sequence),
    }
}
