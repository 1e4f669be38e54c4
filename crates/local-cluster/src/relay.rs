//! Carries the connections between the nodes of a local cluster, so that a node can be cut off.
//!
//! Each node listens for its peers on an address of its own, `127.0.1.NUMBER`, and advertises
//! `127.0.0.1`, where its relay listens on the same port. A relay finds out which node has opened a
//! connection by asking the system which process owns it. What passes is encrypted, and nothing of
//! it is read.
//!
//! Always true: while a node is cut off, no byte passes between it and another node. As on a real
//! network nothing is refused either: bytes wait, and a connection that has waited for longer than
//! a node does is dropped.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener as StdListener},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::{AbortHandle, spawn_blocking},
    time::timeout,
};

use crate::Ports;

/// Whether this system tells which process has opened a connection, and has more than one address
/// for itself: relays need both.
pub const CAN_CUT_OFF: bool = cfg!(target_os = "linux");

/// Maximum number of connections that one relay carries: a node has a few to each other one.
const CONNECTIONS_MAX: usize = 128;
/// How long bytes wait for a cut to end: longer than a node waits for another.
const HOLD_LIMIT: Duration = Duration::from_secs(3);
/// Longest time until a node behind a relay accepts a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// Maximum number of bytes of one direction that wait.
const PIECE_BYTES: usize = 64 * 1024;

/// The relays in front of all nodes. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct Relays {
    network: Arc<Network>,
    tasks: Vec<AbortHandle>,
}

/// What the relays know of the nodes.
#[derive(Debug)]
struct Network {
    cut_off: watch::Sender<BTreeSet<u64>>,
    /// The process of each node that was started.
    processes: Mutex<BTreeMap<u64, u32>>,
}

impl Drop for Relays {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Returns the address on which this node listens for its peers behind its relay.
pub(crate) fn behind(ports: Ports, node: u64) -> SocketAddr {
    let port = ports.peer_port(node);
    let number = u8::try_from(node).expect("a local cluster is small");
    (Ipv4Addr::new(127, 0, 1, number), port).into()
}

impl Relays {
    /// Opens a relay in front of each node. Must be called within a tokio runtime.
    pub(crate) fn open(ports: Ports, nodes: u64) -> io::Result<Self> {
        let network = Arc::new(Network {
            cut_off: watch::Sender::new(BTreeSet::new()),
            processes: Mutex::default(),
        });
        let mut relays = Self {
            network,
            tasks: Vec::new(),
        };
        for node in 1..=nodes {
            let listener = StdListener::bind((Ipv4Addr::LOCALHOST, ports.peer_port(node)))?;
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            let target = behind(ports, node);
            let serve = serve(listener, node, target, relays.network.clone());
            relays.tasks.push(tokio::spawn(serve).abort_handle());
        }
        Ok(relays)
    }

    /// Remembers the process of a node.
    pub(crate) fn has_started(&self, node: u64, pid: u32) {
        self.network.processes().insert(node, pid);
    }

    /// Cuts this node off from all others, or ends that.
    pub(crate) fn set_cut_off(&self, node: u64, is_cut_off: bool) {
        self.network
            .cut_off
            .send_if_modified(|cut_off| match is_cut_off {
                true => cut_off.insert(node),
                false => cut_off.remove(&node),
            });
    }
}

impl Network {
    fn processes(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, u32>> {
        // The map is sound after every statement that changes it.
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the node that has opened the connection `from` → `to`.
    fn node_of(&self, from: SocketAddr, to: SocketAddr) -> Option<u64> {
        let table = fs::read_to_string("/proc/net/tcp").ok()?;
        let socket = format!("socket:[{}]", inode(&table, from, to)?);
        let processes = self.processes().clone();
        let mut owners = processes.into_iter().filter(|(_, pid)| {
            let open = fs::read_dir(format!("/proc/{pid}/fd"));
            let mut open = open.into_iter().flatten().flatten();
            open.any(|file| fs::read_link(file.path()).is_ok_and(|is| is.as_os_str() == &*socket))
        });
        owners.next().map(|(node, _)| node)
    }
}

/// Finds a connection in the system's table of them, and returns the number of its socket.
fn inode(table: &str, from: SocketAddr, to: SocketAddr) -> Option<u64> {
    let written = |address: SocketAddr| match address {
        SocketAddr::V4(address) => {
            // The system writes the address as one number of this machine's byte order.
            let ip = u32::from_ne_bytes(address.ip().octets());
            Some(format!("{ip:08X}:{:04X}", address.port()))
        }
        SocketAddr::V6(_) => None,
    };
    let (from, to) = (written(from)?, written(to)?);
    table.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let is_it = fields.next()? == from && fields.next()? == to;
        is_it.then(|| fields.nth(6)?.parse().ok()).flatten()
    })
}

async fn serve(listener: TcpListener, node: u64, target: SocketAddr, network: Arc<Network>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Its tasks end with it.
    let mut carried = tokio::task::JoinSet::new();
    loop {
        // With all places taken, connections wait in the system's queue.
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        while carried.try_join_next().is_some() {}
        let Ok((stream, from)) = listener.accept().await else {
            // The system has no descriptor left for it; those that are carried give some back.
            carried.join_next().await;
            continue;
        };
        let network = network.clone();
        carried.spawn(async move {
            // What fails is the connection of two nodes, which make another one.
            let _ = carry(stream, from, node, target, &network).await;
            drop(place);
        });
    }
}

async fn carry(
    stream: TcpStream,
    from: SocketAddr,
    node: u64,
    target: SocketAddr,
    network: &Arc<Network>,
) -> io::Result<()> {
    let (asked, to) = (network.clone(), stream.local_addr()?);
    let dialler = spawn_blocking(move || asked.node_of(from, to)).await?;
    let gate = Gate {
        cut_off: network.cut_off.subscribe(),
        ends: [Some(node), dialler],
    };
    gate.clone().pass().await?;
    let onward = timeout(CONNECT_LIMIT, TcpStream::connect(target)).await??;
    stream.set_nodelay(true)?;
    onward.set_nodelay(true)?;
    let (mut from_dialler, mut to_dialler) = stream.into_split();
    let (mut from_node, mut to_node) = onward.into_split();
    let there = pump(&mut from_dialler, &mut to_node, gate.clone());
    let back = pump(&mut from_node, &mut to_dialler, gate);
    tokio::try_join!(there, back).map(drop)
}

/// Lets bytes of one connection pass, unless one of its ends is cut off.
#[derive(Clone)]
struct Gate {
    cut_off: watch::Receiver<BTreeSet<u64>>,
    ends: [Option<u64>; 2],
}

impl Gate {
    async fn pass(&mut self) -> io::Result<()> {
        let ends = self.ends;
        let is_open = |cut_off: &BTreeSet<u64>| {
            let mut ends = ends.into_iter().flatten();
            ends.all(|end| !cut_off.contains(&end))
        };
        let opened = self.cut_off.wait_for(is_open);
        match timeout(HOLD_LIMIT, opened).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

async fn pump(
    from: &mut (impl tokio::io::AsyncRead + Unpin),
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
    mut gate: Gate,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let bytes = from.read(&mut piece).await?;
        gate.pass().await?;
        if bytes == 0 {
            return to.shutdown().await;
        }
        to.write_all(&piece[..bytes]).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_found_in_the_table_of_the_system() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\
                     \n   0: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 0000 \
                     0        0 4711 1\n   1: short\n";
        let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if cfg!(target_endian = "little") {
            assert_eq!(inode(table, at(8080), at(40_000)), Some(4711));
        }
        assert_eq!(inode(table, at(40_000), at(8080)), None);
        assert_eq!(inode("", at(1), at(2)), None);
    }

    #[tokio::test]
    async fn no_byte_passes_while_a_node_is_cut_off() {
        let ports = Ports::free(2).unwrap();
        let relays = Relays::open(ports, 2).unwrap();
        relays.has_started(1, std::process::id());
        let node = TcpListener::bind(behind(ports, 2)).await.unwrap();
        let mut dialled = TcpStream::connect(ports.peer(2)).await.unwrap();
        dialled.write_all(b"a").await.unwrap();
        let (mut accepted, _) = node.accept().await.unwrap();
        assert_eq!(accepted.read_u8().await.unwrap(), b'a');

        // Node 1, which this test is, is cut off: what it sends waits.
        relays.set_cut_off(1, true);
        dialled.write_all(b"b").await.unwrap();
        let waited = timeout(Duration::from_millis(300), accepted.read_u8()).await;
        assert!(waited.is_err(), "{waited:?}");
        relays.set_cut_off(1, false);
        assert_eq!(accepted.read_u8().await.unwrap(), b'b');

        // A connection that waits for too long is dropped, as if the other end had gone.
        relays.set_cut_off(2, true);
        dialled.write_all(b"c").await.unwrap();
        let ended = timeout(3 * HOLD_LIMIT, dialled.read(&mut [0]))
            .await
            .unwrap();
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
        drop(relays);
        assert!(TcpStream::connect(ports.peer(2)).await.is_err());
    }
}
