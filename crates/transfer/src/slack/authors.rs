//! Finds out who wrote a message: a person, or a program with a name of its own.

use super::{Workspace, records::Message};
use crate::{
    error::ImportError,
    plan::{Kind, PersonId, PlaceId, Plan, Role, Wish},
    report::What,
};

impl Workspace {
    /// Returns the author of a message; `None` if it names none.
    pub(super) fn author(
        &mut self,
        plan: &mut Plan<'_, '_>,
        place: PlaceId,
        message: &Message,
    ) -> Result<Option<PersonId>, ImportError> {
        let comment = message
            .comment
            .as_ref()
            .and_then(|comment| comment.user.as_ref());
        if let Some(user) = comment
            .or(message.user.as_ref())
            .filter(|user| !user.is_empty())
        {
            return self.person(plan, user).map(Some);
        }
        let profile = message.bot_profile.as_ref();
        let names = [
            message.username.as_ref(),
            profile.and_then(|profile| profile.name.as_ref()),
        ];
        let name = names
            .into_iter()
            .flatten()
            .find(|name| !name.trim().is_empty());
        if let Some(program) = self.in_direct(plan, place) {
            return Ok(Some(program));
        }
        let id = message.bot_id.as_ref();
        if let Some(program) = id.and_then(|id| self.programs.get(id)) {
            return Ok(Some(*program));
        }
        match (id, name) {
            // One without an account may write under several names.
            (id, Some(name)) => self
                .program(plan, id.map_or("", String::as_str), name)
                .map(Some),
            (Some(id), None) => self.program(plan, id, id).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Returns the program of a conversation between a person and a program.
    fn in_direct(&self, plan: &Plan<'_, '_>, place: PlaceId) -> Option<PersonId> {
        let Kind::Direct(one, other) = plan.places[place as usize].kind else {
            return None;
        };
        let is_program = |id: &PersonId| plan.people[*id as usize].role == Role::Bot;
        [one, other].into_iter().find(is_program)
    }

    fn program(
        &mut self,
        plan: &mut Plan<'_, '_>,
        id: &str,
        name: &str,
    ) -> Result<PersonId, ImportError> {
        let key = format!("{id} {name}");
        if let Some(person) = self.programs.get(&key) {
            return Ok(*person);
        }
        let source = format!("{name} ({id})");
        let person = plan.person(Wish {
            source: source.clone(),
            name: name.to_owned(),
            display_name: name.to_owned(),
            role: Role::Bot,
            ..Wish::default()
        })?;
        let given = plan.people[person as usize].name.to_string();
        plan.report
            .say(What::AuthorWithoutAccount, &source, &given)?;
        self.programs.insert(key, person);
        Ok(person)
    }
}
