//! Tells by the headers of a request from which site's page it comes.
//!
//! A browser names the origin of the page with each post, and no script can change that. It sends
//! cookies to whatever site a page posts to, so a cookie counts only together with the origin.
//!
//! Always true: a page is the cluster's own if it was loaded from the address that it now asks, or
//! from another address of the cluster. The address of plain text proves nothing about a name that
//! any owner of a domain may let point to this machine: there the node must know the name.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue, Uri, header, request::Parts, uri::Authority};

/// The page that sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Visitor {
    /// No page: a program sends no origin.
    Program,
    /// A page of the cluster.
    Own(Origin),
    /// A page of another site, or an origin that no browser sends.
    Foreign,
}

/// The origin of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Whether the browser has loaded the page over TLS.
    pub(crate) encrypted: bool,
    /// Host in lower case.
    host: String,
    port: u16,
    /// The origin as the browser wrote it.
    pub(crate) header: HeaderValue,
}

impl Origin {
    /// Reads `http://HOST[:PORT]` or `https://HOST[:PORT]`.
    pub(crate) fn parse(header: &HeaderValue) -> Option<Self> {
        let uri: Uri = header.to_str().ok()?.parse().ok()?;
        let encrypted = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        // Anything behind the port is no origin.
        let ends = header.as_bytes().ends_with(authority.as_str().as_bytes());
        let (host, port) = place(authority, encrypted)?;
        ends.then(|| Self {
            encrypted,
            host,
            port,
            header: header.clone(),
        })
    }

    /// Returns whether this is the origin of `host:port`.
    fn is_at(&self, address: &str) -> bool {
        let authority = address.parse::<Authority>().ok();
        let at = authority.and_then(|authority| place(&authority, self.encrypted));
        at.is_some_and(|(host, port)| host == self.host && port == self.port)
    }

    /// Returns whether this is the origin of a member at this address, under whichever name a
    /// browser reaches the machine that it runs on.
    fn is_of_member(&self, address: &str) -> bool {
        let named = |address: &str| named_as(address, LOCALHOST);
        self.is_at(address) || named(address).is_some_and(|address| self.is_at(&address))
    }

    /// Returns whether no owner of a domain can make this host point to another machine.
    fn is_fixed(&self) -> bool {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>().is_ok()
            || self.host == "localhost"
            || self.host.ends_with(".localhost")
    }

    /// Returns whether this is an origin on the host of `host:port`.
    pub(crate) fn has_host_of(&self, address: &str) -> bool {
        let authority = address.parse::<Authority>();
        authority.is_ok_and(|authority| authority.host().eq_ignore_ascii_case(&self.host))
    }
}

/// Returns host and port; `None` if there is anything else.
fn place(authority: &Authority, encrypted: bool) -> Option<(String, u16)> {
    let usual = if encrypted { 443 } else { 80 };
    let rest = authority.as_str().strip_prefix(authority.host())?;
    let port = match rest.strip_prefix(':') {
        Some(port) => port.parse().ok()?,
        None => usual,
    };
    let host = authority.host().to_ascii_lowercase();
    (!host.is_empty()).then_some((host, port))
}

/// What a node knows of the addresses at which browsers reach the cluster.
pub(crate) struct Known<'a> {
    /// Base URLs that the operator has configured.
    pub(crate) public: &'a [Origin],
    /// Addresses of all nodes for clients.
    pub(crate) members: &'a [String],
    /// Whether nodes serve clients over TLS.
    pub(crate) encrypted: bool,
}

impl Known<'_> {
    /// Returns the page that sends a request.
    pub(crate) fn visitor(&self, parts: &Parts) -> Visitor {
        let mut origins = parts.headers.get_all(header::ORIGIN).iter();
        let origin = match (origins.next(), origins.next()) {
            (None, _) => return Visitor::Program,
            (Some(origin), None) => Origin::parse(origin),
            (Some(_), Some(_)) => None,
        };
        match origin.filter(|origin| self.is_own(origin, parts)) {
            Some(origin) => Visitor::Own(origin),
            None => Visitor::Foreign,
        }
    }

    fn is_own(&self, origin: &Origin, parts: &Parts) -> bool {
        let configured = |own: &Origin| {
            let of = |origin: &Origin| (origin.encrypted, origin.port);
            of(own) == of(origin) && own.host == origin.host
        };
        if self.public.iter().any(configured) {
            return true;
        }
        let is_member = |address: &String| origin.is_of_member(address);
        if origin.encrypted == self.encrypted && self.members.iter().any(is_member) {
            return true;
        }
        // The browser asks the address from which it has loaded the page.
        let asked = asked_host(&parts.headers, &parts.uri);
        if !asked.is_some_and(|asked| origin.is_at(&asked)) {
            return false;
        }
        match self.encrypted {
            // The browser has verified the name in the certificate.
            true => origin.encrypted,
            // A proxy may have ended the TLS connection of the browser.
            false => {
                let has_host = |address: &String| origin.has_host_of(address);
                origin.is_fixed() || self.members.iter().any(has_host)
            }
        }
    }
}

/// Name of the machine itself, which browsers keep apart from its address.
const LOCALHOST: &str = "localhost";

/// Returns the address of a member as a browser reaches it that asks `asked`: a browser that calls
/// the machine by its name calls all nodes on it so. `None` if the address stays as it is.
pub(crate) fn named_as(address: &str, asked: &str) -> Option<String> {
    let host = asked.rsplit_once(':').map_or(asked, |(host, _)| host);
    let port = address.strip_prefix("127.0.0.1:")?;
    host.eq_ignore_ascii_case(LOCALHOST)
        .then(|| format!("{LOCALHOST}:{port}"))
}

/// Returns the host and port that the caller asks.
pub(crate) fn asked_host(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    if let Some(authority) = uri.authority() {
        return Some(authority.as_str().to_owned());
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok().map(str::to_owned),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn origin(text: &str) -> Option<Origin> {
        Origin::parse(&HeaderValue::from_str(text).unwrap())
    }

    /// Returns the visitor that a node of the cluster sees.
    fn visitor(encrypted: bool, host: &str, origins: &[&str]) -> Visitor {
        let mut request = Request::post("/x").header(header::HOST, host);
        for origin in origins {
            request = request.header(header::ORIGIN, *origin);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        let members = ["10.0.0.1:7400", "10.0.0.2:7400", "n3.example:7400"];
        let members = members.map(str::to_owned);
        let public = [origin("https://chat.example").unwrap()];
        let known = Known {
            public: &public,
            members: &members,
            encrypted,
        };
        known.visitor(&parts)
    }

    fn is_own(encrypted: bool, host: &str, origin: &str) -> bool {
        matches!(visitor(encrypted, host, &[origin]), Visitor::Own(_))
    }

    #[test]
    fn only_a_scheme_a_host_and_a_port_are_an_origin() {
        let https = origin("https://Chat.Example").unwrap();
        assert_eq!((https.host.as_str(), https.port), ("chat.example", 443));
        assert_eq!(origin("http://[::1]:7400").unwrap().port, 7400);
        for bad in [
            "null",
            "",
            "chat.example",
            "ftp://chat.example",
            "https://chat.example/",
            "https://chat.example/path",
            "https://chat.example?x",
            "https://user@chat.example",
            "https://chat.example:99999",
            "https://",
            "https://a b",
            "file:///etc/passwd",
        ] {
            assert_eq!(origin(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_page_of_the_cluster_is_own_and_any_other_is_foreign() {
        // The address that is asked, and the addresses of other nodes.
        assert!(is_own(false, "127.0.0.1:7400", "http://127.0.0.1:7400"));
        assert!(is_own(false, "localhost:7400", "http://localhost:7400"));
        assert!(is_own(false, "[::1]:7400", "http://[::1]:7400"));
        assert!(is_own(false, "127.0.0.1:7400", "http://10.0.0.2:7400"));
        assert!(is_own(true, "10.0.0.1:7400", "https://N3.example:7400"));
        assert!(is_own(true, "own.example", "https://own.example"));
        // What the operator has configured, whatever a proxy makes of the host.
        assert!(is_own(false, "127.0.0.1:7400", "https://chat.example"));
        // A proxy on a known name.
        assert!(is_own(false, "n3.example", "https://n3.example"));
        for (encrypted, host, origin) in [
            (false, "127.0.0.1:7400", "http://127.0.0.1:7500"),
            (false, "10.0.0.1:7400", "http://localhost:7400"),
            (false, "127.0.0.1:7400", "http://evil.example"),
            (false, "127.0.0.1:7400", "http://10.0.0.2:7401"),
            (false, "10.0.0.1:7400", "https://10.0.0.2:7400"),
            (true, "10.0.0.1:7400", "http://10.0.0.1:7400"),
            (true, "chat.example", "http://chat.example"),
            (true, "chat.example", "https://chat.example.evil"),
            (true, "chat.example", "https://evilchat.example"),
            // A name of an attacker that points to this machine.
            (false, "evil.example:7400", "http://evil.example:7400"),
            (false, "127.0.0.1:7400", "null"),
        ] {
            assert!(!is_own(encrypted, host, origin), "{host} {origin}");
        }
    }

    #[test]
    fn nodes_of_one_machine_share_its_name() {
        let members = ["127.0.0.1:7400", "127.0.0.1:7410"].map(str::to_owned);
        let known = Known {
            public: &[],
            members: &members,
            encrypted: false,
        };
        let is_own = |origin: &str| {
            let request = Request::post("/x").header(header::HOST, "localhost:7410");
            let request = request.header(header::ORIGIN, origin).body(()).unwrap();
            matches!(known.visitor(&request.into_parts().0), Visitor::Own(_))
        };
        assert!(is_own("http://localhost:7400") && is_own("http://localhost:7410"));
        assert!(is_own("http://127.0.0.1:7400"));
        assert!(!is_own("http://localhost:7500") && !is_own("https://localhost:7400"));
        let seen = |asked| named_as("127.0.0.1:7400", asked);
        assert_eq!(seen("Localhost:7410").as_deref(), Some("localhost:7400"));
        assert_eq!(seen("127.0.0.1:7410"), None);
        assert_eq!(named_as("10.0.0.2:7400", "localhost:7400"), None);
    }

    #[test]
    fn no_origin_is_a_program_and_two_are_foreign() {
        assert_eq!(visitor(false, "x", &[]), Visitor::Program);
        let twice = ["http://10.0.0.1:7400", "http://10.0.0.1:7400"];
        assert_eq!(visitor(false, "10.0.0.1:7400", &twice), Visitor::Foreign);
    }
}
