//! Writing to the client.
//!
//! Owns the deadline of a client that reads nothing (R-1001), and taking for a moment what a client
//! still sends when its connection closes. Never reads beyond that.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::{BodyForm, Client};

/// The bytes that are still taken from a connection that is closed with a body under way: a close with
/// unread bytes resets it, which can take the answer with it.
const LINGER_BYTES_MAX: usize = 4 << 20;
/// The time for it. Enough for a client that sends on until it reads the answer, too little for a flood.
const LINGER_MAX: Duration = Duration::from_secs(2);
/// The longest time of closing.
const CLOSE_MAX: Duration = Duration::from_secs(5);
/// The largest body that is drained to keep a connection.
pub(in crate::serve::exchange) const DRAIN_BYTES_MAX: u64 = 64 * 1024;
/// The longest time of draining.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// The reason why writing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve::exchange) enum SendStop {
    /// The connection broke.
    Gone,
    /// The client read nothing for too long.
    Stalled,
}

impl Client {
    /// Writes what is left of `bytes` from `at` on, and flushes.
    pub(in crate::serve::exchange) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        at: &mut usize,
    ) -> Poll<io::Result<()>> {
        let sent = self.poll_write_all(cx, bytes, at);
        match &sent {
            Poll::Pending => {
                self.stalled.get_or_insert_with(Instant::now);
            }
            Poll::Ready(_) => self.stalled = None,
        }
        sent
    }

    fn poll_write_all(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        at: &mut usize,
    ) -> Poll<io::Result<()>> {
        while *at < bytes.len() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &bytes[*at..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => *at += count,
            }
            self.stalled = None;
            if let Some(ended) = &mut self.ended {
                *ended = Instant::now();
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// The instant at which the client has read nothing for too long.
    pub(in crate::serve::exchange) fn stall_deadline(&self) -> Option<Instant> {
        self.stalled.map(|since| since + self.deadlines.write())
    }

    /// Writes all of `bytes`.
    pub(in crate::serve::exchange) async fn send(&mut self, bytes: &[u8]) -> Result<(), SendStop> {
        let mut at = 0;
        poll_fn(|cx| {
            if let Poll::Ready(sent) = self.poll_send(cx, bytes, &mut at) {
                return Poll::Ready(sent.map_err(|_| SendStop::Gone));
            }
            let Some(deadline) = self.stall_deadline() else { return Poll::Pending };
            self.timer.poll(deadline, cx).map(|()| Err(SendStop::Stalled))
        })
        .await
    }

    /// Reads on to the end of the body. False when it did not come in time or is too long.
    pub(in crate::serve::exchange) async fn drain(&mut self) -> bool {
        let deadline = Instant::now() + DRAIN_MAX;
        let mut left = DRAIN_BYTES_MAX;
        let mut room = Vec::with_capacity(super::READ_BYTES);
        while !self.is_at_a_boundary() {
            room.clear();
            let read = poll_fn(|cx| {
                match self.poll_body(cx, BodyForm::Data, super::READ_BYTES, &mut room) {
                    Poll::Ready(read) => Poll::Ready(read.ok()),
                    Poll::Pending => self.timer.poll(deadline, cx).map(|()| None),
                }
            });
            match read.await.and_then(|count| left.checked_sub(count)) {
                Some(rest) => left = rest,
                None => return false,
            }
        }
        true
    }

    /// Ends the connection after the last answer. With bytes unread that would reset it, and take
    /// from the client what it has not received yet (RFC 9112 section 9.6): they are taken first.
    pub(in crate::serve::exchange) async fn close(&mut self) {
        self.end().await;
        let is_read = poll_fn(|cx| Poll::Ready(self.poll_more(cx))).await;
        if !self.buffer.is_empty() || matches!(is_read, Poll::Ready(Ok(1..))) {
            self.take_rest().await;
        }
    }

    async fn end(&mut self) {
        let deadline = Instant::now() + CLOSE_MAX;
        poll_fn(|cx| {
            if Pin::new(&mut self.stream).poll_shutdown(cx).is_ready() {
                return Poll::Ready(());
            }
            self.timer.poll(deadline, cx)
        })
        .await;
    }

    /// Sends a last message, if the client takes it soon.
    pub(in crate::serve::exchange) async fn send_last(&mut self, message: &[u8]) {
        // Whether or not, the connection ends.
        let _ = tokio::time::timeout(LINGER_MAX, self.send(message)).await;
    }

    /// Ends the connection, and takes what still comes for a moment.
    pub(in crate::serve::exchange) async fn linger(&mut self) {
        self.end().await;
        self.take_rest().await;
    }

    async fn take_rest(&mut self) {
        let deadline = Instant::now() + LINGER_MAX;
        let mut left = LINGER_BYTES_MAX;
        while left > 0 {
            self.buffer.clear();
            let read = poll_fn(|cx| match self.poll_more(cx) {
                Poll::Ready(read) => Poll::Ready(read.unwrap_or(0)),
                Poll::Pending => self.timer.poll(deadline, cx).map(|()| 0),
            });
            match read.await {
                0 => return,
                count => left = left.saturating_sub(count),
            }
        }
    }

    /// Ends the writing half, for a tunnel.
    pub(in crate::serve::exchange) fn poll_end(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
