//! The calls of a [`Client`](crate::Client), one file for each part of the protocol.
//!
//! Each builds a request and reads its answer; fail-over is below, in `call`.

pub(crate) mod account;
pub(crate) mod admin;
pub(crate) mod backup;
pub(crate) mod chat;
pub(crate) mod cluster;
pub(crate) mod live;
pub(crate) mod operator;
pub(crate) mod rooms;
pub(crate) mod sessions;
