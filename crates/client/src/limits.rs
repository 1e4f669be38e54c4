//! The bounds of a client that other files and applications name.
//!
//! Always true: two programs may share a session, and their requests fit its window.

/// Maximum number of nodes that one client knows. More are refused when building, and ignored when
/// learned from hints.
pub const ENDPOINTS_MAX: usize = 32;

/// Maximum number of requests of one session under way at once; the others wait for their turn.
/// Half a [`conclave_core::limits::REQUEST_WINDOW`], so that two programs may share a session.
pub const IN_FLIGHT_MAX: usize = 128;

const _: () = assert!((IN_FLIGHT_MAX as u64) < conclave_core::limits::REQUEST_WINDOW);
