//! Builds a [`Client`]: where the nodes are, who asks, and how long to wait.
//!
//! Every time has a default here and a bound everywhere: nothing waits for ever.

use std::{sync::Arc, time::Duration};

use crate::{
    call::{Client, Session, Shared},
    connect::{BuildError, Times, authorization},
    limits::ENDPOINTS_MAX,
    nodes::Nodes,
    trust::{Authority, Roots, Trust},
};

/// How long connecting to a node may take before another one is tried.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long one node may take to answer before another one is asked.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a call may take with all its attempts.
pub const TOTAL_TIMEOUT: Duration = Duration::from_secs(15);

/// Collects what a [`Client`] needs.
#[derive(Clone, Debug)]
pub struct Builder {
    endpoints: Vec<String>,
    token: Option<String>,
    trust: Trust,
    times: Times,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            token: None,
            trust: Trust::default(),
            times: Times {
                connect: CONNECT_TIMEOUT,
                attempt: ATTEMPT_TIMEOUT,
                total: TOTAL_TIMEOUT,
            },
        }
    }
}

impl Client {
    /// A builder with the default times.
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

    /// The session's token, as a login gave it.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Believes those alone that have a certificate of this authority, and talks encrypted; see
    /// [`fetch_authority`](crate::fetch_authority). Without it a client talks in plain text, and
    /// on loopback alone.
    #[must_use]
    pub fn pinned(mut self, authority: &Authority) -> Self {
        self.trust = Trust::pinned(authority);
        self
    }

    /// Believes those alone that prove by one of these authorities to be the host under which they
    /// are asked, as browsers do, and talks encrypted. For nodes with a certificate of their
    /// operator's. Of the nodes that are learned of, those alone are asked whose host was named
    /// here, or stands in a certificate of a node that was.
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

    /// Believes whom this client believes.
    #[must_use]
    pub fn trusting_like(mut self, client: &Client) -> Self {
        self.trust = client.trust().clone();
        self
    }

    /// How long connecting may take ([`CONNECT_TIMEOUT`]).
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.times.connect = timeout;
        self
    }

    /// How long one attempt may take ([`ATTEMPT_TIMEOUT`]).
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.times.attempt = timeout;
        self
    }

    /// How long a call may take with all its attempts ([`TOTAL_TIMEOUT`]).
    #[must_use]
    pub fn total_timeout(mut self, timeout: Duration) -> Self {
        self.times.total = timeout;
        self
    }

    /// The client. Nothing is connected yet. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build(self) -> Result<Client, BuildError> {
        match self.endpoints.len() {
            0 => return Err(BuildError::NoEndpoint),
            1..=ENDPOINTS_MAX => {}
            named => return Err(BuildError::TooManyEndpoints { named }),
        }
        let nodes = Nodes::new(&self.endpoints, self.times.connect, self.trust)?;
        let shared = Shared {
            nodes,
            times: self.times,
            asking_others: tokio::sync::Mutex::new(()),
        };
        let session = Session::new(self.token.as_deref().map(authorization).transpose()?);
        Ok(Client::new(Arc::new(shared), Arc::new(session)))
    }
}
