//! Chooses the nodes that a command asks, and the session in whose name it asks.
//!
//! The command line comes first, then the environment, then the credentials file of `login`.

use std::{path::PathBuf, time::Duration};

use conclave_client::{Authority, Client, Fingerprint, Freshness, check_address};
use jiff::tz::TimeZone;

use crate::{
    credentials,
    errors::{CommandError, EXIT_PERMISSION, OPERATOR_HINT},
    operators, trust, zone,
};

/// Addresses at which a local cluster listens: see `conclave up`.
const ENDPOINTS_DEFAULT: [&str; 5] = [
    "127.0.0.1:7400",
    "127.0.0.1:7410",
    "127.0.0.1:7420",
    "127.0.0.1:7430",
    "127.0.0.1:7440",
];
/// Environment variable with the session's token, for programs that keep no file.
const TOKEN_VARIABLE: &str = "CONCLAVE_TOKEN";

/// The options of all commands that ask a cluster.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct Connection {
    /// Nodes to ask, as HOST:PORT,HOST:PORT [default: those of the login, else 127.0.0.1:7400 …]
    #[arg(
        long,
        global = true,
        env = "CONCLAVE_ENDPOINTS",
        value_delimiter = ',',
        value_name = "LIST"
    )]
    endpoints: Vec<String>,
    /// Fingerprint of a cluster that is not known here yet, as its nodes print it
    #[arg(
        long,
        global = true,
        env = "CONCLAVE_FINGERPRINT",
        value_name = "SHA256:…"
    )]
    fingerprint: Option<Fingerprint>,
    /// Trust the certificate authorities in this file (PEM), and nodes that prove by them to be the
    /// requested host: for a cluster with its operator's own certificate
    #[arg(
        long,
        global = true,
        env = "CONCLAVE_CA_FILE",
        value_name = "FILE",
        conflicts_with = "fingerprint"
    )]
    ca_file: Option<PathBuf>,
    /// File with an operator's credential, for commands about machines [default: the one that
    /// `conclave operator use` has kept]
    #[arg(
        long,
        global = true,
        env = "CONCLAVE_OPERATOR_FILE",
        value_name = "FILE"
    )]
    operator_file: Option<PathBuf>,
    /// Give up after this many seconds
    #[arg(
        long,
        global = true,
        default_value = "15",
        value_parser = clap::value_parser!(u64).range(1..=3600),
        value_name = "SECONDS"
    )]
    timeout: u64,
    /// Time zone of displayed times, such as Asia/Tokyo or UTC [default: TZ, else the system's]
    #[arg(
        long,
        global = true,
        value_name = "ZONE",
        value_parser = zone::named,
        help_heading = "Output"
    )]
    zone: Option<TimeZone>,
}

/// A client, and the settings it was made from.
pub(crate) struct Connected {
    pub(crate) client: Client,
    pub(crate) endpoints: Vec<String>,
    /// The authority by which the cluster is known; `None` if it talks in plain text, or has shown
    /// a certificate of its operator's.
    pub(crate) authority: Option<Authority>,
    /// Whether the client talks encrypted.
    pub(crate) is_encrypted: bool,
    /// Whether the session is that of the credentials file.
    pub(crate) from_file: bool,
    /// The content of the credentials file, if session and nodes both come from it.
    pub(crate) kept: Option<credentials::Credentials>,
}

impl Connection {
    /// Returns the zone in which times are shown.
    pub(crate) fn zone(&self) -> TimeZone {
        zone::chosen(self.zone.as_ref())
    }

    /// Makes a client with the session of the environment or of the last login.
    ///
    /// # Errors
    /// If there is no session, the credentials must not be used, an address is invalid, or the
    /// authority of the cluster is not known.
    pub(crate) async fn connect(&self) -> anyhow::Result<Connected> {
        self.connect_as(token_of_environment(), true).await
    }

    /// Returns whether there is a session to connect with.
    ///
    /// # Errors
    /// If the credentials must not be used.
    pub(crate) fn has_login(&self) -> Result<bool, CommandError> {
        Ok(token_of_environment().is_some() || self.saved()?.is_some())
    }

    /// Makes a client without a session.
    ///
    /// # Errors
    /// If the credentials must not be used or an address is invalid.
    pub(crate) async fn connect_without_session(&self) -> anyhow::Result<Connected> {
        self.connect_as(None, false).await
    }

    /// Makes a client with a session if there is one: for requests that need none.
    ///
    /// # Errors
    /// If the credentials must not be used or an address is invalid.
    pub(crate) async fn connect_with_optional_session(&self) -> anyhow::Result<Connected> {
        match self.has_login()? {
            true => self.connect().await,
            false => self.connect_without_session().await,
        }
    }

    /// Makes a client with the credential of an operator, and a session if there is one.
    ///
    /// # Errors
    /// If there is no credential, it must not be used, or an address is invalid.
    pub(crate) async fn connect_as_operator(&self) -> anyhow::Result<Connected> {
        let connected = self.connect_as_operator_if_any().await?;
        if !connected.client.is_operator() {
            let sentence = "this needs the credential of an operator, and none is stored here";
            return Err(CommandError::new(EXIT_PERMISSION, sentence, OPERATOR_HINT).into());
        }
        Ok(connected)
    }

    /// Makes a client with the credential of an operator and a session, each if there is one: for
    /// requests that show operators more.
    ///
    /// # Errors
    /// If the credential must not be used or an address is invalid.
    pub(crate) async fn connect_as_operator_if_any(&self) -> anyhow::Result<Connected> {
        let mut connected = self.connect_with_optional_session().await?;
        let credential = match &self.operator_file {
            Some(file) => Some(operators::read(file)?),
            None => operators::find(&connected.endpoints)?,
        };
        if let Some(credential) = credential {
            connected.client = connected.client.with_operator(&credential);
        }
        Ok(connected)
    }

    async fn connect_as(
        &self,
        token: Option<String>,
        with_login: bool,
    ) -> anyhow::Result<Connected> {
        let endpoints: Vec<String> = self
            .endpoints
            .iter()
            .map(|endpoint| endpoint.trim().to_owned())
            .filter(|endpoint| !endpoint.is_empty())
            .collect();
        let needs_token = with_login && token.is_none();
        // A user who gives both endpoints and token needs no file, nor a home directory.
        let saved = if endpoints.is_empty() || needs_token {
            self.saved()?
        } else {
            None
        };
        let from_file = needs_token && saved.is_some();
        let kept = saved.clone().filter(|_| from_file && endpoints.is_empty());
        let (saved_endpoints, saved_token) = match saved {
            Some(saved) => (saved.endpoints, Some(saved.token)),
            None => (ENDPOINTS_DEFAULT.map(str::to_owned).to_vec(), None),
        };
        let endpoints = if endpoints.is_empty() {
            saved_endpoints
        } else {
            endpoints
        };
        let mut builder = Client::builder()
            .endpoints(endpoints.clone())
            .total_timeout(Duration::from_secs(self.timeout));
        if with_login {
            let token = token.or(saved_token).ok_or_else(|| {
                let hint = "log in: conclave login NAME";
                CommandError::new(EXIT_PERMISSION, "not logged in", hint)
            })?;
            builder = builder.token(token);
        }
        endpoints.iter().try_for_each(|at| check_address(at))?;
        let authority = match &self.ca_file {
            Some(file) => {
                builder = builder.roots(&trust::roots(file)?);
                None
            }
            None => trust::find(&endpoints, self.fingerprint).await?,
        };
        if let Some(authority) = &authority {
            builder = builder.pinned(authority);
        }
        Ok(Connected {
            client: builder.build()?,
            endpoints,
            is_encrypted: authority.is_some() || self.ca_file.is_some(),
            authority,
            from_file,
            kept,
        })
    }

    fn saved(&self) -> Result<Option<credentials::Credentials>, CommandError> {
        credentials::load(&credentials::path()?)
    }
}

/// Returns the freshness that `--stale` asks for.
pub(crate) fn freshness(stale: bool) -> Freshness {
    if stale {
        Freshness::Stale { min_position: 0 }
    } else {
        Freshness::Linearizable
    }
}

fn token_of_environment() -> Option<String> {
    std::env::var(TOKEN_VARIABLE)
        .ok()
        .filter(|token| !token.is_empty())
}
