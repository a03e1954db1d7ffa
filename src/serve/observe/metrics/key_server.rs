//! The series of key servers.
//!
//! Owns the series about fetched key sets. Labels are the issuers' names and constants.

use std::sync::Arc;

use crate::base::clock::UnixMillis;
use crate::serve::observe::metrics::{Metrics, signed};
use crate::serve::observe::report::{RefreshResult, Standing};

/// The result of a token introspection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IntrospectionResult {
    /// It answered.
    Answered,
    /// It could not be reached, or gave no answer in time.
    Failed,
    /// Too many questions to it wait already.
    Busy,
}

impl IntrospectionResult {
    /// Of what was heard.
    #[must_use]
    pub(crate) fn of<T, E>(heard: &Result<T, E>) -> Self {
        if heard.is_ok() { Self::Answered } else { Self::Failed }
    }

    const ALL: [Self; 3] = [Self::Answered, Self::Failed, Self::Busy];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Busy => "busy",
        }
    }
}

/// The states of a member of a key set.
const STATES: [&str; 2] = ["used", "skipped"];

impl Metrics {
    /// Makes the series of a key server, so that its first failure is an increase.
    pub(crate) fn expect_key_server(&self, issuer: &str) {
        let families = &self.families.keys;
        for result in RefreshResult::ALL {
            families.jwks_refreshes.with_label_values(&[result.as_str(), issuer]);
        }
    }

    /// Counts a refresh.
    pub(crate) fn refreshed(&self, issuer: &str, result: RefreshResult) {
        let families = &self.families.keys;
        families.jwks_refreshes.with_label_values(&[result.as_str(), issuer]).inc();
    }

    /// Makes the series of an issuer that is asked.
    pub(super) fn expect_introspection(&self, issuer: Arc<str>) -> Arc<str> {
        for result in IntrospectionResult::ALL {
            self.families.keys.introspections.with_label_values(&[result.as_str(), &issuer]);
        }
        issuer
    }

    pub(super) fn forget_introspection(&self, issuer: &str) {
        for result in IntrospectionResult::ALL {
            let labels = [result.as_str(), issuer];
            let _ = self.families.keys.introspections.remove_label_values(&labels);
        }
    }

    /// Counts a question to an issuer.
    pub(crate) fn introspected(&self, issuer: &str, result: IntrospectionResult) {
        let families = &self.families.keys;
        families.introspections.with_label_values(&[result.as_str(), issuer]).inc();
    }

    /// Takes over the status of a key server at a scrape.
    pub(crate) fn key_server_stands(&self, issuer: &str, standing: &Standing, now: UnixMillis) {
        let families = &self.families.keys;
        match standing.fetched {
            Some(then) => {
                let age = now.0.saturating_sub(then.0) / 1000;
                families.jwks_age.with_label_values(&[issuer]).set(signed(age));
            }
            // Fails when there is none, which is what is wanted.
            None => drop(families.jwks_age.remove_label_values(&[issuer])),
        }
        for (state, count) in STATES.into_iter().zip([standing.keys, standing.skipped.len()]) {
            let count = signed(count as u64);
            families.jwks_keys.with_label_values(&[state, issuer]).set(count);
        }
    }

    /// Forgets an issuer whose keys are no longer fetched.
    pub(crate) fn forget_key_server(&self, issuer: &str) {
        let families = &self.families.keys;
        let _ = families.jwks_age.remove_label_values(&[issuer]);
        for result in RefreshResult::ALL {
            let _ = families.jwks_refreshes.remove_label_values(&[result.as_str(), issuer]);
        }
        for state in STATES {
            let _ = families.jwks_keys.remove_label_values(&[state, issuer]);
        }
    }
}
