//! From signals to a process that ends with nothing lost.
//!
//! Owns what the ending signals mean, the count of open connections, and waiting for the last of
//! them (contract, "Commands": SIGTERM and SIGQUIT drain; SIGINT ends at once). SIGHUP is
//! [`crate::reload`]'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

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

/// Waits until no connection is open, at most `patience`, or until somebody insists by another
/// SIGINT or SIGTERM. Whether none is open.
pub async fn drained(connections: &Connections, patience: Duration) -> bool {
    let all_closed = async {
        loop {
            connections.all_closed().await;
            // A connection that was accepted just now is not counted yet.
            tokio::time::sleep(SETTLE).await;
            if connections.open() == 0 {
                return;
            }
        }
    };
    tokio::select! {
        () = all_closed => true,
        () = tokio::time::sleep(patience) => false,
        () = insisted() => false,
    }
}

const SETTLE: Duration = Duration::from_millis(20);

async fn insisted() {
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        (Err(_), _) | (_, Err(_)) => std::future::pending().await,
    }
}

/// The signals that end a running process.
#[derive(Debug)]
pub struct Signals {
    /// Where `readyz` looks.
    pub shared: Arc<Shared>,
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
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
    terminate: Signal,
    quit: Signal,
    interrupt: Signal,
}

impl Caught {
    fn register() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

impl Signals {
    async fn listen(&self, mut caught: Caught) -> ShutdownSignal {
        let (name, signal) = tokio::select! {
            _ = caught.terminate.recv() => ("SIGTERM", ShutdownSignal::GracefulTerminate),
            _ = caught.quit.recv() => ("SIGQUIT", ShutdownSignal::GracefulTerminate),
            _ = caught.interrupt.recv() => ("SIGINT", ShutdownSignal::FastShutdown),
        };
        // Before the listeners close, so that nothing new is sent here.
        self.shared.readiness.drain();
        tracing::info!(signal = name, "stopping");
        signal
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
