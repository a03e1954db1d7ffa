//! The readiness that `/readyz` shows.
//!
//! Owns its three states and their order. Never decides a request.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// Readiness of the process for new requests.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    state: AtomicU8,
    awaits_keys: AtomicBool,
}

/// The three states of a process, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// Listeners are not open yet, or the first keys of an issuer have not been fetched yet.
    Starting,
    /// Serving.
    Yes,
    /// Stopping: running requests finish, new ones should go elsewhere. Final.
    Draining,
}

impl Readiness {
    /// The current state.
    pub(crate) fn state(&self) -> Ready {
        match self.state.load(Ordering::Acquire) {
            0 => Ready::Starting,
            1 if self.awaits_keys.load(Ordering::Acquire) => Ready::Starting,
            1 => Ready::Yes,
            _ => Ready::Draining,
        }
    }

    /// The first keys of an issuer are missing.
    pub(crate) fn await_keys(&self) {
        self.awaits_keys.store(true, Ordering::Release);
    }

    /// The first keys were fetched, or the wait for them is over.
    pub(crate) fn keys_awaited(&self) {
        self.awaits_keys.store(false, Ordering::Release);
    }

    /// Listeners are open. Does nothing once draining.
    pub(crate) fn serve(&self) {
        let _ = self.state.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire);
    }

    /// The process is stopping.
    pub(crate) fn drain(&self) {
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
        readiness.keys_awaited();
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
