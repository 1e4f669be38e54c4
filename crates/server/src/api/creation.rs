//! Creates accounts.
//!
//! Always true: the node looks up whether the request may create an account, and whether the name
//! is free, before it hashes a password for it; the log decides both again. A refusal here costs no
//! hash and no log entry; retries of a request that was answered count as wrong codes do.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use conclave_core::{
    Accepted, AccountName, AccountRole, Grant, OnceId, Rejection, SessionId, ThrottleKey,
};
use conclave_storage::state as rows;
use conclave_text::Password;
use conclave_wire::{
    Problem,
    request::{self, token_hash},
    v1,
};

use crate::{
    api::accounts::{Accounts, once_id},
    auth::{
        hash_queue::{Asker, Work},
        registration::RequestedGrant,
        throttle::keys_of_login,
    },
    cluster::setup,
    context::{
        access::{accepted, open_session, position_of},
        call::Call,
    },
    protocol::problems::millis,
};

/// Length in bytes of an invite's code: 128 random bits.
pub(crate) const CODE_BYTES: usize = 16;

/// Returns the grant that a request carries.
fn shown(grant: Option<v1::create_account_request::Grant>) -> Result<RequestedGrant, Problem> {
    use v1::create_account_request::Grant as Given;
    Ok(match grant {
        None => RequestedGrant::Nothing,
        Some(Given::InviteCode(code)) => {
            let bytes = URL_SAFE_NO_PAD.decode(code.trim()).ok();
            let code = bytes.filter(|bytes| bytes.len() == CODE_BYTES);
            RequestedGrant::Invite(token_hash(&code.ok_or(Rejection::InviteInvalid)?))
        }
        Some(Given::SetupToken(token)) => {
            RequestedGrant::Setup(setup::hash(&token).ok_or(Rejection::SetupTokenInvalid)?)
        }
    })
}

/// Result of looking up a request to create an account.
enum Found {
    /// The same request was answered before, so this is a retry.
    Answered,
    /// The account can be created.
    Allowed,
    /// The request carries a code that allows nothing, or the id of another request.
    WrongCode(Rejection),
    /// The name is taken, or is easily mistaken for another account's.
    Taken(Rejection),
}

impl Found {
    /// Looks a request up in this node's database, in the order of the rules.
    fn look(
        reader: &rows::Reader,
        once: &OnceId,
        grant: Grant,
        name: &AccountName,
    ) -> Result<Self, rows::ReadError> {
        match reader.answered_once(once)? {
            Some(known) if known == request::create_account_digest(name, &grant) => {
                return Ok(Self::Answered);
            }
            Some(_) => return Ok(Self::WrongCode(Rejection::RequestReused { last: 0 })),
            None => {}
        }
        let wrong = match grant {
            Grant::Open | Grant::Admin(_) => None,
            Grant::Invite(code) => {
                (!reader.is_invite_usable(&code)?).then_some(Rejection::InviteInvalid)
            }
            Grant::Setup(token) => {
                let offered = reader.setup_token()? == Some(token);
                (!offered).then_some(Rejection::SetupTokenInvalid)
            }
        };
        if let Some(wrong) = wrong {
            return Ok(Self::WrongCode(wrong));
        }
        if reader.account_by_key(&name.key())?.is_some() {
            return Ok(Self::Taken(Rejection::NameTaken));
        }
        match reader.account_by_skeleton(&name.skeleton())? {
            Some(_) => Ok(Self::Taken(Rejection::NameAlike)),
            None => Ok(Self::Allowed),
        }
    }
}

impl Accounts {
    /// Creates an account.
    pub(crate) async fn create(
        &self,
        call: Call,
        request: v1::CreateAccountRequest,
    ) -> Result<v1::CreateAccountResponse, Problem> {
        self.shared.refuse_if_away()?;
        self.shared.only_where_trusted()?;
        let deadline = call.deadline;
        let name = AccountName::new(request.name)?;
        let password = Password::new(&request.password)?;
        let once = once_id(&request.request_id)?;
        let shown = shown(request.grant)?;
        let grant = self.grant(shown, &call).await?;
        let keys = keys_of_login(&name.key(), call.address, None);
        self.look(once, grant, &name, keys.address, &call).await?;
        let asker = Asker {
            group: keys.address,
            account: keys.account,
        };
        let passwords = &self.shared.passwords;
        let turn = passwords.turn(Work::Create, asker, deadline).await?;
        let hash = passwords.hash(&turn, password).await?;
        drop(turn);
        let command = request::create_account(once, name, hash, grant);
        let outcome = self.shared.propose(command, deadline).await?;
        accepted(&outcome, |accepted| match accepted {
            Accepted::AccountCreated { account } => {
                let position = position_of(&outcome);
                Some(v1::CreateAccountResponse {
                    id: account.0,
                    position,
                })
            }
            _ => None,
        })
    }

    /// Returns what allows the account to be created; reads the session only if the request carries
    /// no code.
    async fn grant(&self, shown: RequestedGrant, call: &Call) -> Result<Grant, Problem> {
        let admin = match shown {
            RequestedGrant::Nothing => self.admin(call).await?,
            RequestedGrant::Invite(_) | RequestedGrant::Setup(_) => None,
        };
        Ok(self.shared.registration.grant(shown, admin)?)
    }

    /// Returns the session that the request carries if it is an administrator's.
    async fn admin(&self, call: &Call) -> Result<Option<SessionId>, Problem> {
        // Where no session is needed, an unusable session counts as no session.
        let Ok(token) = call.credential.session() else {
            return Ok(None);
        };
        self.shared.barrier(call.deadline).await?;
        let now = self.shared.log_time();
        let found = self
            .shared
            .read_for(call, move |reader| open_session(reader, &token, now))
            .await?;
        let admin = found.filter(|session| session.role == AccountRole::Admin);
        Ok(admin.map(|session| session.id))
    }

    /// Refuses a request that the log would refuse.
    async fn look(
        &self,
        once: OnceId,
        grant: Grant,
        name: &AccountName,
        address: ThrottleKey,
        call: &Call,
    ) -> Result<(), Problem> {
        let codes = &self.shared.codes;
        let look = || {
            let name = name.clone();
            self.shared
                .read_for(call, move |reader| Found::look(reader, &once, grant, &name))
        };
        // An address that has sent many wrong codes does not get a barrier through the leader,
        // unless this node knows by itself that the code is right.
        if let Some(wait) = codes.wait(address)
            && let Found::WrongCode(_) | Found::Answered = look().await?
        {
            let wait_ms = millis(wait);
            return Err(Problem::LoginThrottled { wait_ms });
        }
        self.shared.barrier(call.deadline).await?;
        match look().await? {
            Found::Allowed => Ok(()),
            Found::Answered => {
                // Its password is hashed once more, because the log alone knows the answer.
                codes.count(address);
                Ok(())
            }
            Found::WrongCode(rejection) => {
                codes.count(address);
                Err(rejection.into())
            }
            Found::Taken(rejection) => Err(rejection.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use conclave_wire::Reason;

    use super::*;

    #[test]
    fn a_malformed_code_or_token_is_refused_without_a_lookup() {
        use v1::create_account_request::Grant as Given;
        let reason = |given| shown(Some(given)).unwrap_err().reason();
        for code in ["", "!", "YWJj", &"A".repeat(43)] {
            let given = Given::InviteCode(code.to_owned());
            assert_eq!(reason(given), Reason::InviteInvalid, "{code}");
        }
        let given = Given::SetupToken("guess".to_owned());
        assert_eq!(reason(given), Reason::SetupTokenInvalid);

        let code = URL_SAFE_NO_PAD.encode([7; CODE_BYTES]);
        let given = Given::InviteCode(format!(" {code}\n"));
        assert_eq!(
            shown(Some(given)),
            Ok(RequestedGrant::Invite(token_hash(&[7; CODE_BYTES])))
        );
        assert_eq!(shown(None), Ok(RequestedGrant::Nothing));
    }
}
