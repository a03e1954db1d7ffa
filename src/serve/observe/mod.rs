//! Who hears of every finished request: metrics, the access log and the ring behind `why`.
//!
//! Owns that all three are told the same, once. Never decides, never waits, never sees a
//! credential.

pub mod access_log;
pub mod line;
pub mod log;
pub mod metrics;
pub mod record;
pub mod report;
pub mod why;

use crate::serve::observe::access_log::AccessLog;
use crate::serve::observe::metrics::Metrics;
use crate::serve::observe::record::Record;
use crate::serve::observe::why::WhyRing;

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
