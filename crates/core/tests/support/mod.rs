//! The simplest state that rules can be run on: sorted maps in memory, every fact written as it
//! comes. Slow and obvious on purpose; what storage keeps on disk must answer the same.
//!
//! Always true: nothing is decided here. A fact that contradicts the state is a bug in the rules
//! and fails the test that wrote it.

use std::collections::{BTreeMap, BTreeSet};

use conclave_core::{
    Account, AccountId, Answer, Batch, Broken, Conversation, ConversationId, Decision, Digest,
    Event, Lookup, Membership, MessageHead, OnceId, Origin, Position, Remember, Sequence, Session,
    SessionId, Timestamp, TokenHash, decide,
    decide::log_time,
    limits::{ONCE_ANSWER_MS, ONCE_ANSWERS_MAX, REQUEST_WINDOW},
    lookup::Remembered,
};

/// Everything that the log has made so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// The log entry applied last.
    pub(crate) index: u64,
    /// Its log time.
    pub(crate) now: Timestamp,
    /// Accounts that are merely counted, to come near the bound without creating them.
    pub(crate) accounts_pretended: u64,
    accounts: BTreeMap<AccountId, Account>,
    names: BTreeMap<String, AccountId>,
    account_last: AccountId,
    sessions: BTreeMap<SessionId, (Session, TokenHash)>,
    session_last: SessionId,
    answers: BTreeMap<(SessionId, u64), Remembered>,
    once: BTreeMap<OnceId, Remembered>,
    once_by_age: BTreeMap<(Timestamp, u64), OnceId>,
    once_written: u64,
    conversations: BTreeMap<ConversationId, Conversation>,
    directs: BTreeMap<(AccountId, AccountId), ConversationId>,
    conversation_last: ConversationId,
    members: BTreeMap<(ConversationId, AccountId), Membership>,
    messages: BTreeMap<(ConversationId, Sequence), MessageHead>,
    hidden: BTreeSet<(ConversationId, Sequence, AccountId)>,
}

impl Memory {
    /// Decides a batch as the next log entry and writes what it comes to, like storage does.
    pub(crate) fn run(&mut self, batch: &Batch) -> Vec<Decision> {
        self.index += 1;
        self.now = log_time(self.now, batch.proposed_at);
        self.forget_once_answers();
        let mut written = 0;
        let mut decisions = Vec::new();
        for command in &batch.commands {
            let position_of = |event| Position::new(self.index, written + event);
            let decision = decide(self, self.now, position_of, command)
                .expect("a state in memory can always be read");
            for event in &decision.events {
                self.write(Position::new(self.index, written), event);
                written += 1;
            }
            if decision.remember == Remember::Yes {
                self.remember(command.origin, command.digest, decision.answer.clone());
            }
            decisions.push(decision);
        }
        decisions
    }

    /// Writes one fact.
    pub(crate) fn write(&mut self, _position: Position, event: &Event) {
        match event {
            Event::AccountCreated { account, name, .. } => {
                assert_eq!(
                    *account,
                    self.account_last.next(),
                    "a number is skipped or reused"
                );
                self.account_last = *account;
                let before = self.names.insert(name.key(), *account);
                assert_eq!(before, None, "a name was given twice");
                let row = Account {
                    id: *account,
                    password_version: 1,
                };
                self.accounts.insert(*account, row);
            }
            Event::AccountDeleted { account } => self.delete_account(*account),
            Event::ConversationOpened {
                conversation,
                members: (a, b),
                ..
            } => {
                assert_eq!(
                    *conversation,
                    self.conversation_last.next(),
                    "a number is skipped"
                );
                self.conversation_last = *conversation;
                let row = Conversation {
                    id: *conversation,
                    direct: Some((*a, *b)),
                    sequence_last: Sequence(0),
                };
                self.conversations.insert(*conversation, row);
                self.directs.insert((*a, *b), *conversation);
                for member in [a, b] {
                    self.members
                        .insert((*conversation, *member), Membership::default());
                }
            }
            Event::MessageSent {
                conversation,
                sequence,
                by,
                ..
            } => {
                let row = self
                    .conversations
                    .get_mut(conversation)
                    .expect("it was opened");
                row.sequence_last = *sequence;
                let head = MessageHead {
                    by: *by,
                    deleted: false,
                };
                let before = self.messages.insert((*conversation, *sequence), head);
                assert_eq!(before, None, "two messages have one place");
            }
            Event::PositionAdvanced {
                conversation,
                account,
                progress,
            } => {
                let member = self.members.get_mut(&(*conversation, *account));
                member.expect("only members advance").progress = *progress;
            }
            Event::MessageHidden {
                conversation,
                sequence,
                account,
            } => {
                let new = self.hidden.insert((*conversation, *sequence, *account));
                assert!(new, "a message was hidden twice");
            }
            Event::MessageDeleted {
                conversation,
                sequence,
                ..
            } => {
                let head = self.messages.get_mut(&(*conversation, *sequence));
                head.expect("only messages are deleted").deleted = true;
            }
            Event::SessionOpened { .. }
            | Event::SessionRenewed { .. }
            | Event::SessionClosed { .. }
            | Event::SessionForgotten { .. } => self.write_session(event),
        }
    }

    fn write_session(&mut self, event: &Event) {
        match event {
            Event::SessionOpened {
                session,
                account,
                token,
                expires_at,
                ..
            } => {
                assert_eq!(
                    *session,
                    self.session_last.next(),
                    "a number is skipped or reused"
                );
                self.session_last = *session;
                let row = Session {
                    id: *session,
                    account: *account,
                    closed: false,
                    expires_at: *expires_at,
                    requests: conclave_core::RequestWindow::default(),
                };
                self.sessions.insert(*session, (row, *token));
            }
            Event::SessionRenewed {
                session,
                expires_at,
            } => self.session_mut(*session).expires_at = *expires_at,
            Event::SessionClosed { session, forget_at } => {
                let row = self.session_mut(*session);
                row.closed = true;
                row.expires_at = *forget_at;
            }
            Event::SessionForgotten { session } => {
                let gone = self.sessions.remove(session);
                assert!(gone.is_some(), "a session was forgotten twice");
                self.answers.retain(|(of, _), _| of != session);
            }
            other => panic!("{other:?} is not about a session"),
        }
    }

    /// Keeps the answer of a request that reached its rule.
    pub(crate) fn remember(&mut self, origin: Origin, digest: Digest, answer: Answer) {
        let remembered = Remembered { digest, answer };
        match origin {
            Origin::Session { session, number } => {
                let row = self.session_mut(session);
                row.requests.record(number);
                let oldest_kept = (row.requests.last() + 1).saturating_sub(REQUEST_WINDOW);
                self.answers.insert((session, number), remembered);
                self.answers
                    .retain(|(of, n), _| *of != session || *n >= oldest_kept);
            }
            Origin::Once(id) => {
                self.once.insert(id, remembered);
                self.once_by_age.insert((self.now, self.once_written), id);
                self.once_written += 1;
                if self.once.len() as u64 > ONCE_ANSWERS_MAX {
                    let (_, oldest) = self.once_by_age.pop_first().expect("there are many");
                    self.once.remove(&oldest);
                }
            }
        }
    }

    fn forget_once_answers(&mut self) {
        while let Some(entry) = self.once_by_age.first_entry()
            && entry.key().0.plus_ms(ONCE_ANSWER_MS) <= self.now
        {
            self.once.remove(&entry.remove());
        }
    }

    fn delete_account(&mut self, account: AccountId) {
        self.accounts.remove(&account).expect("it was created");
        self.names.retain(|_, id| *id != account);
        let mine = |(_, member): &(ConversationId, AccountId)| *member == account;
        let left: Vec<_> = self.members.keys().copied().filter(mine).collect();
        for key in left {
            self.members.remove(&key);
            if self.members_of(key.0).is_empty() {
                self.conversations.remove(&key.0);
                self.directs.retain(|_, id| *id != key.0);
                self.messages.retain(|(of, _), _| *of != key.0);
                self.hidden.retain(|(of, _, _)| *of != key.0);
            }
        }
        self.hidden.retain(|(_, _, member)| *member != account);
    }

    fn session_mut(&mut self, session: SessionId) -> &mut Session {
        &mut self
            .sessions
            .get_mut(&session)
            .expect("the session exists")
            .0
    }

    /// The members of a conversation, the lowest number first.
    pub(crate) fn members_of(&self, conversation: ConversationId) -> Vec<AccountId> {
        let of = |(id, _): &&(ConversationId, AccountId)| *id == conversation;
        self.members
            .keys()
            .filter(of)
            .map(|(_, member)| *member)
            .collect()
    }

    /// The greatest number of answers that any session has remembered, and how many requests
    /// outside sessions have.
    pub(crate) fn answers_remembered(&self) -> (usize, usize) {
        let mut of_session: BTreeMap<SessionId, usize> = BTreeMap::new();
        for (session, _) in self.answers.keys() {
            *of_session.entry(*session).or_default() += 1;
        }
        (of_session.into_values().max().unwrap_or(0), self.once.len())
    }
}

impl Lookup for Memory {
    fn account(&self, id: AccountId) -> Result<Option<Account>, Broken> {
        Ok(self.accounts.get(&id).copied())
    }
    fn account_by_key(&self, key: &str) -> Result<Option<Account>, Broken> {
        Ok(self.names.get(key).map(|id| self.accounts[id]))
    }
    fn accounts(&self) -> Result<u64, Broken> {
        Ok(self.accounts.len() as u64 + self.accounts_pretended)
    }
    fn account_last(&self) -> Result<AccountId, Broken> {
        Ok(self.account_last)
    }
    fn session(&self, id: SessionId) -> Result<Option<Session>, Broken> {
        Ok(self.sessions.get(&id).map(|(session, _)| *session))
    }
    fn token_in_use(&self, token: &TokenHash) -> Result<bool, Broken> {
        Ok(self.sessions.values().any(|(_, used)| used == token))
    }
    fn sessions_of(&self, account: AccountId) -> Result<Vec<SessionId>, Broken> {
        let open = |s: &&Session| s.account == account && !s.closed;
        let rows = self.sessions.values().map(|(session, _)| session);
        Ok(rows.filter(open).map(|session| session.id).collect())
    }
    fn sessions_expired(&self, now: Timestamp, limit: usize) -> Result<Vec<SessionId>, Broken> {
        let rows = self.sessions.values().map(|(session, _)| session);
        let expired = rows.filter(|session| session.expires_at <= now);
        let by_time: BTreeSet<_> = expired.map(|s| (s.expires_at, s.id)).collect();
        Ok(by_time.into_iter().map(|(_, id)| id).take(limit).collect())
    }
    fn session_last(&self) -> Result<SessionId, Broken> {
        Ok(self.session_last)
    }
    fn remembered(&self, session: SessionId, number: u64) -> Result<Option<Remembered>, Broken> {
        Ok(self.answers.get(&(session, number)).cloned())
    }
    fn remembered_once(&self, id: &OnceId) -> Result<Option<Remembered>, Broken> {
        Ok(self.once.get(id).cloned())
    }
    fn direct(&self, members: (AccountId, AccountId)) -> Result<Option<ConversationId>, Broken> {
        Ok(self.directs.get(&members).copied())
    }
    fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, Broken> {
        Ok(self.conversations.get(&id).copied())
    }
    fn conversation_last(&self) -> Result<ConversationId, Broken> {
        Ok(self.conversation_last)
    }
    fn membership(
        &self,
        conversation: ConversationId,
        account: AccountId,
    ) -> Result<Option<Membership>, Broken> {
        Ok(self.members.get(&(conversation, account)).copied())
    }
    fn message(
        &self,
        conversation: ConversationId,
        sequence: Sequence,
    ) -> Result<Option<MessageHead>, Broken> {
        Ok(self.messages.get(&(conversation, sequence)).copied())
    }
    fn is_hidden(
        &self,
        conversation: ConversationId,
        sequence: Sequence,
        account: AccountId,
    ) -> Result<bool, Broken> {
        Ok(self.hidden.contains(&(conversation, sequence, account)))
    }
}
