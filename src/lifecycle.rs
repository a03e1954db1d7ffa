//! From signals to a process that ends with nothing lost.
//!
//! Owns what each signal means, the count of open connections, and waiting for the last of them
//! (contract, "Commands": SIGHUP reloads, SIGTERM and SIGQUIT drain; SIGINT ends at once). Never
//! decides what a reload does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use crate::state::Shared;

/// How many downstream connections are open.
#[derive(Debug, Default)]
pub struct Connections {
    open: AtomicUsize,
    closed: Notify,
}

impl Connections {
    /// Counts a connection as long as the guard lives.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> OpenConnection {
        self.open.fetch_add(1, Ordering::AcqRel);
        OpenConnection(Arc::clone(self))
    }

    /// How many there are.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Waits until none is open.
    pub async fn all_closed(&self) {
        loop {
            let closed = self.closed.notified();
            if self.open() == 0 {
                return;
            }
            closed.await;
        }
    }
}

/// One open connection.
#[derive(Debug)]
pub struct OpenConnection(Arc<Connections>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.closed.notify_waiters();
        }
    }
}

/// The signals of a running process.
pub struct Signals {
    /// What SIGHUP does.
    pub on_reload: Box<dyn Fn() + Send + Sync>,
    /// Where `readyz` looks.
    pub shared: Arc<Shared>,
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    /// Waits for the signal that ends the process; reloads on the way there.
    async fn recv(&self) -> ShutdownSignal {
        match Caught::register() {
            Ok(caught) => self.listen(caught).await,
            Err(error) => {
                // A process that cannot be told to stop must not run.
                tracing::error!(%error, "signals cannot be received");
                ShutdownSignal::FastShutdown
            }
        }
    }
}

struct Caught {
    reload: Signal,
    terminate: Signal,
    quit: Signal,
    interrupt: Signal,
}

impl Caught {
    fn register() -> std::io::Result<Self> {
        Ok(Self {
            reload: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

impl Signals {
    async fn listen(&self, mut caught: Caught) -> ShutdownSignal {
        loop {
            tokio::select! {
                _ = caught.reload.recv() => (self.on_reload)(),
                _ = caught.terminate.recv() => return self.drain("SIGTERM"),
                _ = caught.quit.recv() => return self.drain("SIGQUIT"),
                _ = caught.interrupt.recv() => {
                    self.shared.readiness.drain();
                    tracing::info!(signal = "SIGINT", "stopping at once");
                    return ShutdownSignal::FastShutdown;
                }
            }
        }
    }

    fn drain(&self, signal: &'static str) -> ShutdownSignal {
        // Before the listeners close, so that nothing new is sent here.
        self.shared.readiness.drain();
        tracing::info!(signal, "draining: requests under way are finished");
        ShutdownSignal::GracefulTerminate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_connection_ends_the_wait() {
        let connections = Arc::new(Connections::default());
        let (first, second) = (connections.enter(), connections.enter());
        let waiting = tokio::spawn({
            let connections = Arc::clone(&connections);
            async move { connections.all_closed().await }
        });
        drop(first);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(second);
        waiting.await.unwrap();
        assert_eq!(connections.open(), 0);
    }
}
