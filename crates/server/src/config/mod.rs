//! The configuration of a node.
//!
//! It reads settings and checks them; it starts nothing. The floors that start a node, join a
//! cluster or repair data use it.

pub(crate) mod node_config;
