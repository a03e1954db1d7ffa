//! The signals of the process.
//!
//! Owns the one thread that receives them (contract, "Commands": SIGHUP reloads, SIGTERM and
//! SIGQUIT drain, SIGINT ends at once), and the wait for the last connection. Never reloads: the
//! wiring passes the action in.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::serve::downstream::connections::Connections;
use crate::serve::process::systemd::{Standing, notify};
use crate::serve::readiness::Readiness;

/// The ways to end a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// SIGTERM, SIGQUIT: running requests finish.
    Drain,
    /// SIGINT, or a second signal: without waiting.
    AtOnce,
}

/// The signals that end the process. They are received from the moment this exists, so that none is
/// lost while the process still starts.
#[derive(Clone, Debug)]
pub(crate) struct Signals {
    received: watch::Receiver<Option<Ending>>,
    /// The time that listeners stay open after the first signal.
    lame_duck: Duration,
}

impl Signals {
    /// Starts receiving. `/readyz` fails from the first ending signal on; `on_hangup` runs after each
    /// SIGHUP, one at a time, on a thread of its own.
    ///
    /// # Errors
    /// No thread can be started, or no handler registered.
    pub(crate) fn catch(
        readiness: Arc<Readiness>,
        lame_duck: Duration,
        on_hangup: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .max_blocking_threads(1)
            .build()?;
        let caught = {
            let _inside = runtime.enter();
            Caught::register()?
        };
        let (sender, received) = watch::channel(None);
        let on_hangup = Arc::new(on_hangup);
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || runtime.block_on(caught.follow(&readiness, &sender, on_hangup)))?;
        Ok(Self { received, lame_duck })
    }

    /// Waits for the first ending signal.
    pub(crate) async fn ending(&mut self) -> Ending {
        match self.received.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(ending)) => *ending,
            // The thread is gone: a process that cannot receive signals must not run.
            Ok(None) | Err(_) => Ending::AtOnce,
        }
    }

    /// Waits until the listeners are to be closed: the lame-duck delay after the first signal, in
    /// which balancers see that `/readyz` fails.
    async fn closing(&mut self) -> Ending {
        let ending = self.ending().await;
        if ending == Ending::AtOnce {
            return ending;
        }
        let delay = self.lame_duck;
        tokio::select! {
            biased;
            () = self.insisted() => Ending::AtOnce,
            () = tokio::time::sleep(delay) => Ending::Drain,
        }
    }

    /// Waits until the process is to end at once.
    async fn insisted(&mut self) {
        let _ = self.received.wait_for(|ending| *ending == Some(Ending::AtOnce)).await;
    }

    /// Waits until no connection is open, until `patience` is over, or for a second signal. Returns
    /// whether no connection is open.
    pub(crate) async fn drained(&mut self, connections: &Connections, patience: Duration) -> bool {
        let all_closed = async {
            loop {
                connections.all_closed().await;
                // A connection that was just accepted is not counted yet.
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

/// Time for an accepted connection to be counted.
const SETTLE: Duration = Duration::from_millis(20);

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        match self.clone().closing().await {
            Ending::Drain => ShutdownSignal::GracefulTerminate,
            Ending::AtOnce => ShutdownSignal::FastShutdown,
        }
    }
}

struct Caught {
    hangup: Signal,
    terminate: Signal,
    quit: Signal,
    interrupt: Signal,
}

impl Caught {
    fn register() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn follow(
        mut self,
        readiness: &Readiness,
        sender: &watch::Sender<Option<Ending>>,
        on_hangup: Arc<impl Fn() + Send + Sync + 'static>,
    ) {
        // One at a time: signals that arrive meanwhile are one, which is received afterwards.
        let mut reloading: Option<JoinHandle<()>> = None;
        loop {
            let (signal, ending) = tokio::select! {
                _ = self.terminate.recv() => ("SIGTERM", Ending::Drain),
                _ = self.quit.recv() => ("SIGQUIT", Ending::Drain),
                _ = self.interrupt.recv() => ("SIGINT", Ending::AtOnce),
                _ = self.hangup.recv(), if reloading.is_none() => {
                    let on_hangup = Arc::clone(&on_hangup);
                    reloading = Some(spawn_blocking(move || on_hangup()));
                    continue;
                }
                () = finished(&mut reloading) => {
                    reloading = None;
                    continue;
                }
            };
            // Before the listeners close, so that balancers send nothing new.
            readiness.drain();
            notify(Standing::Stopping);
            tracing::info!(signal, "stopping");
            // A second signal does not wait.
            sender.send_modify(|received| {
                *received = Some(if received.is_some() { Ending::AtOnce } else { ending });
            });
        }
    }
}

/// Waits for the end of a running reload; for ever without one. A panic in it was logged.
async fn finished(reloading: &mut Option<JoinHandle<()>>) {
    match reloading {
        Some(running) => drop(running.await),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConnectionCaps;
    use crate::serve::observe::metrics::Metrics;

    #[tokio::test(start_paused = true)]
    async fn draining_ends_with_the_last_connection_the_timeout_or_a_second_signal() {
        let caps = ConnectionCaps { total: 10, per_address: 10 };
        let connections = Arc::new(Connections::new(caps, Metrics::new().connections()));
        let (sender, received) = watch::channel(Some(Ending::Drain));
        let mut signals = Signals { received, lame_duck: Duration::ZERO };
        assert_eq!(signals.ending().await, Ending::Drain);
        let patience = Duration::from_secs(1);
        assert!(signals.drained(&connections, patience).await);
        let open = connections.enter(None).unwrap();
        assert!(!signals.drained(&connections, patience).await);
        sender.send_replace(Some(Ending::AtOnce));
        assert!(!signals.drained(&connections, Duration::from_secs(u64::MAX / 4)).await);
        drop(open);
        drop(sender);
        assert_eq!(signals.ending().await, Ending::AtOnce);
    }

    #[tokio::test(start_paused = true)]
    async fn listeners_stay_open_for_the_lame_duck_delay_or_a_second_signal() {
        let (sender, received) = watch::channel(None);
        let mut signals = Signals { received, lame_duck: Duration::from_secs(60) };
        let long = Duration::from_secs(59);
        assert!(tokio::time::timeout(long, signals.closing()).await.is_err(), "no signal");
        sender.send_replace(Some(Ending::Drain));
        assert!(tokio::time::timeout(long, signals.closing()).await.is_err());
        assert_eq!(signals.closing().await, Ending::Drain);
        sender.send_replace(Some(Ending::AtOnce));
        let began = tokio::time::Instant::now();
        assert_eq!(signals.closing().await, Ending::AtOnce);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
