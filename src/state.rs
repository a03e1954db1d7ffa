//! What all threads of a running process share.
//!
//! Owns [`Shared`] and the readiness that `/readyz` shows. Never decides a request: it only says
//! where the current snapshot is and who watches.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::observers::Observers;
use crate::revocation_log::RevocationLog;
use crate::snapshot::{Snapshot, Snapshots};
use crate::time::{Clock, UnixMillis};

/// One per process, behind an `Arc`.
#[derive(Debug)]
pub struct Shared {
    /// Where the current snapshot is.
    pub snapshots: Snapshots,
    /// The process clock.
    pub clock: Clock,
    /// Metrics, access log and the ring behind `why`.
    pub observers: Observers,
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
            revocations,
            readiness: Readiness::default(),
            started: Clock::unix_millis(),
        }
    }
}

/// Whether new requests should be sent here.
#[derive(Debug, Default)]
pub struct Readiness(AtomicU8);

/// The three states of a process, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Listeners are not open yet.
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
        match self.0.load(Ordering::Acquire) {
            0 => Ready::Starting,
            1 => Ready::Yes,
            _ => Ready::Draining,
        }
    }

    /// Listeners are open. Does nothing once draining.
    pub fn serve(&self) {
        let _ = self.0.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Asked to stop.
    pub fn drain(&self) {
        self.0.store(2, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
