//! Serves full-text search to clients.
//!
//! A search finds what this node has indexed: it never waits for other nodes, and its answer says
//! up to which message it is complete.

use conclave_core::Position;
use conclave_storage::{
    search::{CancelFlag, SearchError},
    state as rows,
};
use conclave_wire::{Problem, Reason, request, v1};
use conclave_words::{
    SearchQuery, SnippetPart,
    query::{DAYS_MAX, Day, OFFSET_MINUTES_MAX, Zone},
    snippet,
};
use tokio::time::timeout;

use crate::{
    base::long_work,
    context::{
        call::{Call, Freshness},
        node_context::NodeContext,
    },
    protocol::{pages, problems, show},
};

/// Number of messages on a page if the client sets none.
const PAGE_DEFAULT: usize = 20;
/// Maximum number of messages on a page: each is read with its reactions and names.
const PAGE_MAX: usize = 100;

/// Returns a page of matching messages.
pub(crate) async fn search(
    shared: &NodeContext,
    call: Call,
    request: v1::SearchMessagesRequest,
) -> Result<v1::SearchMessagesResponse, Problem> {
    let zone = zone_of(&request).ok_or_else(|| {
        invalid(&format!(
            "an offset from UTC has at most {OFFSET_MINUTES_MAX} minutes, and at most {DAYS_MAX} \
             days such as 2026-11-20 have their own"
        ))
    })?;
    let query = SearchQuery::parse(&request.query, &zone);
    let query = query.map_err(|error| invalid(&error.to_string()))?;
    let before = pages::number_of(&request.page_token)?.map(Position);
    let size = request::page_size(request.page_size, PAGE_DEFAULT).min(PAGE_MAX);
    let deadline = call.deadline;
    let look = |freshness| {
        let read = |_: &rows::Reader, session: &rows::SessionRow| Ok(session.account);
        shared.read_in_session(&call, freshness, read)
    };
    let account = match look(Freshness::ANY).await {
        // The session may have been opened at another node a moment ago.
        Err(Problem::SessionExpired { .. }) => look(Freshness::Latest).await,
        found => found,
    }?;
    let turn = shared.searches.take(account, deadline.left()).await;
    let mut turn = turn.ok_or(Problem::Busy)?;
    let (search, stopper) = (shared.replica.search(), CancelOnDrop::default());
    let stop = stopper.0.clone();
    let found = long_work::run("search", move || {
        turn.begins();
        let found = search.find(account, &query, before, size, &stop);
        let found = found.map(|found| (hits(&found.rows, &query), found));
        drop(turn);
        found
    });
    let found = timeout(deadline.left(), found).await;
    let found = found.map_err(|_| Problem::Busy)?;
    let broken = |_| Problem::Broken {
        sentence: "a search was stopped".to_owned(),
    };
    let (hits, found) = found.map_err(broken)?.map_err(|error| of_search(&error))?;
    Ok(v1::SearchMessagesResponse {
        messages: found.rows.into_iter().map(show::message).collect(),
        next_page_token: pages::token_of_number(found.next_before.map(|next| next.0)),
        complete_to_position: found.complete_to.0,
        applied_position: found.applied.0,
        hits,
        page_size: pages::page_size(size),
    })
}

fn invalid(sentence: &str) -> Problem {
    Problem::refused(Reason::QueryInvalid, sentence)
}

/// Returns the caller's time zone; `None` if the request names an invalid one.
fn zone_of(request: &v1::SearchMessagesRequest) -> Option<Zone> {
    if request.day_offsets.len() > DAYS_MAX {
        return None;
    }
    let days = request.day_offsets.iter().map(|own| {
        let day = Day::parse(&own.day)?;
        Some((day, own.utc_offset_minutes))
    });
    Zone::new(request.utc_offset_minutes, days.collect::<Option<_>>()?)
}

/// Returns for each message why it matches.
fn hits(rows: &[rows::MessageRow], query: &SearchQuery) -> Vec<v1::SearchHit> {
    let part = |part: SnippetPart| v1::SnippetPart {
        text: part.text,
        is_match: part.is_match,
    };
    let hit = |row: &rows::MessageRow| {
        let text = row.text.as_deref().unwrap_or_default();
        let snippet = snippet(text, query.wanted());
        v1::SearchHit {
            snippet: snippet.into_iter().map(part).collect(),
        }
    };
    rows.iter().map(hit).collect()
}

/// Stops a search when it is dropped, because its caller has gone or its deadline has passed.
#[derive(Default)]
struct CancelOnDrop(CancelFlag);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.set();
    }
}

fn of_search(error: &SearchError) -> Problem {
    match error {
        SearchError::Busy | SearchError::Stopped => Problem::Busy,
        SearchError::Closed => Problem::GoingAway,
        SearchError::State(error) => problems::of_rows(error),
        error => {
            tracing::error!(%error, "the search index cannot be read");
            Problem::Broken {
                sentence: "the search index cannot be read".to_owned(),
            }
        }
    }
}
