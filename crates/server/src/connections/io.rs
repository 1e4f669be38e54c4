//! A connection as HTTP reads and writes it: bytes from an unknown caller are read at a limited
//! rate, those from an account that uses more than its share of this node later, and a caller that
//! reads nothing loses its connection.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::meter::{Bucket, Connection};

/// Number of seconds' worth of bytes that may arrive at once.
const BURST_SECONDS: f64 = 4.0;

/// A watched connection; see the head of this file.
pub(crate) struct MeteredIo<T> {
    inner: T,
    /// Bytes that were read already.
    first: Bytes,
    connection: Arc<Connection>,
    bucket: Bucket,
    pause: Option<Pin<Box<Sleep>>>,
    stalled: Duration,
    gives_up: Option<Pin<Box<Sleep>>>,
    is_stuck: bool,
}

impl<T> MeteredIo<T> {
    pub(crate) fn new(
        inner: T,
        connection: Arc<Connection>,
        bytes_per_second: u64,
        stalled: Duration,
    ) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
        let rate = bytes_per_second.max(1) as f64;
        Self {
            inner,
            first: Bytes::new(),
            connection,
            bucket: Bucket::new(rate * BURST_SECONDS, rate),
            pause: None,
            stalled,
            gives_up: None,
            is_stuck: false,
        }
    }

    /// Puts back bytes that were read, so that they are read again.
    pub(crate) fn rewind(&mut self, first: Bytes) {
        self.first = first;
    }

    /// Counts what a write has written.
    fn count(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = written {
            self.connection.sent(*bytes);
        }
    }

    /// Decides how to go on after a write.
    fn judge<R>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.is_stuck = false;
            return written;
        }
        let until = Instant::now() + self.stalled;
        let gives_up = self
            .gives_up
            .get_or_insert_with(|| Box::pin(sleep_until(until)));
        if !self.is_stuck {
            gives_up.as_mut().reset(until);
            self.is_stuck = true;
        }
        ready!(gives_up.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

fn pause(length: Duration) -> Pin<Box<Sleep>> {
    Box::pin(sleep_until(Instant::now() + length))
}

impl<T: AsyncRead + Unpin> AsyncRead for MeteredIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let me = &mut *self;
        if !me.first.is_empty() {
            let count = me.first.len().min(buffer.remaining());
            buffer.put_slice(&me.first[..count]);
            me.first.advance(count);
            me.connection.bytes_arrive();
            return Poll::Ready(Ok(()));
        }
        if me.pause.is_none() {
            me.pause = me.connection.rest().map(pause);
        }
        if let Some(pause) = &mut me.pause {
            ready!(pause.as_mut().poll(context));
            me.pause = None;
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut me.inner).poll_read(context, buffer))?;
        let count = buffer.filled().len() - before;
        me.connection.received(count);
        if count > 0 {
            me.connection.bytes_arrive();
        }
        if !me.connection.is_known() {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            me.pause = me.bucket.take(f64::from(count)).map(pause);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for MeteredIo<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.count(&written);
        self.judge(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.count(&written);
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        self.judge(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.inner).poll_shutdown(context);
        self.judge(context, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::base::work_meter::{LASTING, WorkMeter};

    const SECOND: Duration = Duration::from_secs(1);

    /// Returns how long it takes until bytes of a connection for this account are read.
    async fn time_to_read(account: Option<&Arc<WorkMeter>>) -> Duration {
        let connection = Connection::new(1, "10.0.0.1:1".parse().unwrap(), Arc::default());
        let connection = Arc::new(connection);
        connection.know();
        account
            .into_iter()
            .for_each(|account| connection.works_for(account));
        let (mut caller, inner) = tokio::io::duplex(64);
        let mut io = MeteredIo::new(inner, connection, 1, SECOND);
        caller.write_all(b"more").await.unwrap();
        let began = Instant::now();
        assert_eq!(io.read(&mut [0; 64]).await.unwrap(), 4);
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn the_connections_of_an_account_over_its_share_are_read_later() {
        let (greedy, modest) = (Arc::<WorkMeter>::default(), Arc::default());
        (0..3).for_each(|_| greedy.worked(LASTING.at_once));
        let first = time_to_read(Some(&greedy)).await;
        assert!(first >= SECOND, "{first:?}");
        for other in [Some(&modest), None] {
            let other = time_to_read(other).await;
            assert!(other < SECOND / 100, "{other:?}");
        }
    }
}
