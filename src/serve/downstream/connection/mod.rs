//! One downstream connection, seen from below pingora.
//!
//! Owns the bytes: a head is read whole and looked at before pingora gets any of it, and pingora
//! gets exactly one request at a time, so that nothing after it is taken for its body. Owns the
//! deadlines pingora has none for: a whole head, a body that drips (`body`), a stalled write
//! (R-1001), an upstream that does not answer. Never parses a head (that is [`crate::decide::request::framing`]'s) and never answers.

mod body;
mod facts;
mod patience;
mod stream;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use pingora::protocols::Stream;
use pingora::protocols::l4::socket::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::base::clock::Monotonic;
use crate::decide::request::address::Peer;
use crate::decide::request::framing::{self, BodyLength, Chunks, HEAD_BYTES_MAX};
use crate::serve::downstream::connection::body::BodyWait;
use crate::serve::downstream::connection::patience::Deadlines;
use crate::serve::downstream::connections::Connections;
use crate::serve::observe::record::Cut;

pub use patience::Patience;

/// How long a head may take from its first byte to its last (R-1001).
const HEAD_MAX: Duration = Duration::from_secs(10);
/// How long a peer that ended its side is believed to wait while nothing is written to it.
const ENDED_MAX: Duration = Duration::from_secs(10);
/// What is asked of the socket at once while a head is read; most heads fit.
const READ_BYTES: usize = 4096;
/// What is asked of the socket at once while a chunked body is followed.
const CHUNKS_READ_BYTES: usize = 16 * 1024;
/// `deliver` of a tunnel.
const UNTIL_CLOSED: u64 = u64::MAX;

/// A downstream connection. Filters see it by reference, so what they change is atomic.
pub struct Connection {
    inner: Stream,
    /// Read, not yet delivered.
    buffer: BytesMut,
    /// How many bytes of the current request are still to be delivered, as far as is known.
    deliver: u64,
    body: BodyWait,
    deadlines: Deadlines,
    body_too_slow: AtomicBool,
    reader_stalled: AtomicBool,
    /// The rest of a body that says itself where it ends.
    chunks: Option<Chunks>,
    /// The body is not framed as its head says.
    body_malformed: AtomicBool,
    /// When the first byte of the current request was there.
    began: Monotonic,
    /// The gate refused the last request.
    refused: AtomicBool,
    /// The peer has ended its side, and may still read: since when, or when it was last written to.
    ended: Option<Instant>,
    opened: Instant,
    /// Until when the upstream must show life: nanoseconds after `opened`, 0 for no deadline.
    upstream_deadline: AtomicU64,
    /// By how much a sign of life moves the deadline, in nanoseconds.
    upstream_patience: AtomicU64,
    upstream_late: AtomicBool,
    tunnel: AtomicBool,
    /// Whether every piece that is written goes out at once.
    flush_each: AtomicBool,
    read_timer: Option<Pin<Box<Sleep>>>,
    write_timer: Option<Pin<Box<Sleep>>>,
    /// Since when the peer takes nothing of what is written.
    write_stalled: Option<Instant>,
}

/// What came of waiting for a head.
#[derive(Debug, PartialEq, Eq)]
pub enum HeadRead {
    /// It is there: so many bytes of [`Connection::received`].
    Complete(usize),
    /// It is larger than [`HEAD_BYTES_MAX`].
    TooLarge,
    /// The peer closed, was silent, or took too long.
    Gone,
}

impl Connection {
    /// Wraps an accepted connection that may be idle for `keepalive`.
    #[must_use]
    pub fn new(inner: Stream, keepalive: Duration, connections: Arc<Connections>) -> Self {
        Self {
            inner,
            buffer: BytesMut::new(),
            deliver: 0,
            body: BodyWait::default(),
            deadlines: Deadlines::new(keepalive, connections),
            body_too_slow: AtomicBool::new(false),
            reader_stalled: AtomicBool::new(false),
            chunks: None,
            body_malformed: AtomicBool::new(false),
            began: Monotonic(0),
            refused: AtomicBool::new(false),
            ended: None,
            opened: Instant::now(),
            upstream_deadline: AtomicU64::new(0),
            upstream_patience: AtomicU64::new(0),
            upstream_late: AtomicBool::new(false),
            tunnel: AtomicBool::new(false),
            flush_each: AtomicBool::new(false),
            read_timer: None,
            write_timer: None,
            write_stalled: None,
        }
    }

    /// Who connected; `None` when the socket does not know.
    #[must_use]
    pub fn peer(&self) -> Option<Peer> {
        let digest = self.inner.get_socket_digest()?;
        match (digest.peer_addr(), digest.local_addr()) {
            (Some(SocketAddr::Inet(peer)), _) => Some(Peer::Ip(peer.ip())),
            // A client of a Unix socket has no name; the socket itself has one. A TCP peer whose
            // address got lost must not pass for a local one.
            (Some(SocketAddr::Unix(_)), _) | (None, Some(SocketAddr::Unix(_))) => Some(Peer::Unix),
            (None, Some(SocketAddr::Inet(_)) | None) => None,
        }
    }

    /// Waits for the first bytes of the next request. False when none will come. Cancel-safe.
    pub async fn wait(&mut self) -> bool {
        if !self.buffer.is_empty() {
            return true;
        }
        if self.buffer.capacity() > 2 * READ_BYTES {
            // One large head must not cost its memory for as long as the connection lives.
            self.buffer = BytesMut::new();
        }
        let deadline = Instant::now() + self.deadlines.keepalive;
        self.buffer.reserve(READ_BYTES);
        poll_fn(|cx| match pin!(self.inner.read_buf(&mut self.buffer)).poll(cx) {
            Poll::Ready(read) => Poll::Ready(matches!(read, Ok(1..))),
            Poll::Pending => poll_deadline(&mut self.read_timer, deadline, cx).map(|()| false),
        })
        .await
    }

    /// Reads on until the head is there.
    pub async fn read_head(&mut self) -> HeadRead {
        if let Some(end) = framing::head_end(&self.buffer, 0) {
            return complete(end);
        }
        tokio::time::timeout(HEAD_MAX, self.read_rest_of_head()).await.unwrap_or(HeadRead::Gone)
    }

    async fn read_rest_of_head(&mut self) -> HeadRead {
        loop {
            let searched = self.buffer.len();
            if searched > HEAD_BYTES_MAX {
                return HeadRead::TooLarge;
            }
            if !matches!(self.read_more().await, Ok(1..)) {
                return HeadRead::Gone;
            }
            if let Some(end) = framing::head_end(&self.buffer, searched) {
                return complete(end);
            }
        }
    }

    async fn read_more(&mut self) -> io::Result<usize> {
        self.buffer.reserve(READ_BYTES);
        self.inner.read_buf(&mut self.buffer).await
    }

    /// What has arrived and was not delivered.
    #[must_use]
    pub fn received(&self) -> &[u8] {
        &self.buffer
    }

    /// Lets the request be read whose head, `head_bytes` long, was looked at; its first byte was there at
    /// `began`.
    pub fn deliver(&mut self, head_bytes: usize, body: BodyLength, began: Monotonic) {
        self.began = began;
        self.body = BodyWait::of_request(head_bytes);
        self.upstream_expected_no_more();
        self.upstream_late.store(false, Ordering::Relaxed);
        self.body_too_slow.store(false, Ordering::Relaxed);
        self.deadlines.reset();
        self.refused.store(false, Ordering::Relaxed);
        self.deliver = head_bytes as u64;
        match body {
            BodyLength::Known(length) => {
                self.chunks = None;
                self.deliver = self.deliver.saturating_add(length);
            }
            BodyLength::Chunked => {
                self.chunks = Some(Chunks::default());
                self.follow_chunks(head_bytes);
            }
        }
    }

    /// When the first byte of the current request was there.
    #[must_use]
    pub fn request_began(&self) -> Monotonic {
        self.began
    }

    /// Drops a request without a body that was answered before it was delivered.
    pub fn skip(&mut self, head_bytes: usize) {
        self.buffer.advance(head_bytes);
    }

    /// The request that was delivered is refused.
    pub fn note_refusal(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// Whether the last request was refused.
    #[must_use]
    pub fn was_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether the caller still owes a part of the current request.
    fn expects_body(&self) -> bool {
        let more_chunks = self.chunks.as_ref().is_some_and(|chunks| !chunks.is_done());
        (self.deliver > 0 || more_chunks) && !self.tunnel.load(Ordering::Relaxed)
    }

    /// Whether the last request was read to its end, so that another may follow.
    #[must_use]
    pub fn is_at_a_boundary(&self) -> bool {
        let is_body_done = self.chunks.as_ref().is_none_or(Chunks::is_done);
        self.deliver == 0 && is_body_done && !self.tunnel.load(Ordering::Relaxed)
    }

    /// The request is admitted: from now on these deadlines hold.
    pub fn set_patience(&self, patience: Patience) {
        self.deadlines.set(patience);
    }

    /// The deadline that the client missed.
    #[must_use]
    pub fn missed_deadline(&self) -> Option<Cut> {
        if self.body_too_slow.load(Ordering::Relaxed) {
            return Some(Cut::BodyTooSlow);
        }
        self.reader_stalled.load(Ordering::Relaxed).then_some(Cut::ReaderStalled)
    }

    /// Whether the body turned out not to be framed as its head says.
    #[must_use]
    pub fn body_is_malformed(&self) -> bool {
        self.body_malformed.load(Ordering::Relaxed)
    }

    /// Throws away what has arrived and waits for more. How much there was; 0 at the end.
    pub async fn discard(&mut self) -> usize {
        self.buffer.clear();
        self.read_more().await.unwrap_or(0)
    }

    /// Looks at what has arrived of a chunked body: what belongs to it may be delivered.
    fn follow_chunks(&mut self, from: usize) {
        let Some(chunks) = &mut self.chunks else { return };
        match chunks.follow(&self.buffer[from..]) {
            Ok(count) => self.deliver = self.deliver.saturating_add(count as u64),
            Err(_) => self.body_malformed.store(true, Ordering::Relaxed),
        }
    }

    /// From now on the upstream must show life within `patience`, again and again.
    pub fn expect_upstream_within(&self, patience: Duration) {
        let patience = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
        self.upstream_patience.store(patience, Ordering::Relaxed);
        self.move_upstream_deadline(patience);
    }

    /// The upstream owes nothing any more.
    pub fn upstream_expected_no_more(&self) {
        self.upstream_deadline.store(0, Ordering::Relaxed);
    }

    /// Whether the upstream missed its deadline.
    #[must_use]
    pub fn upstream_is_late(&self) -> bool {
        self.upstream_late.load(Ordering::Relaxed)
    }

    /// The upstream agreed to change the protocol: all that comes is passed on.
    pub fn open_tunnel(&self) {
        self.upstream_expected_no_more();
        self.tunnel.store(true, Ordering::Relaxed);
    }

    /// Whether pieces of a response go out at once: while more is to come they do, because pingora
    /// keeps those of a body of known length back until its buffer is full. The last one is
    /// flushed by pingora, together with what came before it.
    pub fn pass_on_at_once(&self, more_is_to_come: bool) {
        self.flush_each.store(more_is_to_come, Ordering::Relaxed);
    }

    fn move_upstream_deadline(&self, patience: u64) {
        let elapsed = u64::try_from(self.opened.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.upstream_deadline.store(elapsed.saturating_add(patience), Ordering::Relaxed);
    }

    /// Delivers what was read before, and no more than belongs to the request.
    fn deliver_buffered(&mut self, out: &mut ReadBuf<'_>) {
        let wanted = usize::try_from(self.deliver).unwrap_or(usize::MAX);
        let count = self.buffer.len().min(out.remaining()).min(wanted);
        out.put_slice(&self.buffer[..count]);
        self.buffer.advance(count);
        self.delivered(count);
    }

    fn delivered(&mut self, count: usize) {
        self.body.delivered(count);
        if self.deliver != UNTIL_CLOSED {
            self.deliver = self.deliver.saturating_sub(count as u64);
        }
    }

    fn poll_deliver(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wanted = usize::try_from(self.deliver).unwrap_or(usize::MAX);
        let before = out.filled().len();
        if wanted >= out.remaining() {
            ready!(Pin::new(&mut self.inner).poll_read(cx, out))?;
            self.delivered(out.filled().len() - before);
        } else {
            let mut part = ReadBuf::new(out.initialize_unfilled_to(wanted));
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut part))?;
            let count = part.filled().len();
            out.advance(count);
            self.delivered(count);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads on in a chunked body. Nothing of what comes after it is delivered.
    fn poll_chunks(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.body_is_malformed() {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        self.buffer.reserve(CHUNKS_READ_BYTES);
        let read = ready!(pin!(self.inner.read_buf(&mut self.buffer)).poll(cx))?;
        if read > 0 {
            self.follow_chunks(0);
            if self.body_is_malformed() {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            self.deliver_buffered(out);
        }
        Poll::Ready(Ok(()))
    }

    /// The request is delivered. What the peer sends instead of waiting is kept for the next request;
    /// once something is kept nothing more is read, which bounds it. A peer that ended its side may
    /// have left or wait for its answer, which only writing tells: for a while it is not taken for
    /// gone. A reset is noticed here.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ended.is_none()
            && (!self.buffer.is_empty() || ready!(pin!(self.read_more()).poll(cx))? > 0)
        {
            return Poll::Pending;
        }
        let ended = *self.ended.get_or_insert_with(Instant::now);
        poll_deadline(&mut self.read_timer, ended + ENDED_MAX, cx).map(Ok)
    }

    /// Ready when the upstream's time is up. Only asked when there is nothing to read.
    fn poll_upstream_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.upstream_deadline.load(Ordering::Relaxed) {
            0 => Poll::Pending,
            nanos => {
                let deadline = self.opened + Duration::from_nanos(nanos);
                poll_deadline(&mut self.read_timer, deadline, cx)
            }
        }
    }

    fn poll_body_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadlines = &self.deadlines;
        self.body.poll_too_slow(cx, || deadlines.body())
    }

    fn poll_stalled<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.write_stalled = None;
            return result;
        }
        let since = *self.write_stalled.get_or_insert_with(Instant::now);
        ready!(poll_deadline(&mut self.write_timer, since + self.deadlines.write(), cx));
        self.reader_stalled.store(true, Ordering::Relaxed);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer reads nothing")))
    }

    /// Starts to flush where that was asked for. What cannot be flushed now is flushed with the
    /// next piece, and an error shows there.
    fn flush_if_asked(&mut self, cx: &mut Context<'_>) {
        if self.flush_each.load(Ordering::Relaxed) {
            let _ = Pin::new(&mut self.inner).poll_flush(cx);
        }
    }

    /// Something was passed on to the caller: as long as that goes on the upstream is not late, and
    /// the caller not gone.
    fn wrote(&mut self) {
        if let Some(ended) = &mut self.ended {
            *ended = Instant::now();
        }
        if self.upstream_deadline.load(Ordering::Relaxed) != 0 {
            self.move_upstream_deadline(self.upstream_patience.load(Ordering::Relaxed));
        }
    }
}

/// Ready once `deadline` has passed. Deadlines nearly always move forwards: the timer stays where it
/// was set until it rings, and is set anew only then, so that most requests never touch it.
fn poll_deadline(
    timer: &mut Option<Pin<Box<Sleep>>>,
    deadline: Instant,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
    if timer.deadline() > deadline {
        timer.as_mut().reset(deadline);
    }
    ready!(timer.as_mut().poll(cx));
    if timer.deadline() < deadline {
        timer.as_mut().reset(deadline);
        ready!(timer.as_mut().poll(cx));
    }
    Poll::Ready(())
}

fn complete(end: usize) -> HeadRead {
    if end > HEAD_BYTES_MAX { HeadRead::TooLarge } else { HeadRead::Complete(end) }
}

/// Never shows what was received.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let received = self.buffer.len();
        f.debug_struct("Connection").field("received", &received).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
