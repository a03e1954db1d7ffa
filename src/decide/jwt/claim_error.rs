//! A claim that is missing or not acceptable, in words for the operator.
//!
//! Owns the sentence: which claim, what was found and what is expected. Never quotes a value.

use std::borrow::Cow;

use serde_json::Value;
use thiserror::Error;

/// Which claim is wrong, and how.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{claim}` {found}")]
pub struct ClaimError {
    claim: Box<str>,
    found: Cow<'static, str>,
}

impl ClaimError {
    /// `found` goes on after the name of the claim.
    pub(super) fn new(claim: &str, found: impl Into<Cow<'static, str>>) -> Self {
        Self { claim: claim.into(), found: found.into() }
    }

    /// A required claim that is not there, or `null`.
    pub(super) fn missing(claim: &str) -> Self {
        Self::new(claim, "is missing")
    }

    /// A claim of another type than `expected`.
    pub(super) fn of_type(claim: &str, found: &Value, expected: &str) -> Self {
        let found = match found {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        Self::new(claim, format!("is {found}, expected {expected}"))
    }

    /// The name of the claim.
    #[must_use]
    pub fn claim(&self) -> &str {
        &self.claim
    }
}
