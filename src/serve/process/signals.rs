//! From signals to a process that ends with nothing lost.
//!
//! Owns what the ending signals mean and waiting for the last connection (contract, "Commands":
//! SIGTERM and SIGQUIT drain; SIGINT ends at once). SIGHUP is [`crate::serve::reload`]'s.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::serve::downstream::connections::Connections;
use crate::serve::process::systemd::{Standing, notify};
use crate::serve::shared::Shared;

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
pub struct Signals {
    asked: watch::Receiver<Option<Ending>>,
    /// How long listeners stay open after the first signal.
    lame_duck: Duration,
}

impl Signals {
    /// Starts catching. `/readyz` says no from the first signal on.
    ///
    /// # Errors
    /// When the system has no thread or no way to catch them.
    pub fn catch(shared: Arc<Shared>, lame_duck: Duration) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let caught = {
            let _inside = runtime.enter();
            Caught::register()?
        };
        let (tell, told) = watch::channel(None);
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || runtime.block_on(caught.follow(&shared, &tell)))?;
        Ok(Self { asked: told, lame_duck })
    }

    /// Waits for the process to be asked to end.
    pub async fn ending(&mut self) -> Ending {
        match self.asked.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(ending)) => *ending,
            // The thread is gone: a process that cannot be told to stop must not run.
            Ok(None) | Err(_) => Ending::AtOnce,
        }
    }

    /// Waits until the listeners are to be closed: the lame-duck delay after the process was asked
    /// to end, in which balancers see `/readyz` and look elsewhere.
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
        let _ = self.asked.wait_for(|ending| *ending == Some(Ending::AtOnce)).await;
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
        match self.clone().closing().await {
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
            notify(Standing::Stopping);
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
    use crate::config::ConnectionCaps;
    use crate::serve::observe::metrics::Metrics;

    #[tokio::test(start_paused = true)]
    async fn draining_ends_with_the_last_connection_the_patience_or_a_second_signal() {
        let caps = ConnectionCaps { total: 10, per_address: 10 };
        let connections = Arc::new(Connections::new(caps, Metrics::new().connections()));
        let (tell, told) = watch::channel(Some(Ending::Drain));
        let mut signals = Signals { asked: told, lame_duck: Duration::ZERO };
        assert_eq!(signals.ending().await, Ending::Drain);
        let patience = Duration::from_secs(1);
        assert!(signals.drained(&connections, patience).await);
        let open = connections.enter(None).unwrap();
        assert!(!signals.drained(&connections, patience).await);
        tell.send_replace(Some(Ending::AtOnce));
        assert!(!signals.drained(&connections, Duration::from_secs(u64::MAX / 4)).await);
        drop(open);
        drop(tell);
        assert_eq!(signals.ending().await, Ending::AtOnce);
    }

    #[tokio::test(start_paused = true)]
    async fn listeners_stay_open_for_the_lame_duck_delay_unless_somebody_insists() {
        let (tell, told) = watch::channel(None);
        let mut signals = Signals { asked: told, lame_duck: Duration::from_secs(60) };
        let long = Duration::from_secs(59);
        assert!(tokio::time::timeout(long, signals.closing()).await.is_err(), "nobody asked");
        tell.send_replace(Some(Ending::Drain));
        assert!(tokio::time::timeout(long, signals.closing()).await.is_err());
        assert_eq!(signals.closing().await, Ending::Drain);
        tell.send_replace(Some(Ending::AtOnce));
        let began = tokio::time::Instant::now();
        assert_eq!(signals.closing().await, Ending::AtOnce);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
