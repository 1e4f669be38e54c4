//! Binds the listeners of a node: for clients, for peers, and for those that watch it.
//!
//! Nothing is accepted here: a client or a peer that connects waits until the node serves.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use conclave_replica::Member;
use conclave_wire::address;
use rustls::sign::CertifiedKey;
use tokio::net::{TcpListener, TcpSocket, lookup_host};

use crate::{
    cluster::start_error::StartError,
    config::node_config::{ADMIN_OFF, NodeConfig},
    observe::AdminListener,
    tls::{
        OwnWatch,
        security::{self, SecurityError},
    },
};

/// Maximum number of connections that wait to be accepted; the system may allow fewer. A client
/// that finds no place tries again after a second.
const WAITING_MAX: u32 = 8192;

/// Distance from the port for clients to the admin port, if the operator names none: 7402 behind
/// 7400 and 7401.
const ADMIN_PORT_AFTER: u16 = 2;

/// The listeners of a node before it serves, and the certificate of its operator.
pub(super) struct Bound {
    pub(super) client: TcpListener,
    pub(super) peers: TcpListener,
    pub(super) client_address: SocketAddr,
    pub(super) peer_address: SocketAddr,
    /// The admin listener, until it serves.
    admin: Option<(TcpListener, SocketAddr)>,
    pub(super) own_certificate: Option<(OwnWatch, Arc<CertifiedKey>)>,
}

impl Bound {
    /// Binds the listeners, and reads the certificate.
    ///
    /// # Errors
    /// If an address is taken or refused, or the certificate cannot be used.
    pub(super) async fn open(config: &NodeConfig) -> Result<Self, StartError> {
        let client = listen(&config.client_address, "clients").await?;
        let peers = listen(&config.peer_address, "peers").await?;
        let client_address = local_address(&client)?;
        let peer_address = local_address(&peers)?;
        let admin = admin(config, client_address).await?;
        security::check(config.plain, client_address)?;
        let (certificate, key) = (config.tls_certificate.as_ref(), config.tls_key.as_ref());
        let own_files = security::own_files(config.plain, certificate, key)?;
        let own_certificate = own_files.map(OwnWatch::start).transpose();
        Ok(Self {
            client,
            peers,
            client_address,
            peer_address,
            admin,
            own_certificate: own_certificate.map_err(SecurityError::from)?,
        })
    }

    /// Starts the admin listener, if there is one: it shows that the node is starting, too.
    pub(super) fn serve_admin(&mut self) -> Option<AdminListener> {
        let (listener, address) = self.admin.take()?;
        Some(AdminListener::start(listener, address))
    }

    /// Returns the addresses at which other machines reach this node.
    pub(super) fn member(&self, config: &NodeConfig) -> Result<Member, StartError> {
        Ok(Member {
            peer_address: advertised(config, self.peer_address)?,
            client_address: advertised(config, self.client_address)?,
            // What the data directory says is found later.
            witness: false,
            set_aside: false,
        })
    }
}

/// Binds the admin listener: where the operator says, or else on loopback at a port that follows
/// from the one for clients. That one may be taken, by a node on the same machine for example: then
/// there is no admin listener, and the log says so.
async fn admin(
    config: &NodeConfig,
    clients: SocketAddr,
) -> Result<Option<(TcpListener, SocketAddr)>, StartError> {
    let listener = match config.admin_address.as_deref() {
        Some(ADMIN_OFF) => return Ok(None),
        Some(address) => listen(address, "probes and metrics").await?,
        None => {
            let port = match config.client_address.rsplit_once(':') {
                Some((_, "0")) => Some(0),
                _ => clients.port().checked_add(ADMIN_PORT_AFTER),
            };
            let Some(port) = port else { return Ok(None) };
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            match listen_on(&address.to_string()).await {
                Ok(listener) => listener,
                Err(error) => {
                    tracing::warn!(%address, %error, "failed to bind the admin listener");
                    return Ok(None);
                }
            }
        }
    };
    let address = local_address(&listener)?;
    if !address.ip().is_loopback() {
        tracing::info!(%address, "the admin listener can be reached from other machines");
    }
    Ok(Some((listener, address)))
}

async fn listen(address: &str, callers: &'static str) -> Result<TcpListener, StartError> {
    let failed = |source| StartError::Listen {
        address: address.to_owned(),
        callers,
        source,
    };
    listen_on(address).await.map_err(failed)
}

/// Listens on the first available address of this name.
async fn listen_on(address: &str) -> io::Result<TcpListener> {
    let mut refused = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
    for address in lookup_host(address).await? {
        let socket = match address.is_ipv4() {
            true => TcpSocket::new_v4(),
            false => TcpSocket::new_v6(),
        }?;
        // Lets a server start again at once on the same address.
        socket.set_reuseaddr(true)?;
        match socket
            .bind(address)
            .and_then(|()| socket.listen(WAITING_MAX))
        {
            Ok(listener) => return Ok(listener),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// Returns the address at which other machines reach a listener of this node.
fn advertised(config: &NodeConfig, local: SocketAddr) -> Result<String, StartError> {
    match &config.advertise {
        Some(host) => {
            let wrong = |why| StartError::Join(format!("advertise `{host}`: {why}"));
            let host = address::check_host(host).map_err(wrong)?;
            Ok(format!("{host}:{}", local.port()))
        }
        None if local.ip().is_unspecified() && config.members.is_empty() => {
            let sentence = format!("{local} is every address of this machine, and others need one");
            Err(StartError::Join(sentence))
        }
        None => Ok(local.to_string()),
    }
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener
        .local_addr()
        .map_err(|error| StartError::System(error.to_string()))
}
