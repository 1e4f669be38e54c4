//! Connects to a name that may have several addresses, of which some do not answer.
//!
//! Always true: each address has its own time. The next one is tried when the one before has
//! failed, or has not answered within 80 ms; the first that answers is taken, and the
//! attempts that are left are given up.

use std::{io, net::SocketAddr, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    net::{TcpStream, lookup_host},
    time::sleep,
};

/// How long an address may take before the next one is tried as well. Less than the 250 ms of RFC
/// 8305, because peers give up after 300 ms.
const HEAD_START: Duration = Duration::from_millis(80);
/// Addresses of a name that are tried; the rest is left out.
const ADDRESSES_MAX: usize = 8;

/// Connects to this host, an address or a name. The caller sets the limit for all of it.
///
/// # Errors
/// If the name has no address, or none of them answers: that of the first.
pub async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found = lookup_host((host, port)).await?.collect();
    let stream = connect_any(in_turn(found)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Lets the address families take turns, so that one that has no way out costs one head start, not
/// one for each of its addresses.
fn in_turn(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v4 = found.first().is_some_and(SocketAddr::is_ipv4);
    let (first, second): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|address| address.is_ipv4() == first_is_v4);
    let mut second = second.into_iter();
    let mut ordered: Vec<SocketAddr> = first
        .into_iter()
        .flat_map(|address| [Some(address), second.next()])
        .flatten()
        .collect();
    ordered.extend(second);
    ordered.truncate(ADDRESSES_MAX);
    ordered
}

async fn connect_any(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failed = None;
    loop {
        let (is_idle, has_next) = (attempts.is_empty(), waiting.len() > 0);
        let next_may_begin = async move {
            // With nothing under way there is nothing to wait for.
            if !is_idle {
                sleep(HEAD_START).await;
            }
        };
        tokio::select! {
            biased;
            Some(outcome) = attempts.next(), if !is_idle => match outcome {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    failed.get_or_insert(error);
                    attempts.extend(waiting.next().map(TcpStream::connect));
                }
            },
            () = next_may_begin, if has_next => {
                attempts.extend(waiting.next().map(TcpStream::connect));
            }
            else => {
                let nothing = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                return Err(failed.unwrap_or_else(nothing));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        net::{TcpListener, TcpSocket},
        time::{Instant, timeout},
    };

    use super::*;

    /// Returns an address that answers nothing: its queue of connections is full.
    async fn silent() -> (TcpListener, Vec<TcpStream>, SocketAddr) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut held = Vec::new();
        while let Ok(stream) = timeout(HEAD_START, TcpStream::connect(address)).await {
            held.push(stream.unwrap());
            assert!(held.len() < 64, "its queue has no end");
        }
        (listener, held, address)
    }

    async fn answering() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    async fn refusing() -> SocketAddr {
        answering().await.1
    }

    #[tokio::test]
    async fn a_silent_address_does_not_block_the_next_address() {
        let (_listener, _held, silent) = silent().await;
        let (_good, good) = answering().await;
        let began = Instant::now();
        let stream = connect_any(vec![silent, refusing().await, good]).await;
        assert_eq!(stream.unwrap().peer_addr().unwrap(), good);
        // The system alone would try the first for a second, and then again.
        assert!(began.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test]
    async fn without_an_answer_the_first_failure_is_reported() {
        let addresses = vec![refusing().await, refusing().await];
        let error = connect_any(addresses).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let error = connect_any(Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(connect("no.such.name.invalid", 1).await.is_err());
    }

    #[tokio::test]
    async fn a_host_name_or_ip_address_is_dialled() {
        let (_listener, address) = answering().await;
        for host in ["localhost", "127.0.0.1"] {
            let stream = connect(host, address.port()).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), address);
        }
    }

    #[test]
    fn address_families_alternate() {
        let all = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"];
        let found = all.map(|address| address.parse().unwrap()).into();
        let ordered: Vec<String> = in_turn(found).iter().map(SocketAddr::to_string).collect();
        let expected = ["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"];
        assert_eq!(ordered, expected);
    }
}
