//! The context of a call: the state that the services of a node share, the session behind a call,
//! its reads and proposals, and the proof that goes with them.
//!
//! It serves no call and starts no task of its own. Services and background tasks use it; no floor
//! below it does.

pub(crate) mod access;
pub(crate) mod audit;
pub(crate) mod backup_state;
pub(crate) mod call;
pub(crate) mod check_state;
pub(crate) mod draining;
pub(crate) mod log_control;
pub(crate) mod node_context;
pub(crate) mod operator_calls;
pub(crate) mod page_tickets;
pub(crate) mod proof;
pub(crate) mod roll_call_state;
pub(crate) mod rotation_state;
pub(crate) mod send_places;
pub(crate) mod space;
pub(crate) mod try_password;
