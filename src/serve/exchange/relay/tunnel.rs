//! A tunnel behind a 101.
//!
//! Owns relaying both ways at once, piece by piece, until both sides have ended, one after the
//! other. A tunnel is quiet as long as its ends like; one whose first side has ended is not.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::time::Instant;

use super::frames::Frames;
use super::{End, Relay, Stop, UpstreamStop};
use crate::serve::exchange::buffers;

/// The two directions.
pub(in crate::serve::exchange) struct Tunnel {
    from_client: Way,
    from_upstream: Way,
    /// Of what the client gets, where a close frame may have to follow.
    frames: Option<Frames>,
}

#[derive(Default)]
struct Way {
    bytes: Vec<u8>,
    sent: usize,
    /// The side that is read has ended.
    has_ended: bool,
    /// The end was passed on to the other side.
    is_over: bool,
}

impl Tunnel {
    /// A tunnel whose first bytes for the client are `first`.
    pub(super) fn new(follows_frames: bool, first: &[u8]) -> Self {
        let mut frames = follows_frames.then(Frames::default);
        if let Some(frames) = &mut frames {
            frames.follow(first);
        }
        Self { from_client: Way::default(), from_upstream: Way::default(), frames }
    }

    /// Another frame may be sent to the client.
    pub(super) fn may_close(&self) -> bool {
        let way = &self.from_upstream;
        let is_sent = way.sent == way.bytes.len() && !way.has_ended;
        is_sent && self.frames.as_ref().is_some_and(Frames::may_close)
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        for way in [&mut self.from_client, &mut self.from_upstream] {
            buffers::give_back(std::mem::take(&mut way.bytes));
        }
    }
}

impl Relay<'_, '_> {
    pub(super) fn poll_tunnel(&mut self, cx: &mut Context<'_>) -> Poll<Result<End, Stop>> {
        let Some(mut tunnel) = self.tunnel.take() else { return Poll::Pending };
        let up = self.poll_up(cx, &mut tunnel.from_client);
        let down = self.poll_down(cx, &mut tunnel.from_upstream, &mut tunnel.frames);
        // After its end the upstream takes no more.
        let is_upstream_done = tunnel.from_upstream.is_over;
        let is_half = tunnel.from_client.is_over != tunnel.from_upstream.is_over;
        if !is_half {
            self.response.waiting = None;
        } else {
            self.response.waiting.get_or_insert_with(Instant::now);
        }
        self.tunnel = Some(tunnel);
        if let Poll::Ready(Err(error)) = &up
            && !is_upstream_done
        {
            return Poll::Ready(Err(Stop::Upstream(UpstreamStop::Broke(error.kind()))));
        }
        if let Poll::Ready(Err(_)) = down {
            return Poll::Ready(Err(Stop::ClientGone));
        }
        if up.is_ready() && down.is_ready() {
            return Poll::Ready(Ok(End { keep_upstream: false, keep_client: false }));
        }
        let late = ready!(self.poll_late(cx));
        Poll::Ready(Err(late.into()))
    }

    /// From the client to the upstream. An error is the upstream's.
    fn poll_up(&mut self, cx: &mut Context<'_>, way: &mut Way) -> Poll<io::Result<()>> {
        while !way.is_over {
            while way.sent < way.bytes.len() {
                let rest = &way.bytes[way.sent..];
                let written = Pin::new(&mut *self.upstream).poll_write(cx, rest);
                self.note_upstream_stall(written.is_pending());
                match ready!(written)? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    count => way.sent += count,
                }
            }
            let flushed = Pin::new(&mut *self.upstream).poll_flush(cx);
            self.note_upstream_stall(flushed.is_pending());
            ready!(flushed)?;
            if way.has_ended {
                // It may have closed already.
                let _ = ready!(Pin::new(&mut *self.upstream).poll_shutdown(cx));
                way.is_over = true;
                break;
            }
            way.reset();
            match ready!(self.client.poll_read_raw(cx, &mut way.bytes)) {
                Ok(count @ 1..) => {
                    self.request.bytes += count as u64;
                    self.response.waiting = None;
                }
                // A reset ends it as an orderly end does, and is passed on.
                Ok(0) | Err(_) => way.has_ended = true,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// From the upstream to the client. An error is the client's.
    fn poll_down(
        &mut self,
        cx: &mut Context<'_>,
        way: &mut Way,
        frames: &mut Option<Frames>,
    ) -> Poll<io::Result<()>> {
        // The head of the 101, and what came behind it.
        ready!(self.poll_pass_on(cx))?;
        while !way.is_over {
            ready!(self.client.poll_send(cx, &way.bytes, &mut way.sent))?;
            if way.has_ended {
                let _ = ready!(self.client.poll_end(cx));
                way.is_over = true;
                break;
            }
            way.reset();
            match ready!(pin!(self.upstream.read_buf(&mut way.bytes)).poll(cx)) {
                Ok(count @ 1..) => {
                    self.response.bytes += count as u64;
                    if let Some(frames) = frames {
                        frames.follow(&way.bytes);
                    }
                    self.response.waiting = None;
                }
                Ok(0) | Err(_) => way.has_ended = true,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn note_upstream_stall(&mut self, is_stalled: bool) {
        if is_stalled {
            self.request.stalled.get_or_insert_with(Instant::now);
        } else {
            self.request.stalled = None;
        }
    }
}

impl Way {
    fn reset(&mut self) {
        self.bytes.clear();
        self.sent = 0;
        if self.bytes.capacity() == 0 {
            self.bytes = buffers::small();
        }
    }
}
