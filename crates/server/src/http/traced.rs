//! The spans of a call at the port where it arrives.
//!
//! On the port for clients this node decides which calls are traced. On the port for peers a call
//! belongs to the traces that a node of the cluster names, and to no others.
//!
//! Always true: a span has the name of the method from the protocol, and the number of its code;
//! nothing of the path, the headers or the body of a request is in it.

use axum::http::{Response, request::Parts};
use conclave_replica::{Attribute, OpenSpan, SpanKind, TRACES_MAX, Trace};
use tokio::time::Instant;
use tonic::Code;

use crate::{
    base::traceparent::{self, TraceParent},
    http::{gate::Gate, refusals::code},
};

/// Name of the span of a post to a webhook, whose path is a secret.
const WEBHOOK: &str = "webhook";

/// The spans of one call: none if it is not traced. A call whose caller goes before there is an
/// answer is cancelled.
pub(super) struct TracedCall {
    spans: Vec<OpenSpan>,
    /// Whether it is a call of gRPC, and no post to a webhook.
    is_grpc: bool,
}

impl TracedCall {
    /// Begins the spans of a call of gRPC of this method, or else of a post to a webhook. `known`
    /// says whether the headers of the call prove who its caller is.
    pub(super) fn begin(
        gate: &Gate,
        parts: &Parts,
        known: bool,
        method: Option<(&str, Instant)>,
    ) -> Self {
        let parents = || {
            let headers = parts.headers.get_all(traceparent::HEADER).into_iter();
            let headers = headers.filter(|_| known).take(TRACES_MAX);
            headers.filter_map(|header| TraceParent::parse(header.as_bytes()))
        };
        let traces: Vec<Trace> = match (gate, gate.tracer()) {
            (Gate::Clients(_), Some(tracer)) => {
                tracer.begin(|| parents().next()).into_iter().collect()
            }
            (Gate::Peers(_), Some(tracer)) => {
                parents().filter_map(|parent| tracer.join(parent)).collect()
            }
            (_, None) | (Gate::Bootstrapping, _) => Vec::new(),
        };
        let open = |trace: Trace| {
            let (name, began) = method.unwrap_or_else(|| (WEBHOOK, Instant::now()));
            trace.open(name.to_owned(), SpanKind::Server, began)
        };
        Self {
            spans: traces.into_iter().map(open).collect(),
            is_grpc: method.is_some(),
        }
    }

    /// Returns the spans of something that is not traced.
    pub(super) fn none() -> Self {
        Self {
            spans: Vec::new(),
            is_grpc: false,
        }
    }

    /// Returns the traces to which belongs what is done for the call; `None` if it is not traced.
    pub(super) fn inside(&self) -> Option<Vec<Trace>> {
        let inside = || self.spans.iter().map(OpenSpan::inside).collect();
        (!self.spans.is_empty()).then(inside)
    }

    /// Ends the spans of a call that gets this response.
    pub(super) fn answered<B>(mut self, response: &Response<B>) {
        if self.is_grpc {
            // A call that has succeeded says so at its end, behind the response.
            return self.end(code(response.headers()).unwrap_or(Code::Ok));
        }
        let (now, status) = (Instant::now(), response.status());
        for span in std::mem::take(&mut self.spans) {
            let number = Attribute::Number(status.as_u16().into());
            let known = vec![("http.response.status_code", number)];
            span.close(now, status.is_server_error(), known);
        }
    }

    fn end(&mut self, code: Code) {
        let now = Instant::now();
        for span in std::mem::take(&mut self.spans) {
            let number = Attribute::Number(code as u64);
            let known = vec![
                ("rpc.system", Attribute::Name("grpc".into())),
                ("rpc.grpc.status_code", number),
            ];
            span.close(now, is_of_server(code), known);
        }
    }
}

impl Drop for TracedCall {
    fn drop(&mut self) {
        if !self.spans.is_empty() {
            self.end(Code::Cancelled);
        }
    }
}

/// Returns whether a code says that the server has failed, and not that the caller has asked for
/// something that it does not get.
fn is_of_server(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}
