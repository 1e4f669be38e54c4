//! One node of Conclave as a process: the services that clients and peers call, around a replica.
//!
//! Always true: untyped data stops at the boundary of this crate; any input from outside may be
//! refused, and never makes the node panic.

mod api;
mod auth;
mod base;
mod cluster;
mod config;
mod connections;
mod context;
mod files;
mod http;
mod identity;
mod integrity;
mod live;
mod node;
mod peer;
mod peer_api;
mod protocol;
mod tls;

pub use api::operator_file::{OPERATOR_FILE, OPERATOR_RESET_FILE};
pub use auth::registration::Registration;
pub use cluster::start_error::{StartError, Stuck};
pub use conclave_replica::{DiskFailure, Fault, LogId};
pub use config::node_config::{ConfigError, NodeConfig, Overrides};
pub use connections::Limits;
pub use identity::node_identity::IdentityError;
pub use identity::secret::{ClusterSecret, NoSecret};
pub use node::process::Node;
pub use node::recover::{RecoverError, Recovered, Recovery};
pub use peer::snapshots::{Direction, Transfer};
pub use tls::OwnCertificateError;
pub use tls::security::SecurityError;
