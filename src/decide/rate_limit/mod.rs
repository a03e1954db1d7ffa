//! How often: quotas, whom they are counted for, and the table that remembers.
//!
//! Owns GCRA, the limit policies and the bounded table. Never reads the clock, never decides who
//! somebody is, never waits.

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

/// Whom a limit counts for.
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

/// When the `RateLimit` fields are sent.
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
    /// How much.
    pub quota: Quota,
    /// For whom.
    pub by: LimitBy,
    /// What callers are told.
    pub headers: LimitHeaders,
}

/// Where a caller stands with one limit after a decision.
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
    /// Whether this limit let the request through.
    pub allowed: bool,
}
