//! Serves sessions to clients: a password opens them, their owner lists and ends them.
//!
//! Always true: a password is verified only if the gate lets the attempt pass and after the log has
//! counted it; a successful log-in clears the count.

use std::{net::SocketAddr, sync::Arc};

use conclave_core::{Accepted, AccountName, LoginKeys, OnceId, Rejection, SessionLabel};
use conclave_storage::state as rows;
use conclave_text::Password;
use conclave_wire::{
    Problem, Reason,
    request::{self, TOKEN_BYTES},
    v1::{self, session_service_server::SessionService},
};
use tonic::Request;

use crate::{
    api::{
        accounts::{Accounts, once_id},
        edge::{self, Answer},
    },
    auth::{
        account_limiters::{AccountLimiter, Paced},
        hash_queue::Work,
        passwords::{Priority, is_outdated},
        sessions::{log_in_first, show_token},
        throttle::keys_of_login,
    },
    base::random,
    context::{
        access::{Unknown, accepted, held_back, position_of},
        call::Call,
        try_password::{Guess, attempt_id},
    },
    protocol::show,
};

/// Request to log in, with its bounds checked.
struct Login {
    /// The account's name in the form in which names are compared.
    key: String,
    password: String,
    label: SessionLabel,
    keys: LoginKeys,
}

impl Login {
    fn of(request: v1::OpenSessionRequest, from: Option<SocketAddr>) -> Result<Self, Problem> {
        let label = conclave_text::session_label(&request.label)?;
        // An impossible name or password gets the same answer as a name that no account has.
        let device = request::device_secret(&request.device_secret)?;
        let wrong = Rejection::WrongCredentials;
        let name = AccountName::new(request.name.as_str()).map_err(|_| wrong.clone())?;
        Password::typed(&request.password).map_err(|_| wrong)?;
        let key = name.key();
        Ok(Self {
            keys: keys_of_login(&key, from, device),
            key,
            password: request.password,
            label,
        })
    }
}

impl Accounts {
    async fn open(
        &self,
        call: Call,
        request: v1::OpenSessionRequest,
    ) -> Result<v1::OpenSessionResponse, Problem> {
        self.shared.refuse_if_away()?;
        self.shared.only_where_trusted()?;
        let deadline = call.deadline;
        let token = match request::chosen_token(&request.token)? {
            Some(token) => token,
            None => random::bytes::<TOKEN_BYTES>()?,
        };
        let once = once_id(&request.request_id)?;
        let attempt = once_id(&request.request_id)?;
        let login = Login::of(request, call.address)?;
        let caller = Unknown::from(&call);
        let (row, renewed_hash) = self.log_in(&login, attempt, caller).await?;
        let hash = request::token_hash(&token);
        let command = request::open_session(
            once,
            row.id,
            row.password_version,
            hash,
            login.label,
            login.keys,
            renewed_hash,
        );
        let outcome = self.shared.propose(command, deadline).await?;
        accepted(&outcome, |accepted| match accepted {
            Accepted::SessionOpened {
                session,
                expires_at,
                ..
            } => {
                self.shared.sessions.keep(hash, *session, row.id);
                Some(v1::OpenSessionResponse {
                    token: show_token(&token),
                    session_id: session.0,
                    account: Some(show::account(row)),
                    expires_at_ms: expires_at.0,
                    position: position_of(&outcome),
                })
            }
            _ => None,
        })
    }

    /// Returns the account if the attempt may be made and its password is right; and the hash that
    /// replaces the stored one, if that was made with other parameters than today's.
    async fn log_in(
        &self,
        login: &Login,
        attempt: OnceId,
        caller: Unknown,
    ) -> Result<(rows::AccountRow, Option<String>), Problem> {
        let (keys, deadline) = (login.keys, caller.deadline);
        self.shared.barrier(deadline).await?;
        let key = login.key.clone();
        let find = move |reader: &rows::Reader| reader.account_by_key(&key);
        let found = self.shared.read_for(caller, find).await?;
        let of = found
            .as_ref()
            .map(|row| self.shared.sessions.account_limiters.of(row.id));
        if let Some(of) = &of
            && let Err(rejection) = of.check(Paced::LogIn)
        {
            return Err(held_back(rejection.into(), of, deadline).await);
        }
        let is_frequent = |of: &Arc<AccountLimiter>| of.check(Paced::PromptLogIn).is_err();
        let guess = Guess {
            password: login.password.clone(),
            hash: found.as_ref().map(|row| row.password_hash.clone()),
            priority: match of.as_ref().is_some_and(is_frequent) {
                true => Priority::Patient,
                false => Priority::Prompt,
            },
        };
        let once = attempt_id(&attempt, &keys, &login.password);
        let tried = self
            .shared
            .try_password(once, keys, Work::LogIn, guess, caller)
            .await?;
        let row = found.filter(|_| tried.verified);
        let row = row.ok_or(Rejection::WrongCredentials)?;
        if let Some(of) = &of {
            of.count(Paced::LogIn);
            of.count(Paced::PromptLogIn);
        }
        let renewed = match is_outdated(&row.password_hash) {
            true => {
                let password = Password::typed(&login.password)?;
                Some(self.shared.passwords.hash(&tried.turn, password).await?)
            }
            false => None,
        };
        Ok((row, renewed))
    }

    async fn close(
        &self,
        call: Call,
        request: v1::CloseSessionRequest,
    ) -> Result<v1::CloseSessionResponse, Problem> {
        let outcome = self.shared.propose_in_session(&call, request).await?;
        accepted(&outcome, |accepted| match accepted {
            Accepted::SessionClosed => Some(v1::CloseSessionResponse {
                position: position_of(&outcome),
            }),
            _ => None,
        })
    }

    async fn get(
        &self,
        call: Call,
        request: v1::GetSessionRequest,
    ) -> Result<v1::GetSessionResponse, Problem> {
        let read = |reader: &rows::Reader, session: &rows::SessionRow| {
            let last = reader.request_last(session.id)?;
            Ok((reader.account(session.account)?, session.clone(), last))
        };
        let (row, session, request_number_last) = self
            .shared
            .read_in_session(&call, request.read, read)
            .await?;
        let row = row.ok_or_else(|| log_in_first("the account was deleted"))?;
        Ok(v1::GetSessionResponse {
            session_id: session.id.0,
            account: Some(show::account(row)),
            opened_at_ms: session.opened_at.0,
            expires_at_ms: self.shared.replica.now().date_of(session.expires_at).0,
            request_number_last,
        })
    }

    async fn list_own(
        &self,
        call: Call,
        request: v1::ListSessionsRequest,
    ) -> Result<v1::ListSessionsResponse, Problem> {
        let now = self.shared.replica.now();
        let read = move |reader: &rows::Reader, session: &rows::SessionRow| {
            let mut open = reader.sessions(session.account)?;
            open.retain(|session| !session.closed && session.expires_at > now.log_time);
            open.iter_mut()
                .for_each(|session| session.expires_at = now.date_of(session.expires_at));
            // Session numbers follow the order of opening.
            open.sort_by_key(|session| session.id);
            Ok((open, session.id))
        };
        let (open, current) = self
            .shared
            .read_in_session(&call, request.read, read)
            .await?;
        let sessions = open.into_iter().map(|row| show::session(row, current));
        Ok(v1::ListSessionsResponse {
            sessions: sessions.collect(),
        })
    }
}

#[tonic::async_trait]
impl SessionService for Accounts {
    async fn open_session(
        &self,
        request: Request<v1::OpenSessionRequest>,
    ) -> Answer<v1::OpenSessionResponse> {
        let Some(cookie) = edge::cookie_of(&request) else {
            return edge::answer(request, |call, request| self.open(call, request)).await;
        };
        // A token that a script has chosen would be known to it.
        if !request.get_ref().token.is_empty() {
            let sentence = "the node chooses the token of a page's session";
            return Err(Problem::refused(Reason::TokenInvalid, sentence).into());
        }
        let opened = edge::answer(request, |call, request| self.open(call, request));
        let mut response = opened.await?;
        let token = std::mem::take(&mut response.get_mut().token);
        edge::set_cookie(&mut response, &cookie.set(&token));
        Ok(response)
    }

    async fn close_session(
        &self,
        request: Request<v1::CloseSessionRequest>,
    ) -> Answer<v1::CloseSessionResponse> {
        edge::answer_last(request, |call, request| self.close(call, request)).await
    }

    async fn get_session(
        &self,
        request: Request<v1::GetSessionRequest>,
    ) -> Answer<v1::GetSessionResponse> {
        edge::answer(request, |call, request| self.get(call, request)).await
    }

    async fn list_sessions(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Answer<v1::ListSessionsResponse> {
        edge::answer(request, |call, request| self.list_own(call, request)).await
    }

    async fn end_session(
        &self,
        request: Request<v1::EndSessionRequest>,
    ) -> Answer<v1::EndSessionResponse> {
        let tell = |position| v1::EndSessionResponse { position };
        edge::done(&self.shared, request, tell).await
    }
}
