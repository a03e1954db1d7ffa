//! The bounded table of who used how much.

use crate::rate_limit::{LimitPolicy, Quota, Standing};
use crate::time::Monotonic;
use std::sync::Arc;

/// A caller under a limit, as a keyed 128-bit hash: no subject, address or key id is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LimitKey(pub u128);

/// One request to be charged to one caller under one limit.
#[derive(Clone, Debug)]
pub struct Charge {
    /// The limit.
    pub policy: Arc<LimitPolicy>,
    /// The quota to apply: the policy's, or a key's own.
    pub quota: Quota,
    /// The caller.
    pub key: LimitKey,
}

/// Who used how much: bounded, shared by all threads, kept over reloads.
#[derive(Debug)]
pub struct LimitTable {}

impl LimitTable {
    /// A table for at most `entries` callers, rounded up; memory is taken as it fills.
    /// `seed` keys the hash, so that nobody can aim at a bucket.
    #[must_use]
    pub fn new(entries: usize, seed: [u64; 2]) -> Self {
        let _ = (entries, seed);
        todo!("limits helper")
    }

    /// The key of a caller: `parts` (for example issuer and subject) under the limit of that name.
    /// Parts are kept apart: `["ab", "c"]` and `["a", "bc"]` are two callers.
    #[must_use]
    pub fn key(&self, limit: &str, parts: &[&[u8]]) -> LimitKey {
        let _ = (limit, parts);
        todo!("limits helper")
    }

    /// Charges all or none: if every limit lets the request through, each is charged once;
    /// otherwise none is. Returns where the caller stands with each, in order; the request passes
    /// when all are `allowed`.
    pub fn charge(&self, charges: &[Charge], now: Monotonic) -> Vec<Standing> {
        let _ = (charges, now);
        todo!("limits helper")
    }

    /// What [`Self::charge`] would say, charging nothing: for `explain --live`.
    pub fn peek(&self, charges: &[Charge], now: Monotonic) -> Vec<Standing> {
        let _ = (charges, now);
        todo!("limits helper")
    }

    /// Callers remembered now.
    #[must_use]
    pub fn len(&self) -> usize {
        todo!("limits helper")
    }

    /// Whether nobody is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
