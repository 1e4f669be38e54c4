//! Decides which callers may create an account on this node: any caller, callers with an invite, or
//! none.
//!
//! This file decides what a request has to carry; the log decides whether that is valid. Every way
//! to create an account that is not open to all callers is a [`Grant`].

use std::{fmt, net::IpAddr, str::FromStr};

use conclave_core::{Grant, Rejection, SessionId, TokenHash};
use serde::Deserialize;

/// Registration policy of a node. A caller with the setup token, and an administrator, can always
/// create an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registration {
    /// Any caller may create an account.
    Open,
    /// A caller with an invite may create an account.
    Invite,
    /// No caller may create an account.
    Closed,
}

impl Registration {
    /// All policies.
    pub const ALL: [Self; 3] = [Self::Open, Self::Invite, Self::Closed];

    /// Returns the word of this policy in a configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Invite => "invite",
            Self::Closed => "closed",
        }
    }

    /// Returns the policy where none is configured: a node that only its own machine reaches is
    /// open.
    #[must_use]
    pub fn default_at(client_address: IpAddr) -> Self {
        match client_address.to_canonical().is_loopback() {
            true => Self::Open,
            false => Self::Closed,
        }
    }

    /// Returns the grant of a request that carries `shown`; `admin` is the session of an
    /// administrator that the request may have come with.
    pub(crate) fn grant(
        self,
        shown: RequestedGrant,
        admin: Option<SessionId>,
    ) -> Result<Grant, Rejection> {
        match (shown, admin, self) {
            (RequestedGrant::Setup(token), ..) => Ok(Grant::Setup(token)),
            (RequestedGrant::Invite(code), _, Self::Open | Self::Invite) => Ok(Grant::Invite(code)),
            (RequestedGrant::Invite(_), _, Self::Closed) => Err(Rejection::RegistrationClosed),
            (RequestedGrant::Nothing, Some(session), _) => Ok(Grant::Admin(session)),
            (RequestedGrant::Nothing, None, Self::Open) => Ok(Grant::Open),
            (RequestedGrant::Nothing, None, Self::Invite | Self::Closed) => {
                Err(Rejection::RegistrationClosed)
            }
        }
    }
}

impl fmt::Display for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Registration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|mode| mode.as_str() == text);
        found.ok_or_else(|| format!("`{text}` is not open, invite or closed"))
    }
}

/// What a request carries to be allowed to create an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestedGrant {
    /// Nothing.
    Nothing,
    /// Hash of an invite's code.
    Invite(TokenHash),
    /// Hash of the setup token.
    Setup(TokenHash),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_registration_mode_accepts_only_its_grants() {
        use Registration::{Closed, Invite, Open};
        const CODE: TokenHash = TokenHash([1; 32]);
        const ADMIN: SessionId = SessionId(7);
        let shown = [
            RequestedGrant::Nothing,
            RequestedGrant::Invite(CODE),
            RequestedGrant::Setup(CODE),
        ];
        let closed = Err(Rejection::RegistrationClosed);
        let grants = [
            // mode, result for a caller without a grant, for an invite, for the setup token
            (
                Open,
                [
                    Ok(Grant::Open),
                    Ok(Grant::Invite(CODE)),
                    Ok(Grant::Setup(CODE)),
                ],
            ),
            (
                Invite,
                [
                    closed.clone(),
                    Ok(Grant::Invite(CODE)),
                    Ok(Grant::Setup(CODE)),
                ],
            ),
            (
                Closed,
                [closed.clone(), closed.clone(), Ok(Grant::Setup(CODE))],
            ),
        ];
        for (mode, expected) in grants {
            let given = shown.map(|shown| mode.grant(shown, None));
            assert_eq!(given, expected, "{mode}, a caller without a session");
            let [_, invited, setup] = expected;
            let given = shown.map(|shown| mode.grant(shown, Some(ADMIN)));
            let expected = [Ok(Grant::Admin(ADMIN)), invited, setup];
            assert_eq!(given, expected, "{mode}, an administrator");
        }
    }

    #[test]
    fn only_a_node_on_loopback_is_open_by_default() {
        let default = |address: &str| Registration::default_at(address.parse().unwrap());
        for address in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(default(address), Registration::Open, "{address}");
        }
        for address in ["0.0.0.0", "::", "10.0.0.1", "fe80::1"] {
            assert_eq!(default(address), Registration::Closed, "{address}");
        }
    }

    #[test]
    fn registration_modes_are_parsed() {
        for mode in Registration::ALL {
            assert_eq!(mode.as_str().parse(), Ok(mode));
        }
        assert!("Open".parse::<Registration>().is_err());
    }
}
