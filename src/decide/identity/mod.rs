//! Identity headers: strip always, then set from the principal.
//!
//! Owns the names of the headers an upstream may trust, every spelling an upstream might fold to
//! one of them, and the values that are set. Never forwards anything a client sent under
//! such a name, on any route, and never sees a framework's request type: it returns the
//! names to remove and the fields to set.

mod name;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::base::field_name::{FieldName, fold};
use crate::decide::principal::Principal;

pub use name::{IdentityHeaderName, IdentityNameError, IdentityNames};

/// The headers that are stripped and set, compiled from the configuration.
#[derive(Clone, Debug)]
pub struct IdentityHeaders {
    names: IdentityNames,
    /// Names outside `X-Auth-*` that are set, and so are stripped too. Identity names are folded
    /// already: [`IdentityHeaderName::parse`] accepts nothing else.
    renamed: Vec<HeaderName>,
    /// Names that pass although they look like identity headers (`pass_headers`).
    passed: Vec<HeaderName>,
    anonymous: HeaderValue,
}

impl IdentityHeaders {
    /// Compiles names, the headers of all configured claims, and `pass_headers`.
    ///
    /// A name of `pass_headers` passes in exactly that spelling, and not at all when an upstream
    /// might take it for one that is set here.
    #[must_use]
    pub fn new(
        names: IdentityNames,
        claim_names: Vec<IdentityHeaderName>,
        pass_headers: &[HeaderName],
    ) -> Self {
        let all = names.iter().cloned().chain(claim_names);
        let set_here: Vec<_> = all.map(|name| name.as_header_name().clone()).collect();
        let is_set_here = |name: &HeaderName| {
            let folded = fold(name.as_str());
            set_here.iter().any(|ours| ours.as_str() == folded)
        };
        let passed = pass_headers.iter().filter(|name| !is_set_here(name)).cloned().collect();
        let renamed = set_here.into_iter().filter(|name| !is_x_auth(name.as_str())).collect();
        Self { names, renamed, passed, anonymous: HeaderValue::from_static("anonymous") }
    }

    /// Returns whether an upstream might take a client's field of this name for identity: every
    /// `X-Auth-*` and every configured name, in every folding, less `pass_headers`. Trailer fields
    /// are checked in the same way.
    #[must_use]
    pub(crate) fn is_stripped(&self, name: &HeaderName) -> bool {
        self.is_stripped_folded(name, &fold(name.as_str()))
    }

    /// As [`Self::is_stripped`], for a name whose [folded](fold) form is known.
    #[must_use]
    pub(crate) fn is_stripped_folded(&self, name: &HeaderName, folded: &str) -> bool {
        self.is_stripped_text(name.as_str(), folded)
    }

    /// As [`Self::is_stripped_folded`], for a lower-case name.
    #[must_use]
    pub(crate) fn is_stripped_text(&self, name: &str, folded: &str) -> bool {
        let looks_like_ours =
            is_x_auth(folded) || self.renamed.iter().any(|ours| ours.as_str() == folded);
        looks_like_ours && !self.passed.iter().any(|passed| passed.as_str() == name)
    }

    /// The fields of a client's request that must not reach the upstream because it might take
    /// them for identity, each name once.
    pub fn to_strip<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = HeaderName> + 'a {
        headers.keys().filter(|name| self.is_stripped(name)).cloned()
    }

    /// The fields to set for a request: the principal's values, or `anonymous` as the credential.
    ///
    /// A claim never replaces one of the six names, whatever its header is called.
    pub fn to_set<'a>(
        &'a self,
        principal: Option<&'a Principal>,
    ) -> impl Iterator<Item = (&'a FieldName, &'a HeaderValue)> + 'a {
        let names = &self.names;
        let values = principal.map(Principal::values);
        let six = [
            (&names.subject, values.map(|values| &values.subject)),
            (&names.issuer, values.map(|values| &values.issuer)),
            (&names.client_id, values.and_then(|values| values.client_id.as_ref())),
            (&names.scopes, values.and_then(|values| values.scopes.as_ref())),
            (&names.credential, Some(values.map_or(&self.anonymous, |values| &values.credential))),
            (&names.credential_id, values.and_then(|values| values.credential_id.as_ref())),
        ];
        let claims = principal.map_or(&[][..], Principal::claim_headers);
        six.into_iter().filter_map(|(name, value)| Some((name.as_field_name(), value?))).chain(
            claims
                .iter()
                .map(|(name, value)| (name, value))
                .filter(|(name, _)| names.iter().all(|ours| ours.as_header_name() != name.name())),
        )
    }
}

/// Returns whether a folded name is `X-Auth` or below it. The whole family is reserved, so that
/// clients cannot already send a name that a later version sets.
fn is_x_auth(folded: &str) -> bool {
    folded.strip_prefix("x-auth").is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

#[cfg(test)]
mod tests;
