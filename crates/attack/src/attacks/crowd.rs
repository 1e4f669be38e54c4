//! Many connections that do the same.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::AsyncReadExt as _,
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, timeout_at},
};

use crate::{Bounds, Tally, Target, Wire};

/// Connections that are opened at the same time.
const OPENING_MAX: usize = 64;

/// What one connection of a crowd knows.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) target: Arc<Target>,
    /// Its node.
    pub(super) address: SocketAddr,
    /// When the attack ends.
    pub(super) until: Instant,
    opening: Arc<Semaphore>,
}

impl Member {
    /// Opens a TCP connection.
    pub(super) async fn silent(&self) -> Option<Wire> {
        let opening = async {
            let _turn = self.opening.acquire().await.ok()?;
            self.target.silent(self.address).await.ok()
        };
        let stream = timeout_at(self.until, opening).await.ok()??;
        Some(Box::new(stream))
    }

    /// Opens a connection and completes the TLS handshake, if there is one.
    pub(super) async fn open(&self) -> Option<Wire> {
        let opening = async {
            let _turn = self.opening.acquire().await.ok()?;
            self.target.open(self.address).await.ok()
        };
        timeout_at(self.until, opening).await.ok()?
    }

    /// Reads until the node closes the connection or the attack ends.
    pub(super) async fn hold(&self, mut wire: Wire) -> Tally {
        let mut ignored = [0; 4096];
        let closed =
            async { while matches!(wire.read(&mut ignored).await, Ok(bytes) if bytes > 0) {} };
        Tally {
            opened: 1,
            failed: 0,
            cut: usize::from(timeout_at(self.until, closed).await.is_ok()),
        }
    }
}

/// Lets so many connections, spread over these addresses, do the same at once.
pub(super) async fn crowd<F>(
    target: Arc<Target>,
    addresses: Vec<SocketAddr>,
    count: usize,
    bounds: Bounds,
    act: impl Fn(Member) -> F,
) -> Tally
where
    F: Future<Output = Option<Tally>> + Send + 'static,
{
    let until = Instant::now() + bounds.duration;
    let opening = Arc::new(Semaphore::new(OPENING_MAX));
    let mut tasks = JoinSet::new();
    for (_, address) in (0..count).zip(addresses.into_iter().cycle()) {
        tasks.spawn(act(Member {
            target: target.clone(),
            address,
            until,
            opening: opening.clone(),
        }));
    }
    let failed = Tally {
        failed: 1,
        ..Tally::default()
    };
    let mut all = Tally::default();
    while let Some(one) = tasks.join_next().await {
        all += one.ok().flatten().unwrap_or(failed);
    }
    all
}
