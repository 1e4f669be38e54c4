//! The session of a browser: a cookie that no script can read.
//!
//! Always true: a cookie that a page on TLS gets never travels in plain text, and has the prefix
//! `__Host-`, so no other host can have set it. More than one cookie of the name count as none: a
//! neighbour on the same domain may have set the other.

use axum::http::{HeaderMap, HeaderValue, header};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use conclave_wire::request::TOKEN_BYTES;

/// How long a browser keeps the cookie, in seconds: no session lasts longer than 90 days.
const SECONDS_MAX: u64 = 90 * 24 * 60 * 60;

/// The cookie of one browser; a call of the page has it as an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cookie {
    /// Whether the browser reaches the cluster over TLS.
    pub(crate) encrypted: bool,
}

impl Cookie {
    fn name(self) -> &'static str {
        match self.encrypted {
            true => "__Host-conclave_session",
            false => "conclave_session",
        }
    }

    /// Returns the token of the session in the headers of a request.
    pub(crate) fn token_in(self, headers: &HeaderMap) -> Option<[u8; TOKEN_BYTES]> {
        let cookies = headers.get_all(header::COOKIE).iter();
        let texts = cookies.filter_map(|cookies| cookies.to_str().ok());
        let pairs = texts.flat_map(|cookies| cookies.split(';'));
        let pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
        let mut values = pairs.filter_map(|(name, value)| (name == self.name()).then_some(value));
        let (value, None) = (values.next()?, values.next()) else {
            return None;
        };
        URL_SAFE_NO_PAD.decode(value).ok()?.try_into().ok()
    }

    /// Returns the header that gives the browser a session, by its token as its owner sees it.
    pub(crate) fn set(self, token: &str) -> HeaderValue {
        self.header(token, SECONDS_MAX)
    }

    /// Returns the header that takes the session from the browser.
    pub(crate) fn clear(self) -> HeaderValue {
        self.header("", 0)
    }

    fn header(self, value: &str, seconds: u64) -> HeaderValue {
        let (name, secure) = (self.name(), if self.encrypted { "; Secure" } else { "" });
        let text =
            format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
        let mut header = HeaderValue::try_from(text).expect("it has only visible characters");
        header.set_sensitive(true);
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::sessions::show_token;

    const PLAIN: Cookie = Cookie { encrypted: false };
    const ENCRYPTED: Cookie = Cookie { encrypted: true };

    fn headers(cookies: &[&str]) -> HeaderMap {
        let cookies = cookies.iter().map(|cookie| cookie.parse().unwrap());
        cookies.map(|cookie| (header::COOKIE, cookie)).collect()
    }

    #[test]
    fn a_browser_returns_what_it_was_given() {
        for cookie in [PLAIN, ENCRYPTED] {
            let set = cookie.set(&show_token(&[7; TOKEN_BYTES]));
            assert!(set.is_sensitive());
            let text = set.to_str().unwrap();
            for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=7776000"] {
                assert!(text.contains(part), "{text}");
            }
            assert_eq!(text.contains("; Secure"), cookie.encrypted);
            assert_eq!(text.starts_with("__Host-"), cookie.encrypted);
            let pair = text.split_once(';').unwrap().0;
            for sent in [
                headers(&[pair]),
                headers(&["a=b; x", &format!("theme=dark; {pair} ;y=z")]),
            ] {
                assert_eq!(cookie.token_in(&sent), Some([7; TOKEN_BYTES]));
            }
            let clear = cookie.clear();
            let clear = clear.to_str().unwrap().split_once(';').unwrap().0;
            assert_eq!(cookie.token_in(&headers(&[clear])), None);
        }
    }

    #[test]
    fn a_cookie_that_is_no_session_or_not_the_only_one_is_none() {
        let token = show_token(&[7; TOKEN_BYTES]);
        let pair = format!("conclave_session={token}");
        let many = format!("{pair}; {}", "x=y; ".repeat(3000));
        assert!(PLAIN.token_in(&headers(&[&many])).is_some());
        for bad in [
            vec!["conclave_session="],
            vec!["conclave_session=!"],
            vec!["conclave_session=YWJj"],
            vec!["Conclave_Session=x"],
            vec!["conclave_session"],
            vec!["__Host-conclave_session=x"],
            vec![&pair, &pair],
            vec!["=", ";;;", ""],
        ] {
            assert_eq!(PLAIN.token_in(&headers(&bad)), None, "{bad:?}");
        }
        let twice = format!("{pair}; {pair}");
        assert_eq!(PLAIN.token_in(&headers(&[&twice])), None);
        // A cookie of plain text is none on TLS, where a neighbour may have set it.
        assert_eq!(ENCRYPTED.token_in(&headers(&[&pair])), None);
        let long = format!("conclave_session={}", "A".repeat(100_000));
        assert_eq!(PLAIN.token_in(&headers(&[&long])), None);
    }
}
