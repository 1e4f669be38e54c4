//! Sessions: logging in and out, here and on other devices.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use conclave_core::{Position, SessionId, Timestamp};
use conclave_wire::{request::TOKEN_BYTES, v1};

use crate::{CallError, Client, Freshness, calls::account::REQUEST_ID_BYTES, random};

/// The result of a login.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The session's token: a secret. See [`Client::with_token`].
    pub token: String,
    /// Number of the session.
    pub session: SessionId,
    /// Account of the session.
    pub account: v1::Account,
    /// Time at which the session ends unless it is used.
    pub expires_at: Timestamp,
    /// Position in the log from which nodes know the session.
    pub position: Position,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({}, session {})", self.account.name, self.session)
    }
}

/// Makes a new secret for a device: see [`Client::login_from`].
#[must_use]
pub fn new_device_secret() -> [u8; TOKEN_BYTES] {
    random::bytes()
}

impl Client {
    /// Logs in: opens a session without a label. See [`Client::login_labelled`].
    ///
    /// # Errors
    /// As [`Client::login_labelled`].
    pub async fn login(&self, name: &str, password: &str) -> Result<Login, CallError> {
        self.login_labelled(name, password, "").await
    }

    /// Logs in: opens a session. Use its token with [`Client::with_token`]. The label names the
    /// session in [`Client::sessions`], such as the name of a device.
    ///
    /// The client chooses the token, so that a retry opens no second session.
    ///
    /// # Errors
    /// [`CallError`]; `WRONG_CREDENTIALS` if there is no such account or the password is wrong;
    /// `LOGIN_THROTTLED` after many of these failures: ask again after a while.
    pub async fn login_labelled(
        &self,
        name: &str,
        password: &str,
        label: &str,
    ) -> Result<Login, CallError> {
        self.login_from(name, password, label, None).await
    }

    /// Logs in as [`Client::login_labelled`] does, from a device with a secret of its own. Once a
    /// login has succeeded, password guesses from elsewhere do not lock this device out.
    ///
    /// # Errors
    /// As [`Client::login_labelled`].
    pub async fn login_from(
        &self,
        name: &str,
        password: &str,
        label: &str,
        device_secret: Option<[u8; TOKEN_BYTES]>,
    ) -> Result<Login, CallError> {
        let token = random::bytes::<TOKEN_BYTES>();
        let request = v1::OpenSessionRequest {
            request_id: random::bytes::<REQUEST_ID_BYTES>().to_vec().into(),
            name: name.to_owned(),
            password: password.to_owned(),
            token: token.to_vec().into(),
            label: label.to_owned(),
            device_secret: device_secret.map_or_else(Vec::new, Vec::from).into(),
        };
        let opened = self.ask(request).await?;
        Ok(Login {
            token: URL_SAFE_NO_PAD.encode(token),
            session: SessionId(opened.session_id),
            account: opened.account.unwrap_or_default(),
            expires_at: Timestamp(opened.expires_at_ms),
            position: Position(opened.position),
        })
    }

    /// Logs out: ends this session and no other. A session that has already ended is no error.
    ///
    /// # Errors
    /// [`CallError`], but never [`CallError::SessionExpired`].
    pub async fn logout(&self) -> Result<(), CallError> {
        match self.call(v1::CloseSessionRequest::default()).await {
            Ok(_) | Err(CallError::SessionExpired { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Returns the session and its account.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn session(&self, freshness: Freshness) -> Result<v1::GetSessionResponse, CallError> {
        let read = Some(freshness.options());
        self.ask(v1::GetSessionRequest { read }).await
    }

    /// Lists the open sessions of the caller's account, the oldest first.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn sessions(&self, freshness: Freshness) -> Result<Vec<v1::Session>, CallError> {
        let read = Some(freshness.options());
        Ok(self.ask(v1::ListSessionsRequest { read }).await?.sessions)
    }

    /// Ends one of the caller's sessions, such as that of a lost telephone.
    ///
    /// # Errors
    /// [`CallError`]; `NO_SUCH_SESSION`.
    pub async fn end_session(&self, session: SessionId) -> Result<Position, CallError> {
        let request = v1::EndSessionRequest {
            request: None,
            session_id: session.0,
        };
        Ok(Position(self.call(request).await?.position))
    }
}
