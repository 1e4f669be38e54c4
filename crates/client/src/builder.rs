//! Builds a [`Client`] from the addresses of nodes, a session and time limits.
//!
//! Always true: every time limit has a default, and nothing waits for ever.

use std::{sync::Arc, time::Duration};

use crate::{
    call::{Client, ClientState, Session},
    connect::{BuildError, Timeouts, authorization},
    limits::ENDPOINTS_MAX,
    nodes::Nodes,
    trust::{Authority, Roots, Trust},
};

/// Longest time to connect to a node before another one is tried.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest time that one node may take to answer before another one is asked.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest time for a call with all its attempts.
pub const TOTAL_TIMEOUT: Duration = Duration::from_secs(15);

/// Builder of a [`Client`].
#[derive(Clone, Debug)]
pub struct Builder {
    endpoints: Vec<String>,
    token: Option<String>,
    trust: Trust,
    timeouts: Timeouts,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            token: None,
            trust: Trust::default(),
            timeouts: Timeouts {
                connect: CONNECT_TIMEOUT,
                attempt: ATTEMPT_TIMEOUT,
                total: TOTAL_TIMEOUT,
            },
        }
    }
}

impl Client {
    /// Returns a builder with the default times.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl Builder {
    /// Adds nodes: `host:port`, `https://host:port` or, on loopback, `http://host:port`. The first
    /// is asked first.
    #[must_use]
    pub fn endpoints(mut self, endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.endpoints.extend(endpoints.into_iter().map(Into::into));
        self
    }

    /// Sets the session's token, as a login returned it.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Trusts only nodes that have a certificate of this authority, and talks encrypted; see
    /// [`fetch_authority`](crate::fetch_authority). Without it a client talks in plain text, and on
    /// loopback alone.
    #[must_use]
    pub fn pinned(mut self, authority: &Authority) -> Self {
        self.trust = Trust::pinned(authority);
        self
    }

    /// Trusts only nodes that prove by one of these authorities to be the requested host, as
    /// browsers do, and talks encrypted. For nodes with a certificate of their operator's. Of the
    /// nodes that other nodes name, the client asks only those whose host the application has
    /// named, or whose host is in a certificate of a node that the application has named.
    #[must_use]
    pub fn roots(mut self, roots: &Roots) -> Self {
        self.trust = Trust::named(roots);
        self
    }

    /// Talks in plain text: the nodes must be on loopback.
    #[must_use]
    pub fn plain(mut self) -> Self {
        self.trust = Trust::Loopback;
        self
    }

    /// Trusts the same nodes as this client.
    #[must_use]
    pub fn trusting_like(mut self, client: &Client) -> Self {
        self.trust = client.trust().clone();
        self
    }

    /// Sets how long connecting may take ([`CONNECT_TIMEOUT`]).
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.connect = timeout;
        self
    }

    /// Sets how long one attempt may take ([`ATTEMPT_TIMEOUT`]).
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.attempt = timeout;
        self
    }

    /// Sets how long a call may take with all its attempts ([`TOTAL_TIMEOUT`]).
    #[must_use]
    pub fn total_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.total = timeout;
        self
    }

    /// Builds the client. Nothing is connected yet. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build(self) -> Result<Client, BuildError> {
        match self.endpoints.len() {
            0 => return Err(BuildError::NoEndpoint),
            1..=ENDPOINTS_MAX => {}
            named => return Err(BuildError::TooManyEndpoints { named }),
        }
        let nodes = Nodes::new(&self.endpoints, self.timeouts.connect, self.trust)?;
        let shared = ClientState {
            nodes,
            timeouts: self.timeouts,
            asking_others: tokio::sync::Mutex::new(()),
        };
        let session = Session::new(self.token.as_deref().map(authorization).transpose()?);
        Ok(Client::new(Arc::new(shared), Arc::new(session)))
    }
}
