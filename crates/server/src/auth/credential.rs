//! What a request shows of its caller: the token of a session, the credential of an operator, or
//! the secret of a webhook.
//!
//! It is only read here. Whether a session is open or an operator known, the log and the database
//! say.
//!
//! Always true: `Debug` does not show it.

use std::fmt;

use axum::http::HeaderMap;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use conclave_core::{Rejection, TokenHash};
use conclave_wire::{
    OperatorCredential, Problem,
    request::{TOKEN_BYTES, token_hash},
};

use crate::auth::sessions::{log_in_first, show_token};

/// Header that carries it.
pub(crate) const HEADER: &str = "authorization";
/// Scheme of the header that carries the token of a session.
const SCHEME: &str = "Bearer";

/// What a request shows of its caller.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) enum Credential {
    /// Nothing, as for a call that a node makes for itself.
    #[default]
    Nothing,
    /// A header that is neither a session nor an operator.
    Malformed,
    /// The token of a session.
    Session([u8; TOKEN_BYTES]),
    /// The credential of an operator.
    Operator(OperatorCredential),
    /// The secret of a webhook, as the hash under which the cluster knows it.
    Webhook(TokenHash),
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credential(…)")
    }
}

impl Credential {
    /// Reads the credential in the headers of a request.
    pub(crate) fn in_headers(headers: &HeaderMap) -> Self {
        let header = headers.get(HEADER).and_then(|value| value.to_str().ok());
        header.map_or(Self::Nothing, Self::in_header)
    }

    fn in_header(header: &str) -> Self {
        if let Some(operator) = OperatorCredential::from_header(header) {
            return Self::Operator(operator);
        }
        let token = match header.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(SCHEME) => token.trim(),
            Some(_) | None => return Self::Malformed,
        };
        let bytes = URL_SAFE_NO_PAD.decode(token).ok();
        let token = bytes.and_then(|bytes| bytes.try_into().ok());
        token.map_or(Self::Malformed, Self::Session)
    }

    /// Returns the value of the header that carries it to another node; `None` if no node asks on
    /// behalf of such a caller.
    pub(crate) fn to_header(&self) -> Option<String> {
        match self {
            Self::Nothing | Self::Malformed | Self::Webhook(_) => None,
            Self::Session(token) => Some(format!("{SCHEME} {}", show_token(token))),
            Self::Operator(operator) => Some(operator.to_header()),
        }
    }

    /// Returns the hash under which the cluster knows the session.
    ///
    /// # Errors
    /// [`Problem::SessionExpired`] if no token of a session is shown.
    pub(crate) fn session(&self) -> Result<TokenHash, Problem> {
        match self {
            Self::Session(token) => Ok(token_hash(token)),
            Self::Nothing => Err(log_in_first("the request carries no session; log in")),
            Self::Malformed | Self::Operator(_) | Self::Webhook(_) => Err(log_in_first(
                "the authorization header is not `Bearer TOKEN`; log in",
            )),
        }
    }

    /// Returns the hash under which the cluster knows the operator; `None` if none is shown.
    pub(crate) fn operator(&self) -> Option<TokenHash> {
        match self {
            Self::Operator(operator) => Some(operator.hash()),
            Self::Nothing | Self::Malformed | Self::Session(_) | Self::Webhook(_) => None,
        }
    }

    /// Returns the hash under which the cluster knows the webhook.
    ///
    /// # Errors
    /// [`Rejection::NoSuchWebhook`] if none is shown.
    pub(crate) fn webhook(&self) -> Result<TokenHash, Rejection> {
        match self {
            Self::Webhook(secret) => Ok(*secret),
            Self::Nothing | Self::Malformed | Self::Session(_) | Self::Operator(_) => {
                Err(Rejection::NoSuchWebhook)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use conclave_wire::Reason;

    use super::*;

    /// Returns the credential in a header with this value.
    fn shown(value: &[u8]) -> Credential {
        let value = HeaderValue::from_bytes(value).unwrap();
        Credential::in_headers(&HeaderMap::from_iter([(
            HEADER.parse().expect("a name of a header"),
            value,
        )]))
    }

    #[test]
    fn a_session_token_round_trips_and_other_text_is_rejected() {
        let token = [7; TOKEN_BYTES];
        let text = show_token(&token);
        for header in [
            format!("Bearer {text}"),
            format!("bearer {text}"),
            format!("Bearer  {text} "),
        ] {
            let shown = shown(header.as_bytes());
            assert_eq!(shown.session(), Ok(token_hash(&token)), "{header}");
            assert_eq!(shown.operator(), None, "{header}");
        }
        let long = format!("Bearer {}", "A".repeat(100_000));
        for bad in [
            "Bearer",
            "Bearer !",
            "Basic abc",
            "Bearer YWJj",
            "",
            " ",
            &long,
            &format!("Operator {text}"),
            &format!("Bearer {text} {text}"),
        ] {
            let shown = shown(bad.as_bytes());
            assert!(shown == Credential::Malformed, "{bad}");
            assert_eq!(
                shown.session().unwrap_err().reason(),
                Reason::SessionExpired
            );
            assert_eq!((shown.operator(), shown.to_header()), (None, None));
        }
    }

    #[test]
    fn a_header_that_is_no_text_counts_as_none() {
        assert!(shown(b"Bearer \xff\xfe") == Credential::Nothing);
        assert!(Credential::in_headers(&HeaderMap::new()) == Credential::Nothing);
    }

    #[test]
    fn a_credential_of_an_operator_is_no_session() {
        let operator = OperatorCredential::from_bytes([9; TOKEN_BYTES]);
        let shown = shown(operator.to_header().as_bytes());
        assert_eq!(shown.operator(), Some(operator.hash()));
        assert_eq!(
            shown.session().unwrap_err().reason(),
            Reason::SessionExpired
        );
    }

    #[test]
    fn a_credential_arrives_at_another_node_as_it_was_shown() {
        let operator = OperatorCredential::from_bytes([9; TOKEN_BYTES]);
        for sent in [
            Credential::Session([7; TOKEN_BYTES]),
            Credential::Operator(operator),
        ] {
            assert!(shown(sent.to_header().unwrap().as_bytes()) == sent);
            assert_eq!(format!("{sent:?}"), "Credential(…)");
        }
        assert_eq!(Credential::Nothing.to_header(), None);
    }
}
