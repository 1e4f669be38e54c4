//! One node of Conclave as a process: what clients and peers reach, around a replica.
//!
//! Always true: untyped data stops at the door of this crate; whatever comes in from outside may
//! be refused, and never makes the node panic.

mod access;
mod accounts;
mod admin;
mod admission;
mod beside;
mod chat;
mod check;
mod codec;
mod config;
mod connections;
mod convert;
mod digests;
mod durable;
mod founding;
mod identity;
mod join;
mod join_token;
mod listeners;
mod live;
mod membership;
mod node;
mod origin;
mod pages;
mod passwords;
mod peer_guard;
mod peer_service;
mod preference;
mod problems;
mod random;
mod reachability;
mod registration;
mod repair;
mod rooms;
mod sealed;
mod search;
mod secret;
mod security;
mod sessions;
mod sessions_service;
mod setup;
mod shared;
mod show;
mod snapshots;
mod strangers;
mod throttle;
mod tls;
mod told;
mod transport;
mod way_back;
mod webhook_answers;
mod webhooks;

pub use config::{ConfigError, NodeConfig, Overrides};
pub use connections::Limits;
pub use identity::IdentityError;
pub use node::{Node, StartError};
pub use registration::Registration;
pub use repair::Stuck;
pub use secret::{ClusterSecret, NoSecret};
pub use security::SecurityError;
pub use snapshots::{Direction, Transfer};
pub use tls::OwnCertificateError;
