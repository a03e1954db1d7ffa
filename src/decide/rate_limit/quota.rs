//! `100/s` with a burst, as numbers that cannot be zero.
//!
//! Owns the syntax of rates in the configuration. Never counts anything.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use thiserror::Error;

/// The shortest interval between two requests that a rate may have. Time is counted in nanoseconds;
/// below this, rounding to one would be off by more than a thousandth.
const PER_REQUEST_NS_MIN: u64 = 1_000;

const SECOND_NS: u64 = 1_000_000_000;

/// A text that is not a rate.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct QuotaError(pub String);

/// A burst, and the interval at which its requests become available again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    /// The burst: requests that may come at once.
    pub burst: NonZeroU32,
    /// Nanoseconds until one request becomes available again.
    pub per_request_ns: NonZeroU64,
}

impl Quota {
    /// Reads `N/s`, `N/m`, `N/h` or `N/d`; without `burst`, the burst is N.
    ///
    /// [`QuotaError`] with what is accepted.
    /// [`QuotaError`] saying what is accepted.
    pub fn parse(rate: &str, burst: Option<NonZeroU32>) -> Result<Self, QuotaError> {
        let wrong = || {
            QuotaError(format!(
                "{rate:?} is not a rate: write a positive whole number per s, m, h or d, such as \
                 100/s or 5/m"
            ))
        };
        let (number, unit) = rate.split_once('/').ok_or_else(wrong)?;
        let period_ns = match unit {
            "s" => SECOND_NS,
            "m" => 60 * SECOND_NS,
            "h" => 3_600 * SECOND_NS,
            "d" => 86_400 * SECOND_NS,
            _ => return Err(wrong()),
        };
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let too_fast = || {
            QuotaError(format!(
                "{rate:?} is too fast: at most 1000000/s and 4294967295 are accepted"
            ))
        };
        // Only digits are left, so the one way to fail is a number that is too large.
        let number: u32 = number.parse().map_err(|_| too_fast())?;
        let number = NonZeroU32::new(number).ok_or_else(wrong)?;
        let per_request_ns = NonZeroU64::new(period_ns / u64::from(number.get()))
            .filter(|per_request| per_request.get() >= PER_REQUEST_NS_MIN)
            .ok_or_else(too_fast)?;
        Ok(Self { burst: burst.unwrap_or(number), per_request_ns })
    }

    /// The time until a used burst is available again.
    #[must_use]
    pub fn window(&self) -> Duration {
        // A u32 times a u64 needs 96 bits, so it fits; its seconds may be too many for a Duration.
        let nanos = u128::from(self.burst.get()) * u128::from(self.per_request_ns.get());
        let (seconds, rest) = (nanos / u128::from(SECOND_NS), nanos % u128::from(SECOND_NS));
        match (u64::try_from(seconds), u32::try_from(rest)) {
            (Ok(seconds), Ok(rest)) => Duration::new(seconds, rest),
            (Err(_), _) | (_, Err(_)) => Duration::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rate: &str, burst: Option<u32>, expected: (u32, u64)) {
        let quota = Quota::parse(rate, burst.and_then(NonZeroU32::new)).unwrap();
        assert_eq!((quota.burst.get(), quota.per_request_ns.get()), expected, "{rate}");
    }

    #[test]
    fn contract_limits_a_rate_is_a_number_per_unit() {
        check("100/s", Some(200), (200, 10_000_000));
        check("100/s", None, (100, 10_000_000));
        check("1/s", None, (1, SECOND_NS));
        check("3/s", None, (3, 333_333_333));
        check("60/m", None, (60, SECOND_NS));
        check("1/h", Some(5), (5, 3_600 * SECOND_NS));
        check("1/d", None, (1, 86_400 * SECOND_NS));
        check("1000000/s", None, (1_000_000, 1_000));
        check("4294967295/d", None, (u32::MAX, 20_116));
    }

    #[test]
    fn contract_limits_what_is_not_a_rate_is_refused_with_what_is() {
        for wrong in [
            "", "/", "/s", "100", "100/", "0/s", "00/m", "1.5/s", "-1/s", "+1/s", "100/S",
            "100/sec", "100/ms", "100/w", "100 /s", "100/ s", " 100/s", "100/s ", "100/s/s",
            "1e3/s", "٣/s", "1_000/s", "s/100",
        ] {
            let error = Quota::parse(wrong, None).unwrap_err();
            assert!(error.0.contains("such as 100/s"), "{wrong:?}: {error}");
        }
        for fast in ["1000001/s", "4294967295/s", "4294967296/d", "99999999999999999999999/s"] {
            let error = Quota::parse(fast, None).unwrap_err();
            assert!(error.0.contains("at most 1000000/s"), "{fast:?}: {error}");
        }
    }

    #[test]
    fn the_window_of_any_quota_can_be_said() {
        let window = |rate, burst| Quota::parse(rate, NonZeroU32::new(burst)).unwrap().window();
        assert_eq!(window("100/s", 200), Duration::from_secs(2));
        assert_eq!(window("1/d", u32::MAX), Duration::from_secs(86_400 * u64::from(u32::MAX)));
        let most = Quota { burst: NonZeroU32::MAX, per_request_ns: NonZeroU64::MAX };
        assert_eq!(most.window(), Duration::MAX);
    }
}
