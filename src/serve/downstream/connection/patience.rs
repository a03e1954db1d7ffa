//! How long a connection waits for its client.
//!
//! Owns the deadlines that the listener and the route of the current request set, and what replaces
//! them while connections are scarce. Never waits itself.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::serve::downstream::connection::body::BodyRules;
use crate::serve::downstream::connections::Connections;

/// The longest a client may take nothing of an answer of gatepost itself.
const OWN_ANSWER_STALL_MAX: Duration = Duration::from_secs(10);
/// The longest pause in a body before a route has set one.
const BODY_PAUSE_DEFAULT: Duration = Duration::from_secs(60);
/// The longest a client may take nothing while connections are scarce.
const SCARCE_STALL_MAX: Duration = Duration::from_secs(10);
/// Bytes per second a body must bring while connections are scarce (R-1001).
const SCARCE_BODY_RATE: NonZeroU64 = NonZeroU64::new(1024).unwrap();

/// What an admitted request may ask of this side of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The longest pause between two reads of the request body.
    pub body: Duration,
    /// The longest time in which the client takes nothing of the response.
    pub write: Duration,
    /// Bytes per second the body must bring on average.
    pub min_body_rate: Option<NonZeroU64>,
}

/// The deadlines of one connection. Set by reference, so the values are atomic.
#[derive(Debug)]
pub(super) struct Deadlines {
    /// The longest time without the first byte of a request (R-1002).
    pub(super) keepalive: Duration,
    connections: Arc<Connections>,
    body_ms: AtomicU64,
    write_ms: AtomicU64,
    /// 0 for none.
    rate: AtomicU64,
}

impl Deadlines {
    pub(super) fn new(keepalive: Duration, connections: Arc<Connections>) -> Self {
        let (body_ms, write_ms, rate) = Default::default();
        let new = Self { keepalive, connections, body_ms, write_ms, rate };
        new.reset();
        new
    }

    /// Those of a request that is not admitted yet.
    pub(super) fn reset(&self) {
        let (body, write) = (BODY_PAUSE_DEFAULT, OWN_ANSWER_STALL_MAX);
        self.set(Patience { body, write, min_body_rate: None });
    }

    pub(super) fn set(&self, patience: Patience) {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.body_ms.store(millis(patience.body), Ordering::Relaxed);
        self.write_ms.store(millis(patience.write), Ordering::Relaxed);
        let rate = patience.min_body_rate.map_or(0, NonZeroU64::get);
        self.rate.store(rate, Ordering::Relaxed);
    }

    pub(super) fn body(&self) -> BodyRules {
        let pause = Duration::from_millis(self.body_ms.load(Ordering::Relaxed));
        let floor = NonZeroU64::new(self.rate.load(Ordering::Relaxed));
        if !self.connections.are_scarce() {
            return BodyRules { pause, floor };
        }
        let pause = pause.min(SCARCE_STALL_MAX);
        BodyRules { pause, floor: floor.max(Some(SCARCE_BODY_RATE)) }
    }

    pub(super) fn write(&self) -> Duration {
        let write = Duration::from_millis(self.write_ms.load(Ordering::Relaxed));
        if self.connections.are_scarce() { write.min(SCARCE_STALL_MAX) } else { write }
    }
}
