//! The page: its files, the session of a browser, and what it asks beside its calls.
//!
//! A call of the page is a call of any client once it is here: [`admit`] turns the cookie of
//! its session into the header that other clients send, so nothing behind knows of cookies.
//!
//! Always true: a cookie counts only in a request that a page of the cluster has made by a script
//! (`protocol/origin.rs`, and a header that no other site can send without being asked first). A
//! page of another site gets no answer that it can read, and none that depends on a session.

mod files;
mod surface;

use std::sync::Arc;

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, Method, Response, header, request::Parts},
    response::Response as Answer,
};
use conclave_wire::{Problem, Reason};

use crate::{
    auth::{
        cookie::Cookie,
        credential::{self, Credential},
    },
    context::node_context::NodeContext,
    protocol::origin::{Known, Origin, Visitor, asked_host, named_as},
};

pub(crate) use files::Files;
pub(crate) use surface::{refusal, router};

/// Header of every call of the page. Another site cannot send it: a browser asks this node first.
const BY_PAGE: HeaderName = HeaderName::from_static("x-conclave-page");
/// Headers that a page on another address of the cluster may send.
const ACCEPTED: HeaderValue = HeaderValue::from_static(
    "content-type, x-grpc-web, x-user-agent, grpc-timeout, connect-protocol-version, \
     x-conclave-page, x-conclave-session",
);
/// Headers of responses that such a page may read.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "grpc-status, grpc-message, grpc-status-details-bin, conclave-leader, retry-after",
);
/// How long a browser remembers what it has asked first, in seconds.
const REMEMBERED: HeaderValue = HeaderValue::from_static("600");
/// Maximum number of addresses of other nodes in the policy of the document: more than a cluster
/// has voters, and short enough for a header.
const ADDRESSES_MAX: usize = 64;

/// What the client port has for browsers.
pub(crate) struct Web {
    shared: Arc<NodeContext>,
    files: Arc<Files>,
}

impl Web {
    pub(crate) fn new(shared: Arc<NodeContext>, files: Arc<Files>) -> Self {
        Self { shared, files }
    }

    /// Returns whether the page has something at this path.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.files.find(path).is_some()
    }

    /// Returns the response to a request for a file of the page.
    pub(crate) fn file(&self, parts: &Parts) -> Answer {
        let asked = asked_host(&parts.headers, &parts.uri);
        let connect = connect_sources(&self.shared, asked.as_deref());
        self.files.respond(parts, &connect)
    }

    /// Returns the page that sends a request.
    pub(crate) fn visitor(&self, parts: &Parts) -> Visitor {
        let members = self.shared.addresses.borrow().clone();
        let known = Known {
            public: &self.shared.public_origins,
            members: &members,
            encrypted: !self.shared.security.plain_clients,
        };
        known.visitor(parts)
    }
}

/// Turns what a page shows into what any client shows.
///
/// # Errors
/// [`Reason::OriginRefused`] for a page of another site.
pub(crate) fn admit(parts: &mut Parts, visitor: &Visitor) -> Result<(), Problem> {
    if *visitor == Visitor::Foreign {
        let sentence = "this origin is no address of the cluster that the node knows";
        return Err(Problem::refused(Reason::OriginRefused, sentence));
    }
    let by_page = parts.headers.get(BY_PAGE);
    if let Visitor::Own(origin) = visitor
        && by_page.is_some_and(|value| value == "1")
    {
        let cookie = Cookie {
            encrypted: origin.encrypted,
        };
        take_session(&mut parts.headers, cookie);
        parts.extensions.insert(cookie);
    }
    parts.headers.remove(header::COOKIE);
    Ok(())
}

/// Makes the token in the cookie the credential of the request, unless it shows another.
fn take_session(headers: &mut HeaderMap, cookie: Cookie) {
    if headers.contains_key(credential::HEADER) {
        return;
    }
    let shown = cookie.token_in(headers).map(Credential::Session);
    let value = shown.and_then(|shown| shown.to_header());
    if let Some(mut value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
        value.set_sensitive(true);
        headers.insert(credential::HEADER, value);
    }
}

/// Lets a page of the cluster read the response, also on another address.
pub(crate) fn allow<B>(visitor: &Visitor, method: &Method, response: &mut Response<B>) {
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    let Visitor::Own(origin) = visitor else {
        return;
    };
    let yes = HeaderValue::from_static("true");
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.header.clone());
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
    if method != Method::OPTIONS {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        return;
    }
    let methods = HeaderValue::from_static("GET, POST");
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ACCEPTED);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, REMEMBERED);
}

/// Returns the base URLs at which a browser that asks `asked` reaches the cluster, each with the
/// number of its node if that is known.
fn addresses(shared: &NodeContext, asked: Option<&str>) -> Vec<(Option<u64>, String)> {
    if !shared.public_origins.is_empty() {
        let text = |origin: &Origin| origin.header.to_str().map(str::to_owned).ok();
        let known = shared.public_origins.iter().filter_map(text);
        return known.map(|url| (None, url)).collect();
    }
    let scheme = match shared.security.plain_clients {
        true => "http",
        false => "https",
    };
    let members = shared.members().into_iter().take(ADDRESSES_MAX);
    let url = |address: String| {
        let named = asked.and_then(|asked| named_as(&address, asked));
        format!("{scheme}://{}", named.unwrap_or(address))
    };
    members
        .map(|(node, member)| (Some(node), url(member.client_address)))
        .collect()
}

/// Returns the addresses to which the page may connect besides its own, as a policy writes them.
fn connect_sources(shared: &NodeContext, asked: Option<&str>) -> String {
    let mut sources = String::from("'self'");
    for (_, url) in addresses(shared, asked) {
        // A policy has no notation for IPv6.
        if !url.contains('[') {
            sources.push(' ');
            sources.push_str(&url);
        }
    }
    if let Some(panel) = &shared.demo_panel {
        sources.push(' ');
        sources.push_str(panel);
    }
    sources
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;
    use crate::auth::sessions::show_token;

    const TOKEN: [u8; 32] = [7; 32];

    fn own(origin: &'static str) -> Visitor {
        Visitor::Own(Origin::parse(&HeaderValue::from_static(origin)).unwrap())
    }

    /// Returns what a request with these headers shows once it is admitted, and whether its session
    /// is a cookie.
    fn shown(visitor: &Visitor, headers: &[(&str, &str)]) -> (Credential, bool) {
        let mut request = Request::post("/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        admit(&mut parts, visitor).unwrap();
        assert!(!parts.headers.contains_key(header::COOKIE));
        let has_cookie = parts.extensions.get::<Cookie>().is_some();
        (Credential::in_headers(&parts.headers), has_cookie)
    }

    #[test]
    fn a_cookie_counts_only_in_a_request_of_a_page_of_the_cluster() {
        let token = show_token(&TOKEN);
        let plain = format!("conclave_session={token}");
        let host = format!("__Host-conclave_session={token}");
        let other = format!("Bearer {}", show_token(&[8; 32]));
        let page = ("x-conclave-page", "1");
        let (http, https) = (own("http://a:1"), own("https://a"));
        let session = |token| Credential::Session(token);

        let got = shown(&http, &[page, ("cookie", &plain)]);
        assert!(got == (session(TOKEN), true));
        let got = shown(&https, &[page, ("cookie", &host)]);
        assert!(got == (session(TOKEN), true));
        // The header of a program wins.
        let got = shown(
            &http,
            &[page, ("cookie", &plain), ("authorization", &other)],
        );
        assert!(got == (session([8; 32]), true));

        for (visitor, headers) in [
            (&http, vec![("cookie", &*plain)]),
            (&http, vec![("x-conclave-page", "0"), ("cookie", &plain)]),
            (&Visitor::Program, vec![page, ("cookie", &plain)]),
            (&https, vec![page, ("cookie", &plain)]),
            (&http, vec![page, ("cookie", &host)]),
        ] {
            let (shown, _) = shown(visitor, &headers);
            assert!(shown == Credential::Nothing, "{visitor:?} {headers:?}");
        }
    }

    #[test]
    fn a_page_of_another_site_is_refused_whatever_it_shows() {
        let request = Request::post("/x").header("authorization", "Bearer x");
        let mut parts = request.body(()).unwrap().into_parts().0;
        let refused = admit(&mut parts, &Visitor::Foreign).unwrap_err();
        assert_eq!(refused.reason(), Reason::OriginRefused);
    }

    #[test]
    fn only_pages_of_the_cluster_may_read_responses_from_afar() {
        let allowed = |visitor: &Visitor, method| {
            let mut response = Response::new(());
            allow(visitor, &method, &mut response);
            let headers = response.headers();
            assert_eq!(headers[header::VARY], "origin");
            let origin = headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).cloned();
            let asked = headers.get(header::ACCESS_CONTROL_ALLOW_HEADERS).is_some();
            (origin, asked)
        };
        for visitor in [Visitor::Foreign, Visitor::Program] {
            for method in [Method::POST, Method::OPTIONS] {
                assert_eq!(allowed(&visitor, method), (None, false));
            }
        }
        let origin = || Some(HeaderValue::from_static("http://a:1"));
        assert_eq!(allowed(&own("http://a:1"), Method::POST), (origin(), false));
        let first = allowed(&own("http://a:1"), Method::OPTIONS);
        assert_eq!(first, (origin(), true));
    }
}
