//! A connection as HTTP reads and writes it: bytes from an unknown caller are read at a limited
//! rate, and a caller that reads nothing loses its connection.

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
        let before = buffer.filled().len();
        if me.connection.is_known() {
            ready!(Pin::new(&mut me.inner).poll_read(context, buffer))?;
            me.connection.received(buffer.filled().len() - before);
            if buffer.filled().len() > before {
                me.connection.bytes_arrive();
            }
            return Poll::Ready(Ok(()));
        }
        if let Some(pause) = &mut me.pause {
            ready!(pause.as_mut().poll(context));
            me.pause = None;
        }
        ready!(Pin::new(&mut me.inner).poll_read(context, buffer))?;
        me.connection.received(buffer.filled().len() - before);
        if buffer.filled().len() > before {
            me.connection.bytes_arrive();
        }
        let count = u32::try_from(buffer.filled().len() - before).unwrap_or(u32::MAX);
        if let Some(pause) = me.bucket.take(f64::from(count)) {
            me.pause = Some(Box::pin(sleep_until(Instant::now() + pause)));
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
