//! A page as a browser runs it: requests over HTTP/1.1 with the headers that browsers send, and the
//! frames of gRPC-Web.

use std::net::Ipv4Addr;

use conclave_wire::Problem;
use prost_reflect::prost::Message;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::codegen::http::{HeaderMap, HeaderName, HeaderValue};

use crate::support::PATIENCE;

/// Bytes before a message: whether it is packed or of trailers, and its length.
const HEAD: usize = 5;
/// First byte of the frame with the trailers.
const TRAILERS: u8 = 0x80;

/// A page that was loaded from `origin`, and the cookies of its browser for `host`.
#[derive(Clone)]
pub(crate) struct Page {
    /// HOST:PORT that it asks.
    pub(crate) host: String,
    pub(crate) origin: Option<String>,
    pub(crate) cookie: Option<String>,
    /// Headers besides those of every call.
    pub(crate) more: Vec<(String, String)>,
}

/// A response of HTTP.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// Returns the value of a header, or an empty text.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Page {
    /// Returns the node's own page in a browser without cookies.
    pub(crate) fn of(address: &str) -> Self {
        Self {
            host: address.to_owned(),
            origin: Some(format!("http://{address}")),
            cookie: None,
            more: vec![("x-conclave-page".to_owned(), "1".to_owned())],
        }
    }

    /// Returns the header of a request.
    pub(crate) fn head(&self, method: &str, path: &str, kind: &str, length: usize) -> String {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.host);
        let lines = [
            ("content-type", Some(kind).filter(|kind| !kind.is_empty())),
            ("origin", self.origin.as_deref()),
            ("cookie", self.cookie.as_deref()),
        ];
        let lines = lines
            .iter()
            .filter_map(|(name, value)| Some((*name, (*value)?)));
        let more = self.more.iter().map(|(name, value)| (&**name, &**value));
        for (name, value) in lines.chain(more) {
            head += &format!("{name}: {value}\r\n");
        }
        head + &format!("content-length: {length}\r\nconnection: close\r\n\r\n")
    }

    /// Sends a request over a connection of its own, and reads the response to its end.
    pub(crate) async fn ask(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Response {
        // Names are of this machine.
        let (host, port) = self.host.rsplit_once(':').unwrap();
        let address = host.parse().unwrap_or(Ipv4Addr::LOCALHOST);
        let address = (address, port.parse::<u16>().unwrap());
        let stream = TcpStream::connect(address).await.unwrap();
        self.ask_on(stream, method, path, kind, body).await
    }

    /// Sends a request over this connection.
    pub(crate) async fn ask_on(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        method: &str,
        path: &str,
        kind: &str,
        body: &[u8],
    ) -> Response {
        let head = self.head(method, path, kind, body.len());
        let bytes = [head.as_bytes(), body].concat();
        // The node may answer before it has read everything.
        let _ = stream.write_all(&bytes).await;
        let mut heard = Vec::new();
        let reading = timeout(PATIENCE, stream.read_to_end(&mut heard));
        let _ = reading.await.expect("it answers and ends the connection");
        response(&heard)
    }

    /// Makes a call by gRPC-Web, and keeps the cookies of the response.
    pub(crate) async fn call<Q: Message, A: Message + Default>(
        &mut self,
        path: &str,
        request: &Q,
    ) -> Result<A, String> {
        let path = format!("/conclave.v1.{path}");
        let kind = "application/grpc-web+proto";
        let response = self.ask("POST", &path, kind, &framed(request)).await;
        self.keep(&response);
        answer(&response)
    }

    /// Keeps the cookie of a response, or forgets it.
    pub(crate) fn keep(&mut self, response: &Response) {
        let set = response.header("set-cookie");
        if let Some((pair, rest)) = set.split_once(';') {
            let is_cleared = rest.contains("Max-Age=0");
            self.cookie = (!is_cleared).then(|| pair.to_owned());
        }
    }
}

/// Returns the frame of a message.
pub(crate) fn framed(message: &impl Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap();
    [&[0], &length.to_be_bytes()[..], &message].concat()
}

/// Reads the messages of a body, and the trailers if they are there.
pub(crate) fn frames(mut body: &[u8]) -> (Vec<&[u8]>, Option<HeaderMap>) {
    let mut messages = Vec::new();
    while let Some((head, rest)) = body.split_at_checked(HEAD) {
        let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
        let Some((content, rest)) = rest.split_at_checked(length) else {
            break;
        };
        if head[0] == TRAILERS {
            return (
                messages,
                Some(headers(std::str::from_utf8(content).unwrap())),
            );
        }
        messages.push(content);
        body = rest;
    }
    (messages, None)
}

/// Returns the message of a response to a call, or the reason of its refusal.
pub(crate) fn answer<A: Message + Default>(response: &Response) -> Result<A, String> {
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(
        response.header("content-type"),
        "application/grpc-web+proto"
    );
    let (messages, trailers) = frames(&response.body);
    let status = tonic::Status::from_header_map(trailers.as_ref().unwrap_or(&response.headers));
    let status = status.expect("it ends with a status");
    if status.code() != tonic::Code::Ok {
        let problem = Problem::from_status(&status);
        return Err(problem.map_or(status.to_string(), |problem| problem.reason().to_string()));
    }
    Ok(A::decode(messages[0]).unwrap())
}

fn headers(text: &str) -> HeaderMap {
    let lines = text.split("\r\n").filter_map(|line| line.split_once(':'));
    lines
        .map(|(name, value)| {
            let name = HeaderName::try_from(name.trim()).unwrap();
            (name, HeaderValue::try_from(value.trim()).unwrap())
        })
        .collect()
}

/// Reads a response of HTTP/1.1 that ends with its connection.
pub(crate) fn response(heard: &[u8]) -> Response {
    let end = heard.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no header: {:?}", String::from_utf8_lossy(heard)));
    let head = std::str::from_utf8(&heard[..end]).unwrap();
    let (line, lines) = head.split_once("\r\n").unwrap();
    let headers = headers(lines);
    let mut body = heard[end + 4..].to_vec();
    if headers
        .get("transfer-encoding")
        .is_some_and(|coding| coding == "chunked")
    {
        body = unchunked(&body);
    }
    Response {
        status: line.split(' ').nth(1).unwrap().parse().unwrap(),
        headers,
        body,
    }
}

/// Returns the content of the chunks that are there.
pub(crate) fn unchunked(mut chunks: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(end) = chunks.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&chunks[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let rest = &chunks[end + 2..];
        let here = size.min(rest.len());
        content.extend_from_slice(&rest[..here]);
        if size == 0 || here < size {
            break;
        }
        chunks = rest.get(size + 2..).unwrap_or_default();
    }
    content
}
