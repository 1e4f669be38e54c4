//! One file per subcommand: what it takes (`Args`) and what it does (`run`).
//!
//! A subcommand gives its exit code, or an error that [`crate::errors::tell`] puts into words.

pub(crate) mod account;
pub(crate) mod bench;
pub(crate) mod cluster;
pub(crate) mod completions;
pub(crate) mod conversations;
pub(crate) mod delete;
pub(crate) mod demo;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod read;
pub(crate) mod send;
pub(crate) mod serve;
pub(crate) mod up;
pub(crate) mod whoami;
