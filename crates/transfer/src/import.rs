//! Imports an export: reads it, builds a state, and leaves that state as a snapshot's file.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use conclave_core::AccountName;
use conclave_storage::pile::Pile;

use crate::{
    build::{self, Admin, Defaults},
    conclave,
    error::ImportError,
    format::MANIFEST,
    mattermost,
    plan::{PersonId, Plan, Role, Wish},
    report::{Counts, Report},
    slack,
    tree::Tree,
};

/// File with what was read, while it is put in order.
const PILE: &str = "pile";
/// File of the state that was built.
const SNAPSHOT: &str = "snapshot.db";

/// Whose export it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory that `conclave export` has made, or an archive with it.
    Conclave,
    /// The export of a workspace of Slack: an archive, or its directory.
    Slack,
    /// The bulk export of Mattermost: a file of JSON lines, or an archive with it.
    Mattermost,
}

/// What an import is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Messages were read.
    Reading(u64),
    /// Messages of all were built: how many, and of how many.
    Building(u64, u64),
}

/// What is imported, and how.
pub struct Importing<'a> {
    /// The export.
    pub source: &'a Path,
    /// Whose export it is; `None`: whatever it looks like.
    pub kind: Option<Kind>,
    /// Name of the administrator: one of the imported accounts, or a new one.
    pub admin: &'a AccountName,
    /// argon2id of the administrator's password, in PHC form.
    pub admin_password_hash: &'a str,
    /// The same of a password that is known to no one: all other accounts have it, until they are
    /// given another one.
    pub no_password_hash: &'a str,
    /// Date of the import in milliseconds since 1970.
    pub now_ms: u64,
    /// An empty directory with room for twice the export, which the caller removes.
    pub scratch: &'a Path,
}

/// What was imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The snapshot's file, in the scratch directory.
    pub snapshot: PathBuf,
    /// Whose export it was.
    pub kind: Kind,
    /// Number of accounts, the administrator's among them.
    pub accounts: u64,
    /// Number of rooms.
    pub rooms: u64,
    /// Number of direct conversations.
    pub directs: u64,
    /// Number of messages of the source.
    pub messages: u64,
    /// Number of reactions.
    pub reactions: u64,
    /// What was changed, left out or made up: how often each kind.
    pub changes: Counts,
}

/// Imports an export. `report` gets a line of JSON for each account and room, and for whatever is
/// not as it was.
///
/// # Errors
/// See [`ImportError`]. What is in the scratch directory is of no use then.
pub fn import(
    importing: &Importing<'_>,
    report: &mut dyn Write,
    progress: &mut dyn FnMut(Stage),
) -> Result<Imported, ImportError> {
    let mut tree = Tree::open(importing.source)?;
    let kind = match importing.kind {
        Some(kind) => kind,
        None => detect(&tree, importing.source)?,
    };
    let mut report = Report::new(report);
    let pile = Pile::create(&importing.scratch.join(PILE))?;
    let mut plan = Plan::new(pile, &mut report);
    let mut read = |messages| progress(Stage::Reading(messages));
    match kind {
        Kind::Conclave => conclave::read(&mut tree, &mut plan, &mut read)?,
        Kind::Slack => slack::read(&mut tree, importing.source, &mut plan, &mut read)?,
        Kind::Mattermost => mattermost::read(&mut tree, importing.source, &mut plan, &mut read)?,
    }
    let admin = Admin {
        person: administrator(&mut plan, importing.admin)?,
        password_hash: importing.admin_password_hash.to_owned(),
    };
    let defaults = Defaults {
        password_hash: importing.no_password_hash,
        // It is random, and what follows from it is of use for nothing.
        seed: *blake3::hash(importing.no_password_hash.as_bytes()).as_bytes(),
        now_ms: importing.now_ms,
    };
    let snapshot = importing.scratch.join(SNAPSHOT);
    let total = plan.messages;
    let built = build::build(
        &mut plan,
        &admin,
        &defaults,
        importing.scratch,
        &snapshot,
        &mut |done| progress(Stage::Building(done, total)),
    )?;
    let accounts = plan.people.iter().filter(|person| !person.deleted).count();
    let is_room =
        |place: &&crate::plan::Place| matches!(place.kind, crate::plan::Kind::Room { .. });
    let rooms = plan.places.iter().filter(is_room).count();
    let imported = Imported {
        snapshot,
        kind,
        accounts: accounts as u64,
        rooms: rooms as u64,
        directs: (plan.places.len() - rooms) as u64,
        messages: built.messages,
        reactions: built.reactions,
        changes: Counts::new(),
    };
    drop(plan);
    Ok(Imported {
        changes: report.finish()?,
        ..imported
    })
}

fn detect(tree: &Tree, source: &Path) -> Result<Kind, ImportError> {
    if tree.has(MANIFEST) {
        return Ok(Kind::Conclave);
    }
    if slack::is_one(tree) {
        return Ok(Kind::Slack);
    }
    if mattermost::file_in(tree).is_some() {
        return Ok(Kind::Mattermost);
    }
    Err(ImportError::Unknown {
        path: source.to_owned(),
        why: "it is no export that is known: it has neither export.json (of Conclave), nor \
              channels.json or dms.json (of Slack), nor one file of JSON lines (of Mattermost)"
            .to_owned(),
    })
}

/// Returns the administrator: an account of the source with this name, else a new one.
fn administrator(plan: &mut Plan<'_, '_>, name: &AccountName) -> Result<PersonId, ImportError> {
    let impossible = |why: &str| ImportError::Admin {
        name: name.to_string(),
        why: why.to_owned(),
    };
    let person = match plan.person_named(name) {
        Some(person) => person,
        None => plan.person(Wish {
            source: "the administrator".to_owned(),
            name: name.to_string(),
            role: Role::Admin,
            ..Wish::default()
        })?,
    };
    let found = &plan.people[person as usize];
    if found.name.key() != name.key() {
        return Err(impossible(
            "an account of the export has a name that looks the same",
        ));
    }
    if found.role == Role::Bot {
        return Err(impossible("that account is a program's"));
    }
    if found.deleted {
        return Err(impossible(
            "a deleted account is kept under that name meanwhile",
        ));
    }
    Ok(person)
}
