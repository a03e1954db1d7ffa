//! Identity headers: strip always, then set from the principal.
//!
//! Owns the names of the headers an upstream may trust, every spelling an upstream might fold to
//! one of them, and the values that are set. Never forwards anything a client sent under
//! such a name, on any route, and never sees a framework's request type: it says what to
//! remove and what to set.

use std::collections::BTreeSet;

use http::{HeaderMap, HeaderName, HeaderValue};
use thiserror::Error;

use crate::principal::Principal;

/// A header name that may carry identity: not framing, hop-by-hop, routing or a credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdentityHeaderName(HeaderName);

/// Why a header cannot carry identity.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum IdentityNameError {
    /// Not a field name (RFC 9110 section 5.1).
    #[error("{0:?} is not a header name")]
    NotAName(String),
    /// A name that changes framing, routing or who is believed.
    #[error("{0:?} cannot carry identity: it frames, routes or authenticates messages")]
    Reserved(String),
}

impl IdentityHeaderName {
    /// Reads a header name.
    ///
    /// # Errors
    /// [`IdentityNameError`].
    pub fn parse(text: &str) -> Result<Self, IdentityNameError> {
        let _ = text;
        todo!("identity helper")
    }

    /// The name.
    #[must_use]
    pub fn as_header_name(&self) -> &HeaderName {
        &self.0
    }
}

/// The names identity is set under: `identity:` in the configuration.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the contract's table of identity headers")]
pub struct IdentityNames {
    pub subject: IdentityHeaderName,
    pub issuer: IdentityHeaderName,
    pub client_id: IdentityHeaderName,
    pub scopes: IdentityHeaderName,
    pub credential: IdentityHeaderName,
    pub credential_id: IdentityHeaderName,
}

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
