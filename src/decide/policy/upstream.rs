//! The address and the timeouts of an upstream.
//!
//! Owns the parsed address and the timeouts. Never resolves, never connects: that is
//! `serve::upstream`'s.

use std::sync::Arc;
use std::time::Duration;

/// The address of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamAddress {
    /// `http://host:port`; the host may be a name, which the shell resolves repeatedly.
    Tcp {
        /// Name or address, without brackets.
        host: Box<str>,
        /// Port.
        port: u16,
    },
    /// `unix:/path`.
    Unix(Box<str>),
}

/// Every timeout of an upstream; none can be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To connect.
    pub connect: Duration,
    /// From the end of the request to the response headers.
    pub response: Duration,
    /// Between pieces of a body.
    pub idle: Duration,
    /// The maximum idle time of a pooled connection.
    pub keepalive: Duration,
    /// Between two reads of the request body from the client.
    pub body: Duration,
    /// Between two writes of the response to the client.
    pub write: Duration,
}

impl Timeouts {
    /// The same timeout for every step.
    #[must_use]
    pub const fn all(timeout: Duration) -> Self {
        Self {
            connect: timeout,
            response: timeout,
            idle: timeout,
            keepalive: timeout,
            body: timeout,
            write: timeout,
        }
    }
}

/// One upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Name in the configuration and in metrics.
    pub name: Arc<str>,
    /// Position in the configuration.
    pub index: usize,
    /// Its address.
    pub address: UpstreamAddress,
    /// Connections to it begin with a TLS handshake (`https`).
    pub tls: bool,
    /// Its timeouts, unless a route has its own.
    pub timeouts: Timeouts,
}
