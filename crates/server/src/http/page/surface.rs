//! What the page asks beside its calls: the addresses of the cluster, and the way of a session to
//! another node. Calls of gRPC cannot do this, because it is about cookies.
//!
//! Always true: nothing is done for a request that no page of the cluster has made, and the token
//! of a session is in no body of a response.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::to_bytes,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    response::Response,
    routing::any,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use conclave_replica::{Lane, Member, NodeMembership};
use conclave_storage::state as rows;
use conclave_wire::{
    Problem, Reason,
    request::{TOKEN_BYTES, token_hash},
};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::{sync::Mutex, time::Instant};

use super::{Files, addresses};
use crate::{
    auth::{
        account_limiters::Paced,
        cookie::Cookie,
        credential::Credential,
        sessions::{log_in_first, session_ended, show_token},
    },
    base::{deadline::Deadline, random},
    context::{
        access::{Unknown, held_back, open_session},
        node_context::NodeContext,
        page_tickets::TICKET_LIFE,
    },
    http::{classify, webhooks},
    protocol::{
        client_port::PAGE,
        origin::{Origin, asked_host},
        problems::millis,
    },
    tls::Caller,
};

/// How long another node may take to accept a session.
const OFFER_LIMIT: Duration = Duration::from_secs(1);
/// Maximum number of other nodes that get a ticket of one request.
const OFFERS_MAX: usize = 16;
/// Maximum size of a body: a ticket has 43 characters.
const BODY_BYTES_MAX: usize = 1024;
/// How long the node relies on what it has read about administrators.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Serves everything below [`PAGE`].
pub(crate) fn router(shared: Arc<NodeContext>, files: Arc<Files>) -> Router {
    let surface = Surface {
        shared,
        files,
        setup: Arc::default(),
    };
    let all = any(answer).with_state(surface);
    Router::new()
        .route(&format!("{PAGE}{{*rest}}"), all.clone())
        .route(PAGE, all)
}

#[derive(Clone)]
struct Surface {
    shared: Arc<NodeContext>,
    files: Arc<Files>,
    /// Whether there was no administrator, and when the node has looked.
    setup: Arc<Mutex<Option<(Instant, bool)>>>,
}

async fn answer(State(surface): State<Surface>, request: Request) -> Response {
    let (get, post) = ([Method::GET, Method::HEAD], [Method::POST]);
    let path = request.uri().path().strip_prefix(PAGE).unwrap_or_default();
    let methods = match path {
        "config.json" | "health" => &get[..],
        "tickets" | "session" => &post[..],
        _ => &[],
    };
    let result = if methods.is_empty() {
        let sentence = "there is nothing at this path";
        let hint = Some("docs/protocol.md has what the page asks beside its calls");
        return classify::refusal(StatusCode::NOT_FOUND, Reason::NoSuchPath, sentence, hint);
    } else if request.method() == Method::OPTIONS {
        Ok(classify::options())
    } else if !methods.contains(request.method()) {
        let sentence = "this is asked by the page, with another method";
        Err(Problem::refused(Reason::MethodNotAllowed, sentence))
    } else {
        match path {
            "config.json" => {
                let asked = asked_host(request.headers(), request.uri());
                Ok(surface.config(asked.as_deref()).await)
            }
            "health" => Ok(surface.health()),
            "tickets" => surface.tickets(request).await,
            _ => surface.session(request).await,
        }
    };
    let mut response = result.unwrap_or_else(|problem| {
        tracing::debug!(%problem, "a request of the page was refused");
        refusal(&problem)
    });
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// Returns the response to a request of the page that is refused.
pub(crate) fn refusal(problem: &Problem) -> Response {
    let mut response = webhooks::refusal(problem, true);
    let status = match problem.reason() {
        Reason::OriginRefused | Reason::TicketInvalid => StatusCode::FORBIDDEN,
        Reason::SessionExpired => StatusCode::UNAUTHORIZED,
        _ => response.status(),
    };
    *response.status_mut() = status;
    response
}

impl Surface {
    /// Returns whether this node serves now, for the health checks of proxies: the same as
    /// `grpc.health.v1` says.
    fn health(&self) -> Response {
        let is_serving = self.shared.is_serving();
        let status = match is_serving {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        classify::with_json(status, &json!({"serving": is_serving}))
    }

    /// Returns what the page needs to know before a person signs in.
    async fn config(&self, asked: Option<&str>) -> Response {
        let shared = &self.shared;
        let known = addresses(shared, asked);
        let nodes = known.into_iter().map(|(node, url)| match node {
            Some(node) => json!({"node_id": node, "url": url}),
            None => json!({"url": url}),
        });
        let mut config = json!({
            "cluster": shared.identity.cluster_id,
            "node_id": shared.identity.node,
            "version": env!("CARGO_PKG_VERSION"),
            "page": self.files.version(),
            "nodes": nodes.collect::<Vec<Value>>(),
            "registration": shared.registration.as_str(),
            "needs_setup": self.needs_setup().await,
        });
        if let Some(panel) = &shared.demo_panel {
            config["demo"] = panel.as_str().into();
        }
        classify::with_json(StatusCode::OK, &config)
    }

    /// Returns whether there is no administrator, as far as this node knows.
    async fn needs_setup(&self) -> bool {
        let mut looked = self.setup.lock().await;
        if let Some((at, needs)) = *looked
            && at.elapsed() < LOOK_EVERY
        {
            return needs;
        }
        let admins = self.shared.read(|reader| reader.admins()).await;
        let needs = admins.is_ok_and(|admins| admins == 0);
        *looked = Some((Instant::now(), needs));
        needs
    }

    /// Gives the browser a ticket for each voter that keeps its cookies apart from this one's.
    async fn tickets(&self, request: Request) -> Result<Response, Problem> {
        let shared = &self.shared;
        by_page(&request)?;
        shared.refuse_if_away()?;
        let deadline = Deadline::usual();
        let Credential::Session(token) = Credential::in_headers(request.headers()) else {
            return Err(log_in_first("the request carries no session; log in"));
        };
        let caller = asking(&request, deadline);
        let session = self.open_session(token, caller).await?;
        let of_account = shared.sessions.account_limiters.of(session.account);
        if let Err(rejection) = of_account.check_and_count(Paced::Ticket) {
            return Err(held_back(rejection.into(), &of_account, deadline).await);
        }
        let origin = request
            .headers()
            .get(header::ORIGIN)
            .and_then(Origin::parse);
        let others = shared.other_members().into_iter();
        let others =
            others.filter(|(node, member)| may_keep(shared.replica.membership_of(*node), member));
        // Cookies know no ports.
        let asked = asked_host(request.headers(), request.uri());
        let urls = addresses(shared, asked.as_deref());
        let url = |node| urls.iter().find(|(of, _)| *of == Some(node));
        let is_apart = |node| {
            let address = url(node).and_then(|(_, url)| url.split_once("://"));
            let (Some((_, address)), Some(own)) = (address, &origin) else {
                return false;
            };
            !own.has_host_of(address)
        };
        let apart = others.filter(|(node, _)| is_apart(*node));
        let offers = apart.take(OFFERS_MAX).map(|(node, member)| {
            let ticket = self.offer(node, member, token);
            async move { ticket.await.map(|ticket| (node, ticket)) }
        });
        let given = join_all(offers).await.into_iter().flatten();
        let tickets = given.filter_map(|(node, ticket)| {
            let (_, url) = url(node)?;
            Some(json!({"node_id": node, "url": url, "ticket": ticket}))
        });
        let body = json!({
            "tickets": tickets.collect::<Vec<Value>>(),
            "expires_in_ms": millis(TICKET_LIFE),
        });
        Ok(classify::with_json(StatusCode::OK, &body))
    }

    /// Has another node keep a session for the browser that shows the ticket that this returns.
    async fn offer(&self, node: u64, member: Member, token: [u8; TOKEN_BYTES]) -> Option<String> {
        let ticket = random::bytes::<TOKEN_BYTES>().ok()?;
        let peer = self.shared.transport.grpc_peer(node, &member, Lane::Calls);
        let kept = peer.offer_session(token_hash(&ticket), token, OFFER_LIMIT);
        kept.await.is_ok().then(|| show_token(&ticket))
    }

    /// Returns the session of a token, if it is open.
    async fn open_session(
        &self,
        token: [u8; TOKEN_BYTES],
        caller: Unknown,
    ) -> Result<rows::SessionRow, Problem> {
        let (token, now) = (token_hash(&token), self.shared.log_time());
        let open = move |reader: &rows::Reader| open_session(reader, &token, now);
        let session = self.shared.find(caller, open).await?;
        session.ok_or_else(session_ended)
    }

    /// Gives the browser the session that its ticket stands for.
    async fn session(&self, request: Request) -> Result<Response, Problem> {
        let shared = &self.shared;
        let cookie = by_page(&request)?;
        shared.refuse_if_away()?;
        let deadline = Deadline::usual();
        let caller = asking(&request, deadline);
        let (parts, body) = request.into_parts();
        let kind = parts.headers.get(header::CONTENT_TYPE);
        if kind.is_none_or(|kind| kind != "application/json") {
            let sentence = "a ticket is shown as application/json";
            return Err(Problem::refused(Reason::ContentTypeInvalid, sentence));
        }
        let body = to_bytes(body, BODY_BYTES_MAX).await;
        let body: Option<Value> = body
            .ok()
            .and_then(|body| serde_json::from_slice(&body).ok());
        let ticket = body.as_ref().and_then(|body| body["ticket"].as_str());
        let ticket = ticket.and_then(|ticket| URL_SAFE_NO_PAD.decode(ticket).ok());
        let invalid = || Problem::refused(Reason::TicketInvalid, "the ticket cannot be used");
        let ticket = token_hash(&ticket.ok_or_else(invalid)?);
        let tickets = &shared.page_tickets;
        if !tickets.has(&ticket) {
            return Err(invalid());
        }
        // The session may have ended meanwhile, at another node.
        shared.barrier(deadline).await?;
        let token = tickets.take(&ticket).ok_or_else(invalid)?;
        self.open_session(token, caller).await?;
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(header::SET_COOKIE, cookie.set(&show_token(&token)));
        Ok(response)
    }
}

/// Returns whether a member may keep the token of a session that was opened elsewhere. The machine
/// of a learner may be hostile: it gets only the sessions of people who use it. A witness serves no
/// page.
fn may_keep(membership: NodeMembership, member: &Member) -> bool {
    membership == NodeMembership::Voter && !member.witness
}

/// Returns the caller of a request, whose session is looked up.
fn asking(request: &Request, deadline: Deadline) -> Unknown {
    let caller = request.extensions().get::<Caller>();
    Unknown::at(caller.and_then(|caller| caller.address), deadline)
}

/// Returns the cookie of the page that has made a request.
///
/// # Errors
/// [`Reason::OriginRefused`] if no page of the cluster has made it.
fn by_page(request: &Request) -> Result<Cookie, Problem> {
    let cookie = request.extensions().get::<Cookie>().copied();
    let sentence = "only a page of the cluster asks this, with x-conclave-page and its origin";
    cookie.ok_or_else(|| Problem::refused(Reason::OriginRefused, sentence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_voters_that_keep_messages_get_the_sessions_of_others() {
        let member = |witness| Member {
            witness,
            ..Member::default()
        };
        assert!(may_keep(NodeMembership::Voter, &member(false)));
        assert!(!may_keep(NodeMembership::Voter, &member(true)));
        for other in [NodeMembership::Learner, NodeMembership::Unknown] {
            assert!(!may_keep(other, &member(false)), "{other:?}");
        }
    }
}
