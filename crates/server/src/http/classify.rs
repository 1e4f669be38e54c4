//! Tells by the headers of a request what it is: a call of gRPC or gRPC-Web, a post to a webhook,
//! something of the page, or none of these.
//!
//! Always true: a request that is none of these gets an HTTP error status and a JSON body with the
//! reason. A client that is not served never gets 200, so a mistyped address of a webhook is
//! noticed, and so is a probe of a path that does not exist. No path is repeated in an answer: it
//! may hold a secret.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header, request::Parts},
    response::Response,
};
use conclave_wire::Reason;
use serde_json::json;

use crate::protocol::client_port::{PAGE, SERVICES, is_for_webhooks};

/// Names of gRPC services besides those of Conclave.
const OTHER_SERVICES: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];
/// Content type of a call; `+proto` and parameters may follow.
const CALL: &[u8] = b"application/grpc";
/// Content type of a call by gRPC-Web. Its text form, which is a third longer, is not served.
const WEB_CALL: &[u8] = b"application/grpc-web";
/// Paths of health checks on other servers.
const PROBES: [&str; 9] = [
    "/health", "/healthz", "/livez", "/readyz", "/ready", "/live", "/ping", "/status", "/metrics",
];
/// Methods that the address of a service or webhook accepts.
const METHODS: HeaderValue = HeaderValue::from_static("OPTIONS, POST");

/// Kind of a request.
pub(crate) enum Asked {
    /// A call of gRPC, which a service answers.
    Call,
    /// The same by gRPC-Web.
    WebCall,
    /// A post to a webhook.
    Webhook,
    /// What the page asks beside its calls.
    OfPage,
    /// A file of the page.
    File,
    /// None of these; the response that says so.
    Nothing(Response),
}

/// Returns what a request is, by its headers; `has_file` says which paths are files of the page.
pub(crate) fn asked(
    parts: &Parts,
    for_clients: bool,
    has_file: impl FnOnce(&str) -> bool,
) -> Asked {
    if is_call(parts) {
        return Asked::Call;
    }
    let path = parts.uri.path();
    let refusal = match for_clients {
        false => Refusal::OTHER_PORT,
        true if is_for_webhooks(path) => return Asked::Webhook,
        true if is_of_service(path) || path == "*" => match parts.method {
            Method::OPTIONS => return Asked::Nothing(options()),
            Method::POST if has_type(&parts.headers, WEB_CALL) => return Asked::WebCall,
            Method::POST => Refusal::of_content(parts),
            _ => Refusal::NOT_POSTED,
        },
        true if path.starts_with(PAGE) => return Asked::OfPage,
        true if has_file(path) => return Asked::File,
        true => Refusal::of_path(path),
    };
    let mut response = refusal.respond();
    if parts.method == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    Asked::Nothing(response)
}

fn is_call(parts: &Parts) -> bool {
    parts.version == Version::HTTP_2
        && parts.method == Method::POST
        && has_type(&parts.headers, CALL)
}

/// Returns whether the content has this type; `+proto` and parameters may follow.
fn has_type(headers: &HeaderMap, wanted: &[u8]) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(wanted));
    rest.is_some_and(|rest| match rest.first() {
        None | Some(b';' | b' ') => true,
        Some(b'+') => wanted == CALL || rest.starts_with(b"+proto"),
        // `application/grpc-web` and `application/grpc-web-text` are other protocols.
        Some(_) => false,
    })
}

/// Returns the methods that the address of a service or webhook accepts.
pub(crate) fn options() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::ALLOW, METHODS);
    response
}

/// Returns a JSON response with the error and what to do about it.
pub(crate) fn refusal(
    status: StatusCode,
    reason: Reason,
    sentence: &str,
    hint: Option<&str>,
) -> Response {
    let mut body = json!({"error": {"reason": reason.name(), "sentence": sentence}});
    if let Some(hint) = hint {
        body["hint"] = hint.into();
    }
    let mut response = with_json(status, &body);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, METHODS);
    }
    response
}

/// Returns a response with this status and JSON.
pub(crate) fn with_json(status: StatusCode, body: &serde_json::Value) -> Response {
    let body = body.to_string();
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    headers.insert(header::CONTENT_LENGTH, length);
    response
}

/// Returns whether a path names a method of a service of this port.
fn is_of_service(path: &str) -> bool {
    let service = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    service.is_some_and(|(service, method)| {
        let known = SERVICES.contains(&service) || OTHER_SERVICES.contains(&service);
        known && !service.is_empty() && !method.contains('/')
    })
}

/// Reason why a request is not served, and what to do.
#[derive(Clone, Copy)]
struct Refusal {
    status: StatusCode,
    reason: Reason,
    sentence: &'static str,
    hint: &'static str,
}

impl Refusal {
    const OTHER_PORT: Self = Self {
        status: StatusCode::NOT_FOUND,
        reason: Reason::WrongPort,
        sentence: "this is the port for peers: it serves calls between nodes alone",
        hint: "clients and webhooks use the port for clients",
    };
    const NOT_POSTED: Self = Self {
        status: StatusCode::METHOD_NOT_ALLOWED,
        reason: Reason::MethodNotAllowed,
        sentence: "this is the path of a gRPC call, which needs POST",
        hint: "use a gRPC client, such as grpcurl; docs/protocol.md has examples",
    };
    const NOT_HTTP2: Self = Self {
        status: StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        reason: Reason::HttpVersionInvalid,
        sentence: "a gRPC call needs HTTP/2",
        hint: "let the client, and each proxy on the way, speak HTTP/2 to this port",
    };
    const NOT_GRPC: Self = Self {
        status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
        reason: Reason::ContentTypeInvalid,
        sentence: "this is the path of a gRPC call: its content type is application/grpc",
        hint: "binary gRPC-Web (application/grpc-web+proto) is served, too; the Connect protocol \
               is not: with `buf curl` say `--protocol grpc`",
    };
    const NOWHERE: Self = Self {
        status: StatusCode::NOT_FOUND,
        reason: Reason::NoSuchPath,
        sentence: "there is nothing at this path",
        hint: "this port serves gRPC over HTTP/2, gRPC-Web, webhooks by POST to /hooks/SECRET, and \
               the page if the program was built with it",
    };
    const NEARLY_A_WEBHOOK: Self = Self {
        hint: "the path of a webhook is /hooks/SECRET, with one slash before and one behind \
               `hooks`, as it was shown when the webhook was made",
        ..Self::NOWHERE
    };
    const NO_PROBE: Self = Self {
        hint: "grpc.health.v1.Health/Check on this port reports health (grpc_health_probe, or \
               `grpc` probes of Kubernetes); `conclave cluster status` shows more",
        ..Self::NOWHERE
    };

    fn of_content(parts: &Parts) -> Self {
        match has_type(&parts.headers, CALL) {
            true => Self::NOT_HTTP2,
            false => Self::NOT_GRPC,
        }
    }

    fn of_path(path: &str) -> Self {
        let path = path.trim_start_matches('/').trim_end_matches('/');
        let first = path.split('/').next().unwrap_or_default();
        let is = |names: &[&str]| names.iter().any(|name| first.eq_ignore_ascii_case(name));
        let is_probe = |probe: &&str| path.eq_ignore_ascii_case(&probe[1..]);
        if is(&["hook", "hooks", "webhook", "webhooks"]) {
            Self::NEARLY_A_WEBHOOK
        } else if PROBES.iter().any(is_probe) {
            Self::NO_PROBE
        } else {
            Self::NOWHERE
        }
    }

    fn respond(self) -> Response {
        refusal(self.status, self.reason, self.sentence, Some(self.hint))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    const SEND: &str = "/conclave.v1.ChatService/SendMessage";

    fn parts(method: &str, path: &str, kind: &str, version: Version) -> Parts {
        let mut request = Request::builder().method(method).uri(path).version(version);
        if !kind.is_empty() {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        request.body(()).unwrap().into_parts().0
    }

    /// Returns the response; `None` if the request is served.
    fn not_served(parts: &Parts, for_clients: bool) -> Option<Response> {
        match asked(parts, for_clients, |_| false) {
            Asked::Nothing(answer) => Some(answer),
            _ => None,
        }
    }

    /// Returns the status of the response; `None` if the request is served.
    fn told(method: &str, path: &str, kind: &str, version: Version) -> Option<u16> {
        let answer = not_served(&parts(method, path, kind, version), true)?;
        Some(answer.status().as_u16())
    }

    #[test]
    fn a_call_is_a_post_of_grpc_over_http_2() {
        let kinds = [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc;x=y",
        ];
        for kind in kinds {
            assert_eq!(told("POST", SEND, kind, Version::HTTP_2), None, "{kind}");
            assert_eq!(
                told("POST", "/no.such.Service/Call", kind, Version::HTTP_2),
                None
            );
            assert_eq!(
                told("POST", SEND, kind, Version::HTTP_11),
                Some(505),
                "{kind}"
            );
            assert_eq!(
                told("GET", SEND, kind, Version::HTTP_2),
                Some(405),
                "{kind}"
            );
        }
        let others = [
            "",
            "application/json",
            "application/proto",
            "application/grpc-web-text",
            "application/grpc-web-text+proto",
            "application/grpc-web+json",
            "application/grpc-webx",
            "application/grpcx",
            "text/html",
        ];
        for kind in others {
            for version in [Version::HTTP_11, Version::HTTP_2] {
                assert_eq!(told("POST", SEND, kind, version), Some(415), "{kind}");
            }
        }
    }

    #[test]
    fn a_call_by_grpc_web_is_a_post_over_any_version() {
        for kind in [
            "application/grpc-web",
            "application/grpc-web+proto",
            "application/grpc-web+proto;charset=utf-8",
        ] {
            for version in [Version::HTTP_11, Version::HTTP_2] {
                let parts = |method, path| parts(method, path, kind, version);
                let is_call = |parts: &Parts, for_clients| {
                    matches!(asked(parts, for_clients, |_| false), Asked::WebCall)
                };
                assert!(is_call(&parts("POST", SEND), true), "{kind}");
                assert!(!is_call(&parts("GET", SEND), true));
                assert!(!is_call(&parts("POST", "/hooks/SECRET"), true));
                assert!(!is_call(&parts("POST", "/page/session"), true));
                assert!(!is_call(&parts("POST", SEND), false), "the port for peers");
            }
        }
    }

    #[test]
    fn files_of_the_page_hide_no_call_and_no_webhook() {
        let kind_at = |path: &str| asked(&parts("GET", path, "", Version::HTTP_11), true, |_| true);
        assert!(matches!(kind_at("/"), Asked::File));
        assert!(matches!(kind_at("/page/config.json"), Asked::OfPage));
        assert!(matches!(kind_at("/hooks/SECRET"), Asked::Webhook));
        assert!(matches!(kind_at(SEND), Asked::Nothing(_)));
        let at_peers = parts("GET", "/", "", Version::HTTP_11);
        assert!(matches!(
            asked(&at_peers, false, |_| true),
            Asked::Nothing(_)
        ));
    }

    #[test]
    fn unserved_paths_never_get_a_success() {
        let nowhere = [
            "/",
            "//hooks/SECRET",
            "/hook/SECRET",
            "/Hooks/SECRET",
            "/healthz",
            "/metrics",
            "/favicon.ico",
            "/index.html",
            "/hooksx",
            "/conclave.v1.ChatService",
            "/conclave.v1.ChatService/a/b",
            "//",
            "/no.such.Service/Call",
            "/.env",
            "/%2e%2e/x",
        ];
        for path in nowhere {
            for method in [
                "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE",
            ] {
                for version in [Version::HTTP_11, Version::HTTP_2] {
                    assert_eq!(
                        told(method, path, "", version),
                        Some(404),
                        "{method} {path}"
                    );
                }
            }
        }
        for service in SERVICES.iter().skip(1).chain(&OTHER_SERVICES) {
            let path = format!("/{service}/Call");
            assert_eq!(
                told("GET", &path, "", Version::HTTP_11),
                Some(405),
                "{path}"
            );
            assert_eq!(
                told("OPTIONS", &path, "", Version::HTTP_11),
                Some(204),
                "{path}"
            );
        }
        for path in ["/hooks", "/hooks/", "/hooks/SECRET"] {
            assert_eq!(told("GET", path, "", Version::HTTP_11), None, "{path}");
        }
    }

    #[tokio::test]
    async fn an_unserved_path_gets_a_hint_without_its_secret() {
        for (path, word) in [
            ("//hooks/SECRET", "one slash"),
            ("/webhook/SECRET", "one slash"),
            ("/healthz", "grpc.health.v1"),
            ("/readyz/", "grpc.health.v1"),
            ("/SECRET", "/hooks/"),
        ] {
            let answer = not_served(&parts("POST", path, "", Version::HTTP_11), true).unwrap();
            assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/json");
            let body = axum::body::to_bytes(answer.into_body(), 4096)
                .await
                .unwrap();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["error"]["reason"], "NO_SUCH_PATH");
            assert!(
                body["hint"].as_str().unwrap().contains(word),
                "{path}: {body}"
            );
            let text = body.to_string().replace("/hooks/SECRET", "");
            assert!(!text.contains("SECRET"), "{body}");
        }
        let answer = not_served(&parts("GET", SEND, "", Version::HTTP_11), true).unwrap();
        assert_eq!(answer.headers()[header::ALLOW], "OPTIONS, POST");
        let answer = not_served(&parts("HEAD", "/", "", Version::HTTP_2), true).unwrap();
        assert_ne!(answer.headers()[header::CONTENT_LENGTH], "0");
        let body = axum::body::to_bytes(answer.into_body(), 4096)
            .await
            .unwrap();
        assert!(body.is_empty());
    }

    #[test]
    fn the_port_for_peers_serves_calls_alone() {
        for path in ["/", "/hooks/SECRET", SEND] {
            let parts = parts("POST", path, "application/json", Version::HTTP_2);
            let answer = not_served(&parts, false).unwrap();
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        }
        let call = parts("POST", "/x.Y/Z", "application/grpc", Version::HTTP_2);
        assert!(not_served(&call, false).is_none());
    }
}
