//! One file per subcommand: its arguments (`Args`) and its work (`run`).
//!
//! A subcommand returns its exit code, or an error that [`crate::errors::tell`] puts into words.

pub(crate) mod accounts;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod chat;
pub(crate) mod cluster;
pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod manual;
pub(crate) mod node;
pub(crate) mod operator;
pub(crate) mod restore;
pub(crate) mod serve;
pub(crate) mod up;
