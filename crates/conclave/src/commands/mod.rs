//! One file per subcommand: what it takes (`Args`) and what it does (`run`).
//!
//! A subcommand gives its exit code, or an error that [`crate::errors::tell`] puts into words.

pub(crate) mod bench;
pub(crate) mod demo;
pub(crate) mod serve;
pub(crate) mod up;
