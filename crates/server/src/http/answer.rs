//! Answers the requests of one connection: each is told apart, decided on by its headers, and
//! passed to the services.
//!
//! Always true: nothing of a body is read before the headers have been decided on; every byte of a
//! response counts for its connection. A call by gRPC-Web goes through the same decisions as one of
//! gRPC, with the same bounds, and a call of gRPC takes no step for browsers.

use std::{sync::Arc, time::Duration};

use axum::{
    body::HttpBody,
    http::{HeaderValue, Method, Request, Response, header, request::Parts},
};
use bytes::Bytes;
use conclave_replica::within;
use conclave_wire::Problem;
use futures::future::{BoxFuture, Either};
use hyper::{body::Incoming, service::Service};
use tokio::time::sleep;
use tonic::{Code, Status, body::Body, service::Routes};
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, ServiceExt as _};

use crate::{
    base::deadline::Deadline,
    connections::{
        address::Address,
        bodies::{AnswerBody, ByteCounters, CallGuard, RequestBody},
        limits::Limits,
    },
    http::{
        classify::{self, Asked},
        gate::{Entry, Gate},
        page::{self, Web},
        refusals::{Refusals, code},
        traced::TracedCall,
        webhooks,
    },
    protocol::{
        call_counts::{CallCounts, Counting, HttpKind},
        origin::Visitor,
    },
    tls::Caller,
};

/// Type of the content of calls by gRPC-Web.
const GRPC_WEB: HeaderValue = HeaderValue::from_static("application/grpc-web+proto");

/// What a port has for requests.
pub(crate) struct Answers {
    gate: Gate,
    routes: Routes,
    limits: Arc<Limits>,
    /// What the port has for browsers, if it is for clients.
    web: Option<Web>,
    refusals: Refusals,
    counts: Arc<CallCounts>,
}

impl Answers {
    pub(crate) fn new(
        gate: Gate,
        routes: Routes,
        limits: Arc<Limits>,
        web: Option<Web>,
        counts: Arc<CallCounts>,
    ) -> Arc<Self> {
        let refusals = Refusals::default();
        Arc::new(Self {
            gate,
            routes: routes.prepare(),
            limits,
            web,
            refusals,
            counts,
        })
    }

    pub(crate) fn for_clients(&self) -> bool {
        self.web.is_some()
    }

    /// Returns by which protocol a request is made, or the response if its headers say enough.
    fn speech(&self, parts: &Parts) -> Result<Speech, Box<axum::response::Response>> {
        let web = self.web.as_ref();
        let has_file = |path: &str| web.is_some_and(|web| web.has(path));
        let visitor = || web.map_or(Visitor::Foreign, |web| web.visitor(parts));
        Ok(match classify::asked(parts, web.is_some(), has_file) {
            Asked::Call => Speech::Grpc,
            Asked::WebCall => Speech::GrpcWeb(visitor()),
            Asked::Webhook => Speech::Webhook,
            Asked::OfPage => Speech::Page(visitor()),
            Asked::File => {
                let answer = web.map(|web| web.file(parts));
                return Err(Box::new(answer.unwrap_or_default()));
            }
            Asked::Nothing(mut answer) => {
                if parts.method == Method::OPTIONS {
                    page::allow(&visitor(), &parts.method, &mut answer);
                }
                return Err(Box::new(answer));
            }
        })
    }
}

/// Protocol of a request.
enum Speech {
    Grpc,
    GrpcWeb(Visitor),
    Webhook,
    Page(Visitor),
}

impl Speech {
    fn is_call(&self) -> bool {
        matches!(self, Self::Grpc | Self::GrpcWeb(_))
    }

    fn visitor(&self) -> Option<&Visitor> {
        match self {
            Self::GrpcWeb(visitor) | Self::Page(visitor) => Some(visitor),
            Self::Grpc | Self::Webhook => None,
        }
    }

    /// Begins to count a request, if it is a call.
    fn begin(&self, counts: &Arc<CallCounts>, path: &str) -> Option<Counting> {
        self.is_call().then(|| counts.begin(path))
    }

    /// Begins the spans of a request, if it is a call or a message of a program.
    fn trace(
        &self,
        gate: &Gate,
        parts: &Parts,
        known: bool,
        call: Option<&Counting>,
    ) -> TracedCall {
        match self {
            Self::Grpc | Self::GrpcWeb(_) | Self::Webhook => {
                let method = call.map(|call| (call.method(), call.began()));
                TracedCall::begin(gate, parts, known, method)
            }
            Self::Page(_) => TracedCall::none(),
        }
    }

    /// Counts a request by its response.
    fn count(&self, counts: &CallCounts, call: Option<Counting>, response: &Response<Body>) {
        let kind = match self {
            Self::Grpc | Self::GrpcWeb(_) => {
                // A call that has succeeded says so at its end, behind the response.
                let code = code(response.headers()).unwrap_or(Code::Ok);
                call.into_iter()
                    .for_each(|call| call.answered(code as usize));
                return;
            }
            Self::Webhook => HttpKind::Webhook,
            Self::Page(_) => HttpKind::Page,
        };
        counts.note_http(kind, response.status().as_u16());
    }

    /// Returns a refusal in the form of the protocol.
    fn refuse(&self, problem: Problem) -> Response<Body> {
        match self {
            Self::Grpc => Status::from(problem).into_http(),
            Self::GrpcWeb(_) => {
                let mut response = Status::from(problem).into_http::<Body>();
                response
                    .headers_mut()
                    .insert(header::CONTENT_TYPE, GRPC_WEB);
                response
            }
            Self::Webhook => webhooks::refusal(&problem, false).map(Body::new),
            Self::Page(_) => page::refusal(&problem).map(Body::new),
        }
    }
}

/// What all calls of a connection share.
struct Session {
    answers: Arc<Answers>,
    caller: Caller,
    books: ByteCounters,
}

/// Has the services answer a request, of gRPC-Web or of another protocol.
fn ask(
    routes: Routes,
    is_web: bool,
    request: Request<Body>,
) -> impl Future<Output = Result<Response<Body>, std::convert::Infallible>> {
    match is_web {
        true => Either::Left(GrpcWebLayer::new().layer(routes).oneshot(request)),
        false => Either::Right(routes.oneshot(request)),
    }
}

/// Where a request comes from, and until when its caller waits.
#[derive(Clone, Copy)]
struct Asker {
    address: Option<Address>,
    deadline: Deadline,
}

/// The calls of one connection.
#[derive(Clone)]
pub(super) struct Calls(Arc<Session>);

impl Calls {
    pub(super) fn new(answers: Arc<Answers>, caller: Caller, books: ByteCounters) -> Self {
        Self(Arc::new(Session {
            answers,
            caller,
            books,
        }))
    }
}

impl Service<Request<Incoming>> for Calls {
    type Response = Response<AnswerBody>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let call = CallGuard::begin(&self.0.books.connection);
        let session = self.0.clone();
        Box::pin(async move { Ok(session.answer(request, call).await) })
    }
}

impl Session {
    async fn answer(
        &self,
        request: Request<Incoming>,
        mut call: CallGuard,
    ) -> Response<AnswerBody> {
        let answers = &self.answers;
        let (mut parts, body) = request.into_parts();
        let caller = answers.gate.caller(&parts, &self.caller);
        let asker = Asker {
            address: caller.address.map(|from| Address::of(from.ip())),
            deadline: Deadline::in_headers(&parts.headers),
        };
        let speech = match answers.speech(&parts) {
            Ok(speech) => speech,
            Err(response) => {
                drop(body);
                let status = response.status().as_u16();
                answers.counts.note_http(HttpKind::File, status);
                return self.counted(*response, call, asker).await;
            }
        };
        let counting = speech.begin(&answers.counts, parts.uri.path());
        let is_hinted = speech.is_call() && answers.gate.is_hinted(&parts);
        let method = parts.method.clone();
        let finish = |response: &mut Response<Body>| {
            if is_hinted {
                answers.gate.name_leader(response);
            }
            if let Some(visitor) = speech.visitor() {
                page::allow(visitor, &method, response);
            }
        };
        let entry = match self.enter(&mut parts, &speech, &caller).await {
            Ok(entry) => entry,
            Err(problem) => {
                drop(body);
                let mut response = speech.refuse(problem);
                finish(&mut response);
                speech.count(&answers.counts, counting, &response);
                return self.counted(response, call, asker).await;
            }
        };
        if entry.known {
            self.books.places.know(&self.books.connection);
        }
        // The connection of a proxy has the calls of many accounts.
        if let Some(work) = &entry.work
            && caller.address == self.caller.address
        {
            self.books.connection.works_for(work);
        }
        let traced = speech.trace(&answers.gate, &parts, entry.known, counting.as_ref());
        let counted = entry.allowance.within.map(|_| self.books.clone());
        parts.extensions.insert(caller);
        let body = RequestBody::new(body, entry.allowance, self.books.clone());
        let request = Request::from_parts(parts, Body::new(body));
        let routes = answers.routes.clone();
        let asked = ask(routes, matches!(speech, Speech::GrpcWeb(_)), request);
        let Ok(mut response) = match traced.inside() {
            None => asked.await,
            Some(traces) => Box::pin(within(traces, asked)).await,
        };
        finish(&mut response);
        traced.answered(&response);
        speech.count(&answers.counts, counting, &response);
        call.is_answered();
        self.hold(&response, asker).await;
        response.map(|body| AnswerBody::new(body, counted, call))
    }

    /// Decides on a request by its headers.
    async fn enter(
        &self,
        parts: &mut Parts,
        speech: &Speech,
        caller: &Caller,
    ) -> Result<Entry, Problem> {
        if self.books.are_full() {
            // Too many unread answers of this connection.
            return Err(Problem::Busy);
        }
        if let Some(visitor) = speech.visitor() {
            page::admit(parts, visitor)?;
        }
        let answers = &self.answers;
        let decided = answers.gate.decide(parts, caller, &answers.limits);
        decided.await
    }

    /// Returns a response that was made before the services were asked; its bytes count.
    async fn counted<B>(
        &self,
        response: Response<B>,
        mut call: CallGuard,
        asker: Asker,
    ) -> Response<AnswerBody>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        call.is_answered();
        self.hold(&response, asker).await;
        let counted = Some(self.books.clone());
        response.map(|body| AnswerBody::new(Body::new(body), counted, call))
    }

    /// Waits if this response is one refusal too many, but no longer than the caller does.
    fn hold<T>(&self, response: &Response<T>, asker: Asker) -> impl Future<Output = ()> + use<T> {
        let hold = match self.answers.for_clients() {
            true => {
                let address = asker.address.unwrap_or(self.books.connection.address);
                let hold = self.answers.refusals.hold(address, response);
                hold.min(asker.deadline.left())
            }
            false => Duration::ZERO,
        };
        async move {
            if !hold.is_zero() {
                sleep(hold).await;
            }
        }
    }
}
