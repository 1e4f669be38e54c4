//! Makes the parts of a connection: channels to addresses, and the headers of a caller.
//!
//! Always true: no channel leads to an address that the client's trust does not allow, and no
//! header shows its secret in a log.

use std::time::Duration;

use conclave_wire::{OperatorCredential, address};
use tonic::{
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

use crate::{
    limits::ENDPOINTS_MAX,
    trust::{NamedBy, Trust},
};

/// Interval at which an idle connection is tried, so that a dead one is found before it is needed.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// Longest time for such a trial before the connection is given up.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(1);

/// Reasons why a client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No node was named.
    #[error("no endpoint was named")]
    NoEndpoint,
    /// Too many nodes were named.
    #[error("{named} endpoints were named; at most {ENDPOINTS_MAX} are allowed")]
    TooManyEndpoints {
        /// Number of named nodes.
        named: usize,
    },
    /// The address is invalid.
    #[error("'{address}' is not an address such as 127.0.0.1:7400: {why}")]
    Address {
        /// The address as the application named it.
        address: String,
        /// Reason why the address is invalid.
        why: &'static str,
        /// The parser's error, if it has one.
        #[source]
        source: Option<tonic::transport::Error>,
    },
    /// The address is not on loopback, so others could listen, and the authority of its cluster is
    /// not known.
    #[error("'{address}' is not on this machine, and the authority of its cluster is not known")]
    Unprotected {
        /// The address as the application named it.
        address: String,
    },
    /// The scheme contradicts what is known of the cluster.
    #[error("'{address}' asks for plain text, but the cluster is known to be encrypted")]
    Plain {
        /// The address as the application named it.
        address: String,
    },
    /// The token has characters that no token has.
    #[error("the session token is malformed")]
    Token,
}

/// The times of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    pub(crate) attempt: Duration,
    pub(crate) total: Duration,
}

/// Builds the header that carries the token.
pub(crate) fn authorization(token: &str) -> Result<MetadataValue<Ascii>, BuildError> {
    let mut value: MetadataValue<Ascii> = format!("Bearer {token}")
        .parse()
        .map_err(|_| BuildError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Builds the header that carries the credential of an operator.
pub(crate) fn credential_header(credential: &OperatorCredential) -> MetadataValue<Ascii> {
    let header = credential.to_header().parse();
    let mut value: MetadataValue<Ascii> = header.expect("it is base64 with a word before it");
    value.set_sensitive(true);
    value
}

/// Checks that this can be the address of a node.
///
/// # Errors
/// [`BuildError::Address`], with the reason.
pub fn check_address(address: &str) -> Result<(), BuildError> {
    let wrong = |why| BuildError::Address {
        address: address.to_owned(),
        why,
        source: None,
    };
    address::check(without_scheme(address)).map_err(wrong)
}

/// Returns a channel to an address, which connects when it is first used.
pub(crate) fn channel(
    address: &str,
    connect: Duration,
    trust: &Trust,
    named_by: NamedBy,
) -> Result<Channel, BuildError> {
    let without_scheme = without_scheme(address);
    let given = || address.to_owned();
    let malformed = |source| BuildError::Address {
        address: given(),
        why: "it cannot be part of a URI",
        source,
    };
    check_address(address)?;
    let is_encrypted = trust.is_encrypted();
    if is_encrypted && address.trim().starts_with(PLAIN_SCHEME) {
        return Err(BuildError::Plain { address: given() });
    }
    let wants_tls = !is_encrypted && address.trim().starts_with(TLS_SCHEME);
    if wants_tls || !trust.allows(without_scheme) {
        return Err(BuildError::Unprotected { address: given() });
    }
    // The scheme has no effect here: the connector decides whether the connection is encrypted.
    let endpoint = Endpoint::from_shared(format!("{PLAIN_SCHEME}{without_scheme}"))
        .map_err(|source| malformed(Some(source)))?
        .connect_timeout(connect)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    Ok(trust.channel(&endpoint, named_by))
}

const PLAIN_SCHEME: &str = "http://";
const TLS_SCHEME: &str = "https://";

/// Returns an address without scheme and trailing slash: the form in which nodes name each other.
pub(crate) fn without_scheme(address: &str) -> &str {
    let address = address.trim();
    let schemes = [PLAIN_SCHEME, TLS_SCHEME];
    let mut without = schemes
        .iter()
        .filter_map(|scheme| address.strip_prefix(scheme));
    let address = without.next().unwrap_or(address);
    address.strip_suffix('/').unwrap_or(address)
}
