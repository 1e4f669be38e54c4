//! Properties that hold of any log, stated a second time: from the events and answers alone,
//! without the rules and without the state that they read.
//!
//! Always true: an observer knows only what was published. It fails the test at the first event
//! or answer that no correct rule could have given.

mod admission;
mod generated_command;
mod operations;
pub(crate) mod plan;
mod rights;
mod rooms;

use std::collections::{BTreeMap, BTreeSet};

use conclave_core::{
    Accepted, AccountEvent, AccountId, AccountRole, Answer, Batch, ClusterRetention,
    ClusterVersion, Command, ConversationEvent, ConversationId, Decision, Digest, Event, InviteId,
    MessageEvent, NodeId, Origin, Position, Progress, Remember, RoomEvent, SentMessage, Sequence,
    SessionEvent, SessionId, ThrottleKey, Timestamp, TokenHash, WebhookId,
    limits::{
        DATE_STANDS_MS, DATE_STEADY_MS, LOG_TIME_MAX_MS, SESSION_CLOSED_MS, SESSION_MS,
        SESSION_RENEW_MS, SESSION_WHOLE_MS, SESSIONS_PER_ACCOUNT_MAX,
    },
};

/// Follows a log and checks each event and answer.
#[derive(Default)]
pub(crate) struct Observer {
    time: Timestamp,
    date: Timestamp,
    names: BTreeMap<String, AccountId>,
    roles: BTreeMap<AccountId, AccountRole>,
    suspended: BTreeSet<AccountId>,
    versions: BTreeMap<AccountId, u64>,
    blocks: BTreeSet<(AccountId, AccountId)>,
    setup: Option<TokenHash>,
    /// Remaining uses and expiry of each invite.
    invites: BTreeMap<InviteId, (u32, Timestamp)>,
    invite_last: u64,
    /// Secret, room, account and maker of each webhook.
    webhooks: BTreeMap<WebhookId, (TokenHash, ConversationId, AccountId, AccountId)>,
    webhook_last: u64,
    /// Accounts of webhooks that were deleted.
    hooks_gone: BTreeSet<AccountId>,
    throttled: BTreeSet<ThrottleKey>,
    places: BTreeMap<ThrottleKey, AccountId>,
    /// Expiry of each join token.
    join_tokens: BTreeMap<TokenHash, Timestamp>,
    /// Operators' credentials, by the keys of their names.
    operators: BTreeMap<String, TokenHash>,
    node_last: NodeId,
    /// Whether a new authority of the peers is announced.
    rotating: bool,
    retired: BTreeSet<NodeId>,
    version: Option<ClusterVersion>,
    retention: ClusterRetention,
    account_last: u64,
    session_last: u64,
    conversation_last: u64,
    open: BTreeMap<SessionId, (AccountId, Timestamp)>,
    /// Time at which each session was opened, and time at which its use was recorded last.
    used: BTreeMap<SessionId, (Timestamp, Timestamp)>,
    closed: BTreeMap<SessionId, Timestamp>,
    tokens: BTreeMap<TokenHash, SessionId>,
    conversations: BTreeMap<ConversationId, rooms::Seen>,
    progress: BTreeMap<(ConversationId, AccountId), Progress>,
    hidden: BTreeSet<(ConversationId, Sequence, AccountId)>,
    executed: BTreeSet<(SessionId, u64)>,
    answered: BTreeMap<(SessionId, u64), (Digest, Answer)>,
    index: u64,
}

impl Observer {
    /// Reads an entry and its decisions.
    pub(crate) fn read(&mut self, batch: &Batch, decisions: &[Decision]) {
        assert_eq!(
            batch.commands.len(),
            decisions.len(),
            "every command is answered"
        );
        let before = self.time;
        self.time = self
            .time
            .max(batch.proposed_at.min(Timestamp(LOG_TIME_MAX_MS)));
        let date = batch.date.min(Timestamp(LOG_TIME_MAX_MS));
        let behind = self.date.0.saturating_sub(date.0);
        let steady = self.date.0 + (self.time.0 - before.0);
        if date.0 > 0 && date.0.abs_diff(steady) <= DATE_STEADY_MS {
            self.date = Timestamp(steady.min(LOG_TIME_MAX_MS));
        } else if date.0 > 0 && (behind == 0 || behind > DATE_STANDS_MS) {
            self.date = date;
        }
        self.index += 1;
        let mut written = 0;
        for (command, decision) in batch.commands.iter().zip(decisions) {
            self.read_answer(command, decision);
            let asker = match command.origin {
                Origin::Session { session, .. } => self.open.get(&session).map(|(of, _)| *of),
                Origin::Once(_) => None,
            };
            let governed = self.is_governed();
            for event in &decision.events {
                assert!(
                    self.may(asker, command, event),
                    "{asker:?} may not do {event:?}"
                );
                self.read_event(event);
            }
            let still_governed = self.names.is_empty() || self.is_governed();
            assert!(
                !governed || still_governed,
                "the last administrator has gone"
            );
            self.check_rooms();
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
            let (began_at, used_at) = self.used[&session];
            let end = began_at.plus_ms(SESSION_WHOLE_MS);
            let is_noted = self.time.0 - used_at.0 < SESSION_RENEW_MS;
            assert!(is_noted, "use was not noted");
            let lives_on = expires_at.plus_ms(SESSION_RENEW_MS) > self.time.plus_ms(SESSION_MS);
            assert!(
                lives_on || *expires_at >= end,
                "use did not renew a session"
            );
        }
    }

    /// Returns the accounts that have existed and do not exist now.
    pub(crate) fn deleted_accounts(&self) -> Vec<AccountId> {
        let alive: BTreeSet<AccountId> = self.names.values().copied().collect();
        let ever = (1..=self.account_last).map(AccountId);
        ever.filter(|id| !alive.contains(id)).collect()
    }

    /// Returns the conversations that were ever opened.
    pub(crate) fn conversations(&self) -> impl Iterator<Item = ConversationId> {
        self.conversations.keys().copied()
    }

    fn read_answer(&mut self, command: &Command, decision: &Decision) {
        let changes: Vec<&Event> = decision
            .events
            .iter()
            .filter(|e| !matches!(e, Event::Session(SessionEvent::Renewed { .. })))
            .collect();
        match &decision.answer {
            Err(_) => assert!(changes.is_empty(), "a refused command changed something"),
            Ok(Accepted::MessageSent { sequence, .. }) if !changes.is_empty() => {
                let sent = |e: &&Event| match e {
                    Event::Message(MessageEvent::Sent(SentMessage { sequence: of, .. })) => {
                        of == sequence
                    }
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

    fn is_governed(&self) -> bool {
        let mut admins = self
            .roles
            .iter()
            .filter(|(_, role)| **role == AccountRole::Admin);
        admins.any(|(id, _)| !self.suspended.contains(id))
    }

    fn is_alive(&self, account: AccountId) -> bool {
        self.names.values().any(|id| *id == account)
    }

    fn read_event(&mut self, event: &Event) {
        match event {
            Event::Access(_)
            | Event::Cluster(_)
            | Event::Account(AccountEvent::LimitsChanged { .. }) => self.read_admission(event),
            Event::Account(_) => self.read_account(event),
            Event::Session(_) => self.read_session(event),
            Event::Message(_) | Event::Conversation(ConversationEvent::PositionAdvanced { .. }) => {
                self.read_message(event);
            }
            Event::Room(RoomEvent::WebhookCreated { .. } | RoomEvent::WebhookDeleted { .. }) => {
                self.read_webhook(event);
            }
            Event::Conversation(_) | Event::Room(_) => self.read_conversation(event),
        }
    }

    fn read_account(&mut self, event: &Event) {
        match event {
            Event::Account(AccountEvent::Created {
                account,
                name,
                role,
                at,
                ..
            }) => {
                self.account_last += 1;
                let next = AccountId(self.account_last);
                assert_eq!(*account, next, "accounts are numbered without gaps");
                let before = self.names.insert(name.as_str().to_lowercase(), *account);
                assert_eq!(before, None, "two accounts have one name");
                assert_eq!(*at, self.date);
                self.versions.insert(*account, 1);
                self.set_role(*account, *role);
            }
            Event::Account(AccountEvent::Deleted { account }) => {
                assert!(self.is_alive(*account), "an account was deleted twice");
                self.names.retain(|_, id| id != account);
                self.roles.remove(account);
                self.suspended.remove(account);
                self.places.retain(|_, of| of != account);
                self.blocks
                    .retain(|(by, of)| by != account && of != account);
                let has_session = self.open.values().any(|(of, _)| of == account);
                assert!(!has_session, "a deleted account has an open session");
                self.forget_member(*account);
            }
            Event::Account(AccountEvent::PasswordChanged {
                account,
                password_version,
                ..
            }) => {
                let before = self.versions.insert(*account, *password_version);
                assert_eq!(before, Some(password_version - 1), "passwords are counted");
                let sessions = self.open.values().filter(|(of, _)| of == account).count();
                assert!(
                    sessions <= 1,
                    "a session outlived the password it was opened with"
                );
            }
            Event::Account(AccountEvent::PasswordRehashed { account, .. }) => {
                assert!(self.is_alive(*account), "no such account has this password");
            }
            Event::Account(AccountEvent::Suspended { account, suspended }) => {
                let changed = match suspended {
                    true => self.suspended.insert(*account),
                    false => self.suspended.remove(account),
                };
                assert!(changed, "an account was suspended twice");
                let mut open = self.open.values().filter(|(of, _)| of == account);
                let is_bot = self.roles.get(account) == Some(&AccountRole::Bot);
                assert!(
                    is_bot || open.next().is_none(),
                    "a session outlived a suspension"
                );
                if !suspended {
                    self.set_role(*account, self.roles[account]);
                }
            }
            Event::Account(AccountEvent::DisplayNameChanged { account, .. }) => {
                assert!(
                    self.is_alive(*account),
                    "no such account has a display name"
                );
            }
            Event::Account(AccountEvent::RoleChanged { account, role }) => {
                assert_ne!(self.roles.get(account), Some(role), "a role did not change");
                let people = [Some(&AccountRole::User), Some(&AccountRole::Admin)];
                assert!(
                    people.contains(&self.roles.get(account)),
                    "a program governs"
                );
                self.set_role(*account, *role);
            }
            Event::Account(AccountEvent::BlockChanged {
                account,
                other,
                blocked,
            }) => {
                assert_ne!(account, other, "an account blocked itself");
                assert!(self.is_alive(*other), "a missing account was blocked");
                let changed = match blocked {
                    true => self.blocks.insert((*account, *other)),
                    false => self.blocks.remove(&(*account, *other)),
                };
                assert!(changed, "a block did not change");
            }
            other => panic!("{other:?} is not about an account"),
        }
    }

    fn set_role(&mut self, account: AccountId, role: AccountRole) {
        self.roles.insert(account, role);
        if role == AccountRole::Admin {
            self.setup = None;
        }
    }

    fn read_session(&mut self, event: &Event) {
        match event {
            Event::Session(SessionEvent::Opened {
                session,
                account,
                token,
                at,
                began_at,
                expires_at,
                ..
            }) => {
                self.session_last += 1;
                let before = self.tokens.insert(*token, *session);
                assert_eq!(before, None, "two sessions have one token");
                assert_eq!(
                    session.0, self.session_last,
                    "sessions are numbered without gaps"
                );
                assert!(self.is_alive(*account), "a deleted account logged in");
                assert_eq!((*at, *began_at), (self.date, self.time));
                let until = match self.roles[account] {
                    AccountRole::Bot => Timestamp(LOG_TIME_MAX_MS),
                    AccountRole::User | AccountRole::Admin => self.time.plus_ms(SESSION_MS),
                };
                assert_eq!(*expires_at, until);
                self.open.insert(*session, (*account, *expires_at));
                self.used.insert(*session, (*began_at, *began_at));
                assert!(
                    !self.suspended.contains(account),
                    "a suspended account logged in"
                );
                let of_account = self.open.values().filter(|(of, _)| of == account).count();
                assert!(
                    of_account <= SESSIONS_PER_ACCOUNT_MAX,
                    "too many sessions are open"
                );
            }
            Event::Session(SessionEvent::Renewed {
                session,
                expires_at,
                used_at,
            }) => {
                let (_, until) = self
                    .open
                    .get_mut(session)
                    .expect("only an open one is renewed");
                assert!(*expires_at >= *until, "a renewal does not shorten a life");
                *until = *expires_at;
                assert_eq!(*used_at, self.time);
                self.used.get_mut(session).expect("it was opened").1 = *used_at;
            }
            Event::Session(SessionEvent::Closed { session, forget_at }) => {
                assert!(
                    self.open.remove(session).is_some(),
                    "only an open one is closed"
                );
                assert_eq!(*forget_at, self.time.plus_ms(SESSION_CLOSED_MS));
                self.closed.insert(*session, *forget_at);
            }
            Event::Session(SessionEvent::Forgotten { session }) => {
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
}
