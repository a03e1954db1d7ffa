//! The client's side of a connection.
//!
//! Owns the bytes that were received and not used yet, and where the body of the current request
//! ends, so that nothing behind it is taken for its body. Owns the deadlines of a client: an idle
//! connection, a whole head, a slow body, a stalled reader (R-1001, R-1002). Never parses a head
//! (that is [`crate::decide::request::framing`]'s) and never decides what is answered.

mod body;
mod body_wait;
mod patience;
mod proxy_header;
mod reset;
mod secure;
mod send;
mod stream;
mod timer;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pingora::protocols::Stream;
use pingora::protocols::l4::socket::SocketAddr;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use crate::decide::request::address::Peer;
use crate::decide::request::framing::{self, BodyLength, HEAD_BYTES_MAX};
use crate::serve::downstream::connections::Connections;
use crate::serve::exchange::client::body::RequestBody;
use crate::serve::exchange::client::body_wait::BodyWait;
use crate::serve::exchange::client::patience::Deadlines;
use crate::serve::exchange::client::secure::Secured;
use crate::serve::exchange::client::stream::ClientStream;

pub(super) use body::{BodyForm, BodyStop, LAST_CHUNK, push_chunk};
pub(crate) use patience::Patience;
pub(super) use proxy_header::NotStated;
pub(super) use secure::{HANDSHAKE_MAX, NotSecured, TLS_HANDSHAKE};
pub(super) use send::DRAIN_BYTES_MAX;
pub(super) use timer::Timer;

/// The longest time of a head from its first byte to its last (R-1001).
const HEAD_MAX: Duration = Duration::from_secs(10);
/// The time that a client that ended its side is believed to wait while nothing is written to it.
const ENDED_MAX: Duration = Duration::from_secs(10);
/// Bytes asked of the socket at once while a head is read; most heads fit.
const READ_BYTES: usize = 4096;

/// One accepted connection.
pub(crate) struct Client {
    stream: ClientStream,
    peer: Option<Peer>,
    /// The handshake of a TLS connection.
    tls: Option<Secured>,
    /// Received, not yet used.
    buffer: BytesMut,
    body: RequestBody,
    wait: BodyWait,
    deadlines: Deadlines,
    /// The client has ended its side, and may still read: since when, or when it was last written to.
    ended: Option<Instant>,
    /// Since when the client takes nothing of what is written.
    stalled: Option<Instant>,
    pub(super) timer: Timer,
}

/// The result of waiting for a head.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeadRead {
    /// A complete head, and its length in [`Client::received`].
    Complete(usize),
    /// It is larger than `HEAD_BYTES_MAX`.
    TooLarge,
    /// The received bytes cannot be the start of a request.
    NoRequest,
    /// The client closed, was silent, or took too long.
    Gone,
}

impl Client {
    /// Wraps an accepted connection that may be idle for `keepalive`.
    #[must_use]
    pub(crate) fn new(stream: Stream, keepalive: Duration, connections: Arc<Connections>) -> Self {
        Self {
            peer: peer(&stream),
            stream: ClientStream::Plain(stream),
            tls: None,
            buffer: BytesMut::new(),
            body: RequestBody::default(),
            wait: BodyWait::default(),
            deadlines: Deadlines::new(keepalive, connections),
            ended: None,
            stalled: None,
            timer: Timer::default(),
        }
    }

    /// The address of the client; `None` when the socket does not know it.
    #[must_use]
    pub(crate) fn peer(&self) -> Option<Peer> {
        self.peer
    }

    /// `https` on a TLS connection.
    #[must_use]
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Waits for the first bytes of the next request. False when none will come. Cancel-safe.
    pub(crate) async fn wait(&mut self) -> bool {
        if !self.buffer.is_empty() {
            return true;
        }
        if self.ended.is_some() {
            return false;
        }
        let deadline = Instant::now() + self.deadlines.keepalive;
        poll_fn(|cx| match self.poll_more(cx) {
            Poll::Ready(read) => Poll::Ready(matches!(read, Ok(1..))),
            Poll::Pending => {
                // An idle connection costs no room for a head.
                self.buffer = BytesMut::new();
                self.timer.poll(deadline, cx).map(|()| false)
            }
        })
        .await
    }

    /// Reads on until the head is there.
    pub(crate) async fn read_head(&mut self) -> HeadRead {
        let deadline = Instant::now() + HEAD_MAX;
        let mut searched = 0;
        loop {
            if let Some(end) = framing::head_end(&self.buffer, searched) {
                let is_small = end <= HEAD_BYTES_MAX;
                return if is_small { HeadRead::Complete(end) } else { HeadRead::TooLarge };
            }
            searched = self.buffer.len();
            if searched > HEAD_BYTES_MAX {
                return HeadRead::TooLarge;
            }
            if !framing::may_begin(&self.buffer) {
                return HeadRead::NoRequest;
            }
            let more = poll_fn(|cx| match self.poll_more(cx) {
                Poll::Ready(read) => Poll::Ready(matches!(read, Ok(1..))),
                Poll::Pending => self.timer.poll(deadline, cx).map(|()| false),
            });
            if !more.await {
                return HeadRead::Gone;
            }
        }
    }

    /// Appends to the buffer. 0 at the end.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.buffer.reserve(READ_BYTES);
        pin!(self.stream.read_buf(&mut self.buffer)).poll(cx)
    }

    /// Received and not used.
    #[must_use]
    pub(crate) fn received(&self) -> &[u8] {
        &self.buffer
    }

    /// Takes a whole head.
    pub(crate) fn take_head(&mut self, head_bytes: usize) -> Bytes {
        self.buffer.split_to(head_bytes).freeze()
    }

    /// A request begins, with this body behind its head.
    pub(crate) fn begin(&mut self, body: BodyLength) {
        self.body = RequestBody::from(body);
        self.wait = BodyWait::default();
        self.stalled = None;
        self.deadlines.set(Patience::NOT_ADMITTED);
    }

    /// The request is admitted: from now on these deadlines hold.
    pub(crate) fn set_patience(&mut self, patience: Patience) {
        self.deadlines.set(patience);
    }

    /// The request was read. What the client sends instead of waiting is kept for the next request;
    /// once something is kept nothing more is read, which bounds it. A client that ended its side may
    /// have left or wait for its answer, which only writing tells: for a while it is not taken for
    /// gone. Ready when it is gone; a reset is noticed at once.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ended.is_none() {
            if !self.buffer.is_empty() {
                return Poll::Pending;
            }
            match ready!(self.poll_more(cx)) {
                Ok(1..) => return Poll::Pending,
                Ok(0) => self.ended = Some(Instant::now()),
                // The end without close_notify of TLS: nothing of a whole request can be missing.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.ended = Some(Instant::now());
                }
                Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    /// The instant at which a client that ended its side is taken for gone.
    pub(super) fn gone_at(&self) -> Option<Instant> {
        self.ended.map(|ended| ended + ENDED_MAX)
    }

    /// The instant at which the body of the request is too slow.
    pub(super) fn body_deadline(&self) -> Option<Instant> {
        self.wait.deadline(self.deadlines.body())
    }

    /// The wait for the client begins now: a 100 went out.
    pub(super) fn wait_anew(&mut self) {
        self.wait = BodyWait::default();
        self.wait.wait();
    }

    /// Reads raw bytes, for a tunnel.
    pub(super) fn poll_read_raw(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        if self.buffer.is_empty() {
            return pin!(self.stream.read_buf(out)).poll(cx);
        }
        let received = self.buffer.split();
        out.extend_from_slice(&received);
        Poll::Ready(Ok(received.len()))
    }
}

fn peer(stream: &Stream) -> Option<Peer> {
    let digest = stream.get_socket_digest()?;
    match (digest.peer_addr(), digest.local_addr()) {
        (Some(SocketAddr::Inet(peer)), _) => Some(Peer::Ip(peer.ip())),
        // A client of a Unix socket has no name; the socket itself has one. A TCP peer whose
        // address got lost must not pass for a local one.
        (Some(SocketAddr::Unix(_)), _) | (None, Some(SocketAddr::Unix(_))) => Some(Peer::Unix),
        (None, Some(SocketAddr::Inet(_)) | None) => None,
    }
}

/// Never shows what was received.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let received = self.buffer.len();
        f.debug_struct("Client").field("received", &received).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
