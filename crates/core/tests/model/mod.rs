//! What must hold of any log, told a second time: from the events and answers alone, without the
//! rules and without the state that they read.
//!
//! Always true: an observer knows only what was published. It fails the test at the first event
//! or answer that no correct rule could have given.

pub(crate) mod plan;

use std::collections::{BTreeMap, BTreeSet};

use conclave_core::{
    Accepted, AccountId, Answer, Batch, Command, ConversationId, Decision, Digest, Event, Origin,
    Position, Progress, Remember, Sequence, SessionId, Timestamp, TokenHash,
    limits::{
        LOG_TIME_MAX_MS, SESSION_CLOSED_MS, SESSION_MS, SESSION_RENEW_MS, SESSIONS_PER_ACCOUNT_MAX,
    },
};

#[derive(Default)]
struct Seen {
    pair: BTreeSet<AccountId>,
    members: BTreeSet<AccountId>,
    by: Vec<AccountId>,
    deleted: BTreeSet<Sequence>,
}

/// Reads along.
#[derive(Default)]
pub(crate) struct Observer {
    time: Timestamp,
    names: BTreeMap<String, AccountId>,
    account_last: u64,
    session_last: u64,
    conversation_last: u64,
    open: BTreeMap<SessionId, (AccountId, Timestamp)>,
    closed: BTreeMap<SessionId, Timestamp>,
    tokens: BTreeMap<TokenHash, SessionId>,
    conversations: BTreeMap<ConversationId, Seen>,
    progress: BTreeMap<(ConversationId, AccountId), Progress>,
    hidden: BTreeSet<(ConversationId, Sequence, AccountId)>,
    executed: BTreeSet<(SessionId, u64)>,
    answered: BTreeMap<(SessionId, u64), (Digest, Answer)>,
    index: u64,
}

impl Observer {
    /// Reads an entry and what came of it.
    pub(crate) fn read(&mut self, batch: &Batch, decisions: &[Decision]) {
        assert_eq!(
            batch.commands.len(),
            decisions.len(),
            "every command is answered"
        );
        self.time = self
            .time
            .max(batch.proposed_at.min(Timestamp(LOG_TIME_MAX_MS)));
        self.index += 1;
        let mut written = 0;
        for (command, decision) in batch.commands.iter().zip(decisions) {
            self.read_answer(command, decision);
            let asker = match command.origin {
                Origin::Session { session, .. } => self.open.get(&session).map(|(of, _)| *of),
                Origin::Once(_) => None,
            };
            for event in &decision.events {
                if let Some(account) = self.doer(event) {
                    assert_eq!(Some(account), asker, "somebody acted for another");
                }
                self.read_event(event);
            }
            written += decision.events.len() as u64;
            if let (Ok(Accepted::MessageSent { position, .. }), false) =
                (&decision.answer, decision.events.is_empty())
            {
                // The message is the last event of its command.
                assert_eq!(*position, Position::new(self.index, written - 1));
            }
            self.read_renewal(command, decision);
        }
    }

    fn read_renewal(&self, command: &Command, decision: &Decision) {
        if let (Origin::Session { session, .. }, Remember::Yes) =
            (command.origin, decision.remember)
            && let Some((_, expires_at)) = self.open.get(&session)
        {
            let lives_on = expires_at.plus_ms(SESSION_RENEW_MS) > self.time.plus_ms(SESSION_MS);
            let at_the_end = expires_at.0 == u64::MAX;
            assert!(lives_on || at_the_end, "use did not renew a session");
        }
    }

    /// The accounts that have existed and do not exist now.
    pub(crate) fn deleted_accounts(&self) -> Vec<AccountId> {
        let alive: BTreeSet<AccountId> = self.names.values().copied().collect();
        let ever = (1..=self.account_last).map(AccountId);
        ever.filter(|id| !alive.contains(id)).collect()
    }

    /// The conversations that were ever opened.
    pub(crate) fn conversations(&self) -> impl Iterator<Item = ConversationId> {
        self.conversations.keys().copied()
    }

    fn read_answer(&mut self, command: &Command, decision: &Decision) {
        let changes: Vec<&Event> = decision
            .events
            .iter()
            .filter(|e| !matches!(e, Event::SessionRenewed { .. }))
            .collect();
        match &decision.answer {
            Err(_) => assert!(changes.is_empty(), "a refused command changed something"),
            Ok(Accepted::MessageSent { sequence, .. }) if !changes.is_empty() => {
                let sent = |e: &&Event| match e {
                    Event::MessageSent { sequence: of, .. } => of == sequence,
                    _ => false,
                };
                assert!(
                    sent(changes.last().expect("not empty")),
                    "answer and event differ"
                );
            }
            Ok(_) => {}
        }
        if let Origin::Session { session, number } = command.origin {
            self.read_repetition((session, number), command.digest, decision);
            if changes.is_empty() {
                return;
            }
            assert!(
                self.executed.insert((session, number)),
                "a request was executed twice"
            );
            assert!(
                self.open.contains_key(&session),
                "a session that is not open did something"
            );
            let (_, expires_at) = self.open[&session];
            assert!(expires_at > self.time, "an expired session did something");
        }
    }

    fn read_repetition(&mut self, request: (SessionId, u64), digest: Digest, now: &Decision) {
        if now.remember == Remember::Yes {
            let before = self.answered.insert(request, (digest, now.answer.clone()));
            assert_eq!(before, None, "a request was decided twice");
        } else if now.answer.is_ok() {
            let first = self.answered.get(&request);
            let same = Some(&(digest, now.answer.clone()));
            assert_eq!(first, same, "this answer belongs to another request");
        }
    }

    /// Who alone can have made this event, if it is of a kind that belongs to somebody.
    fn doer(&self, event: &Event) -> Option<AccountId> {
        match event {
            Event::AccountDeleted { account }
            | Event::PositionAdvanced { account, .. }
            | Event::MessageHidden { account, .. }
            | Event::MessageSent { by: account, .. } => Some(*account),
            Event::MessageDeleted {
                conversation,
                sequence,
                ..
            } => self.conversations[conversation]
                .by
                .get(sequence.0 as usize - 1)
                .copied(),
            _ => None,
        }
    }

    fn is_alive(&self, account: AccountId) -> bool {
        self.names.values().any(|id| *id == account)
    }

    fn read_event(&mut self, event: &Event) {
        match event {
            Event::AccountCreated {
                account, name, at, ..
            } => {
                self.account_last += 1;
                assert_eq!(
                    account.0, self.account_last,
                    "accounts are numbered without gaps"
                );
                let before = self.names.insert(name.as_str().to_lowercase(), *account);
                assert_eq!(before, None, "two accounts have one name");
                assert_eq!(*at, self.time);
            }
            Event::AccountDeleted { account } => {
                assert!(self.is_alive(*account), "an account was deleted twice");
                self.names.retain(|_, id| id != account);
                let has_session = self.open.values().any(|(of, _)| of == account);
                assert!(!has_session, "a deleted account has an open session");
                for seen in self.conversations.values_mut() {
                    seen.members.remove(account);
                }
            }
            Event::SessionOpened { .. }
            | Event::SessionRenewed { .. }
            | Event::SessionClosed { .. }
            | Event::SessionForgotten { .. } => self.read_session(event),
            Event::ConversationOpened {
                conversation,
                members: (a, b),
                at,
            } => {
                self.conversation_last += 1;
                assert_eq!(
                    conversation.0, self.conversation_last,
                    "numbered without gaps"
                );
                assert!(a <= b, "the lower number comes first");
                assert!(
                    self.is_alive(*a) && self.is_alive(*b),
                    "a member does not exist"
                );
                let pair = BTreeSet::from([*a, *b]);
                let again = self.conversations.values().any(|seen| seen.pair == pair);
                assert!(!again, "two people have two conversations");
                assert_eq!(*at, self.time);
                let seen = Seen {
                    members: pair.clone(),
                    pair,
                    ..Seen::default()
                };
                self.conversations.insert(*conversation, seen);
            }
            Event::MessageSent { .. }
            | Event::PositionAdvanced { .. }
            | Event::MessageHidden { .. }
            | Event::MessageDeleted { .. } => self.read_message(event),
        }
    }

    fn read_session(&mut self, event: &Event) {
        match event {
            Event::SessionOpened {
                session,
                account,
                token,
                at,
                expires_at,
            } => {
                self.session_last += 1;
                let before = self.tokens.insert(*token, *session);
                assert_eq!(before, None, "two sessions have one token");
                assert_eq!(
                    session.0, self.session_last,
                    "sessions are numbered without gaps"
                );
                assert!(self.is_alive(*account), "a deleted account logged in");
                assert_eq!(*at, self.time);
                assert_eq!(*expires_at, self.time.plus_ms(SESSION_MS));
                self.open.insert(*session, (*account, *expires_at));
                let of_account = self.open.values().filter(|(of, _)| of == account).count();
                assert!(
                    of_account <= SESSIONS_PER_ACCOUNT_MAX,
                    "too many sessions are open"
                );
            }
            Event::SessionRenewed {
                session,
                expires_at,
            } => {
                let (_, until) = self
                    .open
                    .get_mut(session)
                    .expect("only an open one is renewed");
                assert!(*expires_at > *until, "a renewal does not shorten a life");
                *until = *expires_at;
            }
            Event::SessionClosed { session, forget_at } => {
                assert!(
                    self.open.remove(session).is_some(),
                    "only an open one is closed"
                );
                assert_eq!(*forget_at, self.time.plus_ms(SESSION_CLOSED_MS));
                self.closed.insert(*session, *forget_at);
            }
            Event::SessionForgotten { session } => {
                self.tokens.retain(|_, of| of != session);
                let open = self.open.remove(session).map(|(_, expires_at)| expires_at);
                let until = open
                    .or(self.closed.remove(session))
                    .expect("forgotten twice");
                assert!(
                    until <= self.time,
                    "a session was forgotten before its time"
                );
            }
            other => panic!("{other:?} is not about a session"),
        }
    }

    fn read_message(&mut self, event: &Event) {
        match event {
            Event::MessageSent {
                conversation,
                sequence,
                by,
                at,
                ..
            } => {
                let seen = self
                    .conversations
                    .get_mut(conversation)
                    .expect("it was opened");
                assert!(seen.members.contains(by), "a stranger wrote");
                assert_eq!(
                    seen.members, seen.pair,
                    "a message went to somebody who is gone"
                );
                seen.by.push(*by);
                assert_eq!(sequence.0, seen.by.len() as u64, "a sequence has a gap");
                assert_eq!(*at, self.time, "a message is not of its entry's time");
            }
            Event::PositionAdvanced {
                conversation,
                account,
                progress,
            } => {
                let seen = &self.conversations[conversation];
                assert!(seen.members.contains(account), "a stranger advanced");
                let before = self.progress.insert((*conversation, *account), *progress);
                let before = before.unwrap_or_default();
                assert!(
                    progress.delivered >= before.delivered,
                    "delivered went back"
                );
                assert!(progress.read >= before.read, "read went back");
                assert_ne!(*progress, before, "nothing advanced");
                assert!(
                    progress.read <= progress.delivered,
                    "read before it was delivered"
                );
                assert!(
                    progress.delivered.0 <= seen.by.len() as u64,
                    "beyond the end"
                );
            }
            Event::MessageHidden {
                conversation,
                sequence,
                account,
            } => {
                let seen = &self.conversations[conversation];
                assert!(seen.members.contains(account), "a stranger deleted");
                assert!(
                    (1..=seen.by.len() as u64).contains(&sequence.0),
                    "no such message"
                );
                assert!(
                    !seen.deleted.contains(sequence),
                    "it was deleted before it was hidden"
                );
                let new = self.hidden.insert((*conversation, *sequence, *account));
                assert!(new, "a message was hidden twice");
            }
            Event::MessageDeleted {
                conversation,
                sequence,
                ..
            } => {
                let seen = self
                    .conversations
                    .get_mut(conversation)
                    .expect("it was opened");
                let by = seen.by.get(sequence.0 as usize - 1).expect("it was sent");
                assert!(
                    seen.members.contains(by),
                    "its sender is not there to delete it"
                );
                assert!(
                    seen.deleted.insert(*sequence),
                    "a message was deleted twice"
                );
            }
            other => panic!("{other:?} is not about a message"),
        }
    }
}
