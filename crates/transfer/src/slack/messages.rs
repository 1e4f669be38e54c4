//! Reads the messages: a directory for each conversation, in it a file for each day.

use super::{
    Workspace,
    markup::{self, Names},
    records::{Attachment, File, Message, Time},
};
use crate::{
    emoji,
    error::ImportError,
    json,
    plan::{self, PersonId, PlaceId, Plan},
    report::What,
    tree::Tree,
};

/// Kinds of messages that people or programs have written. Everything else with a kind is a notice:
/// that an account has joined, that a topic has changed.
const WRITTEN: [&str; 9] = [
    "bot_message",
    "file_share",
    "file_comment",
    "me_message",
    "thread_broadcast",
    "reply_broadcast",
    "slackbot_response",
    "assistant_app_thread",
    "tombstone",
];

/// What stands in the place of a message that was deleted and has answers.
const TOMBSTONE: &str = "tombstone";

pub(super) fn read(
    tree: &mut Tree,
    plan: &mut Plan<'_, '_>,
    workspace: &mut Workspace,
    progress: &mut dyn FnMut(u64),
) -> Result<(), ImportError> {
    let files: Vec<String> = tree.names().map(str::to_owned).collect();
    for file in files {
        let Some((folder, day)) = file.split_once('/') else {
            continue;
        };
        if day.contains('/') || !day.ends_with(".json") {
            continue;
        }
        let place = workspace.folders.get(folder).copied();
        let Some(place) = place else {
            let why = "no list of conversations names its directory";
            plan.report.say(What::MessageLost, &file, why)?;
            continue;
        };
        let reader = tree.read(&file)?;
        json::elements(reader, &file, &mut |number, message: Message| {
            let source = format!("{file}, message {number}");
            workspace.message(plan, place, source, message)?;
            progress(plan.messages);
            Ok(())
        })?;
    }
    Ok(())
}

struct Known<'a, 'b, 'r> {
    workspace: &'a Workspace,
    plan: &'a Plan<'b, 'r>,
}

impl Names for Known<'_, '_, '_> {
    fn person(&self, id: &str) -> Option<String> {
        let person = self.workspace.people.get(id)?;
        Some(self.plan.people[*person as usize].name.to_string())
    }

    fn room(&self, id: &str) -> Option<String> {
        self.workspace.rooms.get(id).cloned()
    }
}

impl Workspace {
    fn message(
        &mut self,
        plan: &mut Plan<'_, '_>,
        place: PlaceId,
        source: String,
        message: Message,
    ) -> Result<(), ImportError> {
        let subtype = message
            .subtype
            .as_deref()
            .filter(|subtype| !subtype.is_empty());
        if let Some(subtype) = subtype
            && !WRITTEN.contains(&subtype)
        {
            return plan.report.say(What::NoticeLeftOut, &source, subtype);
        }
        let Some(time) = message.ts.as_deref().and_then(Time::read) else {
            let why = "it has no time";
            return plan.report.say(What::MessageLost, &source, why);
        };
        let Some(author) = self.author(plan, place, &message)? else {
            let why = "it has no author";
            return plan.report.say(What::MessageLost, &source, why);
        };
        let reactions = self.reactions(plan, &source, &message)?;
        let text = self.text(plan, &source, &message)?;
        let thread = message.thread_ts.as_deref().and_then(Time::read);
        let edited = message
            .edited
            .as_ref()
            .and_then(|edited| edited.ts.as_deref());
        let edited = edited.and_then(Time::read);
        let is_gone = subtype == Some(TOMBSTONE);
        plan.message(plan::Message {
            place,
            id: time.micros,
            // Answers name the first message of a thread; edits and deletions come later.
            is_named: thread == Some(time) || edited.is_some() || is_gone,
            source,
            author,
            at: time.ms(),
            text,
            action: subtype == Some("me_message"),
            reply_to: thread
                .filter(|thread| *thread != time)
                .map(|thread| thread.micros),
            mentions: Vec::new(),
            reactions,
            hidden_from: Vec::new(),
            edited_at: edited.map(|edited| edited.ms().max(time.ms())),
            deleted_at: is_gone.then(|| time.ms()),
        })
    }

    fn reactions(
        &mut self,
        plan: &mut Plan<'_, '_>,
        source: &str,
        message: &Message,
    ) -> Result<Vec<(String, Vec<PersonId>)>, ImportError> {
        let mut all = Vec::with_capacity(message.reactions.len());
        for reaction in &message.reactions {
            let mut people = Vec::with_capacity(reaction.users.len());
            for user in &reaction.users {
                people.push(self.person(plan, user)?);
            }
            let unnamed = reaction.count.saturating_sub(people.len() as u64);
            if unnamed > 0 {
                let at = format!("{source}, {}", reaction.name);
                let why = format!("the export does not name {unnamed} accounts");
                plan.report.say(What::ReactionLost, &at, &why)?;
            }
            let picture = emoji::picture(&reaction.name);
            all.push((picture.unwrap_or_else(|| reaction.name.clone()), people));
        }
        Ok(all)
    }

    /// Returns everything of a message that is text or a link.
    fn text(
        &self,
        plan: &mut Plan<'_, '_>,
        source: &str,
        message: &Message,
    ) -> Result<String, ImportError> {
        let known = Known {
            workspace: self,
            plan,
        };
        let comment = message.comment.as_ref();
        let comment = comment.and_then(|comment| comment.comment.as_deref());
        let own = comment.or(message.text.as_deref()).unwrap_or_default();
        let mut parts = vec![markup::plain(own, &known)];
        let attachments = message.attachments.iter();
        // A preview of a page that the text links says nothing new.
        let attachments = attachments.filter(|attachment| attachment.from_url.is_none());
        parts.extend(attachments.map(|attachment| described(attachment, &known)));
        let files: Vec<&File> = message.files.iter().chain(&message.file).collect();
        for file in &files {
            parts.push(link(file));
        }
        for file in &files {
            plan.report.say(What::FileAsLink, source, &link(file))?;
        }
        parts.retain(|part| !part.trim().is_empty());
        Ok(parts.join("\n"))
    }
}

/// Returns what an attachment says.
fn described(attachment: &Attachment, known: &impl Names) -> String {
    let plain = |text: &Option<String>| {
        let text = text.as_deref().unwrap_or_default();
        markup::plain(text, known)
    };
    let title = plain(&attachment.title);
    let title = match attachment.title_link.as_deref() {
        Some(link) if !title.is_empty() => format!("{title} ({link})"),
        _ => title,
    };
    let mut parts = vec![plain(&attachment.pretext), title, plain(&attachment.text)];
    for field in &attachment.fields {
        let value = match &field.value {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(serde_json::Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        };
        let (title, value) = (plain(&field.title), markup::plain(&value, known));
        parts.push(match title.is_empty() {
            true => value,
            false => format!("{title}: {value}"),
        });
    }
    parts.retain(|part| !part.trim().is_empty());
    match parts.is_empty() {
        true => plain(&attachment.fallback),
        false => parts.join("\n"),
    }
}

/// Returns the name of a file and where it lies. What stands behind a question mark in its address
/// opens it to everyone that has the link, so it is left out.
fn link(file: &File) -> String {
    let name = file.title.as_deref().or(file.name.as_deref());
    let name = name
        .filter(|name| !name.trim().is_empty())
        .unwrap_or("file");
    let address = file.permalink.as_deref().or(file.url_private.as_deref());
    let address = address.and_then(|address| address.split('?').next());
    match address.filter(|address| !address.is_empty()) {
        Some(address) => format!("{name} ({address})"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_a_file_has_no_token() {
        let file = File {
            title: Some("plan.pdf".to_owned()),
            url_private: Some("https://files.example/plan.pdf?t=xoxe-1".to_owned()),
            ..File::default()
        };
        assert_eq!(link(&file), "plan.pdf (https://files.example/plan.pdf)");
        assert_eq!(link(&File::default()), "file");
    }
}
