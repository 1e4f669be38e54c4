//! The language of the scripts: one line in, what came of it out.
//!
//! ```text
//! at 1h                             the proposing leader's clock (1d2h3m4s5, last part in ms)
//! people alice bob                  accounts with a session each; prints nothing
//! crowd 999999                      pretends that so many more accounts exist
//! once:k1 create alice [hash=…]     a request outside a session, named k1
//! login alice token=t version=1 as laptop      the name of the session is `laptop`
//! laptop#2 send bob "hi"            request 2 of that session; also `conversation:1`, `x*99`
//! laptop#3 advance 1 delivered=2 read=1
//! laptop#4 delete 1.2 1.3-5 everyone|me
//! laptop#5 delete-account           also: logout
//! + laptop#6 logout                 in the same log entry as the line before
//! quietly LINE                      prints nothing; fails unless it is accepted
//! repeat 3 LINE with {}             {} is 1, 2, 3
//! show 1                            what rules can see of a conversation
//! memory                            how many answers are remembered
//! ```
//!
//! Always true: a request that is not well-formed never reaches the rules; it is refused `at the
//! door`, as a node does before it proposes.

mod parse;
mod print;

use std::collections::BTreeMap;

use conclave_core::{
    Accepted, AccountId, Batch, Command, ConversationId, Decision, Event, Lookup, Operation,
    Origin, Remember, SessionId, Timestamp,
};

use crate::support::Memory;

/// A state, and the names that a script gives to what is in it.
#[derive(Default)]
pub(crate) struct World {
    state: Memory,
    clock: Timestamp,
    once_given: u64,
    accounts: BTreeMap<String, AccountId>,
    names: BTreeMap<AccountId, String>,
    sessions: BTreeMap<String, SessionId>,
}

/// A line that was understood: a command, and under which name to keep a session it opens.
struct Request {
    command: Command,
    session_name: Option<String>,
}

impl World {
    /// Runs the lines of one block and tells what came of them.
    ///
    /// # Errors
    /// What is wrong with the script, in words.
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
            "at" => self.clock = parse::time(rest)?,
            "crowd" => self.state.accounts_pretended = parse::number(rest)?,
            "people" => {
                for name in rest.split(' ') {
                    self.quietly(&format!("create {name}"))?;
                    self.quietly(&format!("login {name} token={name} as {name}"))?;
                }
            }
            "quietly" => self.quietly(rest)?,
            "repeat" => {
                let (times, line) = rest.split_once(' ').ok_or("repeat what?")?;
                let times: u64 = parse::number(times)?;
                let each = |n: u64| line.replace("{}", &n.to_string());
                return (1..=times).map(|n| self.entry(&[&each(n)])).collect();
            }
            "show" => return Ok(self.show(ConversationId(parse::number(rest)?))),
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
            match parse::request(self, line)? {
                Ok(request) => requests.push(request),
                Err(rejection) => {
                    output += &format!("(at the door) {}\n", print::refusal(&rejection));
                }
            }
        }
        if requests.is_empty() {
            return Ok(output);
        }
        let batch = Batch {
            proposed_at: self.clock,
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
            if let Event::AccountCreated { account, name, .. } = event {
                self.accounts.insert(name.key(), *account);
                self.names.insert(*account, name.to_string());
            }
        }
        if let (Some(name), Ok(Accepted::SessionOpened { session, .. })) =
            (&request.session_name, &decision.answer)
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
            let progress = member.expect("it was listed").progress;
            output += &format!(
                "  member {} {}\n",
                print::account(self, account),
                print::progress(progress)
            );
        }
        for n in 1..=conversation.sequence_last.0 {
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

/// Whether an operation is one that opens a session.
fn opens_session(operation: &Operation) -> bool {
    matches!(operation, Operation::OpenSession { .. })
}
