//! The generic cell rate algorithm, as arithmetic.
//!
//! The whole history of a caller is one number: the *theoretical arrival time*, at which its
//! allowance will be full again. Each admitted request moves it one period further; a request
//! passes while it is within one burst of now.
//!
//! Owns that arithmetic over all of `u64`, in `u128` so that nothing wraps: an attacker would
//! exploit a sum that overflows into the past. Never stores anything and never reads the clock.

use std::time::Duration;

use crate::decide::rate_limit::Quota;

/// The result of the arithmetic for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Outcome {
    /// True if the request passes.
    pub allowed: bool,
    /// The theoretical arrival time to remember, in nanoseconds; unchanged by a refusal.
    pub tat: u64,
    /// Requests left at once.
    pub remaining: u32,
    /// Until the next request passes; zero when one would pass now.
    pub retry_after: Duration,
    /// Until the whole burst is available again.
    pub reset_after: Duration,
}

/// Charges one request at `now` to a caller whose theoretical arrival time is `tat`; 0 for a caller
/// without history. Both are nanoseconds on the same monotonic clock.
///
/// A charge that would move `tat` past the end of the clock is refused: a time that saturated there
/// would no longer count anything.
pub fn charge(tat: u64, now: u64, quota: &Quota) -> Outcome {
    let charged = tat.max(now).checked_add(quota.per_request_ns.get());
    match charged.filter(|charged| u128::from(*charged) <= horizon(now, quota)) {
        Some(charged) => standing(true, charged, now, quota),
        None => standing(false, tat, now, quota),
    }
}

/// The state of a caller at `now`, charging nothing: `allowed` says whether a request would pass.
pub(crate) fn inspect(tat: u64, now: u64, quota: &Quota) -> Outcome {
    let allowed = charge(tat, now, quota).allowed;
    standing(allowed, tat, now, quota)
}

/// Undoes one charge that was made with the same quota. It returns at most what that charge took:
/// later charges remain.
#[must_use]
pub(crate) fn refund(tat: u64, quota: &Quota) -> u64 {
    tat.saturating_sub(quota.per_request_ns.get())
}

/// The latest value that `tat` may reach at `now`: one burst ahead.
fn horizon(now: u64, quota: &Quota) -> u128 {
    u128::from(now) + u128::from(quota.burst.get()) * u128::from(quota.per_request_ns.get())
}

fn standing(allowed: bool, tat: u64, now: u64, quota: &Quota) -> Outcome {
    let per_request = u128::from(quota.per_request_ns.get());
    let owed_until = u128::from(tat.max(now));
    let horizon = horizon(now, quota);
    let next = owed_until + per_request;
    let remaining = horizon.saturating_sub(owed_until) / per_request;
    Outcome {
        allowed,
        tat,
        // At most the burst, which is a u32.
        remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
        // Both are distances from `now` to something at or before `tat`, so they fit a u64.
        retry_after: nanoseconds(next.saturating_sub(horizon)),
        reset_after: nanoseconds(owed_until - u128::from(now)),
    }
}

fn nanoseconds(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU32, NonZeroU64};

    use governor::clock::FakeRelativeClock;
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn quota(burst: u32, per_request_ns: u64) -> Quota {
        Quota {
            burst: NonZeroU32::new(burst).unwrap(),
            per_request_ns: NonZeroU64::new(per_request_ns).unwrap(),
        }
    }

    #[test]
    fn contract_limits_a_burst_passes_and_then_one_per_period() {
        let quota = quota(3, SECOND);
        let now = 3_600 * SECOND;
        let mut tat = 0;
        for remaining in [2, 1, 0] {
            let decision = charge(tat, now, &quota);
            assert_eq!((decision.allowed, decision.remaining), (true, remaining));
            tat = decision.tat;
        }
        let refused = charge(tat, now, &quota);
        assert_eq!(
            refused,
            Outcome {
                allowed: false,
                tat,
                remaining: 0,
                retry_after: Duration::from_secs(1),
                reset_after: Duration::from_secs(3),
            }
        );
        assert!(!charge(tat, now + SECOND - 1, &quota).allowed);
        let next = charge(tat, now + SECOND, &quota);
        assert!(next.allowed);
        assert!(!charge(next.tat, now + SECOND, &quota).allowed);
    }

    #[test]
    fn contract_limits_a_burst_of_one_admits_one_and_then_one_each_period() {
        let quota = quota(1, SECOND);
        let mut tat = 0;
        for period in 0..5 {
            let now = (3_600 + period) * SECOND;
            let decision = charge(tat, now, &quota);
            assert!(decision.allowed, "{period}");
            assert_eq!((decision.remaining, decision.retry_after.as_secs()), (0, 1));
            tat = decision.tat;
            assert!(!charge(tat, now, &quota).allowed);
            assert!(!charge(tat, now + SECOND - 1, &quota).allowed);
        }
    }

    #[test]
    fn the_end_of_the_clock_refuses_instead_of_forgetting() {
        let quota = quota(u32::MAX, u64::MAX);
        assert!(charge(0, 0, &quota).allowed);
        for (tat, now) in [(u64::MAX, 0), (0, u64::MAX), (u64::MAX, u64::MAX), (1, 0)] {
            assert!(!charge(tat, now, &quota).allowed, "{tat} {now}");
        }
    }

    /// A naive model: the instants at which each admitted request is given back, one after the
    /// other.
    struct Queue {
        given_back: Vec<u64>,
    }

    impl Queue {
        fn charge(&mut self, now: u64, quota: &Quota) -> bool {
            self.given_back.retain(|at| *at > now);
            if self.given_back.len() >= quota.burst.get() as usize {
                return false;
            }
            let after = self.given_back.last().copied().unwrap_or(now);
            self.given_back.push(after + quota.per_request_ns.get());
            true
        }
    }

    fn any_quota() -> impl Strategy<Value = Quota> {
        (1..=u32::MAX, 1..=u64::MAX).prop_map(|(burst, per)| quota(burst, per))
    }

    fn edgy() -> impl Strategy<Value = u64> {
        prop_oneof![any::<u64>(), 0..4_u64, (u64::MAX - 4)..=u64::MAX]
    }

    proptest! {
        #[test]
        fn no_numbers_overflow_or_gain(tat in edgy(), now in edgy(), quota in any_quota()) {
            let decision = charge(tat, now, &quota);
            let inspected = inspect(tat, now, &quota);
            prop_assert_eq!(inspected.allowed, decision.allowed);
            prop_assert_eq!(inspected.tat, tat);
            prop_assert!(decision.remaining <= quota.burst.get());
            if decision.allowed {
                prop_assert!(decision.remaining < quota.burst.get());
                prop_assert_eq!(inspected.remaining, decision.remaining + 1);
                prop_assert_eq!(inspected.retry_after, Duration::ZERO);
                prop_assert!(decision.tat > tat && decision.tat > now);
                prop_assert_eq!(refund(decision.tat, &quota), tat.max(now));
            } else {
                prop_assert_eq!(decision, inspected);
            }
        }

        #[test]
        fn waiting_as_told_is_enough_and_less_is_not(
            burst in 1..50_u32, per in 1..10_000_u64, used in 0..60_u32, late in 0..20_000_u64,
        ) {
            let quota = quota(burst, per);
            let start = 1 << 40;
            let tat = (0..used).fold(0, |tat, _| charge(tat, start, &quota).tat);
            let now = start + late;
            let told = charge(tat, now, &quota);
            let retry = u64::try_from(told.retry_after.as_nanos()).unwrap();
            prop_assert!(inspect(told.tat, now + retry, &quota).allowed);
            if retry > 0 {
                prop_assert!(!inspect(told.tat, now + retry - 1, &quota).allowed);
            }
            let reset = u64::try_from(told.reset_after.as_nanos()).unwrap();
            prop_assert_eq!(inspect(told.tat, now + reset, &quota).remaining, burst);
        }

        #[test]
        fn it_decides_like_a_queue_and_like_governor(
            burst in 1..20_u32,
            per in 1..2_000_u64,
            steps in prop::collection::vec(0..3_000_u64, 1..200),
        ) {
            let quota = quota(burst, per);
            let clock = FakeRelativeClock::default();
            let theirs = governor::Quota::with_period(Duration::from_nanos(per))
                .unwrap()
                .allow_burst(quota.burst);
            let governor = governor::RateLimiter::direct_with_clock(theirs, clock.clone());
            let mut queue = Queue { given_back: Vec::new() };
            let (mut tat, mut now) = (0, 3_600 * SECOND);
            for step in steps {
                // Most steps are none at all, so that bursts are used up.
                let step = step.saturating_sub(2_000);
                clock.advance(Duration::from_nanos(step));
                now += step;
                let decision = charge(tat, now, &quota);
                prop_assert_eq!(decision.allowed, queue.charge(now, &quota));
                prop_assert_eq!(decision.allowed, governor.check().is_ok());
                tat = decision.tat;
            }
        }
    }
}
