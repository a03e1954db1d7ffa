//! A connection to an upstream, from the pool or new.
//!
//! Owns trying a further address when one does not answer: nothing was sent yet, so that the method
//! does not matter. Never sends a byte.

use std::sync::Arc;

use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::protocols::Stream;

use super::secure::{UpstreamStream, secure};
use super::{Pool, Tries, Upstreams};
use crate::config::ClientTls;
use crate::decide::policy::Route;
use crate::decide::rejection::Fault;

/// Opens connections.
pub(crate) struct Connector {
    upstreams: Arc<Upstreams>,
    pool: Arc<Pool>,
    transport: TransportConnector,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("pool", &self.pool).finish_non_exhaustive()
    }
}

/// A connection that a request may be sent on.
pub(crate) struct Connected {
    /// The connection.
    pub stream: UpstreamStream,
    /// It was used before: the upstream may be closing it.
    pub is_reused: bool,
}

impl std::fmt::Debug for Connected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connected").field("is_reused", &self.is_reused).finish_non_exhaustive()
    }
}

impl Connector {
    /// Connects through this pool.
    #[must_use]
    pub(crate) fn new(upstreams: Arc<Upstreams>, pool: Arc<Pool>) -> Self {
        // Its own pool stays empty.
        let transport = TransportConnector::new(Some(ConnectorOptions::new(1)));
        Self { upstreams, pool, transport }
    }

    /// A connection of the pool.
    #[must_use]
    pub(crate) fn reuse(&self, route: &Route, tls: Option<&Arc<ClientTls>>) -> Option<Connected> {
        let stream = self.pool.take(route.upstream()?, tls)?;
        Some(Connected { stream, is_reused: true })
    }

    /// A new connection.
    ///
    /// # Errors
    /// [`Fault::UpstreamConnect`] when none of the addresses that were tried answers, and
    /// [`Fault::UpstreamTls`] when one does and is not the upstream.
    pub(crate) async fn connect(
        &self,
        route: &Route,
        tls: Option<&Arc<ClientTls>>,
    ) -> Result<Connected, Fault> {
        // Requests of the issuer's routes are answered here, and never forwarded.
        let upstream = route.upstream().ok_or(Fault::Internal)?;
        let mut tries = Tries::default();
        loop {
            let peer = self.upstreams.peer(upstream, &route.timeouts, &mut tries).await?;
            match self.transport.new_stream(&*peer).await {
                Ok(stream) => {
                    let stream = secured(route, tls, stream).await?;
                    return Ok(Connected { stream, is_reused: false });
                }
                Err(error) if tries.can_go_on() => {
                    let (upstream, error) = (&*upstream.name, error.etype().as_str());
                    tracing::debug!(upstream, error, "an address of an upstream does not answer");
                }
                Err(_) => return Err(Fault::UpstreamConnect),
            }
        }
    }

    /// Takes a connection back that is at a boundary.
    pub(crate) fn give_back(
        &self,
        route: &Route,
        tls: Option<&Arc<ClientTls>>,
        stream: UpstreamStream,
    ) {
        if let Some(upstream) = route.upstream() {
            self.pool.put(upstream, tls, stream, route.timeouts.keepalive);
        }
    }
}

/// The handshake has the time of a connect of its own.
async fn secured(
    route: &Route,
    tls: Option<&Arc<ClientTls>>,
    stream: Stream,
) -> Result<UpstreamStream, Fault> {
    let Some(tls) = tls else { return Ok(stream.into()) };
    match tokio::time::timeout(route.timeouts.connect, secure(tls, stream)).await {
        Ok(secured) => secured.map_err(Fault::UpstreamTls),
        Err(_) => Err(Fault::UpstreamConnect),
    }
}
