//! Who hears of every finished request: metrics, the access log and the ring behind `why`.
//!
//! Owns that all three are told the same, once. Never decides, never waits, never sees a
//! credential.

use crate::access_log::AccessLog;
use crate::metrics::Metrics;
use crate::record::Record;
use crate::why::WhyRing;

/// Everything that watches.
#[derive(Debug)]
pub struct Observers {
    /// Counts and durations.
    pub metrics: Metrics,
    /// One line per request.
    pub access_log: AccessLog,
    /// Recent refusals and faults.
    pub why: WhyRing,
}

impl Observers {
    /// Tells all of them of one request.
    pub fn record(&self, record: &Record<'_>) {
        self.metrics.record(record);
        self.access_log.record(record);
        self.why.record(record);
    }
}
