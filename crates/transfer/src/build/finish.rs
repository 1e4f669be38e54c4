//! What must come last: positions, invitations, guests that leave, blocks, suspensions, accounts
//! that are gone, and the limits of accounts.

use conclave_core::{
    AccountLimits, AccountOperation, AdminOperation, ConversationId, MessageOperation, Operation,
    Progress, RoomOperation, Sequence, limits::POSITIONS_PER_REQUEST_MAX,
};

use super::Builder;
use crate::{
    error::ImportError,
    plan::{Kind, PersonId},
    report::What,
};

impl Builder<'_, '_, '_> {
    pub(super) fn finish(&mut self) -> Result<(), ImportError> {
        for (person, places) in std::mem::take(&mut self.guests) {
            for place in places {
                self.leave(place, person)?;
            }
        }
        self.positions()?;
        self.invitations()?;
        self.blocks()?;
        self.suspensions()?;
        self.deletions()?;
        let limits = AccountLimits::default();
        let values = limits.iter().filter(|(limit, _)| limit.check(0).is_ok());
        let operation = AdminOperation::SetAccountLimits {
            values: values.collect(),
        };
        let admin = self.admin;
        self.must("limits of accounts", admin, Operation::Admin(operation))
    }

    /// Sets what members have read: what the source says, else everything.
    fn positions(&mut self) -> Result<(), ImportError> {
        let mut of: Vec<Vec<(ConversationId, Progress)>> = Vec::new();
        of.resize_with(self.plan.people.len(), Vec::new);
        for (place, found) in self.plan.places.iter().enumerate() {
            let Some(conversation) = self.conversations[place] else {
                continue;
            };
            let last = self.sequences[place];
            for member in &found.members {
                let (delivered, read) = member.progress.unwrap_or((last, last));
                let progress = Progress {
                    delivered: Sequence(delivered.min(last)),
                    read: Sequence(read.min(last)),
                };
                of[member.person as usize].push((conversation, progress));
            }
        }
        for (person, positions) in of.into_iter().enumerate() {
            let person = PersonId::try_from(person).expect("people are counted in 32 bits");
            for positions in positions.chunks(POSITIONS_PER_REQUEST_MAX) {
                let operation = MessageOperation::AdvancePositions {
                    positions: positions.to_vec(),
                };
                if self.by(person, Operation::Message(operation))?.is_ok() {
                    continue;
                }
                // One of a room that the account could not join: each for itself.
                for position in positions {
                    let operation = MessageOperation::AdvancePositions {
                        positions: vec![*position],
                    };
                    // What could not be joined is in the report already.
                    let _ = self.by(person, Operation::Message(operation))?;
                }
            }
        }
        Ok(())
    }

    fn invitations(&mut self) -> Result<(), ImportError> {
        for place in 0..self.plan.places.len() {
            let Kind::Room { name, .. } = self.plan.places[place].kind.clone() else {
                continue;
            };
            let Some(owner) = self.owners[place] else {
                continue;
            };
            for (person, by) in self.plan.places[place].invited.clone() {
                let operation = Operation::Room(RoomOperation::InviteToRoom {
                    name: name.clone(),
                    account: self.plan.people[person as usize].name.clone(),
                });
                // The account that invited it may have left since.
                if self.by(by, operation.clone())?.is_ok() {
                    continue;
                }
                if let Err(rejection) = self.by(owner, operation)? {
                    let who = self.name(person);
                    let at = format!("{}, {who} invited", self.plan.places[place].source);
                    self.plan
                        .report
                        .say(What::SettingLost, &at, &rejection.to_string())?;
                }
            }
        }
        Ok(())
    }

    fn blocks(&mut self) -> Result<(), ImportError> {
        for person in 0..self.plan.people.len() {
            for other in self.plan.people[person].blocks.clone() {
                let name = self.plan.people[other as usize].name.clone();
                let operation = AccountOperation::SetBlock {
                    name,
                    blocked: true,
                };
                let by = PersonId::try_from(person).expect("people are counted in 32 bits");
                if let Err(rejection) = self.by(by, Operation::Account(operation))? {
                    let at = format!("{} blocks {}", self.name(by), self.name(other));
                    self.plan
                        .report
                        .say(What::SettingLost, &at, &rejection.to_string())?;
                }
            }
        }
        Ok(())
    }

    fn suspensions(&mut self) -> Result<(), ImportError> {
        for person in 0..self.plan.people.len() {
            let found = &self.plan.people[person];
            if !found.suspended {
                continue;
            }
            let operation = AdminOperation::SetSuspended {
                name: found.name.clone(),
                suspended: true,
            };
            if person == self.admin as usize {
                let (at, why) = (found.source.clone(), "the administrator is not suspended");
                self.plan.report.say(What::SettingLost, &at, why)?;
                continue;
            }
            let admin = self.admin;
            self.must("a suspension", admin, Operation::Admin(operation))?;
        }
        Ok(())
    }

    fn deletions(&mut self) -> Result<(), ImportError> {
        let gone = self.plan.people.iter().filter(|person| person.deleted);
        let gone: Vec<_> = gone.map(|person| person.name.clone()).collect();
        for name in gone {
            let operation = AdminOperation::RemoveAccount { name };
            let admin = self.admin;
            self.must(
                "the removal of an account",
                admin,
                Operation::Admin(operation),
            )?;
        }
        Ok(())
    }
}
