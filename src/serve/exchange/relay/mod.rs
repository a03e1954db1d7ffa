//! One exchange with an upstream: one poll function over two connections.
//!
//! Owns the order in which the two directions go on, and every deadline while they do. Whichever
//! side is ready goes on; a side is read only while what was read from it before has been written to
//! the other, which bounds what a slow reader holds to its two buffers. Never answers by itself: the
//! caller learns why an exchange ended.

mod deadlines;
mod frames;
mod request;
mod response;
mod tunnel;

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::client::{BodyStop, Client};
use crate::decide::forward::ResponseFields;
use crate::decide::rejection::TlsCheck;
use crate::decide::response::ResponseError;
use crate::serve::exchange::streams::Ended;
use crate::serve::upstream::{self, UpstreamStream};

pub(super) use frames::CLOSE_1008;
pub(super) use request::RequestSide;
pub(super) use response::ResponseSide;

use deadlines::Late;
use tunnel::Tunnel;

/// The parts of a request that an exchange needs.
pub(super) struct Plan<'a> {
    /// Fields that are set on the response.
    pub(super) fields: ResponseFields<'a>,
    /// The method is HEAD.
    pub(super) is_head: bool,
    /// The client speaks HTTP/1.1, else HTTP/1.0.
    pub(super) is_http11: bool,
    /// The upstream was asked for WebSocket.
    pub(super) upgrades: bool,
    /// The client waits for a 100 before it sends the body.
    pub(super) expects: bool,
    pub(super) body_limit: Option<u64>,
    /// From the end of the request to the response head.
    pub(super) response: Duration,
    /// Between two pieces from or to the upstream.
    pub(super) idle: Duration,
    /// A stream of it may end with its credential.
    pub(super) ends_streams: bool,
}

/// The reason why an exchange ended before its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// The client closed its connection, or it broke.
    ClientGone,
    /// The client reads nothing.
    ReaderStalled,
    BodyTooSlow,
    /// The credential of a stream has ended.
    CredentialEnded(Ended),
    /// `shutdown_timeout` has passed since the process began to drain.
    DrainOver,
    BodyMalformed(crate::decide::request::framing::FramingError),
    BodyTooLarge {
        limit: u64,
    },
    /// The upstream missed a deadline.
    UpstreamLate(&'static str),
    Upstream(UpstreamStop),
}

/// The failure of the upstream.
#[derive(Debug)]
pub(super) enum UpstreamStop {
    /// It closed before its response was whole.
    Closed,
    /// Its connection broke.
    Broke(io::ErrorKind),
    /// It refused the client certificate once the handshake was over, as TLS 1.3 has it.
    Tls(TlsCheck),
    /// Its response cannot be forwarded.
    Response(ResponseError),
    /// A chunk is malformed.
    Chunk,
    /// It changes the protocol unasked.
    Switch,
    /// Interim responses without an end.
    Interim,
}

/// The state of the two connections after an exchange that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// The upstream's is at a boundary.
    pub(super) keep_upstream: bool,
    /// The response said that another request may follow.
    pub(super) keep_client: bool,
}

/// An exchange under way.
pub(super) struct Relay<'a, 'b> {
    pub(super) client: &'a mut Client,
    pub(super) upstream: &'a mut UpstreamStream,
    pub(super) plan: &'a Plan<'b>,
    pub(super) request: &'a mut RequestSide,
    pub(super) response: &'a mut ResponseSide,
    /// Called with the status of the final response head before it is written. Whether the client's
    /// connection may be kept.
    pub(super) on_head: &'a mut (dyn FnMut(u16) -> bool + Send),
    pub(super) tunnel: Option<Tunnel>,
}

impl Relay<'_, '_> {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<End, Stop>> {
        loop {
            if self.tunnel.is_some() {
                return self.poll_tunnel(cx);
            }
            self.poll_request(cx)?;
            if let Poll::Ready(end) = self.poll_response(cx)? {
                return Poll::Ready(Ok(end));
            }
            if self.tunnel.is_some() {
                continue;
            }
            // Also with a part of the request unsent: its client can leave.
            if self.request.is_read && self.client.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(Stop::ClientGone));
            }
            let late = ready!(self.poll_late(cx));
            return Poll::Ready(Err(late.into()));
        }
    }
}

impl Relay<'_, '_> {
    /// It is an upgraded connection or an event stream, and may end with its credential.
    pub(super) fn is_stream(&self) -> bool {
        self.plan.ends_streams && (self.tunnel.is_some() || self.response.is_event_stream)
    }

    /// A close frame can be sent to the client: it has whole frames alone so far.
    pub(super) fn may_close(&self) -> bool {
        self.response.is_flushed && self.tunnel.as_ref().is_some_and(Tunnel::may_close)
    }
}

impl UpstreamStop {
    fn of(error: &io::Error) -> Self {
        let refused = upstream::refused_certificate(error).then_some(TlsCheck::ClientCertificate);
        refused.map_or_else(|| Self::Broke(error.kind()), Self::Tls)
    }
}

impl From<BodyStop> for Stop {
    fn from(stop: BodyStop) -> Self {
        match stop {
            BodyStop::Gone => Self::ClientGone,
            BodyStop::Malformed(error) => Self::BodyMalformed(error),
        }
    }
}

impl From<Late> for Stop {
    fn from(late: Late) -> Self {
        match late {
            Late::ClientGone => Self::ClientGone,
            Late::ReaderStalled => Self::ReaderStalled,
            Late::BodyTooSlow => Self::BodyTooSlow,
            Late::Upstream(timeout) => Self::UpstreamLate(timeout),
        }
    }
}

impl std::fmt::Display for UpstreamStop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => f.write_str("connection closed before the response was complete"),
            Self::Tls(check) => write!(f, "TLS: {check}"),
            Self::Broke(kind) => write!(f, "connection failed: {kind}"),
            Self::Response(error) => write!(f, "{error}"),
            Self::Chunk => f.write_str("response: malformed chunk"),
            Self::Switch => f.write_str("response: 101 that was not asked for"),
            Self::Interim => f.write_str("too many interim responses"),
        }
    }
}

#[cfg(test)]
mod tests;
