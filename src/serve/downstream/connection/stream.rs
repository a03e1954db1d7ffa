//! A connection as pingora reads and writes it.
//!
//! Owns which deadline ends a read or a write. Never reads beyond the current request.

use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora::protocols::Shutdown;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Connection, UNTIL_CLOSED};

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.tunnel.load(Ordering::Relaxed) {
            this.deliver = UNTIL_CLOSED;
        }
        if this.deliver > 0 && !this.buffer.is_empty() {
            this.deliver_buffered(out);
            return Poll::Ready(Ok(()));
        }
        let read = if this.deliver > 0 {
            this.poll_deliver(cx, out)
        } else if this.chunks.as_ref().is_some_and(|chunks| !chunks.is_done()) {
            this.poll_chunks(cx, out)
        } else {
            this.poll_idle(cx)
        };
        if read.is_pending() && this.poll_upstream_deadline(cx).is_ready() {
            this.upstream_late.store(true, Ordering::Relaxed);
            this.upstream_expected_no_more();
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "upstream is late")));
        }
        if read.is_pending() && this.expects_body() && this.poll_body_too_slow(cx).is_ready() {
            this.body_too_slow.store(true, Ordering::Relaxed);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the body drips")));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.wrote();
        if result.is_ready() {
            this.flush_if_asked(cx);
        }
        this.poll_stalled(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_write_vectored(cx, bytes);
        this.wrote();
        if result.is_ready() {
            this.flush_if_asked(cx);
        }
        this.poll_stalled(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_flush(cx);
        this.poll_stalled(cx, result)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_shutdown(cx);
        this.poll_stalled(cx, result)
    }
}

#[async_trait]
impl Shutdown for Connection {
    async fn shutdown(&mut self) {
        // Through `poll_shutdown`, which ends when the peer reads nothing.
        let _ = tokio::io::AsyncWriteExt::shutdown(self).await;
    }
}
