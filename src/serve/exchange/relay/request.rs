//! From the client to the upstream.
//!
//! Owns what is sent, and whether it can be sent once more: as long as all of it is still in the
//! buffer. An upstream that stops reading may have answered already, so that a failure to write ends
//! this direction only.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::{Relay, Stop};
use crate::serve::exchange::buffers::{self, LARGE_BYTES};
use crate::serve::exchange::client::BodyForm;
use crate::serve::stream::MaybeTls;

/// The request on its way.
pub(in crate::serve::exchange) struct RequestSide {
    /// The head, and pieces of the body after it.
    out: Vec<u8>,
    sent: usize,
    is_flushed: bool,
    form: BodyForm,
    /// All of it was read from the client.
    pub(super) is_read: bool,
    /// The head is still in `out`.
    is_first_piece: bool,
    /// The upstream may have got some of it.
    is_taken: bool,
    /// The upstream takes no more.
    pub(super) is_dead: bool,
    /// Since when the upstream takes nothing.
    pub(super) stalled: Option<Instant>,
    /// Bytes of the body.
    pub(in crate::serve::exchange) bytes: u64,
}

impl RequestSide {
    pub(in crate::serve::exchange) fn new(head: Vec<u8>, form: BodyForm) -> Self {
        Self {
            out: head,
            sent: 0,
            is_flushed: false,
            form,
            is_read: false,
            is_first_piece: true,
            is_taken: false,
            is_dead: false,
            stalled: None,
            bytes: 0,
        }
    }

    /// Makes it ready to be sent on another connection, if all of it is still there. A request that
    /// is not idempotent only when the upstream got nothing of it.
    pub(in crate::serve::exchange) fn rewind(&mut self, is_idempotent: bool) -> bool {
        let may_repeat = self.is_first_piece && (is_idempotent || !self.is_taken);
        if may_repeat {
            (self.sent, self.is_flushed, self.is_dead, self.stalled) = (0, false, false, None);
        }
        may_repeat
    }

    /// Nothing is left to do in this direction.
    pub(super) fn is_over(&self) -> bool {
        self.is_dead || (self.is_read && self.is_flushed && self.sent == self.out.len())
    }

    pub(in crate::serve::exchange) fn finish(self) {
        buffers::give_back(self.out);
    }
}

impl Relay<'_, '_> {
    pub(super) fn poll_request(&mut self, cx: &mut Context<'_>) -> Result<(), Stop> {
        if self.request.is_first_piece && !self.request.is_read {
            // Head and body that arrived together leave together.
            let data = self.client.take_arrived(self.request.form, &mut self.request.out)?;
            self.count(data)?;
        }
        while !self.request.is_over() {
            match self.poll_send(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(_)) => {
                    self.request.is_dead = true;
                    return Ok(());
                }
                Poll::Ready(Ok(())) => {}
            }
            if self.request.is_read || self.poll_more(cx)?.is_pending() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sends what is in the buffer.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = self.poll_write_all(cx);
        match &sent {
            Poll::Pending => {
                self.request.stalled.get_or_insert_with(Instant::now);
            }
            Poll::Ready(_) => self.request.stalled = None,
        }
        sent
    }

    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let request = &mut *self.request;
        while request.sent < request.out.len() {
            let rest = &request.out[request.sent..];
            let written = Pin::new(&mut *self.upstream).poll_write(cx, rest);
            // TLS may have sent some of it before it failed.
            let is_tls = matches!(self.upstream, MaybeTls::Tls(_));
            request.is_taken |= is_tls && matches!(written, Poll::Ready(Err(_)));
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => request.sent += count,
            }
            request.is_flushed = false;
            request.stalled = None;
            // Small pieces wait in a buffer until they are flushed.
            request.is_taken |= request.sent < request.out.len();
        }
        if !request.is_flushed {
            let flushed = Pin::new(&mut *self.upstream).poll_flush(cx);
            request.is_taken |= flushed.is_pending() && matches!(self.upstream, MaybeTls::Tls(_));
            ready!(flushed)?;
            (request.is_flushed, request.is_taken) = (true, true);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads on in the body; what was in the buffer has been sent.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Stop> {
        let request = &mut *self.request;
        // Whether anything came decides whether the first piece is gone.
        let mut next = if request.is_first_piece { buffers::large() } else { Vec::new() };
        let out = if request.is_first_piece {
            &mut next
        } else {
            request.out.clear();
            request.sent = 0;
            &mut request.out
        };
        let read = self.client.poll_body(cx, request.form, LARGE_BYTES, out);
        if request.is_first_piece {
            if next.is_empty() {
                buffers::give_back(next);
            } else {
                buffers::give_back(std::mem::replace(&mut request.out, next));
                (request.sent, request.is_first_piece) = (0, false);
            }
        }
        match read {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(data) => {
                let data = data?;
                self.count(data)?;
                Ok(Poll::Ready(()))
            }
        }
    }

    /// Counts what was read of the body, against the route's limit too.
    fn count(&mut self, data: u64) -> Result<(), Stop> {
        self.request.bytes += data;
        self.request.is_read = self.client.is_at_a_boundary();
        // A chunk that cannot fit is refused with its size line.
        let least = self.request.bytes.saturating_add(self.client.body_announced());
        match self.plan.body_limit {
            Some(limit) if least > limit => Err(Stop::BodyTooLarge { limit }),
            Some(_) | None => Ok(()),
        }
    }
}
