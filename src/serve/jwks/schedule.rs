//! The schedule of key refreshes.
//!
//! Owns the bounds: between two successful refreshes at least a minute and at most the configured
//! time, at most five minutes between failures, at most one fetch in 30 s because of unknown keys
//! . Time and randomness are arguments.

use std::time::Duration;

use tokio::time::Instant;

/// Lower bound, for a shorter `Cache-Control`.
const REFRESH_MIN: Duration = Duration::from_secs(60);
/// Pause between two fetches for unknown keys.
const NUDGE_PAUSE: Duration = Duration::from_secs(30);
/// Pause after a first failure.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// Pause after many failures.
const RETRY_MAX: Duration = Duration::from_secs(300);

/// The schedule of one key server.
#[derive(Debug)]
pub(super) struct Schedule {
    /// The longest time between two refreshes.
    refresh: Duration,
    next: Instant,
    failures: u32,
    is_nudged: bool,
    last_nudge: Option<Instant>,
}

impl Schedule {
    /// The first refresh is now.
    pub(super) fn new(refresh: Duration, now: Instant) -> Self {
        Self { refresh, next: now, failures: 0, is_nudged: false, last_nudge: None }
    }

    /// The time of the next refresh.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Brings the next refresh forward for an unknown `kid`, as early as the bounds allow.
    pub(super) fn nudge(&mut self, now: Instant) {
        let soon = self.last_nudge.map_or(now, |last| last + NUDGE_PAUSE).max(now);
        if soon < self.next {
            self.next = soon;
            self.is_nudged = true;
        }
    }

    /// Notes the begin of a refresh.
    pub(super) fn begin(&mut self, now: Instant) {
        if std::mem::take(&mut self.is_nudged) {
            self.last_nudge = Some(now);
        }
    }

    /// Plans the next refresh after a success. `lifetime` is the server's; `random` is from 0 to 1.
    pub(super) fn succeeded(&mut self, now: Instant, lifetime: Option<Duration>, random: f64) {
        self.failures = 0;
        let lifetime = lifetime.unwrap_or(self.refresh).min(self.refresh).max(REFRESH_MIN);
        // Earlier, never later: sidecars that started together must not all fetch at once.
        self.next = now + lifetime.mul_f64(0.9 + 0.1 * random);
    }

    /// Plans the next refresh after a failure. `random` is from 0 to 1.
    pub(super) fn failed(&mut self, now: Instant, random: f64) {
        self.failures = self.failures.saturating_add(1);
        let doubled = RETRY_MIN * 2_u32.saturating_pow(self.failures.saturating_sub(1).min(16));
        self.next = now + doubled.min(RETRY_MAX).mul_f64(0.5 + 0.5 * random);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const SECOND: Duration = Duration::from_secs(1);

    fn after(schedule: &Schedule, now: Instant) -> Duration {
        schedule.next().saturating_duration_since(now)
    }

    #[tokio::test(start_paused = true)]
    async fn the_server_cannot_move_a_refresh_out_of_bounds() {
        let now = Instant::now();
        let mut schedule = Schedule::new(HOUR, now);
        assert_eq!(after(&schedule, now), Duration::ZERO);
        for (lifetime, expected) in [
            (None, HOUR),
            (Some(600), 600 * SECOND),
            (Some(0), 60 * SECOND),
            (Some(u64::MAX), HOUR),
        ] {
            let lifetime = lifetime.map(Duration::from_secs);
            schedule.succeeded(now, lifetime, 1.0);
            assert_eq!(after(&schedule, now), expected);
            schedule.succeeded(now, lifetime, 0.0);
            assert_eq!(after(&schedule, now), expected.mul_f64(0.9));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_retried_ever_more_slowly() {
        let now = Instant::now();
        let mut schedule = Schedule::new(HOUR, now);
        let pauses: Vec<_> = (0..40)
            .map(|_| {
                schedule.failed(now, 1.0);
                after(&schedule, now).as_secs()
            })
            .collect();
        assert_eq!(pauses[..10], [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert_eq!(pauses[39], 300);
        schedule.succeeded(now, None, 1.0);
        schedule.failed(now, 0.0);
        assert_eq!(after(&schedule, now), SECOND / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn r305_unknown_keys_cause_one_fetch_in_30_s() {
        let began = Instant::now();
        let mut schedule = Schedule::new(HOUR, began);
        schedule.begin(began);
        schedule.succeeded(began, None, 1.0);
        let (mut fetches, mut now) = (Vec::new(), began);
        for _ in 0..1000 {
            now += SECOND / 10;
            schedule.nudge(now);
            if schedule.next() <= now {
                schedule.begin(now);
                schedule.succeeded(now, None, 1.0);
                fetches.push(now);
            }
        }
        assert_eq!(fetches.len(), 4, "100 s");
        assert_eq!(fetches[0], began + SECOND / 10, "the first one is not kept waiting");
        assert!(fetches.windows(2).all(|pair| pair[1] - pair[0] >= NUDGE_PAUSE));
    }
}
