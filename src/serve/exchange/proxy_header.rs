//! Connections that begin with a PROXY header.
//!
//! Owns whose header is read, and what becomes of a connection without a good one: it is closed
//! unanswered, with a count and a line. Never parses a header: that is
//! [`crate::decide::request::proxy_protocol`]'s.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::Exchange;
use super::client::{Client, NotStated};
use crate::decide::request::address::Peer;
use crate::decide::request::proxy_protocol::ProxyProtocol;
use crate::serve::downstream::listen::Accepting;

impl Exchange {
    /// Learns the client of a connection from the header of its peer; `None` when it must be closed.
    pub(super) async fn state_client(
        &self,
        client: &mut Client,
        listener: &Accepting,
        versions: ProxyProtocol,
        deadline: Instant,
    ) -> Option<()> {
        let peer = client.peer()?;
        let is_trusted = self.shared.snapshots.load().gate.trusted_proxies.trusts(peer);
        // That of an untrusted peer is read as well, and means nothing: a probe sends none.
        let (result, error) = match client.read_proxy_header(versions, deadline).await {
            Err(NotStated::Silent) => return None,
            _ if !is_trusted => ("untrusted", "the peer is not in trusted_proxies".to_owned()),
            Ok(()) => {
                let is_stated = !matches!(client.peer(), Some(Peer::Unstated(_)));
                let result = if is_stated { "accepted" } else { "unstated" };
                self.shared.observers.metrics.proxy_header(result);
                return Some(());
            }
            Err(NotStated::Closed) => ("closed", "closed within the header".to_owned()),
            Err(NotStated::Late) => ("timed_out", "timed out".to_owned()),
            Err(NotStated::Malformed(error)) => ("malformed", error.to_string()),
        };
        self.shared.observers.metrics.proxy_header(result);
        if may_log(self.shared.clock.now().unix.0) {
            tracing::info!(%listener, %peer, result, error, "connection closed: no PROXY header");
        }
        None
    }
}

/// One line a second for all listeners; the metric counts each.
fn may_log(now: u64) -> bool {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.swap(now, Ordering::Relaxed) != now
}
