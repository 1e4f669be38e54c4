//! Reads the export of a workspace of Slack.
//!
//! The form is described in "How to read Slack data exports" of Slack's help centre, the records in
//! its documentation of the types `user`, `channel` and `message`. docs/export.md states what
//! becomes of each part.
//!
//! Always true: the author of a message has an account here, with a name of its own; a program that
//! writes without an account gets one, too.

mod authors;
mod markup;
mod messages;
mod records;

use std::{collections::HashMap, path::Path};

use crate::{
    error::ImportError,
    json,
    plan::{Kind, Member, PersonId, Place, PlaceId, Plan, Role, Wish},
    report::What,
    tree::Tree,
};
use records::{Channel, User};

/// Files with people: of a workspace, and of an organization.
const USERS: [&str; 2] = ["users.json", "org_users.json"];
const CHANNELS: &str = "channels.json";
const GROUPS: &str = "groups.json";
const DIRECTS: &str = "dms.json";
const GROUP_DIRECTS: &str = "mpims.json";
/// Longest group of people that gives a room its name.
const GROUP_NAMES_MAX: usize = 4;

/// Returns whether this looks like such an export.
pub(crate) fn is_one(tree: &Tree) -> bool {
    let has_people = USERS.iter().any(|name| tree.has(name));
    let lists = [CHANNELS, GROUPS, DIRECTS, GROUP_DIRECTS];
    has_people && lists.iter().any(|name| tree.has(name))
}

/// What is known of the workspace.
#[derive(Default)]
struct Workspace {
    people: HashMap<String, PersonId>,
    /// People by the id of the program behind them.
    programs: HashMap<String, PersonId>,
    /// Places by the name of the directory with their messages.
    folders: HashMap<String, PlaceId>,
    /// Rooms by their ids, for links in texts.
    rooms: HashMap<String, String>,
}

pub(crate) fn read(
    tree: &mut Tree,
    source: &Path,
    plan: &mut Plan<'_, '_>,
    progress: &mut dyn FnMut(u64),
) -> Result<(), ImportError> {
    if !is_one(tree) {
        return Err(ImportError::Unknown {
            path: source.to_owned(),
            why: "an export of Slack has users.json and channels.json".to_owned(),
        });
    }
    let mut workspace = Workspace::default();
    for file in USERS {
        if tree.has(file) {
            users(tree, file, plan, &mut workspace)?;
        }
    }
    for (file, public) in [(CHANNELS, true), (GROUPS, false)] {
        channels(tree, file, plan, &mut workspace, public)?;
    }
    directs(tree, DIRECTS, plan, &mut workspace)?;
    directs(tree, GROUP_DIRECTS, plan, &mut workspace)?;
    messages::read(tree, plan, &mut workspace, progress)
}

fn users(
    tree: &mut Tree,
    file: &str,
    plan: &mut Plan<'_, '_>,
    workspace: &mut Workspace,
) -> Result<(), ImportError> {
    let reader = tree.read(file)?;
    json::elements(reader, file, &mut |_, user: User| {
        let display_name = user.shown();
        let is_bot = user.is_bot || user.id == "USLACKBOT";
        let person = plan.person(Wish {
            source: format!("{} ({})", user.name, user.id),
            display_name: match display_name == user.name {
                true => String::new(),
                false => display_name,
            },
            name: user.name,
            role: match (is_bot, user.is_admin || user.is_owner) {
                (true, _) => Role::Bot,
                (false, true) => Role::Admin,
                (false, false) => Role::User,
            },
            suspended: user.deleted,
            ..Wish::default()
        })?;
        if let Some(program) = user.profile.and_then(|profile| profile.bot_id) {
            workspace.programs.insert(program, person);
        }
        workspace.people.insert(user.id, person);
        Ok(())
    })
}

fn channels(
    tree: &mut Tree,
    file: &str,
    plan: &mut Plan<'_, '_>,
    workspace: &mut Workspace,
    public: bool,
) -> Result<(), ImportError> {
    if !tree.has(file) {
        return Ok(());
    }
    let reader = tree.read(file)?;
    json::elements(reader, file, &mut |number, channel: Channel| {
        let Some(wish) = channel.name.clone().filter(|name| !name.is_empty()) else {
            let at = format!("{file}, element {number}");
            return plan.report.say(What::RoomLost, &at, "it has no name");
        };
        let source = format!("#{wish}");
        let name = plan.room_name(&source, &wish)?;
        let topic = channel.about();
        let topic = plan.topic(&source, &topic)?;
        let owner = channel.creator.as_ref();
        let owner = owner.and_then(|id| workspace.people.get(id)).copied();
        let members = workspace.members(plan, &channel)?;
        workspace.rooms.insert(channel.id.clone(), name.to_string());
        let place = plan.place(Place {
            source,
            kind: Kind::Room {
                name,
                topic,
                public,
            },
            created_at: channel.created_ms(),
            owner,
            members: members.into_iter().map(Member::plain).collect(),
            invited: Vec::new(),
        })?;
        workspace.folders.insert(wish, place);
        // Some exports name the directory by the id.
        workspace.folders.insert(channel.id, place);
        Ok(())
    })
}

/// Reads conversations of two people, or of one with itself, and groups, which become rooms.
fn directs(
    tree: &mut Tree,
    file: &str,
    plan: &mut Plan<'_, '_>,
    workspace: &mut Workspace,
) -> Result<(), ImportError> {
    if !tree.has(file) {
        return Ok(());
    }
    let reader = tree.read(file)?;
    json::elements(reader, file, &mut |_, channel: Channel| {
        let mut members = workspace.members(plan, &channel)?;
        members.sort_unstable();
        members.dedup();
        let folder = channel.name.clone().unwrap_or_else(|| channel.id.clone());
        let source = format!("{file}, {folder}");
        let kind = match members[..] {
            [one] => Kind::Direct(one, one),
            [one, other] if channel.name.is_none() => Kind::Direct(one, other),
            _ => group(plan, &source, &members)?,
        };
        let place = plan.place(Place {
            source,
            kind,
            created_at: channel.created_ms(),
            owner: members.first().copied(),
            members: members.into_iter().map(Member::plain).collect(),
            invited: Vec::new(),
        })?;
        workspace.folders.insert(folder, place);
        workspace.folders.insert(channel.id, place);
        Ok(())
    })
}

/// Returns the private room that a group becomes, named after its members.
pub(crate) fn group(
    plan: &mut Plan<'_, '_>,
    source: &str,
    members: &[PersonId],
) -> Result<Kind, ImportError> {
    let names = members.iter().take(GROUP_NAMES_MAX);
    let names = names.map(|id| plan.people[*id as usize].name.to_string());
    let wish = ["group".to_owned()].into_iter().chain(names);
    let wish = wish.collect::<Vec<_>>().join("-");
    let name = plan.room_name(source, &wish)?;
    plan.report
        .say(What::GroupBecameRoom, source, name.as_str())?;
    Ok(Kind::Room {
        name,
        topic: plan.topic(source, "")?,
        public: false,
    })
}

impl Workspace {
    /// Returns the members of a channel; an id without a person gets one.
    fn members(
        &mut self,
        plan: &mut Plan<'_, '_>,
        channel: &Channel,
    ) -> Result<Vec<PersonId>, ImportError> {
        let mut members = Vec::with_capacity(channel.members.len());
        for id in &channel.members {
            members.push(self.person(plan, id)?);
        }
        Ok(members)
    }

    /// Returns the person with this id, and makes one if the export has none.
    fn person(&mut self, plan: &mut Plan<'_, '_>, id: &str) -> Result<PersonId, ImportError> {
        if let Some(person) = self.people.get(id) {
            return Ok(*person);
        }
        let is_slackbot = id == "USLACKBOT";
        let wish = match is_slackbot {
            true => "slackbot".to_owned(),
            false => id.to_ascii_lowercase(),
        };
        let person = plan.person(Wish {
            source: id.to_owned(),
            name: wish,
            role: match is_slackbot {
                true => Role::Bot,
                false => Role::User,
            },
            ..Wish::default()
        })?;
        let name = plan.people[person as usize].name.to_string();
        plan.report.say(What::AuthorWithoutAccount, id, &name)?;
        self.people.insert(id.to_owned(), person);
        Ok(person)
    }
}
