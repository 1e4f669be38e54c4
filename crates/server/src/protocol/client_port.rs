//! Constants of the client port: the names of its services, the path of its webhooks and the size
//! of the largest message, for every part that looks at a request before a service gets it.
//!
//! Always true: these are names and bounds; nothing is served here.

/// Largest message from a client in bytes: far more than the largest request.
pub(crate) const CLIENT_MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Largest request in a stream of messages in bytes: the node keeps some of each stream.
pub(crate) const STREAMED_REQUEST_BYTES_MAX: usize = 128 * 1024;
/// Services that `grpc.health.v1` reports: the whole node, and each service for clients.
pub(crate) const SERVICES: [&str; 8] = [
    "",
    "conclave.v1.AccountService",
    "conclave.v1.SessionService",
    "conclave.v1.ChatService",
    "conclave.v1.RoomService",
    "conclave.v1.LiveService",
    "conclave.v1.AdminService",
    "conclave.v1.BackupService",
];
/// Prefix of the secret in the path of a webhook.
pub(crate) const HOOKS: &str = "/hooks/";

/// Prefix of what the page asks beside its calls.
pub(crate) const PAGE: &str = "/page/";

/// Returns whether requests to this path are for webhooks.
pub(crate) fn is_for_webhooks(path: &str) -> bool {
    path.starts_with(HOOKS) || path == HOOKS.trim_end_matches('/')
}
