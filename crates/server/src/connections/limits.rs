//! The limits of both ports: the `limits` table of the configuration, and the bounds that follow
//! from it and from the number of descriptors that the process may have.

use std::time::Duration;

use serde::Deserialize;

use super::descriptors;

/// The `limits` table of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Maximum number of connections of clients; 0: what the descriptors allow.
    pub client_connections: u64,
    /// Maximum number of connections of peers; 0: what the descriptors allow.
    pub peer_connections: u64,
    /// Maximum number of connections of one port whose caller is not known; 0: half of all.
    pub unauthenticated_connections: u64,
    /// Maximum number of handshakes with clients that begin in a second, on average.
    pub handshakes_per_second: u64,
    /// Maximum time in seconds for the first byte, and for the TLS handshake.
    pub handshake_seconds: u64,
    /// Maximum time in seconds for the start of HTTP/2, or for the header of an HTTP/1.1 request.
    pub header_seconds: u64,
    /// Time in seconds after which an HTTP/1.1 connection without a request is closed, if its
    /// caller is known.
    pub keep_alive_seconds: u64,
    /// Maximum time in seconds for the body of a request.
    pub body_seconds: u64,
    /// Time in seconds after which a connection without a call is closed if its caller is not
    /// known.
    pub idle_seconds: u64,
    /// Time in seconds without progress after which a response that the caller does not read is
    /// aborted.
    pub stalled_seconds: u64,
    /// Maximum number of concurrent calls of one client connection.
    pub streams_per_connection: u32,
    /// Maximum body of a caller that is not known, in bytes.
    pub unauthenticated_body_bytes: u64,
    /// Maximum rate in bytes per second from a connection whose caller is not known.
    pub unauthenticated_bytes_per_second: u64,
    /// Maximum number of bytes of unfinished requests and unread responses in memory, for one
    /// connection.
    pub connection_held_bytes: u64,
    /// Maximum number of these bytes for all connections of a port. Beyond it connections of the
    /// caller that holds most are cut.
    pub held_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            client_connections: 0,
            peer_connections: 0,
            unauthenticated_connections: 0,
            // When a node dies all its clients connect to the other nodes at once: this rate leaves
            // time for calls under way.
            handshakes_per_second: 500,
            handshake_seconds: 3,
            header_seconds: 5,
            // Firefox gives an idle connection up after 115 seconds, proxies after 60: the caller
            // closes it, and no request meets a node that is closing.
            keep_alive_seconds: 130,
            body_seconds: 10,
            idle_seconds: 20,
            stalled_seconds: 10,
            // The client library has 128 requests under way, and its streams.
            streams_per_connection: 200,
            unauthenticated_body_bytes: 16 * 1024,
            unauthenticated_bytes_per_second: 64 * 1024,
            connection_held_bytes: 4 * 1024 * 1024,
            held_bytes: 24 * 1024 * 1024,
        }
    }
}

/// Maximum number of connections of one port by default, whatever the system allows.
const CONNECTIONS_MAX: u64 = 65_536;
/// Maximum number of places of unknown callers by default: each may cost a handshake.
const UNAUTHENTICATED_MAX: u64 = 1024;
/// Descriptors that are not for connections: databases and their readers, the log, connections to
/// peers, temporary files. At least the first number, at most the second.
const RESERVE: (u64, u64) = (112, 1024);
/// Connections of the peer port: some for each member and each kind of call.
const PEERS: (u64, u64) = (40, 1024);
/// Maximum number of handshakes with strangers that begin in a second on the port for peers, on
/// average, and as many with members. Seven nodes that connect anew make some fifty with each.
const PEER_HANDSHAKES_PER_SECOND: u64 = 200;
/// Minimum number of places of a port for unknown callers.
const UNAUTHENTICATED_MIN: u64 = 16;

/// Bounds of one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// Number of connections.
    pub(crate) all: usize,
    /// Number of connections whose caller is not known.
    pub(crate) unauthenticated: usize,
    /// Number of these places that are kept for the addresses of members.
    pub(crate) kept: usize,
}

/// Bounds of both ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    /// Number of descriptors that the process may have.
    pub(crate) descriptors: u64,
    pub(crate) clients: Capacity,
    pub(crate) peers: Capacity,
}

impl Ports {
    /// Raises the number of descriptors as far as the system allows and divides them.
    pub(crate) fn open(limits: &Limits) -> Self {
        Self::of(limits, descriptors::raise())
    }

    fn of(limits: &Limits, descriptors: u64) -> Self {
        let reserve = (descriptors / 4).clamp(RESERVE.0, RESERVE.1);
        let left = descriptors.saturating_sub(reserve);
        let given = |configured: u64, default: u64| match configured {
            0 => default,
            configured => configured,
        };
        let peers = (left / 4).clamp(PEERS.0, PEERS.1);
        let peers = given(limits.peer_connections, peers);
        let clients = left.saturating_sub(peers).min(CONNECTIONS_MAX);
        let clients = given(limits.client_connections, clients);
        let capacity = |all: u64, kept: u64| {
            let unauthenticated = given(
                limits.unauthenticated_connections,
                (all / 2).min(UNAUTHENTICATED_MAX),
            );
            let unauthenticated =
                unauthenticated.clamp(UNAUTHENTICATED_MIN, all.max(UNAUTHENTICATED_MIN));
            let count = |number| usize::try_from(number).unwrap_or(usize::MAX);
            Capacity {
                all: count(all.max(UNAUTHENTICATED_MIN)),
                unauthenticated: count(unauthenticated),
                kept: count(unauthenticated / kept),
            }
        };
        Self {
            descriptors,
            clients: capacity(clients, u64::MAX),
            peers: capacity(peers, 2),
        }
    }
}

impl Limits {
    pub(crate) fn handshake(&self) -> Duration {
        Duration::from_secs(self.handshake_seconds.max(1))
    }

    pub(crate) fn header(&self) -> Duration {
        Duration::from_secs(self.header_seconds.max(1))
    }

    pub(crate) fn keep_alive(&self) -> Duration {
        Duration::from_secs(self.keep_alive_seconds.max(1))
    }

    pub(crate) fn body(&self) -> Duration {
        Duration::from_secs(self.body_seconds.max(1))
    }

    pub(crate) fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_seconds.max(1))
    }

    pub(crate) fn stalled(&self) -> Duration {
        Duration::from_secs(self.stalled_seconds.max(1))
    }

    pub(crate) fn between_handshakes(&self, for_clients: bool) -> Duration {
        let per_second = match for_clients {
            true => self.handshakes_per_second.max(1),
            false => PEER_HANDSHAKES_PER_SECOND,
        };
        Duration::from_secs(1) / u32::try_from(per_second).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_stay_below_the_descriptor_limit() {
        for descriptors in [256, 512, 1024, 4096, 20_000, 1 << 20] {
            let ports = Ports::of(&Limits::default(), descriptors);
            let connections = ports.clients.all + ports.peers.all;
            let left = usize::try_from(descriptors).unwrap() - connections;
            assert!(left >= 112, "{descriptors}: {ports:?}");
            for port in [ports.clients, ports.peers] {
                assert!(port.unauthenticated < port.all, "{descriptors}: {ports:?}");
                assert!(port.unauthenticated >= 16, "{descriptors}: {ports:?}");
            }
            assert!(ports.peers.kept * 2 >= ports.peers.unauthenticated - 1);
        }
    }

    #[test]
    fn configured_connection_limits_are_used() {
        let limits = Limits {
            client_connections: 100,
            peer_connections: 50,
            unauthenticated_connections: 20,
            ..Limits::default()
        };
        let ports = Ports::of(&limits, 20_000);
        assert_eq!(
            (ports.clients.all, ports.clients.unauthenticated),
            (100, 20)
        );
        assert_eq!((ports.peers.all, ports.peers.unauthenticated), (50, 20));
    }
}
