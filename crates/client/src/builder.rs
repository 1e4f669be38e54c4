//! Builds a [`Client`]: where the nodes are, who asks, and how long to wait.
//!
//! Every time has a default here and a bound everywhere: nothing waits for ever.

use std::{sync::Arc, time::Duration};

use conclave_wire::OperatorCredential;
use tonic::{
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

use crate::{
    call::{Client, Session, Shared},
    nodes::Nodes,
    trust::{Authority, Roots, Trust},
};

/// How long connecting to a node may take before another one is tried.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long one node may take to answer before another one is asked.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a call may take with all its attempts.
pub const TOTAL_TIMEOUT: Duration = Duration::from_secs(15);
/// How often an idle connection is tried, so that a dead one is found before it is needed.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// How long such a trial may take before the connection is given up.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(1);

/// Nodes that one client knows. More: refused when building; ignored when learned from hints.
pub const ENDPOINTS_MAX: usize = 32;

/// Requests of one session that may be under way at once; the others wait for their turn. Half a
/// [`conclave_core::limits::REQUEST_WINDOW`], so that two programs may share a session.
pub const IN_FLIGHT_MAX: usize = 128;

const _: () = assert!((IN_FLIGHT_MAX as u64) < conclave_core::limits::REQUEST_WINDOW);

/// A client cannot be built from this.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No node was named.
    #[error("no endpoint was named")]
    NoEndpoint,
    /// Too many nodes were named.
    #[error("{named} endpoints were named; at most {ENDPOINTS_MAX} are allowed")]
    TooManyEndpoints {
        /// How many.
        named: usize,
    },
    /// This is no address.
    #[error("'{address}' is not an address such as 127.0.0.1:7400")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it, if the parser says.
        #[source]
        source: Option<tonic::transport::Error>,
    },
    /// Others could listen there, and it is not known whom to believe.
    #[error("'{address}' is not on this machine, and the authority of its cluster is not known")]
    Unprotected {
        /// What was given.
        address: String,
    },
    /// The scheme contradicts what is known of the cluster.
    #[error("'{address}' asks for plain text, but the cluster is known to be encrypted")]
    Plain {
        /// What was given.
        address: String,
    },
    /// The token has characters that no token has.
    #[error("the session token is malformed")]
    Token,
}

/// Collects what a [`Client`] needs.
#[derive(Clone, Debug)]
pub struct Builder {
    endpoints: Vec<String>,
    token: Option<String>,
    trust: Trust,
    times: Times,
}

/// The times of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) connect: Duration,
    pub(crate) attempt: Duration,
    pub(crate) total: Duration,
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
    /// operator's; nodes that are learned of by another name are asked in vain.
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

/// The header that carries the token.
pub(crate) fn authorization(token: &str) -> Result<MetadataValue<Ascii>, BuildError> {
    let mut value: MetadataValue<Ascii> = format!("Bearer {token}")
        .parse()
        .map_err(|_| BuildError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The header that carries the credential of an operator.
pub(crate) fn credential_header(credential: &OperatorCredential) -> MetadataValue<Ascii> {
    let header = credential.to_header().parse();
    let mut value: MetadataValue<Ascii> = header.expect("it is base64 with a word before it");
    value.set_sensitive(true);
    value
}

/// Whether this can be the address of a node.
///
/// # Errors
/// [`BuildError::Address`] if there is no host or no port.
pub fn check_address(address: &str) -> Result<(), BuildError> {
    let has_port = bare(address)
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    match has_port {
        true => Ok(()),
        false => Err(BuildError::Address {
            address: address.to_owned(),
            source: None,
        }),
    }
}

/// A connection to an address, made when it is first used.
pub(crate) fn channel(
    address: &str,
    connect: Duration,
    trust: &Trust,
) -> Result<Channel, BuildError> {
    let bare = bare(address);
    let given = || address.to_owned();
    let malformed = |source| BuildError::Address {
        address: given(),
        source,
    };
    check_address(address)?;
    let is_encrypted = trust.is_encrypted();
    if is_encrypted && address.trim().starts_with(PLAIN_SCHEME) {
        return Err(BuildError::Plain { address: given() });
    }
    let wants_tls = !is_encrypted && address.trim().starts_with(TLS_SCHEME);
    if wants_tls || !trust.allows(bare) {
        return Err(BuildError::Unprotected { address: given() });
    }
    // The scheme says nothing here: what the connection is made of decides.
    let endpoint = Endpoint::from_shared(format!("{PLAIN_SCHEME}{bare}"))
        .map_err(|source| malformed(Some(source)))?
        .connect_timeout(connect)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    Ok(trust.channel(&endpoint))
}

const PLAIN_SCHEME: &str = "http://";
const TLS_SCHEME: &str = "https://";

/// An address without scheme and trailing slash: the form in which nodes name each other.
pub(crate) fn bare(address: &str) -> &str {
    let address = address.trim();
    let schemes = [PLAIN_SCHEME, TLS_SCHEME];
    let mut without = schemes
        .iter()
        .filter_map(|scheme| address.strip_prefix(scheme));
    let address = without.next().unwrap_or(address);
    address.strip_suffix('/').unwrap_or(address)
}
