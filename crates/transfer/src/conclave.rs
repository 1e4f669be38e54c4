//! Reads an export of Conclave.
//!
//! Always true: sequences, dates, names and members are what they were; a file that lacks a part of
//! what another one counts is an error.

use std::collections::HashMap;

use conclave_core::{MemberRole, limits::MESSAGE_COST_BYTES};
use serde::de::DeserializeOwned;

use crate::{
    error::ImportError,
    format::{
        self, ACCOUNTS, DIRECT_FILES, DIRECTS, GONE, Header, Holds, MANIFEST, MEMBERS, Manifest,
        ROOM_FILES, ROOMS, VERSION,
    },
    json,
    plan::{self, Kind, Member, PersonId, Place, PlaceId, Plan, Role, Wish},
    report::What,
    tree::Tree,
};

/// Messages that may be missing at the beginning of a conversation, because they were forgotten
/// there.
const FORGOTTEN_MAX: u64 = 100_000_000;

/// What was read so far.
#[derive(Default)]
struct Known {
    people: HashMap<String, PersonId>,
    places: HashMap<String, PlaceId>,
    members: u64,
    /// Files with messages, with how many each one has.
    files: Vec<(String, String, u64)>,
}

pub(crate) fn read(
    tree: &mut Tree,
    plan: &mut Plan<'_, '_>,
    progress: &mut dyn FnMut(u64),
) -> Result<(), ImportError> {
    plan.keeps_sequences = true;
    let mut manifest: Option<Manifest> = None;
    json::lines(
        tree.read(MANIFEST)?,
        MANIFEST,
        &mut |line, found: Manifest| {
            check_version(MANIFEST, line, found.conclave_export)?;
            manifest = Some(found);
            Ok(())
        },
    )?;
    let manifest = manifest.ok_or_else(|| ImportError::malformed(MANIFEST, 1, "it is empty"))?;
    let mut known = Known::default();
    accounts(tree, plan, &mut known)?;
    rooms(tree, plan, &mut known)?;
    directs(tree, plan, &mut known)?;
    members(tree, plan, &mut known)?;
    let mut messages = 0;
    for (file, conversation, count) in std::mem::take(&mut known.files) {
        messages += self::messages(tree, plan, &known, (&file, &conversation, count), progress)?;
    }
    let found = [
        ("accounts", manifest.accounts, known.people.len() as u64),
        (
            "rooms and directs",
            manifest.rooms + manifest.directs,
            plan.places.len() as u64,
        ),
        ("members", manifest.members, known.members),
        ("messages", manifest.messages, messages),
    ];
    for (what, counted, found) in found {
        if counted != found {
            let why = format!("it counts {counted} {what}, and there are {found}");
            return Err(ImportError::malformed(MANIFEST, 1, why));
        }
    }
    Ok(())
}

fn check_version(file: &str, line: u64, version: u32) -> Result<(), ImportError> {
    match version {
        VERSION => Ok(()),
        other => {
            let why = format!("the export has version {other}; this program reads {VERSION}");
            Err(ImportError::malformed(file, line, why))
        }
    }
}

/// Reads a file with a header.
fn records<T: DeserializeOwned>(
    tree: &mut Tree,
    file: &str,
    holds: Holds,
    conversation: Option<&str>,
    each: json::Each<'_, T>,
) -> Result<(), ImportError> {
    let mut has_header = false;
    let reader = tree.read(file)?;
    json::lines(reader, file, &mut |line, value: serde_json::Value| {
        let wrong =
            |error: serde_json::Error| ImportError::malformed(file, line, error.to_string());
        if has_header {
            return each(line, serde_json::from_value(value).map_err(wrong)?);
        }
        has_header = true;
        let header: Header = serde_json::from_value(value).map_err(wrong)?;
        check_version(file, line, header.conclave_export)?;
        if header.holds != holds || header.conversation.as_deref() != conversation {
            let why = "it is another file than its name says";
            return Err(ImportError::malformed(file, line, why));
        }
        Ok(())
    })?;
    match has_header {
        true => Ok(()),
        false => Err(ImportError::malformed(file, 1, "it is empty")),
    }
}

impl Known {
    fn person(&self, file: &str, line: u64, name: &str) -> Result<PersonId, ImportError> {
        let found = self.people.get(name).copied();
        found.ok_or_else(|| ImportError::malformed(file, line, format!("no account {name:?}")))
    }

    fn people(
        &self,
        file: &str,
        line: u64,
        names: &[String],
    ) -> Result<Vec<PersonId>, ImportError> {
        names
            .iter()
            .map(|name| self.person(file, line, name))
            .collect()
    }

    fn add_place(
        &mut self,
        file: &str,
        line: u64,
        conversation: String,
        place: PlaceId,
    ) -> Result<(), ImportError> {
        match self.places.insert(conversation, place) {
            None => Ok(()),
            Some(_) => Err(ImportError::malformed(file, line, "it is there twice")),
        }
    }
}

fn accounts(
    tree: &mut Tree,
    plan: &mut Plan<'_, '_>,
    known: &mut Known,
) -> Result<(), ImportError> {
    let mut blocks: Vec<(u64, PersonId, Vec<String>)> = Vec::new();
    let mut add = |line, account: format::Account| {
        let name = match account.account.strip_prefix(GONE) {
            Some(number) if account.deleted => format!("deleted-{number}"),
            _ => account.account.clone(),
        };
        let person = plan.person(Wish {
            source: account.account.clone(),
            name: name.clone(),
            display_name: account.display_name,
            role: match account.role.unwrap_or_default() {
                format::AccountRole::User => Role::User,
                format::AccountRole::Admin => Role::Admin,
                format::AccountRole::Bot => Role::Bot,
            },
            created_at: account.created_at_ms,
            suspended: account.suspended,
            deleted: account.deleted,
        })?;
        let given = &plan.people[person as usize].name;
        if !account.deleted && given.as_str() != name {
            let why = format!("no account can be named {name:?} beside the others");
            return Err(ImportError::malformed(ACCOUNTS, line, why));
        }
        if known.people.insert(account.account, person).is_some() {
            return Err(ImportError::malformed(ACCOUNTS, line, "it is there twice"));
        }
        if !account.blocks.is_empty() {
            blocks.push((line, person, account.blocks));
        }
        Ok(())
    };
    records(tree, ACCOUNTS, Holds::Accounts, None, &mut add)?;
    for (line, person, names) in blocks {
        plan.people[person as usize].blocks = known.people(ACCOUNTS, line, &names)?;
    }
    Ok(())
}

fn rooms(tree: &mut Tree, plan: &mut Plan<'_, '_>, known: &mut Known) -> Result<(), ImportError> {
    let mut add = |line, room: format::Room| {
        let name = plan.room_name(&room.room, &room.room)?;
        if name.as_str() != room.room {
            let why = format!("no room can be named {:?} beside the others", room.room);
            return Err(ImportError::malformed(ROOMS, line, why));
        }
        let topic = plan.topic(&room.room, &room.topic)?;
        let place = plan.place(Place {
            source: format!("#{}", room.room),
            kind: Kind::Room {
                name,
                topic,
                public: room.public,
            },
            created_at: Some(room.created_at_ms),
            owner: None,
            members: Vec::new(),
            invited: Vec::new(),
        })?;
        let conversation = format!("{ROOM_FILES}/{}", room.room);
        known
            .files
            .push((room.file, conversation.clone(), room.messages));
        known.add_place(ROOMS, line, conversation, place)
    };
    records(tree, ROOMS, Holds::Rooms, None, &mut add)
}

fn directs(tree: &mut Tree, plan: &mut Plan<'_, '_>, known: &mut Known) -> Result<(), ImportError> {
    let mut add = |line, direct: format::Direct| {
        let (one, other) = &direct.members;
        let kind = Kind::Direct(
            known.person(DIRECTS, line, one)?,
            known.person(DIRECTS, line, other)?,
        );
        let place = plan.place(Place {
            source: format!("{one} and {other}"),
            kind,
            created_at: None,
            owner: None,
            members: Vec::new(),
            invited: Vec::new(),
        })?;
        let conversation = format!("{DIRECT_FILES}/{one}+{other}");
        known
            .files
            .push((direct.file, conversation.clone(), direct.messages));
        known.add_place(DIRECTS, line, conversation, place)
    };
    records(tree, DIRECTS, Holds::Directs, None, &mut add)
}

fn members(tree: &mut Tree, plan: &mut Plan<'_, '_>, known: &mut Known) -> Result<(), ImportError> {
    let mut count = 0;
    let mut add = |line, member: format::Member| {
        count += 1;
        let person = known.person(MEMBERS, line, &member.account)?;
        let place = known.places.get(&member.conversation).copied();
        let place = place.ok_or_else(|| {
            let why = format!("no conversation {:?}", member.conversation);
            ImportError::malformed(MEMBERS, line, why)
        })?;
        let place = &mut plan.places[place as usize];
        if let Some(by) = member.invited_by {
            place
                .invited
                .push((person, known.person(MEMBERS, line, &by)?));
            return Ok(());
        }
        place.members.push(Member {
            person,
            role: match member.role.unwrap_or_default() {
                format::MemberRole::Member => MemberRole::Member,
                format::MemberRole::Moderator => MemberRole::Moderator,
                format::MemberRole::Owner => MemberRole::Owner,
            },
            progress: member.delivered.zip(member.read),
        });
        Ok(())
    };
    records(tree, MEMBERS, Holds::Members, None, &mut add)?;
    known.members = count;
    Ok(())
}

fn messages(
    tree: &mut Tree,
    plan: &mut Plan<'_, '_>,
    known: &Known,
    (file, conversation, counted): (&str, &str, u64),
    progress: &mut dyn FnMut(u64),
) -> Result<u64, ImportError> {
    let place = known.places.get(conversation).copied().unwrap_or_default();
    let (mut count, mut last) = (0, 0);
    let mut add = |line, message: format::Message| {
        count += 1;
        let author = known.person(file, line, &message.author)?;
        let forgotten = message.sequence.saturating_sub(1);
        if last == 0 && (1..=FORGOTTEN_MAX).contains(&forgotten) {
            forget(plan, place, file, author, &message)?;
            last = forgotten;
        }
        if message.sequence != last + 1 {
            let why = format!("the sequence is {}, and not {}", message.sequence, last + 1);
            return Err(ImportError::malformed(file, line, why));
        }
        last = message.sequence;
        let is_gone = message.deleted_at_ms.is_some();
        if message.text.is_some() == is_gone {
            let why = "a message has either a text or a date of deletion";
            return Err(ImportError::malformed(file, line, why));
        }
        let mut reactions = Vec::with_capacity(message.reactions.len());
        for reaction in message.reactions {
            let people = known.people(file, line, &reaction.accounts)?;
            reactions.push((reaction.reaction, people));
        }
        plan.message(plan::Message {
            place,
            id: message.sequence,
            is_named: true,
            source: file.to_owned(),
            author,
            at: message.sent_at_ms,
            text: message.text.unwrap_or_default(),
            action: message.action,
            reply_to: message.reply_to,
            mentions: known.people(file, line, &message.mentions)?,
            reactions,
            hidden_from: known.people(file, line, &message.hidden_from)?,
            edited_at: message.edited_at_ms,
            deleted_at: message.deleted_at_ms,
        })?;
        progress(plan.messages);
        Ok(())
    };
    records(tree, file, Holds::Messages, Some(conversation), &mut add)?;
    match count == counted {
        true => Ok(count),
        false => {
            let why = format!("it has {count} messages, and {counted} are counted");
            Err(ImportError::malformed(file, count + 1, why))
        }
    }
}

/// Puts deleted messages in the place of those that were forgotten before the export was made, so
/// that all others keep their sequences. The export does not say whose they were, and the rules
/// charge a deleted message to its author, too: to that of the first message that is left.
fn forget(
    plan: &mut Plan<'_, '_>,
    place: PlaceId,
    file: &str,
    author: PersonId,
    first: &format::Message,
) -> Result<(), ImportError> {
    let forgotten = first.sequence - 1;
    let bytes = forgotten * MESSAGE_COST_BYTES;
    let name = &plan.people[author as usize].name;
    let result = format!("{forgotten} deleted messages, {bytes} stored bytes of {name}");
    plan.report.say(What::MessageForgotten, file, &result)?;
    for sequence in 1..=forgotten {
        plan.message(plan::Message {
            place,
            id: sequence,
            is_named: true,
            source: file.to_owned(),
            author,
            at: first.sent_at_ms,
            deleted_at: Some(first.sent_at_ms),
            ..plan::Message::default()
        })?;
    }
    Ok(())
}
