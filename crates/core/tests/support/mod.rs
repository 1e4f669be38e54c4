//! The simplest state on which rules can run: sorted maps in memory, every fact written when it
//! occurs. Slow and obvious on purpose; storage on disk must give the same answers.
//!
//! Always true: nothing is decided here. A fact that contradicts the state is a bug in the rules
//! and fails the test that wrote it.

mod accounts;
mod lookup;
mod nodes;
mod rooms;

use std::collections::{BTreeMap, BTreeSet};

use conclave_core::{
    Account, AccountEvent, AccountId, AccountLimits, Allowance, Batch, ClusterVersion, Command,
    Conversation, ConversationEvent, ConversationId, Decision, Event, Invite, InviteId, Membership,
    MessageEvent, MessageHead, MessageRef, Now, OnceId, OncePool, Origin, Position, Progress,
    Reaction, Remember, SentMessage, Sequence, Session, SessionEvent, SessionId, Throttle,
    ThrottleKey, Timestamp, TokenHash, Webhook, WebhookId, decide, limits::REQUEST_WINDOW,
    lookup::Remembered,
};

/// Everything that the log has made so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Index of the log entry applied last.
    pub(crate) index: u64,
    /// Times of that entry.
    pub(crate) now: Now,
    /// Counts that are pretended, to come near a bound without creating the objects.
    pub(crate) pretended: BTreeMap<&'static str, u64>,
    accounts: BTreeMap<AccountId, Account>,
    names: BTreeMap<String, AccountId>,
    looks: BTreeMap<AccountId, String>,
    account_last: AccountId,
    sessions: BTreeMap<SessionId, (Session, TokenHash)>,
    session_last: SessionId,
    answers: BTreeMap<(SessionId, u64), Remembered>,
    once: BTreeMap<OnceId, Remembered>,
    /// For each answer, in the order in which they were given: its pool, and the time at which it
    /// is forgotten.
    once_by_age: BTreeMap<u64, (OncePool, Timestamp, OnceId)>,
    once_written: u64,
    conversations: BTreeMap<ConversationId, Conversation>,
    directs: BTreeMap<(AccountId, AccountId), ConversationId>,
    conversation_last: ConversationId,
    rooms: BTreeMap<String, ConversationId>,
    members: BTreeMap<(ConversationId, AccountId), Membership>,
    joined_at: BTreeMap<(ConversationId, AccountId), Position>,
    invitations: BTreeSet<(ConversationId, AccountId)>,
    messages: BTreeMap<(ConversationId, Sequence), MessageHead>,
    /// Of each message: the log time of its entry, if it has it, and its ordinal.
    sent_at: BTreeMap<(ConversationId, Sequence), (Option<Timestamp>, u64)>,
    /// All messages that were ever sent, in the order of the log.
    order: Vec<(ConversationId, Sequence)>,
    /// The last ordinal of each member's forgotten messages.
    sent_forgotten: BTreeMap<(ConversationId, AccountId), u64>,
    /// Log time since which messages have one.
    aged_since: Option<Timestamp>,
    hidden: BTreeSet<(ConversationId, Sequence, AccountId)>,
    mentions: BTreeSet<(ConversationId, Sequence, AccountId)>,
    late: BTreeSet<(ConversationId, Sequence, AccountId)>,
    reactions: BTreeSet<(MessageRef, AccountId, Reaction)>,
    blocks: BTreeSet<(AccountId, AccountId)>,
    setup_token: Option<TokenHash>,
    invites: BTreeMap<InviteId, (Invite, TokenHash)>,
    invite_last: InviteId,
    webhooks: BTreeMap<WebhookId, (Webhook, TokenHash)>,
    webhook_last: WebhookId,
    throttles: BTreeMap<ThrottleKey, Throttle>,
    places: BTreeMap<ThrottleKey, (AccountId, Timestamp)>,
    allowances: BTreeMap<AccountId, Allowance>,
    limits: AccountLimits,
    nodes: nodes::Nodes,
}

impl Memory {
    /// Decides a batch as the next log entry and writes the resulting facts, as storage does.
    pub(crate) fn run(&mut self, batch: &Batch) -> Vec<Decision> {
        self.index += 1;
        self.now = self.now.next(batch);
        self.forget_once_answers();
        let mut written = 0;
        let mut decisions = Vec::new();
        for command in &batch.commands {
            let position_of = |event| Position::new(self.index, written + event);
            let decision = decide(self, self.now, position_of, command)
                .expect("a state in memory can always be read");
            if let Some((account, mut allowance)) = decision.spent {
                allowance.stored_bytes -= self.pretended("bytes");
                allowance.conversations -= self.pretended("conversations");
                self.allowances.insert(account, allowance);
            }
            for event in &decision.events {
                self.write(Position::new(self.index, written), event);
                written += 1;
            }
            if decision.remember == Remember::Yes {
                self.remember(command, &decision);
            }
            decisions.push(decision);
        }
        decisions
    }

    /// Writes one fact.
    pub(crate) fn write(&mut self, position: Position, event: &Event) {
        match event {
            Event::Cluster(_) => {
                self.nodes.write(event);
                if self.nodes.version >= Some(ClusterVersion::RETENTION) {
                    self.aged_since.get_or_insert(self.now.log_time);
                }
            }
            Event::Account(AccountEvent::LimitsChanged { limits }) => {
                assert_ne!(self.limits, *limits, "nothing is limited anew");
                self.limits = *limits;
            }
            Event::Account(_) => self.write_account(event),
            Event::Access(_) => self.write_admission(event),
            Event::Session(_) => self.write_session(event),
            Event::Message(_) | Event::Conversation(ConversationEvent::PositionAdvanced { .. }) => {
                self.write_message(event);
            }
            Event::Conversation(_) | Event::Room(_) => self.write_conversation(position, event),
        }
    }

    fn write_message(&mut self, event: &Event) {
        match event {
            Event::Message(MessageEvent::Sent(SentMessage {
                conversation,
                sequence,
                by,
                ordinal,
                mentions,
                ..
            })) => {
                self.mention(*conversation, *sequence, mentions, false);
                let sent = self.sent(*conversation, *by) + 1;
                assert_eq!(*ordinal, sent, "a sender's messages are numbered");
                let row = self.conversations.get_mut(conversation);
                row.expect("it was opened").sequence_last = *sequence;
                let head = MessageHead {
                    by: *by,
                    deleted: false,
                };
                let before = self.messages.insert((*conversation, *sequence), head);
                assert_eq!(before, None, "two messages have one place");
                self.order.push((*conversation, *sequence));
                let at = self.aged_since.map(|_| self.now.log_time);
                self.sent_at
                    .insert((*conversation, *sequence), (at, *ordinal));
                let member = self.members.get_mut(&(*conversation, *by));
                member.expect("only members send").sent = *ordinal;
            }
            Event::Message(MessageEvent::Edited {
                conversation,
                sequence,
                mentions,
                ..
            }) => {
                assert!(
                    !self.messages[&(*conversation, *sequence)].deleted,
                    "a deleted message was edited"
                );
                self.mention(*conversation, *sequence, mentions, true);
            }
            Event::Message(MessageEvent::ReactionChanged {
                conversation,
                sequence,
                account,
                reaction,
                present,
                count,
            }) => {
                let message = MessageRef {
                    conversation: *conversation,
                    sequence: *sequence,
                };
                let key = (message, *account, reaction.clone());
                let changed = match present {
                    true => self.reactions.insert(key),
                    false => self.reactions.remove(&key),
                };
                assert!(changed, "a reaction did not change");
                let now = conclave_core::Lookup::reaction_count(self, message, reaction);
                assert_eq!(now, Ok(*count), "a reaction is counted wrongly");
            }
            Event::Conversation(ConversationEvent::PositionAdvanced {
                conversation,
                account,
                progress,
            }) => {
                let member = self.members.get_mut(&(*conversation, *account));
                member.expect("only members advance").progress = *progress;
                self.read_late(*conversation, *account, *progress);
            }
            Event::Message(MessageEvent::Hidden {
                conversation,
                sequence,
                account,
            }) => {
                let new = self.hidden.insert((*conversation, *sequence, *account));
                assert!(new, "a message was hidden twice");
            }
            Event::Message(MessageEvent::Deleted {
                conversation,
                sequence,
                ..
            }) => {
                let head = self.messages.get_mut(&(*conversation, *sequence));
                head.expect("only messages are deleted").deleted = true;
                self.mention(*conversation, *sequence, &[], false);
                let gone = MessageRef {
                    conversation: *conversation,
                    sequence: *sequence,
                };
                self.reactions.retain(|(message, ..)| *message != gone);
            }
            other => panic!("{other:?} is not about a message"),
        }
    }

    /// Writes the current mentions of a message. A mention counts as late if the account had read
    /// the message before the edit.
    fn mention(
        &mut self,
        conversation: ConversationId,
        sequence: Sequence,
        accounts: &[AccountId],
        edited: bool,
    ) {
        let stays = |(c, s, a): &(ConversationId, Sequence, AccountId)| {
            (*c, *s) != (conversation, sequence) || accounts.contains(a)
        };
        self.mentions.retain(stays);
        self.late.retain(stays);
        for account in accounts {
            let key = (conversation, sequence, *account);
            let member = self.members.get(&(conversation, *account));
            let has_read = member.is_some_and(|member| member.progress.read >= sequence);
            if self.mentions.insert(key) && edited && has_read {
                self.late.insert(key);
            }
        }
    }

    pub(super) fn read_late(
        &mut self,
        conversation: ConversationId,
        account: AccountId,
        progress: Progress,
    ) {
        self.late
            .retain(|(c, s, a)| (*c, *a) != (conversation, account) || *s > progress.read);
    }

    fn write_session(&mut self, event: &Event) {
        match event {
            Event::Session(SessionEvent::Opened {
                session,
                account,
                token,
                began_at,
                expires_at,
                ..
            }) => {
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
                    began_at: *began_at,
                    used_at: *began_at,
                    requests: conclave_core::RequestWindow::default(),
                };
                self.sessions.insert(*session, (row, *token));
            }
            Event::Session(SessionEvent::Renewed {
                session,
                expires_at,
                used_at,
            }) => {
                let row = self.session_mut(*session);
                row.expires_at = *expires_at;
                row.used_at = *used_at;
            }
            Event::Session(SessionEvent::Closed { session, forget_at }) => {
                let row = self.session_mut(*session);
                row.closed = true;
                row.expires_at = *forget_at;
            }
            Event::Session(SessionEvent::Forgotten { session }) => {
                let gone = self.sessions.remove(session);
                assert!(gone.is_some(), "a session was forgotten twice");
                self.answers.retain(|(of, _), _| of != session);
            }
            other => panic!("{other:?} is not about a session"),
        }
    }

    /// Keeps the answer of a request that reached its rule.
    pub(crate) fn remember(&mut self, command: &Command, decision: &Decision) {
        let remembered = Remembered {
            digest: command.digest,
            answer: decision.answer.clone(),
            decided_in: self.index,
        };
        match command.origin {
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
                let (pool, forget_at) = (
                    decision.pool,
                    self.now.log_time.plus_ms(decision.pool.answer_ms()),
                );
                self.once_by_age
                    .insert(self.once_written, (pool, forget_at, id));
                self.once_written += 1;
                let mut own = self.once_by_age.iter().filter(|(_, (of, ..))| *of == pool);
                if own.clone().count() as u64 > pool.answers_max() {
                    let (oldest, (.., id)) = own.next().expect("there are many");
                    let (oldest, id) = (*oldest, *id);
                    self.once_by_age.remove(&oldest);
                    self.once.remove(&id);
                }
            }
        }
    }

    fn forget_once_answers(&mut self) {
        let now = self.now.log_time;
        for (.., id) in self
            .once_by_age
            .extract_if(.., |_, (_, at, _)| *at <= now)
            .map(|(_, v)| v)
        {
            self.once.remove(&id);
        }
    }

    fn admins_now(&self) -> u64 {
        let all = self.accounts.values();
        all.filter(|row| row.is_admin()).count() as u64
    }

    fn pretended(&self, what: &str) -> u64 {
        self.pretended.get(what).copied().unwrap_or(0)
    }

    fn session_mut(&mut self, session: SessionId) -> &mut Session {
        &mut self
            .sessions
            .get_mut(&session)
            .expect("the session exists")
            .0
    }

    /// Returns the members of a conversation, the lowest number first.
    pub(crate) fn members_of(&self, conversation: ConversationId) -> Vec<AccountId> {
        let of = |(id, _): &&(ConversationId, AccountId)| *id == conversation;
        self.members
            .keys()
            .filter(of)
            .map(|(_, member)| *member)
            .collect()
    }

    /// Returns the greatest number of answers that any session has remembered, and the number of
    /// requests outside sessions that are remembered.
    pub(crate) fn answers_remembered(&self) -> (usize, usize) {
        let mut of_session: BTreeMap<SessionId, usize> = BTreeMap::new();
        for (session, _) in self.answers.keys() {
            *of_session.entry(*session).or_default() += 1;
        }
        (of_session.into_values().max().unwrap_or(0), self.once.len())
    }
}
