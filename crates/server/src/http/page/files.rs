//! Serves the files of the page: which form of which file, how long a browser keeps it, and what
//! its document may do.
//!
//! Always true: the document runs no script and loads nothing from another place, whatever text is
//! shown in it; a file whose name has the hash of its content is kept by browsers for ever, any
//! other is asked for again each time. A packed form is sent only to a caller that accepts it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, HttpBody},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::Response,
};
use bytes::Bytes;
use conclave_page::File;
use conclave_wire::Reason;
use hyper::body::{Frame, SizeHint};

use crate::http::classify;

/// The document.
const DOCUMENT: &str = "index.html";
/// Folder of the files whose names have the hash of their content.
const HASHED: &str = "assets/";
/// Paths that the page shows by itself: they are served its document, as the paths below those that
/// end with a slash are.
const PLACES: [&str; 10] = [
    "",
    "c/",
    "cluster",
    "settings",
    "settings/",
    "admin",
    "admin/",
    "rooms",
    "search",
    "join",
];
/// Bytes of a file that wait for one connection at a time.
const PIECE_BYTES: usize = 16 * 1024;
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");
/// Headers of every response of the page besides its policy.
const SAFE: [(HeaderName, HeaderValue); 5] = [
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        // Of a post to the node itself the browser names the origin.
        header::REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static(
            "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), \
             magnetometer=(), microphone=(), midi=(), payment=(), usb=()",
        ),
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// The files of the page.
pub(crate) struct Files {
    of: BTreeMap<&'static str, Entry>,
}

pub(super) struct Entry {
    file: File,
    /// Hash of the content.
    hash: String,
}

/// A form of a file.
struct Form {
    bytes: &'static [u8],
    /// Name of the packing, and the end of the tag of this form.
    packing: Option<(&'static str, &'static str)>,
}

impl Files {
    /// Takes files with their paths below the root.
    pub(crate) fn new(files: &[File]) -> Self {
        let entry = |file: &File| {
            let hash = blake3::hash(file.bytes).to_hex();
            let hash = hash.as_str().chars().take(32).collect();
            (file.path, Entry { file: *file, hash })
        };
        Self {
            of: files.iter().map(entry).collect(),
        }
    }

    /// Returns what the page has at this path of a request.
    pub(super) fn find(&self, path: &str) -> Option<&Entry> {
        let path = path.strip_prefix('/')?;
        let is_place = |place: &&str| match place.ends_with('/') {
            true => path.starts_with(*place),
            false => path == *place,
        };
        match self.of.get(path) {
            Some(entry) if path != DOCUMENT => Some(entry),
            Some(_) => None,
            None if PLACES.iter().any(is_place) => self.of.get(DOCUMENT),
            None => None,
        }
    }

    /// Returns by what a page knows that its node has another one; empty if there is no page.
    pub(super) fn version(&self) -> &str {
        self.of.get(DOCUMENT).map_or("", |entry| &entry.hash)
    }

    /// Returns the response to a request. `connect` names the addresses to which the page may
    /// connect.
    pub(super) fn respond(&self, parts: &Parts, connect: &str) -> Response {
        let Some(entry) = self.find(parts.uri.path()) else {
            let sentence = "there is nothing at this path";
            let hint = Some("the page is at /");
            return classify::refusal(StatusCode::NOT_FOUND, Reason::NoSuchPath, sentence, hint);
        };
        if parts.method == Method::OPTIONS {
            let mut response = classify::options();
            response.headers_mut().insert(header::ALLOW, METHODS);
            return response;
        }
        if parts.method != Method::GET && parts.method != Method::HEAD {
            let (status, reason) = (StatusCode::METHOD_NOT_ALLOWED, Reason::MethodNotAllowed);
            let sentence = "this is a file of the page, which needs GET";
            let hint = Some("read it with GET; calls go to the paths of their services");
            let mut response = classify::refusal(status, reason, sentence, hint);
            response.headers_mut().insert(header::ALLOW, METHODS);
            return response;
        }
        entry.respond(parts, &policy(connect))
    }
}

impl Entry {
    fn respond(&self, parts: &Parts, policy: &str) -> Response {
        let form = self.form(&parts.headers);
        let tag = self.tag(&form, policy);
        let is_known = is_known(&parts.headers, &tag);
        let mut response = Response::new(match parts.method == Method::HEAD || is_known {
            true => Body::empty(),
            false => Body::new(Pieces(Bytes::from_static(form.bytes))),
        });
        let headers = response.headers_mut();
        headers.extend(SAFE);
        let vary = HeaderValue::from_static("accept-encoding");
        headers.insert(header::VARY, vary);
        headers.extend(value(&tag).map(|tag| (header::ETAG, tag)));
        let policy = value(policy);
        headers.extend(policy.map(|policy| (header::CONTENT_SECURITY_POLICY, policy)));
        let kept = match self.file.path.starts_with(HASHED) {
            true => FOR_EVER,
            false => ASK_AGAIN,
        };
        headers.insert(header::CACHE_CONTROL, kept);
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        let kind = HeaderValue::from_static(kind_of(self.file.path));
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::CONTENT_LENGTH, form.bytes.len().into());
        if let Some((packing, _)) = form.packing {
            let packing = HeaderValue::from_static(packing);
            headers.insert(header::CONTENT_ENCODING, packing);
        }
        response
    }

    /// Returns the shortest form that the caller accepts.
    fn form(&self, headers: &HeaderMap) -> Form {
        let packed = [
            (self.file.brotli, ("br", "-b")),
            (self.file.gzip, ("gzip", "-g")),
        ];
        for (bytes, packing) in packed {
            if let Some(bytes) = bytes.filter(|_| accepts(headers, packing.0)) {
                return Form {
                    bytes,
                    packing: Some(packing),
                };
            }
        }
        Form {
            bytes: self.file.bytes,
            packing: None,
        }
    }

    /// Returns the tag of a form. A browser that has the document under another policy asks for it
    /// anew.
    fn tag(&self, form: &Form, policy: &str) -> String {
        let end = form.packing.map_or("", |(_, end)| end);
        let policy = blake3::hash(policy.as_bytes()).to_hex();
        let hash = &self.hash;
        format!("\"{hash}.{}{end}\"", policy.get(..8).unwrap_or_default())
    }
}

fn value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok()
}

/// Returns what the document may do.
fn policy(connect: &str) -> String {
    format!(
        "default-src 'self'; connect-src {connect}; img-src 'self' data: blob:; \
         object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types conclave"
    )
}

/// Returns whether the caller accepts this packing.
fn accepts(headers: &HeaderMap, packing: &str) -> bool {
    let lists = headers.get_all(header::ACCEPT_ENCODING).iter();
    let lists = lists.filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|item| {
        let (name, weight) = item.split_once(';').unwrap_or((item, ""));
        let weight = weight.trim().trim_start_matches("q=");
        let is_refused = !weight.is_empty() && weight.parse().is_ok_and(|q: f32| q <= 0.0);
        name.trim().eq_ignore_ascii_case(packing) && !is_refused
    })
}

/// Returns whether the caller has the form with this tag.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let lists = headers.get_all(header::IF_NONE_MATCH).iter();
    let lists = lists.filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|item| {
        let item = item.trim();
        item == "*" || item.strip_prefix("W/").unwrap_or(item) == tag
    })
}

/// Returns the type of a file by its name.
fn kind_of(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, end)| end) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "webp" => "image/webp",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// A body that is made piece by piece, so that a slow caller holds little.
struct Pieces(Bytes);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let left = self.0.len().min(PIECE_BYTES);
        let piece = (left > 0).then(|| self.0.split_to(left));
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
