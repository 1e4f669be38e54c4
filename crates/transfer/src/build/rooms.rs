//! Makes the rooms with their members.
//!
//! The rule of the owner: the account that made the room, if it is a member; else a member with
//! that role; else the first member that can be in one room more; else the administrator. A room
//! that none of them can own is not made, and the report says so.

use conclave_core::{Accepted, MemberRole, Operation, Rejection, RoomName, RoomOperation};

use super::Builder;
use crate::{
    error::ImportError,
    plan::{Kind, Member, PersonId, PlaceId},
    report::What,
};

impl Builder<'_, '_, '_> {
    pub(super) fn rooms(&mut self, now_ms: u64) -> Result<(), ImportError> {
        for place in 0..self.plan.places.len() {
            let found = &self.plan.places[place];
            let Kind::Room { name, .. } = &found.kind else {
                continue;
            };
            let name = name.clone();
            let created_at = found.created_at.or(self.plan.earliest);
            self.machine.set_date(created_at.unwrap_or(now_ms));
            let place = PlaceId::try_from(place).expect("places are counted in 32 bits");
            if let Some(owner) = self.room(place)? {
                self.owners[place as usize] = Some(owner);
                for member in self.plan.places[place as usize].members.clone() {
                    self.member(place, &name, owner, member)?;
                }
            }
        }
        Ok(())
    }

    /// Makes a room; returns its owner, or `None` if no account can own it.
    fn room(&mut self, place: PlaceId) -> Result<Option<PersonId>, ImportError> {
        let found = &self.plan.places[place as usize];
        let Kind::Room {
            name,
            topic,
            public,
        } = found.kind.clone()
        else {
            return Ok(None);
        };
        let source = found.source.clone();
        let maker = found.owner;
        let mut candidates: Vec<Member> = found.members.clone();
        candidates
            .sort_by_key(|member| (Some(member.person) != maker, std::cmp::Reverse(member.role)));
        let mut candidates: Vec<PersonId> = candidates.iter().map(|member| member.person).collect();
        candidates.push(self.admin);
        let mut why = Rejection::NotAllowed;
        for owner in candidates {
            let operation = RoomOperation::CreateRoom {
                name: name.clone(),
                topic: topic.clone(),
                public,
            };
            match self.by(owner, Operation::Room(operation))? {
                Ok(Accepted::RoomEntered { conversation }) => {
                    self.conversations[place as usize] = Some(conversation);
                    if maker.is_some_and(|maker| maker != owner) {
                        let name = self.name(owner);
                        self.plan.report.say(What::OwnerReplaced, &source, &name)?;
                    }
                    return Ok(Some(owner));
                }
                Ok(_) => {}
                Err(rejection) => why = rejection,
            }
        }
        self.plan
            .report
            .say(What::RoomLost, &source, &why.to_string())?;
        Ok(None)
    }

    fn member(
        &mut self,
        place: PlaceId,
        name: &RoomName,
        owner: PersonId,
        member: Member,
    ) -> Result<(), ImportError> {
        if member.person != owner
            && let Err(rejection) = self.enter(place, name, owner, member.person)?
        {
            let at = format!(
                "{} in {}",
                self.name(member.person),
                self.plan.places[place as usize].source
            );
            return self
                .plan
                .report
                .say(What::MemberLost, &at, &rejection.to_string());
        }
        if member.role == MemberRole::Member || member.person == owner {
            return Ok(());
        }
        let operation = RoomOperation::SetMemberRole {
            name: name.clone(),
            account: self.plan.people[member.person as usize].name.clone(),
            role: member.role,
        };
        self.must("the role of a member", owner, Operation::Room(operation))
    }

    /// Makes an account a member of a room.
    pub(super) fn enter(
        &mut self,
        place: PlaceId,
        name: &RoomName,
        owner: PersonId,
        person: PersonId,
    ) -> Result<Result<(), Rejection>, ImportError> {
        let is_public = matches!(
            self.plan.places[place as usize].kind,
            Kind::Room { public: true, .. }
        );
        if !is_public {
            let operation = RoomOperation::InviteToRoom {
                name: name.clone(),
                account: self.plan.people[person as usize].name.clone(),
            };
            if let Err(rejection) = self.by(owner, Operation::Room(operation))? {
                return Ok(Err(rejection));
            }
        }
        let operation = RoomOperation::JoinRoom { name: name.clone() };
        let joined = self.by(person, Operation::Room(operation))?;
        if joined.is_err() && !is_public {
            // The invitation would stay.
            let operation = RoomOperation::KickFromRoom {
                name: name.clone(),
                account: self.plan.people[person as usize].name.clone(),
            };
            self.must(
                "the end of an invitation",
                owner,
                Operation::Room(operation),
            )?;
        }
        Ok(joined.map(drop))
    }
}
