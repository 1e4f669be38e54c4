//! Reads the bulk export of Mattermost: a file of JSON lines, alone or in an archive.
//!
//! The form is described under "Bulk loading data format" in Mattermost's documentation.
//! docs/export.md states what becomes of each part.
//!
//! Always true: a post of a user that the file does not have gets an account of that name.

mod records;

use std::{collections::HashMap, path::Path};

use conclave_core::MemberRole;

use crate::{
    emoji,
    error::ImportError,
    json,
    plan::{self, Kind, Member, PersonId, Place, PlaceId, Plan, Role, Wish},
    report::What,
    slack,
    tree::Tree,
};
use records::{Bot, Channel, DirectChannel, Line, Post, User};

/// Version of the form that is known.
const VERSION: u64 = 1;
/// Kinds of objects that have nothing that Conclave keeps.
const SETTINGS: [&str; 3] = ["scheme", "emoji", "role"];

/// Returns the name of the file with the objects, if there is one and no other.
pub(crate) fn file_in(tree: &Tree) -> Option<String> {
    let mut names = tree.names().filter(|name| name.ends_with(".jsonl"));
    let found = names.next()?.to_owned();
    names.next().is_none().then_some(found)
}

/// What was read so far.
#[derive(Default)]
struct Server {
    people: HashMap<String, PersonId>,
    /// Whether an account has another name than its user.
    has_renamed: bool,
    /// Rooms by team and channel.
    rooms: HashMap<(String, String), PlaceId>,
    /// Conversations by their members, in order.
    directs: HashMap<Vec<PersonId>, PlaceId>,
    teams: u64,
    posts: u64,
}

pub(crate) fn read(
    tree: &mut Tree,
    source: &Path,
    plan: &mut Plan<'_, '_>,
    progress: &mut dyn FnMut(u64),
) -> Result<(), ImportError> {
    let one = tree.names().next().map(str::to_owned);
    let one = one.filter(|_| tree.names().nth(1).is_none());
    let Some(file) = file_in(tree).or(one) else {
        return Err(ImportError::Unknown {
            path: source.to_owned(),
            why: "an export of Mattermost has one file of JSON lines".to_owned(),
        });
    };
    let mut server = Server::default();
    let mut is_first = true;
    let reader = tree.read(&file)?;
    json::lines(reader, &file, &mut |number, line: Line| {
        if is_first && line.version != Some(VERSION) {
            let why = "the first line of an export of Mattermost names version 1";
            return Err(ImportError::malformed(&file, number, why));
        }
        is_first = false;
        let at = format!("{file}, line {number}");
        let missing = || {
            let why = format!("it has no {:?}", line.kind);
            ImportError::malformed(&file, number, why)
        };
        match line.kind.as_str() {
            "version" => {}
            "team" => {
                line.team
                    .as_ref()
                    .map(|team| &team.name)
                    .ok_or_else(missing)?;
                server.teams += 1;
            }
            "channel" => server.channel(plan, line.channel.ok_or_else(missing)?)?,
            "user" => server.user(plan, &at, line.user.ok_or_else(missing)?)?,
            "bot" => server.bot(plan, line.bot.ok_or_else(missing)?)?,
            "direct_channel" => {
                server.direct_channel(plan, line.direct_channel.ok_or_else(missing)?)?;
            }
            "post" => server.post(plan, &at, line.post.ok_or_else(missing)?)?,
            "direct_post" => server.post(plan, &at, line.direct_post.ok_or_else(missing)?)?,
            kind if SETTINGS.contains(&kind) => {
                plan.report.say(What::SettingLost, &at, kind)?;
            }
            kind => plan.report.say(What::NoticeLeftOut, &at, kind)?,
        }
        progress(plan.messages);
        Ok(())
    })?;
    match is_first {
        true => Err(ImportError::malformed(&file, 1, "it is empty")),
        false => Ok(()),
    }
}

impl Server {
    fn channel(&mut self, plan: &mut Plan<'_, '_>, channel: Channel) -> Result<(), ImportError> {
        // Teams have channels of the same names.
        let wish = match self.teams > 1 {
            true => format!("{}.{}", channel.team, channel.name),
            false => channel.name.clone(),
        };
        let source = format!("{}/{}", channel.team, channel.name);
        let name = plan.room_name(&source, &wish)?;
        let texts = [channel.header.as_deref(), channel.purpose.as_deref()];
        let topic = texts
            .into_iter()
            .flatten()
            .find(|text| !text.trim().is_empty());
        let topic = plan.topic(&source, topic.unwrap_or_default())?;
        let place = plan.place(Place {
            source,
            kind: Kind::Room {
                name,
                topic,
                public: channel.kind.as_deref() != Some("P"),
            },
            created_at: None,
            owner: None,
            members: Vec::new(),
            invited: Vec::new(),
        })?;
        self.rooms.insert((channel.team, channel.name), place);
        Ok(())
    }

    fn user(&mut self, plan: &mut Plan<'_, '_>, at: &str, user: User) -> Result<(), ImportError> {
        let full = [user.first_name.as_deref(), user.last_name.as_deref()];
        let full: Vec<&str> = full.into_iter().flatten().collect();
        let full = full.join(" ");
        let nickname = user
            .nickname
            .as_deref()
            .filter(|name| !name.trim().is_empty());
        let has_role = |role: &str| {
            let roles = user.roles.as_deref().unwrap_or_default();
            roles.split_whitespace().any(|found| found == role)
        };
        let role = match has_role("system_admin") {
            true => Role::Admin,
            false => Role::User,
        };
        let person = plan.person(Wish {
            source: user.username.clone(),
            name: user.username.clone(),
            display_name: nickname.unwrap_or(&full).to_owned(),
            role,
            suspended: user.delete_at.is_some_and(|at| at > 0),
            ..Wish::default()
        })?;
        self.know(plan, &user.username, person);
        for team in user.teams.into_iter().flatten() {
            for channel in team.channels.into_iter().flatten() {
                let key = (team.name.clone(), channel.name);
                let Some(place) = self.rooms.get(&key) else {
                    let at = format!("{at}, {} in {}", key.1, key.0);
                    plan.report
                        .say(What::MemberLost, &at, "the export has no such channel")?;
                    continue;
                };
                let roles = channel.roles.unwrap_or_default();
                let is_admin = roles.split_whitespace().any(|role| role == "channel_admin");
                plan.places[*place as usize].members.push(Member {
                    role: match is_admin {
                        true => MemberRole::Owner,
                        false => MemberRole::Member,
                    },
                    ..Member::plain(person)
                });
            }
        }
        Ok(())
    }

    fn bot(&mut self, plan: &mut Plan<'_, '_>, bot: Bot) -> Result<(), ImportError> {
        let person = plan.person(Wish {
            source: bot.username.clone(),
            name: bot.username.clone(),
            display_name: bot.display_name.unwrap_or_default(),
            role: Role::Bot,
            ..Wish::default()
        })?;
        self.know(plan, &bot.username, person);
        Ok(())
    }

    fn know(&mut self, plan: &Plan<'_, '_>, username: &str, person: PersonId) {
        self.has_renamed |= plan.people[person as usize].name.as_str() != username;
        self.people.insert(username.to_owned(), person);
    }

    fn person(&mut self, plan: &mut Plan<'_, '_>, name: &str) -> Result<PersonId, ImportError> {
        if let Some(person) = self.people.get(name) {
            return Ok(*person);
        }
        let person = plan.person(Wish {
            source: name.to_owned(),
            name: name.to_owned(),
            ..Wish::default()
        })?;
        let given = plan.people[person as usize].name.to_string();
        plan.report.say(What::AuthorWithoutAccount, name, &given)?;
        self.know(plan, name, person);
        Ok(person)
    }

    fn direct_channel(
        &mut self,
        plan: &mut Plan<'_, '_>,
        channel: DirectChannel,
    ) -> Result<(), ImportError> {
        let named = channel.participants.unwrap_or_default().into_iter();
        let named = named.map(|participant| participant.username);
        let members: Vec<String> = channel
            .members
            .unwrap_or_default()
            .into_iter()
            .chain(named)
            .collect();
        let place = self.direct(plan, &members)?;
        if let Some(header) = channel.header.filter(|header| !header.trim().is_empty()) {
            let source = plan.places[place as usize].source.clone();
            let header = plan.topic(&source, &header)?;
            match &mut plan.places[place as usize].kind {
                Kind::Room { topic, .. } => *topic = header,
                Kind::Direct(..) => {
                    plan.report
                        .say(What::SettingLost, &source, header.as_str())?;
                }
            }
        }
        Ok(())
    }

    /// Returns the conversation of these members: a room, if there are more than two.
    fn direct(
        &mut self,
        plan: &mut Plan<'_, '_>,
        names: &[String],
    ) -> Result<PlaceId, ImportError> {
        let mut members = Vec::with_capacity(names.len());
        for name in names {
            members.push(self.person(plan, name)?);
        }
        members.sort_unstable();
        members.dedup();
        if let Some(place) = self.directs.get(&members) {
            return Ok(*place);
        }
        let source = names.join(", ");
        let kind = match members[..] {
            [one] => Kind::Direct(one, one),
            [one, other] => Kind::Direct(one, other),
            _ => slack::group(plan, &source, &members)?,
        };
        let place = plan.place(Place {
            source,
            kind,
            created_at: None,
            owner: members.first().copied(),
            members: members.iter().copied().map(Member::plain).collect(),
            invited: Vec::new(),
        })?;
        self.directs.insert(members, place);
        Ok(place)
    }

    fn post(
        &mut self,
        plan: &mut Plan<'_, '_>,
        at: &str,
        mut post: Post,
    ) -> Result<(), ImportError> {
        let place = match (&post.team, &post.channel, &post.channel_members) {
            (_, _, Some(members)) => {
                let members = members.clone();
                self.direct(plan, &members)?
            }
            (Some(team), Some(channel), None) => {
                match self.rooms.get(&(team.clone(), channel.clone())) {
                    Some(place) => *place,
                    None => {
                        let why = format!("the export has no channel {team}/{channel}");
                        return plan.report.say(What::MessageLost, at, &why);
                    }
                }
            }
            _ => {
                return plan
                    .report
                    .say(What::MessageLost, at, "it names no channel");
            }
        };
        let replies = post.replies.take().unwrap_or_default();
        let has_replies = !replies.is_empty();
        let Some(id) = self.message(plan, place, at, post, None, has_replies)? else {
            for _ in &replies {
                let why = "what it answers is no message";
                plan.report.say(What::MessageLost, at, why)?;
            }
            return Ok(());
        };
        for (number, reply) in replies.into_iter().enumerate() {
            let at = format!("{at}, reply {}", number + 1);
            self.message(plan, place, &at, reply, Some(id), false)?;
        }
        Ok(())
    }

    /// Adds a message; returns what answers call it, or `None` if it is none.
    fn message(
        &mut self,
        plan: &mut Plan<'_, '_>,
        place: PlaceId,
        at: &str,
        post: Post,
        reply_to: Option<u64>,
        has_replies: bool,
    ) -> Result<Option<u64>, ImportError> {
        let kind = post.kind.as_deref().unwrap_or_default();
        if kind.starts_with("system_") {
            plan.report.say(What::NoticeLeftOut, at, kind)?;
            return Ok(None);
        }
        let Some(created_at) = post.create_at.filter(|at| *at > 0) else {
            plan.report.say(What::MessageLost, at, "it has no time")?;
            return Ok(None);
        };
        let author = self.person(plan, &post.user)?;
        let mut reactions: Vec<(String, Vec<PersonId>)> = Vec::new();
        for reaction in post.reactions.into_iter().flatten() {
            let person = self.person(plan, &reaction.user)?;
            let name = emoji::picture(&reaction.emoji_name).unwrap_or(reaction.emoji_name);
            match reactions.iter_mut().find(|(known, _)| *known == name) {
                Some((_, people)) => people.push(person),
                None => reactions.push((name, vec![person])),
            }
        }
        let mut text = self.text(plan, &post.message.unwrap_or_default());
        for attachment in post.attachments.into_iter().flatten() {
            let path = attachment.path.unwrap_or_default();
            let name = path.rsplit('/').next().unwrap_or_default();
            plan.report.say(What::FileAsLink, at, &path)?;
            text.push_str(&format!("\n[file: {name}]"));
        }
        self.posts += 1;
        let edited_at = post.edit_at.filter(|edit_at| *edit_at > created_at);
        plan.message(plan::Message {
            place,
            id: self.posts,
            is_named: has_replies || edited_at.is_some(),
            source: at.to_owned(),
            author,
            at: created_at,
            text: text.trim_start_matches('\n').to_owned(),
            action: kind == "me",
            reply_to,
            mentions: Vec::new(),
            reactions,
            hidden_from: Vec::new(),
            edited_at,
            deleted_at: None,
        })?;
        Ok(Some(self.posts))
    }

    /// Returns a text with the names that accounts have here, and with pictures.
    fn text(&self, plan: &Plan<'_, '_>, text: &str) -> String {
        let text = emoji::pictures(text);
        if !self.has_renamed || !text.contains('@') {
            return text;
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = &text[..];
        while let Some(at) = rest.find('@') {
            out.push_str(&rest[..=at]);
            rest = &rest[at + 1..];
            let end = rest
                .find(|c| !conclave_core::name::is_allowed(c))
                .unwrap_or(rest.len());
            let run = &rest[..end];
            let name = run.trim_end_matches(['.', '_', '-']);
            let person = [run, name].into_iter().find_map(|name| {
                let person = self.people.get(&name.to_lowercase())?;
                Some((name.len(), *person))
            });
            if let Some((length, person)) = person {
                out.push_str(plan.people[person as usize].name.as_str());
                rest = &rest[length..];
            }
        }
        out.push_str(rest);
        out
    }
}
