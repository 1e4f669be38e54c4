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
//! println!("node {} serves {}; node {leader} is the leader", node.node(), node.client_address());
//! let reason = node.failed().await; // Never ends on a healthy node.
//! node.stop(Duration::from_secs(10)).await;
//! # drop(reason);
//! # Ok(())
//! # }
//! ```
//!
//! The folders are floors; files use only those below them, and the header of each folder says what
//! it is for. Start reading with `node`, which starts and stops the others; then `api`, a file for
//! each service of clients; then `live`, which makes streams from what was applied.

#![cfg_attr(
    test,
    allow(clippy::too_many_lines, reason = "a test tells its story in one piece")
)]

mod api;
mod auth;
mod backup;
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
mod observe;
mod peer;
mod peer_api;
mod protocol;
mod tls;

pub use api::operator_file::{OPERATOR_FILE, OPERATOR_RESET_FILE};
pub use auth::passwords::{hash_alone, hash_of_no_password};
pub use auth::registration::Registration;
pub use backup::restore::{Begun, RestoreError, Restored, begin_cluster, restore};
pub use backup::verify::{BackupError, check_backup, unpack_backup, verify_backup};
pub use base::tracer::Sample;
pub use cluster::fail_stop::GoesAlone;
pub use cluster::start_error::{StartError, Stuck};
pub use conclave_storage::{
    DiskFailure, Fault,
    backup::{Head as BackupHead, UnpackError},
    log::LogId,
};
pub use config::backup::BackupConfig;
pub use config::demo::Demo;
pub use config::recover::RecoverConfig;
pub use config::trace::TraceConfig;
pub use config::{
    log_format::LogFormat,
    node_config::NodeConfig,
    sources::{ConfigError, Overrides},
};
pub use connections::Limits;
pub use context::log_control::LogControl;
pub use identity::node_identity::IdentityError;
pub use identity::owner::check_owner;
pub use identity::secret::{ClusterSecret, NoSecret};
pub use node::process::Node;
pub use node::recover::running::Running;
pub use node::recover::{RecoverError, Recovered, Recovery, recover_alone};
pub use peer::snapshots::{Direction, Transfer};
pub use tls::OwnCertificateError;
pub use tls::security::SecurityError;
