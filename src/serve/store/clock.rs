//! The time of transactions.
//!
//! Owns the rules of the contract: a transaction is never earlier than the last commit, and nothing
//! is deleted for an hour after the clock stepped by more than five minutes. An attacker would set
//! the clock ahead so that the end of a token is deleted, and back again: what is deleted goes by the
//! lower of the wall clock and a steady one that no step moves. Where the clock is ahead already at a
//! start, and a commit was made under it before, both are wrong. Never reads a clock.

use std::time::Duration;

use crate::base::clock::{Now, UnixTime};

/// A larger difference is a step, not a correction.
const STEP_MIN: Duration = Duration::from_secs(5 * 60);
/// Nothing is deleted for so long after a step.
const STILL: Duration = Duration::from_secs(60 * 60);
/// The time for which ended rows are kept.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The clock of a store, by what was read from both clocks before.
#[derive(Debug)]
pub(crate) struct StoreClock {
    last: Now,
    /// The start of the steady clock: no later than the last commit.
    began: Now,
    /// Time of the last step, or of the start if the last commit is far from it.
    stepped: Option<u64>,
}

/// A step of the wall clock, in seconds; negative if it went back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stepped(pub(crate) i64);

impl StoreClock {
    /// At the start: the clock has stepped if the last commit is far away, in either direction.
    /// A store that nothing was written to for long looks the same, and waits as well.
    pub(crate) fn start(now: Now, last_commit: UnixTime) -> Self {
        let far = now.unix.0.abs_diff(last_commit.0) > STEP_MIN.as_secs();
        // A new store has no commit.
        let is_ahead = far && last_commit.0 > 0;
        let unix = if is_ahead { now.unix.min(last_commit) } else { now.unix };
        let stepped = far.then_some(now.monotonic.0);
        Self { last: now, began: Now { unix, ..now }, stepped }
    }

    /// Reads the clocks; returns a step if there was one.
    pub(crate) fn observe(&mut self, now: Now) -> Option<Stepped> {
        let passed = now.monotonic.0.saturating_sub(self.last.monotonic.0) / 1_000_000_000;
        let expected = self.last.unix.0.saturating_add(passed);
        self.last = now;
        if now.unix.0.abs_diff(expected) <= STEP_MIN.as_secs() {
            return None;
        }
        self.stepped = Some(now.monotonic.0);
        let step = i128::from(now.unix.0) - i128::from(expected);
        Some(Stepped(i64::try_from(step).unwrap_or(i64::MAX)))
    }

    /// The time of a transaction: the wall clock, but never before the last commit.
    pub(crate) fn transaction(&self, last_commit: UnixTime) -> UnixTime {
        self.last.unix.max(last_commit)
    }

    /// Rows that ended before this instant may be deleted; `None` while nothing may be.
    pub(crate) fn deletable(&self) -> Option<UnixTime> {
        self.lower()?.0.checked_sub(KEPT.as_secs()).map(UnixTime)
    }

    /// The lower of both clocks; `None` while nothing may be deleted.
    pub(crate) fn lower(&self) -> Option<UnixTime> {
        let still = u64::try_from(STILL.as_nanos()).unwrap_or(u64::MAX);
        let since = |stepped: u64| self.last.monotonic.0.saturating_sub(stepped);
        if self.stepped.is_some_and(|stepped| since(stepped) < still) {
            return None;
        }
        let passed = self.last.monotonic.0.saturating_sub(self.began.monotonic.0) / 1_000_000_000;
        let steady = self.began.unix.0.saturating_add(passed);
        Some(self.last.unix.min(UnixTime(steady)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Monotonic;

    fn at(unix: u64, monotonic: u64) -> Now {
        Now { unix: UnixTime(unix), monotonic: Monotonic(monotonic * 1_000_000_000) }
    }

    const DAY: u64 = 24 * 60 * 60;
    const START: u64 = 1_800_000_000;

    #[test]
    fn contract_time_is_never_earlier_than_the_last_commit() {
        let mut clock = StoreClock::start(at(START, 0), UnixTime(START - 10));
        assert_eq!(clock.transaction(UnixTime(START - 10)), UnixTime(START));
        assert_eq!(clock.transaction(UnixTime(START + 10)), UnixTime(START + 10));
        clock.observe(at(START - 60 * DAY, 1));
        assert_eq!(clock.transaction(UnixTime(START)), UnixTime(START));
    }

    #[test]
    fn contract_nothing_is_deleted_for_an_hour_after_a_step() {
        let mut clock = StoreClock::start(at(START, 0), UnixTime(START - 300));
        assert_eq!(clock.deletable(), Some(UnixTime(START - 7 * DAY)));
        assert_eq!(clock.observe(at(START + 400, 100)), None, "five minutes are a correction");
        for step in [60 * DAY as i64, -(60 * DAY as i64), 3_601, -301] {
            let mut clock = StoreClock::start(at(START, 0), UnixTime(START));
            let after = |seconds: u64| at((START + seconds).saturating_add_signed(step), seconds);
            assert_eq!(clock.observe(after(1)), Some(Stepped(step)), "{step}");
            assert_eq!(clock.deletable(), None);
            assert_eq!(clock.observe(after(3_600)), None);
            assert_eq!(clock.deletable(), None, "59 minutes later");
            clock.observe(after(3_601));
            // The lower of the two clocks: ahead, nothing more than before the step.
            let kept = START + 3_601 - 7 * DAY;
            let expected = kept.min(kept.saturating_add_signed(step));
            assert_eq!(clock.deletable(), Some(UnixTime(expected)), "an hour after {step}");
        }
    }

    #[test]
    fn a_clock_that_is_ahead_at_the_start_deletes_nothing_early() {
        let commit = UnixTime(START);
        let mut clock = StoreClock::start(at(START + 60 * DAY, 7), commit);
        clock.observe(at(START + 60 * DAY + 3_600, 3_607));
        assert_eq!(clock.deletable(), Some(UnixTime(START + 3_600 - 7 * DAY)));
        // Corrected, the steady clock goes on.
        clock.observe(at(START + 3_700, 3_707));
        clock.observe(at(START + 7_400, 7_407));
        assert_eq!(clock.deletable(), Some(UnixTime(START + 7_400 - 7 * DAY)));
    }

    #[test]
    fn a_start_far_from_the_last_commit_waits_as_well() {
        for last in [START - 301, START + 301, 0] {
            let mut clock = StoreClock::start(at(START, 7), UnixTime(last));
            assert_eq!(clock.deletable(), None);
            clock.observe(at(START + 3_600, 3_607));
            assert!(clock.deletable().is_some());
        }
    }
}
