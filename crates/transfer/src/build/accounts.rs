//! Makes the accounts: the administrator first, because what programs need takes one.

use conclave_core::{
    Accepted, AccessOperation, AccountLimit, AccountOperation, AccountRole, AdminOperation, Grant,
    Operation,
};

use super::{Admin, Builder, Defaults, accepted, refused};
use crate::{
    error::ImportError,
    plan::{PersonId, Role},
};

impl Builder<'_, '_, '_> {
    pub(super) fn accounts(
        &mut self,
        admin: &Admin,
        defaults: &Defaults<'_>,
    ) -> Result<(), ImportError> {
        self.begin(admin, defaults)?;
        for person in 0..self.plan.people.len() {
            let person = PersonId::try_from(person).expect("people are counted in 32 bits");
            if person == admin.person {
                continue;
            }
            self.set_date_of(person, defaults);
            match self.plan.people[person as usize].role {
                Role::Bot => self.bot(person)?,
                Role::User | Role::Admin => {
                    self.create(person, defaults.password_hash, Grant::Open)?;
                }
            }
        }
        for person in 0..self.plan.people.len() {
            let person = PersonId::try_from(person).expect("people are counted in 32 bits");
            self.describe(person)?;
        }
        Ok(())
    }

    /// Makes the administrator, and lifts the limits of accounts: what people have written in years
    /// is built in minutes.
    fn begin(&mut self, admin: &Admin, defaults: &Defaults<'_>) -> Result<(), ImportError> {
        self.set_date_of(admin.person, defaults);
        let token = self.machine.token();
        let offer = Operation::Access(AccessOperation::OfferSetup { token });
        accepted("the offer to an administrator", self.machine.once(offer)?)?;
        self.create(admin.person, &admin.password_hash, Grant::Setup(token))?;
        let values = AccountLimit::all().filter(|limit| limit.check(0).is_ok());
        let values = values.map(|limit| (limit, 0)).collect();
        let operation = AdminOperation::SetAccountLimits { values };
        self.must(
            "the import without limits of accounts",
            admin.person,
            Operation::Admin(operation),
        )
    }

    fn set_date_of(&mut self, person: PersonId, defaults: &Defaults<'_>) {
        let created_at = self.plan.people[person as usize].created_at;
        let otherwise = self.plan.earliest.unwrap_or(defaults.now_ms);
        self.machine.set_date(created_at.unwrap_or(otherwise));
    }

    fn create(
        &mut self,
        person: PersonId,
        password_hash: &str,
        grant: Grant,
    ) -> Result<(), ImportError> {
        let name = self.plan.people[person as usize].name.clone();
        let operation = Operation::Access(AccessOperation::CreateAccount {
            name,
            password_hash: password_hash.to_owned(),
            grant,
        });
        match self.machine.once(operation)? {
            Ok(Accepted::AccountCreated { account }) => {
                self.machine.know(person, account, None);
                Ok(())
            }
            answer => self.impossible("an account", answer),
        }
    }

    /// Makes the account of a program; its token is known to no one.
    fn bot(&mut self, person: PersonId) -> Result<(), ImportError> {
        let name = self.plan.people[person as usize].name.clone();
        let token = self.machine.token();
        let operation = Operation::Admin(AdminOperation::CreateBot { name, token });
        match self.by(self.admin, operation)? {
            Ok(Accepted::BotCreated { account, session }) => {
                self.machine.know(person, account, Some(session));
                Ok(())
            }
            answer => self.impossible("the account of a program", answer),
        }
    }

    fn impossible(
        &self,
        what: &'static str,
        answer: conclave_core::Answer,
    ) -> Result<(), ImportError> {
        accepted(what, answer)?;
        Err(refused(what, conclave_core::Rejection::NotAllowed))
    }

    /// Sets the display name and the role.
    fn describe(&mut self, person: PersonId) -> Result<(), ImportError> {
        let found = &self.plan.people[person as usize];
        let (name, role) = (found.name.clone(), found.role);
        if let Some(display_name) = found.display_name.clone() {
            let operation = AccountOperation::SetDisplayName { display_name };
            self.must("a display name", person, Operation::Account(operation))?;
        }
        if role == Role::Admin && person != self.admin {
            let role = AccountRole::Admin;
            let operation = AdminOperation::SetAccountRole { name, role };
            self.must(
                "the role of an account",
                self.admin,
                Operation::Admin(operation),
            )?;
        }
        Ok(())
    }
}
