//! The admin listener: metrics, health, status, `why`, `explain --live`, reload and revocations; and
//! the metrics listener, which has metrics and health alone.
//!
//! Owns the socket, the thread and how long a connection may take. It shares no thread with the
//! proxy, so that a flood there does not hide the metrics. Access is `guard`'s.

mod explain;
mod guard;
mod issuer;
mod listener;
mod pages;
mod problem;
mod record;
mod respond;
mod revocations;
mod status;
pub(crate) mod token;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, oneshot};

use crate::base::secret::Secret;
use crate::config::ListenAddress;
use crate::serve::admin::guard::Guard;
use crate::serve::admin::listener::{Listening, Peer};
use crate::serve::reload::Reloader;
use crate::serve::shared::Shared;

/// The admin listener as `run` starts it.
#[derive(Debug)]
pub(crate) struct Admin {
    /// The address to listen on.
    pub address: ListenAddress,
    /// The bearer token it demands.
    pub token: Option<Secret<String>>,
    /// The bearer token that the administration of the issuer demands in any case.
    pub issuer_token: Option<Secret<String>>,
}

/// The process that the pages show and change.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// Its state.
    pub shared: Arc<Shared>,
    /// Its reloads.
    pub reloader: Arc<Reloader>,
}

/// Connections at a time: a few people, a scraper and its probes.
const CONNECTIONS_MAX: usize = 64;

/// Reading a head, and waiting for the next one on a kept connection. Longer than the pause
/// between two scrapes is not needed: they connect again.
const HEADER_TIME: Duration = Duration::from_secs(10);

/// A connection as a whole: a caller who does not read must not hold it for ever. A reload of a
/// million keys takes seconds.
const CONNECTION_TIME: Duration = Duration::from_secs(120);

/// Bytes of a head.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Reloads and revocations that wait for their turn, each on a thread.
const BLOCKING_THREADS_MAX: usize = 4;

/// A running listener; stops when it is dropped.
#[derive(Debug)]
pub(crate) struct AdminHandle {
    address: ListenAddress,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl AdminHandle {
    /// The bound address, with the chosen port.
    #[must_use]
    pub(crate) fn address(&self) -> &ListenAddress {
        &self.address
    }
}

impl Drop for AdminHandle {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Open connections end with the thread's runtime; a panic there was logged.
            let _ = thread.join();
        }
    }
}

/// Binds now and serves on a thread of its own.
///
/// # Errors
/// The address cannot be bound, is in use, or no thread can be started.
pub(crate) fn serve(admin: Admin, process: Process) -> io::Result<AdminHandle> {
    let Admin { address, token, issuer_token } = admin;
    start("admin", &address, |address| {
        let guard = |token: Option<&Secret<String>>| Guard::new(address, token);
        // Without a token there is no administration of the issuer.
        let issuer = issuer_token.as_ref().map(|token| guard(Some(token)));
        pages::router(process, &guard(token.as_ref()), issuer.as_ref())
    })
}

/// Binds now and serves `/metrics`, `/livez` and `/readyz` without a token, on a thread of its own.
///
/// # Errors
/// Those of [`serve`].
pub(crate) fn serve_metrics(address: &ListenAddress, process: Process) -> io::Result<AdminHandle> {
    start("metrics", address, |_| pages::metrics_router(process))
}

fn start(
    name: &'static str,
    address: &ListenAddress,
    router: impl FnOnce(&ListenAddress) -> axum::Router,
) -> io::Result<AdminHandle> {
    let listening = Listening::bind(address)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()?;
    let address = listening.address()?;
    let router = router(&address);
    let (stop, stopped) = oneshot::channel();
    let run = move || {
        runtime.block_on(async move {
            tokio::select! {
                _ = stopped => {}
                result = accept(listening, router) => {
                    if let Err(error) = result {
                        tracing::error!(%error, listener = name, "listener stopped");
                    }
                }
            }
        });
        runtime.shutdown_background();
    };
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
    Ok(AdminHandle { address, stop: Some(stop), thread: Some(thread) })
}

async fn accept(listening: Listening, router: axum::Router) -> io::Result<()> {
    let mut listener = listening.into_async()?;
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let permit = Arc::clone(&connections).acquire_owned().await.map_err(io::Error::other)?;
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept on an admin or metrics listener");
                // Usually no file descriptors are left: an immediate retry would spin.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let router = router.clone();
        tokio::spawn(async move {
            converse(stream, peer, router).await;
            drop(permit);
        });
    }
}

/// Serves one connection until it ends or its time is over.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    peer: Peer,
    router: axum::Router,
) {
    let pages = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        pages.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // An error of one connection concerns its caller alone.
    let _ = tokio::time::timeout(CONNECTION_TIME, connection).await;
}

#[cfg(test)]
mod tests;
