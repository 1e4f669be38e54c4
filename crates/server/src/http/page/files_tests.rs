//! Tests of how files of the page are served, with a page of three files.

use axum::{
    body::to_bytes,
    http::{Request, Version},
};

use super::*;

static SCRIPT: [u8; 40_000] = [b'x'; 40_000];

fn files() -> Files {
    let file = |path, bytes| File {
        path,
        bytes,
        brotli: None,
        gzip: None,
    };
    Files::new(&[
        File {
            brotli: Some(b"brotli"),
            gzip: Some(b"gzip"),
            ..file("index.html", b"<!doctype html>")
        },
        file("assets/main-abc123.js", &SCRIPT),
        file("sw.js", b"worker"),
    ])
}

fn ask(method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.version(Version::HTTP_11).body(()).unwrap();
    files().respond(&request.into_parts().0, "'self' http://10.0.0.2:7400")
}

async fn body(response: Response) -> Vec<u8> {
    to_bytes(response.into_body(), 100_000)
        .await
        .unwrap()
        .into()
}

fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name);
    value.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn the_document_is_at_its_places_and_files_at_their_paths() {
    for path in [
        "/",
        "/c/7",
        "/c/7/12",
        "/cluster",
        "/settings/sessions",
        "/join",
    ] {
        let response = ask("GET", path, &[]);
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(
            header(&response, "content-type"),
            "text/html; charset=utf-8"
        );
        assert_eq!(header(&response, "cache-control"), "no-cache");
        assert_eq!(body(response).await, b"<!doctype html>");
    }
    let response = ask("GET", "/assets/main-abc123.js", &[]);
    let kept = header(&response, "cache-control");
    assert_eq!(kept, "public, max-age=31536000, immutable");
    assert_eq!(header(&response, "content-length"), "40000");
    assert_eq!(body(response).await, SCRIPT);
    assert_eq!(
        header(&ask("GET", "/sw.js", &[]), "cache-control"),
        "no-cache"
    );
    for path in [
        "/index.html",
        "/c",
        "/assets/",
        "/assets/other.js",
        "/assets/../index.html",
        "/%2e%2e/sw.js",
        "//sw.js",
        "/sw.js/",
        "/settingsx",
    ] {
        assert!(files().find(path).is_none(), "{path}");
    }
}

#[tokio::test]
async fn a_packed_form_goes_to_callers_that_accept_it() {
    for (accepted, packing, bytes) in [
        ("gzip, deflate, br", "br", &b"brotli"[..]),
        ("gzip;q=1.0, br;q=0", "gzip", b"gzip"),
        ("br;q=0.000 , GZIP", "gzip", b"gzip"),
        ("deflate", "", b"<!doctype html>"),
        ("", "", b"<!doctype html>"),
        ("brx, xgzip", "", b"<!doctype html>"),
    ] {
        let response = ask("GET", "/", &[("accept-encoding", accepted)]);
        assert_eq!(header(&response, "content-encoding"), packing, "{accepted}");
        assert_eq!(header(&response, "vary"), "accept-encoding");
        assert_eq!(header(&response, "content-length"), bytes.len().to_string());
        assert_eq!(body(response).await, bytes, "{accepted}");
    }
}

#[tokio::test]
async fn a_browser_that_has_the_file_gets_no_bytes() {
    let tag = header(&ask("GET", "/", &[]), "etag");
    let packed = header(&ask("GET", "/", &[("accept-encoding", "br")]), "etag");
    assert_ne!(tag, packed, "each form has a tag of its own");
    for known in [&tag, &format!("W/{tag}"), &format!("\"x\", {tag}"), "*"] {
        let response = ask("GET", "/", &[("if-none-match", known)]);
        assert_eq!(response.status(), 304, "{known}");
        assert_eq!(header(&response, "etag"), tag);
        assert_eq!(header(&response, "content-length"), "");
        assert!(body(response).await.is_empty());
    }
    for other in ["\"x\"", &packed, "x"] {
        assert_eq!(ask("GET", "/", &[("if-none-match", other)]).status(), 200);
    }
    // Another cluster around it, another policy: the browser takes it anew.
    let request = Request::get("/").header("if-none-match", &tag);
    let parts = request.body(()).unwrap().into_parts().0;
    assert_eq!(files().respond(&parts, "'self'").status(), 200);
}

#[tokio::test]
async fn other_methods_are_told_what_a_file_takes() {
    let response = ask("HEAD", "/", &[]);
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "content-length"), "15");
    assert!(body(response).await.is_empty());
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE"] {
        let response = ask(method, "/", &[]);
        assert_eq!(response.status(), 405, "{method}");
        assert_eq!(header(&response, "allow"), "GET, HEAD, OPTIONS");
    }
    let response = ask("OPTIONS", "/", &[]);
    assert_eq!(response.status(), 204);
    assert_eq!(header(&response, "allow"), "GET, HEAD, OPTIONS");
}

#[test]
fn the_policy_allows_nothing_unsafe_and_nothing_from_elsewhere() {
    for path in ["/", "/sw.js", "/assets/main-abc123.js"] {
        let response = ask("GET", path, &[]);
        let policy = header(&response, "content-security-policy");
        assert!(policy.starts_with("default-src 'self';"), "{policy}");
        assert!(
            !policy.contains("unsafe") && !policy.contains('*'),
            "{policy}"
        );
        for part in [
            "connect-src 'self' http://10.0.0.2:7400;",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "object-src 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert_eq!(header(&response, "x-content-type-options"), "nosniff");
        assert_eq!(header(&response, "referrer-policy"), "same-origin");
        assert_eq!(
            header(&response, "cross-origin-opener-policy"),
            "same-origin"
        );
        assert!(header(&response, "permissions-policy").contains("camera=()"));
    }
}

#[test]
fn a_program_without_a_page_serves_none() {
    let none = Files::new(&[]);
    assert!(none.find("/").is_none() && none.find("/c/7").is_none());
    assert_eq!(none.version(), "");
}
