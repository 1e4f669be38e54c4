//! The configuration of a node: settings from a file, the environment and flags, checked.
//!
//! It starts nothing. The floors that start a node, join a cluster or repair data use it.

pub(crate) mod backup;
pub(crate) mod demo;
pub(crate) mod log_format;
pub(crate) mod node_config;
pub(crate) mod recover;
pub(crate) mod sources;
pub(crate) mod trace;
