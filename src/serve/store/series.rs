//! What a store reports and what it is told beside intents.
//!
//! Owns its series, with names of intents as the only labels, and the limits of the audit log, which
//! a reload changes. Never decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts};

use crate::base::clock::Monotonic;

/// The series of one store.
#[derive(Clone, Debug)]
pub struct StoreSeries {
    /// 1 while it answers.
    pub up: IntGauge,
    /// Transactions, by intent.
    pub duration: HistogramVec,
    /// Intents that were not stored.
    pub errors: IntCounterVec,
    /// Seconds since the changes of other processes were read.
    pub lag: IntGauge,
    /// Steps of the wall clock by more than five minutes.
    pub steps: IntCounter,
}

impl StoreSeries {
    /// Counts an intent that was stored after so long.
    pub(super) fn stored(&self, intent: &str, began: Monotonic, now: Monotonic) {
        let took = Duration::from_nanos(now.0.saturating_sub(began.0));
        self.duration.with_label_values(&[intent]).observe(took.as_secs_f64());
    }

    /// Counts one that was not.
    pub(super) fn failed(&self, intent: &str) {
        self.errors.with_label_values(&[intent]).inc();
    }
}

/// Series that nothing scrapes: for commands and tests.
impl Default for StoreSeries {
    fn default() -> Self {
        let gauge = |name| IntGauge::new(name, "-").expect("a constant name");
        let labels = &["intent"];
        let duration = HistogramVec::new(HistogramOpts::new("duration", "-"), labels);
        let errors = IntCounterVec::new(Opts::new("errors", "-"), labels);
        Self {
            up: gauge("up"),
            duration: duration.expect("constant names"),
            errors: errors.expect("constant names"),
            lag: gauge("lag"),
            steps: IntCounter::new("steps", "-").expect("constant names"),
        }
    }
}

/// The bounds of the audit log.
#[derive(Debug)]
pub struct AuditLimits {
    seconds: AtomicU64,
    bytes: AtomicU64,
}

/// No limit.
impl Default for AuditLimits {
    fn default() -> Self {
        Self { seconds: AtomicU64::new(u64::MAX), bytes: AtomicU64::new(u64::MAX) }
    }
}

impl AuditLimits {
    /// Keeps lines for so long, and the newest ones up to this size.
    pub fn set(&self, keep: Duration, bytes: u64) {
        self.seconds.store(keep.as_secs(), Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> (u64, u64) {
        (self.seconds.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

/// The observer of a store, and the events that it receives.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// Its series.
    pub series: StoreSeries,
    /// The limits of its audit log.
    pub audit: Arc<AuditLimits>,
}
