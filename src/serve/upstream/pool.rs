//! Idle connections to upstreams.
//!
//! Owns how many are kept, for how long, and whether one can still be used: only a connection that
//! is at a boundary and silent is. One pool for all threads, because a request may end on another
//! thread than the next one begins on. The last one in is the first one out, so that the others age
//! and are closed. Never connects.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use super::UpstreamStream;
use crate::config::ClientTls;
use crate::decide::policy::upstream::{Upstream, UpstreamAddress};

/// The interval at which idle connections are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The idle connections of the process.
pub(crate) struct Pool {
    most: usize,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    upstream: Arc<str>,
    address: UpstreamAddress,
    /// Of other TLS settings is another connection.
    tls: Option<Arc<ClientTls>>,
    stream: UpstreamStream,
    expires: Instant,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("most", &self.most).finish_non_exhaustive()
    }
}

impl Pool {
    /// An empty pool of at most `most` connections.
    #[must_use]
    pub(crate) fn new(most: usize) -> Self {
        Self { most, idle: Mutex::default() }
    }

    /// Takes an idle connection to an upstream: of the same name, address and TLS settings, so that a
    /// reload that changes one of them takes effect with the next request.
    #[must_use]
    pub(crate) fn take(
        &self,
        upstream: &Upstream,
        tls: Option<&Arc<ClientTls>>,
    ) -> Option<UpstreamStream> {
        let now = Instant::now();
        loop {
            let mut idle = self.take_last(upstream, tls)?;
            if idle.expires > now && is_silent(&mut idle.stream) {
                return Some(idle.stream);
            }
        }
    }

    fn take_last(&self, upstream: &Upstream, tls: Option<&Arc<ClientTls>>) -> Option<Idle> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let at = idle.iter().rposition(|one| {
            *one.upstream == *upstream.name
                && one.address == upstream.address
                && one.tls.as_ref().map(Arc::as_ptr) == tls.map(Arc::as_ptr)
        })?;
        Some(idle.remove(at))
    }

    /// Keeps a connection for `keepalive`. When the pool is full, the oldest is closed for it.
    pub(crate) fn put(
        &self,
        upstream: &Upstream,
        tls: Option<&Arc<ClientTls>>,
        stream: UpstreamStream,
        keepalive: Duration,
    ) {
        if keepalive.is_zero() {
            return;
        }
        let new = Idle {
            upstream: Arc::clone(&upstream.name),
            address: upstream.address.clone(),
            tls: tls.cloned(),
            stream,
            expires: Instant::now() + keepalive,
        };
        // Closed after the lock is released.
        let _oldest = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let oldest = (idle.len() >= self.most).then(|| idle.remove(0));
            idle.push(new);
            oldest
        };
    }

    /// Closes what has been idle for too long, and what its upstream has closed.
    fn sweep(&self) {
        let now = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<_> =
            idle.extract_if(.., |one| one.expires <= now || !is_silent(&mut one.stream)).collect();
        drop(idle);
        drop(gone);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.idle.lock().unwrap().len()
    }
}

/// Returns whether nothing came and the connection is open: what comes without being asked for belongs to
/// no answer.
fn is_silent(stream: &mut UpstreamStream) -> bool {
    let mut byte = [0; 1];
    let mut cx = Context::from_waker(Waker::noop());
    let read = Pin::new(stream).poll_read(&mut cx, &mut ReadBuf::new(&mut byte));
    matches!(read, Poll::Pending)
}

/// The task that closes unused connections.
#[derive(Debug)]
pub(crate) struct Sweeper(pub Arc<Pool>);

#[async_trait]
impl BackgroundService for Sweeper {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut tick = tokio::time::interval(SWEEP_EVERY);
        loop {
            tokio::select! {
                _ = shutdown.changed() => return,
                _ = tick.tick() => self.0.sweep(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, DuplexStream};

    use super::*;
    use crate::decide::policy::upstream::Timeouts;

    const KEEPALIVE: Duration = Duration::from_secs(4);

    fn upstream(name: &str, port: u16) -> Upstream {
        let address = UpstreamAddress::Tcp { host: "127.0.0.1".into(), port };
        Upstream {
            name: name.into(),
            index: 0,
            address,
            tls: false,
            timeouts: Timeouts::all(Duration::from_secs(1)),
        }
    }

    fn put(pool: &Pool, upstream: &Upstream) -> DuplexStream {
        let (stream, other) = tokio::io::duplex(64);
        let stream: pingora::protocols::Stream = Box::new(stream);
        pool.put(upstream, None, stream.into(), KEEPALIVE);
        other
    }

    #[tokio::test(start_paused = true)]
    async fn r407_a_connection_is_used_again_for_its_own_upstream_only() {
        let (pool, app) = (Pool::new(4), upstream("app", 80));
        let _other = put(&pool, &app);
        assert!(pool.take(&upstream("other", 80), None).is_none());
        assert!(pool.take(&upstream("app", 81), None).is_none(), "it has moved");
        assert!(pool.take(&app, None).is_some());
        assert!(pool.take(&app, None).is_none());
        let _other = put(&pool, &app);
        tokio::time::advance(KEEPALIVE).await;
        assert!(pool.take(&app, None).is_none(), "it was idle for too long");
    }

    #[tokio::test(start_paused = true)]
    async fn r406_a_connection_that_closed_or_speaks_unasked_is_never_used() {
        let (pool, app) = (Pool::new(4), upstream("app", 80));
        let mut speaks = put(&pool, &app);
        speaks.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        drop(put(&pool, &app));
        assert!(pool.take(&app, None).is_none());
        assert_eq!(pool.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_pool_is_bounded_and_swept() {
        let (pool, app) = (Pool::new(2), upstream("app", 80));
        let others: Vec<_> = (0..5).map(|_| put(&pool, &app)).collect();
        assert_eq!(pool.len(), 2);
        drop(others);
        pool.sweep();
        assert_eq!(pool.len(), 0);
        let _other = put(&pool, &app);
        pool.sweep();
        assert_eq!(pool.len(), 1);
        tokio::time::advance(KEEPALIVE).await;
        pool.sweep();
        assert_eq!(pool.len(), 0);
    }
}
