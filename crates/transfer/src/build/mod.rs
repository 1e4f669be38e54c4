//! Builds the state of a new cluster: every operation is decided by the rules of the log, each at
//! the date that it had.
//!
//! The order: accounts, rooms with their members, messages with their reactions, edits and
//! deletions in the order of time, then what must come last: positions, roles, blocks, suspensions,
//! and the accounts that are gone.
//!
//! Always true: no row is written but by a rule, so the state is one that a cluster could have.

mod accounts;
mod finish;
mod machine;
mod messages;
mod rooms;

use std::{collections::BTreeMap, path::Path};

use conclave_core::{Answer, ConversationId, Operation, Rejection};

use crate::{
    error::ImportError,
    plan::{PersonId, PlaceId, Plan},
};
use machine::Machine;

/// The administrator that the new cluster has.
pub(crate) struct Admin {
    pub(crate) person: PersonId,
    /// argon2id in PHC form.
    pub(crate) password_hash: String,
}

/// What all accounts have until an administrator gives them a password.
pub(crate) struct Defaults<'a> {
    /// argon2id in PHC form, of a password that is known to no one.
    pub(crate) password_hash: &'a str,
    /// Random bytes from which tokens and names of requests follow.
    pub(crate) seed: [u8; 32],
    /// Date for what the source gives none.
    pub(crate) now_ms: u64,
}

/// What was built.
pub(crate) struct Built {
    pub(crate) messages: u64,
    pub(crate) reactions: u64,
}

/// A plan on its way to become a state.
struct Builder<'p, 'a, 'r> {
    plan: &'p mut Plan<'a, 'r>,
    machine: Machine,
    admin: PersonId,
    /// The conversation of each place, once there is one.
    conversations: Vec<Option<ConversationId>>,
    /// The last sequence of each place.
    sequences: Vec<u64>,
    /// The owner of each room.
    owners: Vec<Option<PersonId>>,
    /// Rooms in which an account is only as long as messages need it, the first one first.
    guests: BTreeMap<PersonId, Vec<PlaceId>>,
    built: Built,
}

/// Builds the state in `directory` and copies it to `snapshot`. `progress` gets how many messages
/// are built.
pub(crate) fn build(
    plan: &mut Plan<'_, '_>,
    admin: &Admin,
    defaults: &Defaults<'_>,
    directory: &Path,
    snapshot: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Built, ImportError> {
    let places = plan.places.len();
    for place in &mut plan.places {
        // A source may name a member twice.
        place
            .members
            .sort_by_key(|member| (member.person, std::cmp::Reverse(member.role)));
        place.members.dedup_by_key(|member| member.person);
    }
    let machine = Machine::open(directory, defaults.seed, plan.people.len())?;
    let mut builder = Builder {
        plan,
        machine,
        admin: admin.person,
        conversations: vec![None; places],
        sequences: vec![0; places],
        owners: vec![None; places],
        guests: BTreeMap::new(),
        built: Built {
            messages: 0,
            reactions: 0,
        },
    };
    builder.accounts(admin, defaults)?;
    builder.rooms(defaults.now_ms)?;
    builder.messages(progress)?;
    builder.finish()?;
    builder.machine.finish(snapshot)?;
    Ok(builder.built)
}

impl Builder<'_, '_, '_> {
    /// Has an operation of an account decided.
    fn by(&mut self, person: PersonId, operation: Operation) -> Result<Answer, ImportError> {
        self.machine.by(person, operation)
    }

    /// The same for what the rules must accept.
    fn must(
        &mut self,
        what: &'static str,
        person: PersonId,
        operation: Operation,
    ) -> Result<(), ImportError> {
        accepted(what, self.by(person, operation)?)
    }

    fn name(&self, person: PersonId) -> String {
        self.plan.people[person as usize].name.to_string()
    }
}

fn accepted(what: &'static str, answer: Answer) -> Result<(), ImportError> {
    match answer {
        Ok(_) => Ok(()),
        Err(rejection) => Err(refused(what, rejection)),
    }
}

fn refused(what: &'static str, rejection: Rejection) -> ImportError {
    ImportError::Refused { what, rejection }
}
