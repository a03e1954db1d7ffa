//! Rate limits: quotas, the callers they count for, and the table of their use.
//!
//! Owns GCRA, the limit policies and the bounded table. Never reads the clock, never identifies
//! callers, never waits.

pub mod gcra;
pub mod headers;
pub mod quota;
pub mod table;

use std::sync::Arc;
use std::time::Duration;

pub use headers::tightest;
pub use headers::{LimitFields, limit_fields, retry_after_secs};
pub use quota::{Quota, QuotaError};
pub use table::{Charge, LimitKey, LimitTable};

/// The caller that a limit counts for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitBy {
    /// Issuer and subject.
    Principal,
    /// The credential: `jti`, key id; a token without `jti` counts as its principal.
    Credential,
    /// The OAuth client.
    Client,
    /// The client address; IPv6 by /64.
    Address,
    /// The route: all callers together.
    Route,
    /// A claim's value.
    Claim(Box<str>),
}

/// The answers that carry the `RateLimit` fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitHeaders {
    /// On admitted and refused answers.
    #[default]
    Always,
    /// On refused answers only.
    Refused,
    /// Never. `Retry-After` is always sent.
    Off,
}

/// One named limit of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitPolicy {
    /// Name in the configuration, in metrics and in the `RateLimit` fields.
    pub name: Arc<str>,
    /// Position in the configuration.
    pub index: usize,
    /// The quota.
    pub quota: Quota,
    /// The caller it counts for.
    pub by: LimitBy,
    /// The answers that carry its fields.
    pub headers: LimitHeaders,
}

/// The state of a caller under one limit after a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The limit.
    pub policy: Arc<LimitPolicy>,
    /// The quota that was applied: the policy's or the key's own.
    pub quota: Quota,
    /// Requests left at once.
    pub remaining: u32,
    /// Until the whole burst is available again.
    pub reset_after: Duration,
    /// Until the next request passes; zero when one would pass now.
    pub retry_after: Duration,
    /// True if this limit admitted the request.
    pub allowed: bool,
}
