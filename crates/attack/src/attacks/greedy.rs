//! One account that does everything as fast as it can, from sixteen sessions.
//!
//! Always true: it does nothing that an account may not do; it only never waits when the server
//! asks it to.

use std::{sync::Arc, time::Duration};

use conclave_client::{
    Client, Days, SendStreamOptions, StartAt,
    core::{MessageRef, Recipient, RoomName},
};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, timeout_at},
};

use crate::{Bounds, Tally, Target};

/// Sessions of the account: half of what it may have.
const SESSIONS: usize = 16;
/// Log-ins at once: with one more than 32 sessions the account would end its own.
const LOG_INS: usize = 12;
/// Time after which a call of an attacker is given up: a refused one is made anew at once. Log-ins
/// and log-outs take the time that they need: a log-in that was given up would leave a session, and
/// with a few of these the account would end its own.
const CALL_LIMIT: Duration = Duration::from_millis(500);
/// The longest text.
const TEXT_BYTES: usize = 16 * 1024;
/// Number of messages in one stream.
const MANY: usize = 64;
const PASSWORD: &str = "a greedy password";

/// What one worker does.
#[derive(Clone, Copy)]
enum Action {
    Send,
    SendMany,
    Edit,
    React,
    Search,
    Subscribe,
    LogIn,
}

/// The workers of a session do these in turn: mostly what is written down for good.
const ACTIONS: [Action; 8] = [
    Action::Send,
    Action::SendMany,
    Action::Send,
    Action::Edit,
    Action::React,
    Action::Search,
    Action::Subscribe,
    Action::LogIn,
];

/// Lets `count` workers of one account do what they can; counts calls, those that were refused as
/// failed.
pub(super) async fn greedy(target: Arc<Target>, bounds: Bounds) -> Tally {
    let until = Instant::now() + bounds.duration;
    let failed = Tally {
        failed: 1,
        ..Tally::default()
    };
    let Ok(account) = begin(&target).await else {
        return failed;
    };
    let account = Arc::new(account);
    let log_ins = Arc::new(Semaphore::new(LOG_INS));
    let mut workers = JoinSet::new();
    for number in 0..bounds.count {
        let client = account.sessions[number % SESSIONS].clone();
        let action = ACTIONS[number / SESSIONS % ACTIONS.len()];
        let worker = Worker {
            account: account.clone(),
            client,
            action,
            log_ins: log_ins.clone(),
        };
        workers.spawn(worker.run(until));
    }
    let mut all = Tally::default();
    while let Some(one) = workers.join_next().await {
        all += one.unwrap_or(failed);
    }
    all
}

/// The account that does all this.
struct Account {
    name: String,
    /// Without a session; for log-ins.
    patient: Client,
    sessions: Vec<Client>,
    /// To be edited.
    message: MessageRef,
}

async fn begin(target: &Target) -> anyhow::Result<Account> {
    let mut word = [0; 8];
    getrandom::fill(&mut word).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    let name = format!("greedy{:016x}", u64::from_ne_bytes(word));
    let patient = target.client().build()?;
    patient.create_account(&name, PASSWORD).await?;
    let mut sessions = Vec::with_capacity(SESSIONS);
    for _ in 0..SESSIONS {
        let token = patient.login(&name, PASSWORD).await?.token;
        let hasty = target.client().total_timeout(CALL_LIMIT).build()?;
        sessions.push(hasty.with_token(&token)?);
    }
    let room = RoomName::new(name.clone())?;
    sessions[0].create_room(&name, "", false).await?;
    let sent = sessions[0]
        .send(&Recipient::Room(room), "to be edited")
        .await?;
    let message = MessageRef {
        conversation: sent.conversation,
        sequence: sent.sequence,
    };
    Ok(Account {
        name,
        patient,
        sessions,
        message,
    })
}

struct Worker {
    account: Arc<Account>,
    client: Client,
    action: Action,
    log_ins: Arc<Semaphore>,
}

impl Worker {
    async fn run(self, until: Instant) -> Tally {
        let mut tally = Tally::default();
        let mut turn: u64 = 0;
        while let Ok(done) = timeout_at(until, self.once(turn)).await {
            turn += 1;
            tally.opened += 1;
            tally.failed += usize::from(!done);
            // What fails at once must not keep the others of this process from running.
            tokio::task::yield_now().await;
        }
        tally
    }

    /// Makes one turn's request; returns whether it was done.
    async fn once(&self, turn: u64) -> bool {
        let message = self.account.message;
        let to = Recipient::Conversation(message.conversation);
        match self.action {
            Action::Send => self.client.send(&to, "x".repeat(TEXT_BYTES)).await.is_ok(),
            Action::SendMany => {
                let stream = self.client.send_stream(SendStreamOptions::default());
                let mut tickets = Vec::with_capacity(MANY);
                for _ in 0..MANY {
                    match stream.send(&to, "x".repeat(TEXT_BYTES)).await {
                        Ok(ticket) => tickets.push(ticket),
                        Err(_) => return false,
                    }
                }
                let mut are_all_sent = true;
                for ticket in tickets {
                    are_all_sent &= ticket.result().await.is_ok();
                }
                are_all_sent
            }
            Action::Edit => {
                let text = "y".repeat(TEXT_BYTES);
                self.client.edit_message(message, text).await.is_ok()
            }
            Action::React => {
                let present = turn.is_multiple_of(2);
                let toggled = self.client.set_reaction(message, "+", present);
                toggled.await.is_ok()
            }
            Action::Search => {
                let days = Days::default();
                self.client.search("xxx*", &days, 100, "").await.is_ok()
            }
            Action::Subscribe => {
                let mut events = self.client.subscribe(StartAt::Beginning);
                // A page, and again from the beginning.
                events.next().await.is_ok()
            }
            Action::LogIn => {
                let Ok(_place) = self.log_ins.acquire().await else {
                    return false;
                };
                let Account { patient, name, .. } = &*self.account;
                let Ok(login) = patient.login(name, PASSWORD).await else {
                    return false;
                };
                // One more that stays would in the end be one of the sixteen less.
                let Ok(member) = patient.with_token(&login.token) else {
                    return false;
                };
                member.logout().await.is_ok()
            }
        }
    }
}
