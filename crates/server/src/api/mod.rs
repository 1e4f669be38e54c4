//! The calls of clients and operators, one file for each service, and what these files share.
//!
//! Requests are checked and answered here; rules, rows and the log are below. Only the listeners of
//! `node` start these services.

pub(crate) mod account_limits;
pub(crate) mod accounts;
pub(crate) mod admin;
pub(crate) mod backups;
pub(crate) mod chat;
pub(crate) mod creation;
pub(crate) mod edge;
pub(crate) mod invites;
pub(crate) mod live;
pub(crate) mod operator_file;
pub(crate) mod operators;
pub(crate) mod password_again;
pub(crate) mod password_reset;
pub(crate) mod rooms;
pub(crate) mod search;
pub(crate) mod sessions;
