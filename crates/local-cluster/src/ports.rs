//! Chooses the ports on which the nodes of a local cluster listen.
//!
//! Throw-away clusters take a block below the range from which the system gives ports to outgoing
//! connections, so that no connection gets one of them between the trial and the bind. If a port is
//! taken nevertheless, the node finds out; the cluster then takes another block.

use std::{
    net::{Ipv4Addr, TcpListener},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// The first port of throw-away clusters.
const FREE_FIRST: u16 = 10_000;
/// The port after the last of throw-away clusters: the ephemeral range of Linux begins at 32768.
const FREE_END: u16 = 32_000;
/// Number of ports in one block: enough for the largest cluster.
const BLOCK_PORTS: u16 = FREE_STEP * NODES_MAX as u16;
/// Distance between the first ports of two nodes of a throw-away cluster.
const FREE_STEP: u16 = 3;
/// Maximum number of nodes in a local cluster.
pub const NODES_MAX: u64 = 9;
/// Number of blocks.
const BLOCKS: u32 = ((FREE_END - FREE_FIRST) / BLOCK_PORTS) as u32;
/// Distance between the first ports of two nodes of a lasting cluster.
const FIXED_STEP: u16 = 10;

/// Number of blocks that this process has tried.
static TRIED: AtomicU32 = AtomicU32::new(0);

/// The ports of one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    base: u16,
    step: u16,
}

impl Ports {
    /// Returns ports that stay: node 1 has `base` for clients, `base + 1` for peers and `base + 2`
    /// for probes and metrics, node 2 ten more. `None` if the last of them would be no valid port.
    pub fn fixed(base: u16, nodes: u64) -> Option<Self> {
        let ports = Self {
            base,
            step: FIXED_STEP,
        };
        let last = u64::from(base) + u64::from(FIXED_STEP) * nodes.saturating_sub(1) + 2;
        (base > 0 && last <= u64::from(u16::MAX)).then_some(ports)
    }

    /// Finds a block of ports that no process uses right now; `None` if there is none.
    pub fn free(nodes: u64) -> Option<Self> {
        (0..BLOCKS).find_map(|_| {
            let tried = TRIED.fetch_add(1, Ordering::Relaxed);
            let ports = Self {
                base: block_base(process::id(), tried),
                step: FREE_STEP,
            };
            ports.are_free(nodes).then_some(ports)
        })
    }

    /// Returns whether these ports were chosen because no process used them.
    pub(crate) fn may_move(self) -> bool {
        self.step != FIXED_STEP
    }

    /// Returns the address at which clients reach this node.
    pub fn client(self, node: u64) -> String {
        format!("127.0.0.1:{}", self.port(node))
    }

    /// Returns the address at which peers reach this node.
    pub fn peer(self, node: u64) -> String {
        format!("127.0.0.1:{}", self.peer_port(node))
    }

    /// Returns the address at which this node answers probes and serves its metrics.
    pub fn admin(self, node: u64) -> String {
        format!("127.0.0.1:{}", self.port(node) + 2)
    }

    /// Returns the port at which peers reach this node.
    pub(crate) fn peer_port(self, node: u64) -> u16 {
        self.port(node) + 1
    }

    fn port(self, node: u64) -> u16 {
        let before = u16::try_from(node - 1).expect("a local cluster is small");
        self.base + self.step * before
    }

    fn are_free(self, nodes: u64) -> bool {
        (1..=nodes).all(|node| {
            let port = self.port(node);
            [port, port + 1, port + 2]
                .into_iter()
                .all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        })
    }
}

/// Returns the first port of the next block to try. Processes that start at the same time begin far
/// from each other.
fn block_base(process: u32, tried: u32) -> u16 {
    const SCATTER: u32 = 7919;
    let block = process.wrapping_mul(SCATTER).wrapping_add(tried) % BLOCKS;
    FREE_FIRST + u16::try_from(block).expect("there are few blocks") * BLOCK_PORTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_blocks_of_one_process_do_not_overlap() {
        let mut bases: Vec<u16> = (0..BLOCKS).map(|tried| block_base(77, tried)).collect();
        bases.sort_unstable();
        bases.dedup();
        assert_eq!(bases.len(), BLOCKS as usize);
        assert!(bases[0] >= FREE_FIRST);
        assert!(
            bases
                .windows(2)
                .all(|pair| pair[1] - pair[0] >= BLOCK_PORTS)
        );
        assert!(bases[bases.len() - 1] + BLOCK_PORTS <= FREE_END);
    }

    #[test]
    fn a_port_in_use_is_not_chosen() {
        let ports = Ports::free(3).expect("there are free ports");
        assert!(ports.are_free(3));
        let taken = TcpListener::bind(ports.peer(3)).expect("it is free");
        assert!(!ports.are_free(3));
        drop(taken);
    }

    #[test]
    fn fixed_ports_are_ten_apart_and_end_with_the_last_port() {
        let ports = Ports::fixed(7400, 5).expect("these are ports");
        assert_eq!(ports.client(1), "127.0.0.1:7400");
        assert_eq!(ports.peer(5), "127.0.0.1:7441");
        assert_eq!(ports.admin(2), "127.0.0.1:7412");
        assert!(Ports::fixed(65_493, 5).is_some());
        assert_eq!(Ports::fixed(65_494, 5), None);
        assert_eq!(Ports::fixed(0, 1), None);
    }
}
