//! From signals to a process that ends with nothing lost.
//!
//! Owns what the ending signals mean, the count of open connections, and waiting for the last of
//! them (contract, "Commands": SIGTERM and SIGQUIT drain; SIGINT ends at once). SIGHUP is
//! [`crate::reload`]'s.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};

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

/// How a process was asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// SIGTERM, SIGQUIT: what is under way is finished.
    Drain,
    /// SIGINT, or a second signal: nothing is waited for.
    AtOnce,
}

/// The signals that end the process. They are caught from the moment this exists, so that none is
/// lost while the process still starts.
#[derive(Clone, Debug)]
pub struct Signals(watch::Receiver<Option<Ending>>);

impl Signals {
    /// Starts catching. `/readyz` says no from the first signal on.
    ///
    /// # Errors
    /// When the system has no thread or no way to catch them.
    pub fn catch(shared: Arc<Shared>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let caught = {
            let _inside = runtime.enter();
            Caught::register()?
        };
        let (tell, told) = watch::channel(None);
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || runtime.block_on(caught.follow(&shared, &tell)))?;
        Ok(Self(told))
    }

    /// Waits for the process to be asked to end.
    pub async fn ending(&mut self) -> Ending {
        match self.0.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(ending)) => *ending,
            // The thread is gone: a process that cannot be told to stop must not run.
            Ok(None) | Err(_) => Ending::AtOnce,
        }
    }

    /// Waits until the process is to end at once.
    async fn insisted(&mut self) {
        let _ = self.0.wait_for(|ending| *ending == Some(Ending::AtOnce)).await;
    }

    /// Waits until no connection is open, at most `patience`, or until somebody insists. Whether
    /// none is open.
    pub async fn drained(&mut self, connections: &Connections, patience: Duration) -> bool {
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
            () = self.insisted() => false,
        }
    }
}

const SETTLE: Duration = Duration::from_millis(20);

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        match self.clone().ending().await {
            Ending::Drain => ShutdownSignal::GracefulTerminate,
            Ending::AtOnce => ShutdownSignal::FastShutdown,
        }
    }
}

struct Caught {
    terminate: Signal,
    quit: Signal,
    interrupt: Signal,
}

impl Caught {
    fn register() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn follow(mut self, shared: &Shared, tell: &watch::Sender<Option<Ending>>) {
        loop {
            let (signal, ending) = tokio::select! {
                _ = self.terminate.recv() => ("SIGTERM", Ending::Drain),
                _ = self.quit.recv() => ("SIGQUIT", Ending::Drain),
                _ = self.interrupt.recv() => ("SIGINT", Ending::AtOnce),
            };
            // Before the listeners close, so that nothing new is sent here.
            shared.readiness.drain();
            tracing::info!(signal, "stopping");
            // Whoever asks twice does not want to wait.
            tell.send_modify(|asked| {
                *asked = Some(if asked.is_some() { Ending::AtOnce } else { ending });
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn draining_ends_with_the_last_connection_the_patience_or_a_second_signal() {
        let connections = Arc::new(Connections::default());
        let (tell, told) = watch::channel(Some(Ending::Drain));
        let mut signals = Signals(told);
        assert_eq!(signals.ending().await, Ending::Drain);
        let patience = Duration::from_secs(1);
        assert!(signals.drained(&connections, patience).await);
        let open = connections.enter();
        assert!(!signals.drained(&connections, patience).await);
        tell.send_replace(Some(Ending::AtOnce));
        assert!(!signals.drained(&connections, Duration::from_secs(u64::MAX / 4)).await);
        drop(open);
        drop(tell);
        assert_eq!(signals.ending().await, Ending::AtOnce);
    }

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
