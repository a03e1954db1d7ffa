//! Deadlines of a request body (R-1001).
//!
//! Owns how long a body was waited for, the longest pause and, where a floor applies, the rate that
//! the body must reach. Never reads.

use std::num::NonZeroU64;
use std::time::Duration;

use tokio::time::Instant;

/// The time a body may be waited for before a floor applies to it.
const FLOOR_GRACE: Duration = Duration::from_secs(10);

/// The demands on a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BodyRules {
    /// The longest pause between two reads.
    pub(super) pause: Duration,
    /// Bytes per second of waiting, on average, after [`FLOOR_GRACE`].
    pub(super) floor: Option<NonZeroU64>,
}

/// The time that the body of the current request was waited for. Time in which the upstream takes none
/// of it does not count.
#[derive(Debug, Default)]
pub(super) struct BodyWait {
    /// Bytes of the body that arrived.
    arrived: u64,
    waited: Duration,
    waiting_since: Option<Instant>,
}

impl BodyWait {
    /// Bytes of the body came.
    pub(super) fn arrived(&mut self, count: usize) {
        self.arrived = self.arrived.saturating_add(count as u64);
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
    }

    /// More of the body is waited for, from now on unless it was before.
    pub(super) fn wait(&mut self) {
        self.waiting_since.get_or_insert_with(Instant::now);
    }

    /// The instant by which more must have come; `None` while nothing is waited for.
    pub(super) fn deadline(&self, rules: BodyRules) -> Option<Instant> {
        let since = self.waiting_since?;
        let pause = since + rules.pause;
        let Some(floor) = rules.floor else { return Some(pause) };
        let earned = Duration::from_secs(self.arrived / floor);
        Some(pause.min(since + earned.max(FLOOR_GRACE).saturating_sub(self.waited)))
    }
}
