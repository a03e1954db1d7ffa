//! How long a connection waits for its client.
//!
//! Owns the deadlines that the listener and the route of the current request set, and what replaces
//! them while connections are scarce. Never waits itself.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use crate::serve::downstream::connections::Connections;
use crate::serve::exchange::client::body_wait::BodyRules;

/// The longest a client may take nothing of an answer of gatepost itself.
const OWN_ANSWER_STALL_MAX: Duration = Duration::from_secs(10);
/// The longest pause in a body before a route has set one.
const BODY_PAUSE_DEFAULT: Duration = Duration::from_secs(60);
/// The longest a client may take nothing while connections are scarce.
const SCARCE_STALL_MAX: Duration = Duration::from_secs(10);
/// Bytes per second a body must bring while connections are scarce (R-1001).
const SCARCE_BODY_RATE: NonZeroU64 = NonZeroU64::new(1024).unwrap();

/// Limits of an admitted request on this side of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// The longest pause between two reads of the request body.
    pub body: Duration,
    /// The longest time in which the client takes nothing of the response.
    pub write: Duration,
    /// Bytes per second the body must bring on average.
    pub min_body_rate: Option<NonZeroU64>,
}

impl Patience {
    /// The deadlines of a request that is not admitted, or not yet.
    pub(crate) const NOT_ADMITTED: Self =
        Self { body: BODY_PAUSE_DEFAULT, write: OWN_ANSWER_STALL_MAX, min_body_rate: None };
}

/// The deadlines of one connection.
#[derive(Debug)]
pub(super) struct Deadlines {
    /// The longest time without the first byte of a request (R-1002).
    pub(super) keepalive: Duration,
    connections: Arc<Connections>,
    patience: Patience,
}

impl Deadlines {
    pub(super) fn new(keepalive: Duration, connections: Arc<Connections>) -> Self {
        Self { keepalive, connections, patience: Patience::NOT_ADMITTED }
    }

    pub(super) fn set(&mut self, patience: Patience) {
        self.patience = patience;
    }

    pub(super) fn body(&self) -> BodyRules {
        let Patience { body: pause, min_body_rate: floor, .. } = self.patience;
        if !self.connections.are_scarce() {
            return BodyRules { pause, floor };
        }
        let pause = pause.min(SCARCE_STALL_MAX);
        BodyRules { pause, floor: floor.max(Some(SCARCE_BODY_RATE)) }
    }

    pub(super) fn write(&self) -> Duration {
        let write = self.patience.write;
        if self.connections.are_scarce() { write.min(SCARCE_STALL_MAX) } else { write }
    }
}
