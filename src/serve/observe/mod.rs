//! The observers of finished requests: metrics, the access log and the ring behind `why`.
//!
//! Owns that all three receive the same record, once. Never decides, never waits, never sees a
//! credential.

pub(crate) mod access_log;
pub(crate) mod line;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod record;
pub(crate) mod report;
pub(crate) mod why;

use crate::serve::observe::access_log::AccessLog;
use crate::serve::observe::metrics::Metrics;
use crate::serve::observe::record::Record;
use crate::serve::observe::why::WhyRing;

/// All observers.
#[derive(Debug)]
pub(crate) struct Observers {
    /// Counts and durations.
    pub metrics: Metrics,
    /// One line per request.
    pub access_log: AccessLog,
    /// Recent refusals and faults.
    pub why: WhyRing,
}

impl Observers {
    /// Counts and logs one request. The ring behind `why` has its record before: a caller may ask
    /// as soon as it has read the answer.
    pub(crate) fn record(&self, record: &Record<'_>) {
        self.metrics.record(record);
        self.access_log.record(record);
    }
}
