//! Lets administrators read and set how much one account may do and store.

use conclave_core::AccountLimits;
use conclave_storage::state as rows;
use conclave_wire::{Problem, v1};

use crate::context::{access::administrators_only, call::Call, node_context::NodeContext};

/// Returns all limits.
pub(crate) async fn get(
    shared: &NodeContext,
    call: Call,
    request: v1::GetAccountLimitsRequest,
) -> Result<v1::GetAccountLimitsResponse, Problem> {
    let read = |reader: &rows::Reader, session: &rows::SessionRow| {
        if let Err(refused) = administrators_only(session) {
            return Ok(Err(refused));
        }
        reader.account_limits().map(Ok)
    };
    let found = shared.read_in_session(&call, request.read, read).await?;
    let (limits, defaults) = (found?, AccountLimits::default());
    let shown = limits.iter().map(|(limit, value)| v1::AccountLimit {
        name: limit.name().to_owned(),
        value,
        default_value: defaults.get(limit),
    });
    Ok(v1::GetAccountLimitsResponse {
        limits: shown.collect(),
    })
}

/// Sets some of the limits. This node applies them at once, the other nodes when they next look.
pub(crate) async fn set(
    shared: &NodeContext,
    call: Call,
    request: v1::SetAccountLimitsRequest,
) -> Result<v1::SetAccountLimitsResponse, Problem> {
    let position = shared.done_in_session(&call, request).await?;
    if let Ok(limits) = shared.read(|reader| reader.account_limits()).await {
        shared.sessions.set_limits(limits);
    }
    Ok(v1::SetAccountLimitsResponse { position })
}
