//! `100/s` with a burst, as numbers that cannot be zero.

use std::num::{NonZeroU32, NonZeroU64};

use thiserror::Error;

/// A text that is not a rate.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct QuotaError(pub String);

/// How many at once, and how long one takes to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    /// Requests that may come at once.
    pub burst: NonZeroU32,
    /// Nanoseconds until one request is given back.
    pub per_request_ns: NonZeroU64,
}

impl Quota {
    /// Reads `N/s`, `N/m`, `N/h` or `N/d`; without `burst`, the burst is N.
    ///
    /// # Errors
    /// [`QuotaError`] saying what is accepted.
    pub fn parse(rate: &str, burst: Option<NonZeroU32>) -> Result<Self, QuotaError> {
        let _ = (rate, burst);
        todo!("limits helper")
    }
}
