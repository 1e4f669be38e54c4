//! One file per subcommand: its arguments (`Args`) and its work (`run`).
//!
//! A subcommand returns its exit code, or an error that [`crate::errors::tell`] puts into words.

pub(crate) mod account;
pub(crate) mod bench;
pub(crate) mod bot;
pub(crate) mod cluster;
pub(crate) mod completions;
pub(crate) mod conversations;
pub(crate) mod delete;
pub(crate) mod demo;
pub(crate) mod edit;
pub(crate) mod follow;
pub(crate) mod invite;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod operator;
pub(crate) mod passwd;
pub(crate) mod presence;
pub(crate) mod react;
pub(crate) mod read;
pub(crate) mod reader;
pub(crate) mod room;
pub(crate) mod search;
pub(crate) mod send;
pub(crate) mod serve;
pub(crate) mod sessions;
pub(crate) mod token;
pub(crate) mod trust;
pub(crate) mod up;
pub(crate) mod webhook;
pub(crate) mod whoami;
