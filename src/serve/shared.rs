//! What all threads of a running process share.
//!
//! Owns [`Shared`] and the readiness that `/readyz` shows. Never decides a request: it only says
//! where the current snapshot is and who watches.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use crate::base::clock::{Clock, UnixMillis};
use crate::config::snapshot::{Snapshot, Snapshots};
use crate::serve::introspection::Introspection;
use crate::serve::jwks::KeyServers;
use crate::serve::observe::Observers;
use crate::serve::revocation_log::RevocationLog;

/// One per process, behind an `Arc`.
#[derive(Debug)]
pub struct Shared {
    /// Where the current snapshot is.
    pub snapshots: Snapshots,
    /// The process clock.
    pub clock: Clock,
    /// Metrics, access log and the ring behind `why`.
    pub observers: Observers,
    /// The key servers that are followed.
    pub key_servers: KeyServers,
    /// Who is asked about opaque tokens.
    pub introspection: Introspection,
    /// What was revoked here, and the log that keeps it.
    pub revocations: RevocationLog,
    /// What `/readyz` says.
    pub readiness: Readiness,
    /// When the process started.
    pub started: UnixMillis,
}

impl Shared {
    /// Puts a first snapshot and its watchers together; not ready yet.
    #[must_use]
    pub fn new(
        snapshot: Snapshot,
        clock: Clock,
        observers: Observers,
        revocations: RevocationLog,
    ) -> Self {
        Self {
            snapshots: Snapshots::from_pointee(snapshot),
            clock,
            observers,
            key_servers: KeyServers::default(),
            introspection: Introspection::default(),
            revocations,
            readiness: Readiness::default(),
            started: Clock::unix_millis(),
        }
    }
}

/// Whether new requests should be sent here.
#[derive(Debug, Default)]
pub struct Readiness {
    state: AtomicU8,
    awaits_keys: AtomicBool,
}

/// The three states of a process, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Listeners are not open yet, or some issuer's first keys are still waited for.
    Starting,
    /// Serving.
    Yes,
    /// Asked to stop: what is running finishes, nothing new should come. Never goes back.
    Draining,
}

impl Readiness {
    /// The state now.
    #[must_use]
    pub fn state(&self) -> Ready {
        match self.state.load(Ordering::Acquire) {
            0 => Ready::Starting,
            1 if self.awaits_keys.load(Ordering::Acquire) => Ready::Starting,
            1 => Ready::Yes,
            _ => Ready::Draining,
        }
    }

    /// Some issuer has no keys yet.
    pub fn await_keys(&self) {
        self.awaits_keys.store(true, Ordering::Release);
    }

    /// First keys are there, or were waited for long enough.
    pub fn keys_had(&self) {
        self.awaits_keys.store(false, Ordering::Release);
    }

    /// Listeners are open. Does nothing once draining.
    pub fn serve(&self) {
        let _ = self.state.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Asked to stop.
    pub fn drain(&self) {
        self.state.store(2, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contract_readyz_waits_for_first_keys() {
        let readiness = Readiness::default();
        readiness.await_keys();
        readiness.serve();
        assert_eq!(readiness.state(), Ready::Starting);
        readiness.keys_had();
        assert_eq!(readiness.state(), Ready::Yes);
        readiness.await_keys();
        readiness.drain();
        assert_eq!(readiness.state(), Ready::Draining);
    }

    #[test]
    fn draining_is_final() {
        let readiness = Readiness::default();
        assert_eq!(readiness.state(), Ready::Starting);
        readiness.serve();
        assert_eq!(readiness.state(), Ready::Yes);
        readiness.drain();
        readiness.serve();
        assert_eq!(readiness.state(), Ready::Draining);
    }
}
