//! Translates between gRPC and the calls of clients: the one place where a request of tonic becomes
//! a [`Call`] and what is asked, and a problem the status of a response.

use conclave_wire::{Problem, request::SessionRequest};
use futures::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use crate::context::{call::Call, shared::Shared};

/// Response to a call, as gRPC knows it.
pub(crate) type Answer<T> = Result<Response<T>, Status>;

/// Serves a call: `serve` gets the call and what is asked, and its result becomes the response.
pub(crate) async fn answer<Q, A, F>(
    request: Request<Q>,
    serve: impl FnOnce(Call, Q) -> F,
) -> Answer<A>
where
    F: Future<Output = Result<A, Problem>>,
{
    let (call, request) = call_in(request);
    let result = serve(call, request).await;
    result.map(Response::new).map_err(|problem| {
        tracing::debug!(%problem, "a call was refused");
        problem.into()
    })
}

/// Serves a call that changes something and whose outcome is only that this was done; `tell` makes
/// the response of the log position of that outcome.
pub(crate) async fn done<Q: SessionRequest, A>(
    shared: &Shared,
    request: Request<Q>,
    tell: impl FnOnce(u64) -> A,
) -> Answer<A> {
    let serve = async |call: Call, request| {
        let position = shared.done_in_session(&call, request).await?;
        Ok(tell(position))
    };
    answer(request, serve).await
}

/// Returns the responses of a stream, as gRPC knows them.
pub(crate) fn stream<A>(
    responses: impl Stream<Item = Result<A, Problem>>,
) -> impl Stream<Item = Result<A, Status>> {
    responses.map(|response| response.map_err(Status::from))
}

fn call_in<Q>(request: Request<Q>) -> (Call, Q) {
    let call = Call::in_headers(request.metadata().as_ref(), request.remote_addr());
    (call, request.into_inner())
}
