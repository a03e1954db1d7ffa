//! The PROXY header at the start of a connection.
//!
//! Owns reading exactly it: what follows belongs to the client. Never decides whose header is read.

use std::future::poll_fn;
use std::task::Poll;

use bytes::Buf;
use tokio::time::Instant;

use super::Client;
use crate::decide::request::address::Peer;
use crate::decide::request::proxy_protocol::{Malformed, ProxyProtocol};

/// The reason why the client of a connection is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve::exchange) enum NotStated {
    /// The peer closed before it sent anything, as a probe does.
    Silent,
    /// It closed within the header.
    Closed,
    /// The header did not come in time.
    Late,
    /// It is no header.
    Malformed(Malformed),
}

impl Client {
    /// Reads the header: from then on the peer is the client that it states.
    pub(in crate::serve::exchange) async fn read_proxy_header(
        &mut self,
        versions: ProxyProtocol,
        deadline: Instant,
    ) -> Result<(), NotStated> {
        loop {
            let read = versions.read(&self.buffer).map_err(NotStated::Malformed)?;
            if let Some(header) = read {
                self.buffer.advance(header.length);
                self.peer = match (header.client, self.peer) {
                    (Some(client), _) => Some(Peer::Ip(client.ip())),
                    (None, Some(Peer::Ip(address))) => Some(Peer::Unstated(Some(address))),
                    (None, Some(Peer::Unix)) => Some(Peer::Unstated(None)),
                    (None, other) => other,
                };
                return Ok(());
            }
            let more = poll_fn(|cx| match self.poll_more(cx) {
                Poll::Ready(read) => Poll::Ready(Ok(matches!(read, Ok(1..)))),
                Poll::Pending => self.timer.poll(deadline, cx).map(|()| Err(NotStated::Late)),
            });
            if !more.await? {
                let is_silent = self.buffer.is_empty();
                return Err(if is_silent { NotStated::Silent } else { NotStated::Closed });
            }
        }
    }
}
