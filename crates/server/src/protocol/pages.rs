//! Tokens that say where the next page of a list begins, which clients carry from one call to the
//! next.
//!
//! Always true: a token says only what the page before has shown, and a token that no node has
//! issued is refused.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use conclave_wire::{Problem, Reason};

/// Maximum number of conversations on a page that shows the last message of each: as many bytes as
/// other pages have.
pub(crate) const WITH_LAST_MAX: usize = 500;

/// Returns the maximum number of items on a page in the form of a response.
pub(crate) fn page_size(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// Returns the token of the page after the item with this key; empty if there is none.
pub(crate) fn token_of_key(key: Option<String>) -> String {
    key.map_or_else(String::new, |key| URL_SAFE_NO_PAD.encode(key))
}

/// Returns the key after which the page begins; `None` for the first page.
pub(crate) fn key_of(token: &str) -> Result<Option<String>, Problem> {
    if token.is_empty() {
        return Ok(None);
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    let key = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    key.map(Some).ok_or_else(bad_token)
}

/// Returns the token of the page that begins beside this number; empty if there is none.
pub(crate) fn token_of_number(number: Option<u64>) -> String {
    number.map_or_else(String::new, |number| number.to_string())
}

/// Returns the number beside which the page begins; `None` for the first page.
pub(crate) fn number_of(token: &str) -> Result<Option<u64>, Problem> {
    match token {
        "" => Ok(None),
        token => token.parse().map(Some).map_err(|_| bad_token()),
    }
}

fn bad_token() -> Problem {
    Problem::Refused {
        reason: Reason::PageTokenInvalid,
        sentence: "the page token is invalid".to_owned(),
        request_last: None,
    }
}

#[cfg(test)]
#[path = "pages_tests.rs"]
mod tests;
