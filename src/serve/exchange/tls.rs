//! Connections of listeners with TLS.
//!
//! Owns what becomes of a connection whose handshake does not succeed, and requests whose host the
//! certificate of the connection is not for. Never performs a handshake: that is the client side's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::Exchange;
use super::client::{Client, NotSecured};
use super::decide::Asked;
use crate::base::clock::UnixTime;
use crate::config::ListenerKey;
use crate::config::snapshot::Snapshot;
use crate::decide::policy::{AccessDenied, ClientCertificate, normalize_host, split_port};
use crate::decide::rejection::Rejection;
use crate::serve::downstream::listen::Accepting;
use crate::serve::shared::Shared;

impl Exchange {
    /// The connection after its handshake; `None` when it has ended.
    pub(super) async fn secure(
        &self,
        client: Client,
        listener: &ListenerKey,
        deadline: Instant,
    ) -> Option<Client> {
        let began = self.shared.clock.monotonic();
        let tls = Arc::clone(self.shared.snapshots.load().materials.tls_of(listener)?);
        let metrics = &self.shared.observers.metrics;
        let peer = client.peer();
        match client.secure(tls, deadline).await {
            Ok(client) => {
                metrics.handshake(if client.is_resumed() { "resumed" } else { "full" });
                return Some(client);
            }
            Err(NotSecured::Silent) => {}
            Err(NotSecured::Plain(mut client)) => {
                metrics.handshake("plain_http");
                // An answer in plain HTTP is what this client understands.
                let after = self.refuse(&mut client, began, Rejection::TlsRequired).await;
                client.end_with(after).await;
            }
            Err(NotSecured::Failed(result, error)) => {
                metrics.handshake(result);
                if may_log(self.shared.clock.now().unix) {
                    let peer = peer.map(tracing::field::display);
                    tracing::info!(%listener, peer, result, error, "TLS handshake failed");
                }
            }
        }
        None
    }
}

/// One line a second for all listeners; the metric counts each.
fn may_log(now: UnixTime) -> bool {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.swap(now.0, Ordering::Relaxed) != now.0
}

/// The certificate of the client.
///
/// # Errors
/// It is not accepted any more.
pub(super) fn certificate(
    shared: &Shared,
    client: &mut Client,
    listener: &Accepting,
    snapshot: &Snapshot,
) -> Result<Option<Arc<ClientCertificate>>, Rejection> {
    let served = || snapshot.materials.tls_of(listener.tls.as_ref()?).cloned();
    let certificate = client.certificate(served, shared.clock.now().unix);
    certificate.map_err(|ended| AccessDenied::from(ended).into())
}

/// The refusal of a request for a host that the certificate of the connection is not for.
pub(super) fn misdirected(client: &Client, asked: &Asked<'_>) -> Option<Rejection> {
    let host = normalize_host(asked.host().filter(|_| client.scheme() == "https")?)?;
    let name = split_port(&host).unwrap_or(&host);
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    (!client.covers(name)).then(|| Rejection::HostNotCovered { host: host.as_ref().into() })
}
