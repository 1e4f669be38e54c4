//! Where the next page of a list begins, as clients carry it from one call to the next.
//!
//! Always true: a token says only what the page before has shown, and one that no node has given
//! is refused.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use conclave_wire::Problem;

/// The token of the page after the item with this key; empty if there is none.
pub(crate) fn token_of_key(key: Option<String>) -> String {
    key.map_or_else(String::new, |key| URL_SAFE_NO_PAD.encode(key))
}

/// After which key the page begins; `None` for the first one.
pub(crate) fn key_of(token: &str) -> Result<Option<String>, Problem> {
    if token.is_empty() {
        return Ok(None);
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    let key = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    key.map(Some).ok_or_else(bad_token)
}

/// The token of the page that begins beside this number; empty if there is none.
pub(crate) fn token_of_number(number: Option<u64>) -> String {
    number.map_or_else(String::new, |number| number.to_string())
}

/// Beside which number the page begins; `None` for the first one.
pub(crate) fn number_of(token: &str) -> Result<Option<u64>, Problem> {
    match token {
        "" => Ok(None),
        token => token.parse().map(Some).map_err(|_| bad_token()),
    }
}

fn bad_token() -> Problem {
    Problem::Refused {
        reason: "PAGE_TOKEN_INVALID".to_owned(),
        sentence: "the page token is none that a node has given".to_owned(),
        request_last: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_to_where_the_page_before_has_ended() {
        assert_eq!(
            key_of(&token_of_key(Some("anna".to_owned()))),
            Ok(Some("anna".to_owned()))
        );
        assert_eq!(number_of(&token_of_number(Some(7))), Ok(Some(7)));
        assert_eq!(key_of(&token_of_key(None)), Ok(None));
        assert_eq!(number_of(&token_of_number(None)), Ok(None));
    }

    #[test]
    fn a_token_that_no_node_has_given_is_refused() {
        for bad in ["!", "_w"] {
            assert_eq!(
                key_of(bad).unwrap_err().reason(),
                "PAGE_TOKEN_INVALID",
                "{bad}"
            );
        }
        for bad in ["x", "-1", "99999999999999999999"] {
            assert_eq!(
                number_of(bad).unwrap_err().reason(),
                "PAGE_TOKEN_INVALID",
                "{bad}"
            );
        }
    }
}
