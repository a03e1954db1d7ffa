//! The budget of failed credentials at the endpoints.
//!
//! Owns the charge: failures count for (client or account, address), so that guesses at one client
//! lock out neither other clients nor that client from elsewhere. Right credentials of a client are
//! never refused; a right password is, where the failures of its own place have used up the budget:
//! people choose passwords that can be found by trying. Bounded; never keeps an id or an address.

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Monotonic;
use crate::decide::rate_limit::{Charge, LimitBy, LimitHeaders, LimitPolicy, LimitTable, Quota};
use crate::decide::request::address::limit_bytes;

/// Pairs of client and address that are remembered; 17 bytes each.
const ENTRIES_MAX: usize = 1 << 15;

/// Failures that may come at once, and the nanoseconds until there is one more: 10/m.
const FAILURES: (NonZeroU32, NonZeroU64) =
    (NonZeroU32::new(10).unwrap(), NonZeroU64::new(6_000_000_000).unwrap());

/// The same for passwords from an address that may stand for many callers: 100, and one in 2 s.
const SHARED: (NonZeroU32, NonZeroU64) =
    (NonZeroU32::new(100).unwrap(), NonZeroU64::new(2_000_000_000).unwrap());

/// The same for guesses of user codes, which are short: 5, and one a minute.
const GUESSES: (NonZeroU32, NonZeroU64) =
    (NonZeroU32::new(5).unwrap(), NonZeroU64::new(60_000_000_000).unwrap());

const NAME: &str = "issuer-failures";

/// The failures of the last minutes.
#[derive(Debug)]
pub(super) struct Failures {
    table: LimitTable,
    policy: Arc<LimitPolicy>,
}

impl Failures {
    pub(super) fn new(seed: [u64; 2]) -> Self {
        Self::with(FAILURES, seed)
    }

    /// The budget of an address that may stand for many callers.
    pub(super) fn of_shared(seed: [u64; 2]) -> Self {
        Self::with(SHARED, seed)
    }

    /// The budget of guesses.
    pub(super) fn of_guesses(seed: [u64; 2]) -> Self {
        Self::with(GUESSES, seed)
    }

    fn with((burst, per_request_ns): (NonZeroU32, NonZeroU64), seed: [u64; 2]) -> Self {
        let policy = LimitPolicy {
            name: NAME.into(),
            index: usize::MAX,
            quota: Quota { burst, per_request_ns },
            by: LimitBy::Address,
            headers: LimitHeaders::Refused,
        };
        Self { table: LimitTable::new(ENTRIES_MAX, seed), policy: Arc::new(policy) }
    }

    /// Charges one failure.
    ///
    /// # Errors
    /// The budget is exhausted: the time until there is some again.
    pub(super) fn charge(
        &self,
        account: &str,
        address: Option<IpAddr>,
        now: Monotonic,
    ) -> Result<(), Duration> {
        self.charge_at(account, &address.map(limit_bytes).unwrap_or_default(), now)
    }

    /// Looks whether there is budget for one more failure, charging nothing.
    ///
    /// # Errors
    /// As [`Self::charge`].
    pub(super) fn look(&self, account: &str, place: &[u8], now: Monotonic) -> Result<(), Duration> {
        let standing = self.table.peek_one(&self.one(account, place), now);
        if standing.allowed { Ok(()) } else { Err(standing.retry_after) }
    }

    fn one(&self, account: &str, place: &[u8]) -> Charge {
        let key = self.table.key(NAME, &[account.as_bytes(), place]);
        Charge { policy: Arc::clone(&self.policy), quota: self.policy.quota, key }
    }

    /// Charges one failure to an account and a place that is no address.
    ///
    /// # Errors
    /// As [`Self::charge`].
    pub(super) fn charge_at(
        &self,
        account: &str,
        place: &[u8],
        now: Monotonic,
    ) -> Result<(), Duration> {
        let standings = self.table.charge(&[self.one(account, place)], now);
        match standings.iter().find(|standing| !standing.allowed) {
            Some(standing) => Err(standing.retry_after),
            None => Ok(()),
        }
    }
}
