//! The language of the scripts: commands go in line by line, and their results come out.
//!
//! ```text
//! at 1h                             how much time has passed, and the date (1d2h3m4s5, last part
//!                                   in ms)
//! date 30m                          the date alone: the clocks of the voters were set
//! people alice bob                  accounts with a session each; prints nothing
//! chief root                        an administrator with a session; prints nothing
//! crowd 999999 [accounts]           pretends that so many more exist; also rooms, members of
//!                                   every room, invitations, blocks, invites, throttles, bytes
//!                                   and conversations of every account
//! once:k1 create alice [hash=…] [grant=open|invite:CODE|setup:TOKEN|admin:SESSION]
//!                                   a request outside a session, named k1
//! login alice token=t version=1 [label=l] as laptop    the name of the session is `laptop`
//!                                   also: from=ADDRESS device=DEVICE renewed=HASH
//! try NAME [from=ADDRESS] [device=DEVICE] [session=KEY]   an attempt with a password
//!                                   also: setup TOKEN, hook-post TEXT token=t
//! laptop#2 send bob "hi" [reply=1] [action]    also `#room`, `conversation:1`, `x*99`
//! laptop#3 advance 1 delivered=2 read=1 [and 2 read=3]
//! laptop#4 delete 1.2 1.3-5 everyone|me        also: edit 1.2 TEXT, react 1.2 R, unreact 1.2 R
//! laptop#5 delete-account           also: logout, passwd [version=1], display TEXT, block NAME,
//!                                   unblock NAME, end-session SESSION
//! laptop#6 room-create lobby [private] [topic=t]       also: join R, leave R, invite R NAME,
//!                                   kick R NAME, topic R TEXT, role R NAME owner|moderator|member,
//!                                   room-keep R [age=1d] [messages=9],
//!                                   webhook R NAME token=t, webhook-delete 1
//! root#1 bot NAME token=t           also: admin NAME yes|no|bot, remove-account NAME,
//!                                   suspend NAME, reactivate NAME, end-sessions NAME,
//!                                   reset-password NAME [hash=…],
//!                                   invite-make CODE [ttl=1h] [uses=1], invite-revoke 1,
//!                                   limit NAME VALUE
//! once:k operate CREDENTIAL token-make t [ttl=1h] [learner]    also: token-revoke t,
//!                                   prefer 2|none, add NAME CREDENTIAL, revoke NAME,
//!                                   keep [age=1d] [messages=9] [rooms=longer|shorter]
//! once:k operator-first CREDENTIAL  also: operator-reset CREDENTIAL, admit [token=t] [known=3]
//!                                   [learner], retire 4, forget 1 2
//! + laptop#6 logout                 in the same log entry as the line before
//! quietly LINE                      prints nothing; fails unless it is accepted
//! repeat 3 LINE with {}             {} is 1, 2, 3
//! show 1                            what rules can see of a conversation
//! memory                            how many answers are remembered
//! ```
//!
//! Always true: a request that is not well-formed never reaches the rules; it is refused `at the
//! door`, as a node does before it proposes.

mod line;
mod parse;
mod print;

use std::collections::BTreeMap;

use conclave_core::{
    Accepted, AccessOperation, AccountEvent, AccountId, AdminOperation, Batch, Command,
    ConversationId, Decision, Event, Kind, Lookup, Operation, Origin, Remember, SessionId,
    Timestamp,
};
use line::Fault;

use crate::support::Memory;

/// Counts that a script can pretend.
const CROWDS: [&str; 10] = [
    "accounts",
    "rooms",
    "members",
    "invitations",
    "blocks",
    "invites",
    "throttles",
    "webhooks",
    "bytes",
    "conversations",
];

/// A state, and the script's names for accounts and sessions in it.
#[derive(Default)]
pub(crate) struct World {
    state: Memory,
    clock: Timestamp,
    date: Timestamp,
    once_given: u64,
    accounts: BTreeMap<String, AccountId>,
    names: BTreeMap<AccountId, String>,
    sessions: BTreeMap<String, SessionId>,
}

/// A parsed line: a command, and the name for the session that it opens.
struct Request {
    command: Command,
    session_name: Option<String>,
}

impl World {
    /// Runs the lines of one block and returns what they print.
    ///
    /// # Errors
    /// Returns what is wrong with the script, in words.
    pub(crate) fn run(&mut self, lines: &[&str]) -> Result<String, String> {
        let mut output = String::new();
        let mut at = 0;
        while at < lines.len() {
            let mut entry = vec![lines[at]];
            at += 1;
            while let Some(next) = lines.get(at).and_then(|line| line.strip_prefix("+ ")) {
                entry.push(next);
                at += 1;
            }
            output += &self
                .entry(&entry)
                .map_err(|e| format!("{}: {e}", entry[0]))?;
        }
        Ok(output)
    }

    fn entry(&mut self, lines: &[&str]) -> Result<String, String> {
        let (word, rest) = lines[0].split_once(' ').unwrap_or((lines[0], ""));
        match word {
            "at" => {
                self.clock = line::time(rest)?;
                self.date = self.clock;
            }
            "date" => self.date = line::time(rest)?,
            "crowd" => {
                let (count, what) = rest.split_once(' ').unwrap_or((rest, "accounts"));
                let known = CROWDS.into_iter().find(|known| *known == what);
                let known = known.ok_or(format!("{what} are not pretended"))?;
                self.state.pretended.insert(known, line::number(count)?);
            }
            "chief" => {
                self.quietly("setup its-token")?;
                self.quietly(&format!("create {rest} grant=setup:its-token"))?;
                self.quietly(&format!("login {rest} token={rest} as {rest}"))?;
            }
            "people" => {
                for name in rest.split(' ') {
                    self.quietly(&format!("create {name}"))?;
                    self.quietly(&format!("login {name} token={name} as {name}"))?;
                }
            }
            "quietly" => self.quietly(rest)?,
            "repeat" => {
                let (times, line) = rest.split_once(' ').ok_or("repeat what?")?;
                let times: u64 = line::number(times)?;
                let each = |n: u64| line.replace("{}", &n.to_string());
                return (1..=times).map(|n| self.entry(&[&each(n)])).collect();
            }
            "show" => return Ok(self.show(ConversationId(line::number(rest)?))),
            "memory" => {
                let (session, outside) = self.state.answers_remembered();
                return Ok(format!(
                    "answers: {session} of a session, {outside} outside\n"
                ));
            }
            _ => return self.propose(lines),
        }
        Ok(String::new())
    }

    fn quietly(&mut self, line: &str) -> Result<(), String> {
        let output = self.entry(&[line])?;
        match output.lines().find(|line| line.starts_with('!')) {
            Some(refusal) => Err(format!("{line}: {refusal}")),
            None => Ok(()),
        }
    }

    fn propose(&mut self, lines: &[&str]) -> Result<String, String> {
        let mut requests = Vec::new();
        let mut output = String::new();
        for line in lines {
            match parse::request(self, line) {
                Ok(request) => requests.push(request),
                Err(Fault::Door(rejection)) => {
                    output += &format!("(at the door) {}\n", print::refusal(&rejection));
                }
                Err(Fault::Script(words)) => return Err(words),
            }
        }
        if requests.is_empty() {
            return Ok(output);
        }
        let batch = Batch {
            proposed_at: self.clock,
            date: self.date,
            commands: requests
                .iter()
                .map(|request| request.command.clone())
                .collect(),
        };
        let decisions = self.state.run(&batch);
        for (request, decision) in requests.iter().zip(&decisions) {
            self.learn(request, decision);
            for event in &decision.events {
                output += &format!("{}\n", print::event(self, event));
            }
            let known = decision.remember == Remember::No && self.is_remembered(&request.command);
            let mark = if known { "(remembered) " } else { "" };
            output += &format!("{mark}{}\n", print::answer(self, &decision.answer));
        }
        Ok(output)
    }

    fn is_remembered(&self, command: &Command) -> bool {
        let remembered = match command.origin {
            Origin::Session { session, number } => self.state.remembered(session, number),
            Origin::Once(id) => self.state.remembered_once(&id),
        };
        let remembered = remembered.expect("a state in memory can always be read");
        remembered.is_some_and(|remembered| remembered.digest == command.digest)
    }

    fn learn(&mut self, request: &Request, decision: &Decision) {
        for event in &decision.events {
            if let Event::Account(AccountEvent::Created { account, name, .. }) = event {
                self.accounts.insert(name.key(), *account);
                self.names.insert(*account, name.to_string());
            }
        }
        if let (
            Some(name),
            Ok(Accepted::SessionOpened { session, .. } | Accepted::BotCreated { session, .. }),
        ) = (&request.session_name, &decision.answer)
        {
            self.sessions.insert(name.clone(), *session);
        }
    }

    fn show(&self, id: ConversationId) -> String {
        let readable = "a state in memory can always be read";
        let Some(conversation) = self.state.conversation(id).expect(readable) else {
            return format!("there is no conversation {id}\n");
        };
        let mut output = format!("conversation {id}\n");
        for account in self.state.members_of(id) {
            let member = self.state.membership(id, account).expect(readable);
            let member = member.expect("it was listed");
            let role = match conversation.kind {
                Kind::Direct(..) => String::new(),
                Kind::Room { .. } => format!(" {:?}", member.role),
            };
            output += &format!(
                "  member {}{role} {}\n",
                print::account(self, account),
                print::progress(member.progress)
            );
        }
        if conversation.forgotten.0 > 0 {
            output += &format!("  forgotten through {}\n", conversation.forgotten);
        }
        for n in conversation.forgotten.0 + 1..=conversation.sequence_last.0 {
            let sequence = conclave_core::Sequence(n);
            let head = self.state.message(id, sequence).expect(readable);
            let head = head.expect("sequences have no gaps");
            let deleted = if head.deleted { " deleted" } else { "" };
            output += &format!(
                "  message {n} by={}{deleted}\n",
                print::account(self, head.by)
            );
        }
        output
    }
}

/// Returns whether an operation opens a session.
fn opens_session(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::Access(AccessOperation::OpenSession { .. })
            | Operation::Admin(AdminOperation::CreateBot { .. })
    )
}
