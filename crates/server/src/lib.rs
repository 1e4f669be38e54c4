//! One node of Conclave as a process: the services that clients and peers call, around a replica.
//!
//! Always true: untyped data stops at the boundary of this crate; any input from outside may be
//! refused, and never makes the node panic.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use conclave_server::{Node, NodeConfig};
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let config = NodeConfig { data: "/var/lib/conclave".into(), ..NodeConfig::default() };
//! let node = Node::start(config).await?;
//! let leader = node.ready().await;
//! println!("node {} serves {}; node {leader} leads", node.node(), node.client_address());
//! let reason = node.failed().await; // Never ends on a healthy node.
//! node.stop(Duration::from_secs(10)).await;
//! # drop(reason);
//! # Ok(())
//! # }
//! ```
//!
//! The folders are floors; files use only those below them. Start reading with `node`, which starts
//! and stops the others; then `api`, a file for each service of clients; then `live`, which makes
//! streams from what was applied. The header of each folder's `mod.rs` says what it is for.

mod api;
mod auth;
mod client_port;
mod cluster;
mod config;
mod connections;
mod context;
mod deadline;
mod files;
mod http;
mod identity;
mod integrity;
mod kept;
mod live;
mod long_work;
mod node;
mod pace;
mod pages;
mod peer;
mod peer_api;
mod problems;
mod random;
mod read_turns;
mod recover;
mod show;
mod start_error;
mod tls;
mod told;
mod webhooks;

pub use api::operator_file::{OPERATOR_FILE, OPERATOR_RESET_FILE};
pub use auth::registration::Registration;
pub use conclave_replica::{DiskFailure, Fault, LogId};
pub use config::{ConfigError, NodeConfig, Overrides};
pub use connections::Limits;
pub use identity::node_identity::IdentityError;
pub use identity::secret::{ClusterSecret, NoSecret};
pub use node::process::Node;
pub use peer::snapshots::{Direction, Transfer};
pub use recover::{RecoverError, Recovered, Recovery};
pub use start_error::{StartError, Stuck};
pub use tls::OwnCertificateError;
pub use tls::security::SecurityError;
