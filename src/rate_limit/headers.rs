//! The `RateLimit` fields.
use crate::rate_limit::Standing;
use http::{HeaderName, HeaderValue};

/// Whole seconds until the next request passes, at least 1.
#[must_use]
pub fn retry_after_secs(standings: &[Standing]) -> u64 {
    let _ = standings;
    1
}

/// The fields for an answer.
#[must_use]
pub fn fields(standings: &[Standing], refused: bool) -> Vec<(HeaderName, HeaderValue)> {
    let _ = (standings, refused);
    Vec::new()
}
