//! `identity`, `pass_headers` and the claims that become headers.
//!
//! Owns the check that no two sources write one header and that nothing the client sends can
//! pass for what we set. Names are compared as upstreams may fold them.

use std::collections::BTreeMap;

use http::HeaderName;

use crate::base::field_name::fold;
use crate::config::keys;
use crate::config::language::walk::{Mapping, Value};
use crate::decide::identity::{IdentityHeaderName, IdentityHeaders, IdentityNames};
use crate::decide::request::credential::{KeySource, TokenPlace};

/// Claims of one issuer, or of keys: each is a header on every request.
const CLAIMS_MAX: usize = 64;

/// Looked up for every header that looks like ours.
const PASSED_MAX: usize = 64;

/// `CLAIM: HEADER`, as written under an issuer or `api_keys`.
pub type ClaimHeaders = Vec<(Box<str>, IdentityHeaderName)>;

/// The headers that mean something already: by folded name, what for.
#[derive(Debug, Default)]
pub struct Taken(BTreeMap<String, &'static str>);

/// `claims` of an issuer or of `api_keys`.
pub fn claim_headers(section: &Mapping<'_>, taken: &Taken) -> ClaimHeaders {
    let Some(value) = section.find("claims") else { return Vec::new() };
    let table = value.table().unwrap_or_default();
    let _ = value.check_count(table.len(), &(0..=CLAIMS_MAX));
    let mut headers: ClaimHeaders = Vec::with_capacity(table.len());
    for (claim, value) in table {
        if claim.is_empty() {
            value.mistake("a claim needs a name");
        }
        let Some(header) = value.parse(IdentityHeaderName::parse) else { continue };
        let folded = fold(header.as_header_name().as_str()).into_owned();
        if let Some(what) = taken.0.get(&folded) {
            value.mistake(format!("{:?} is {what} already", header.as_header_name().as_str()));
        }
        let again = |other: &IdentityHeaderName| fold(other.as_header_name().as_str()) == folded;
        if headers.iter().any(|(_, other)| again(other)) {
            value.mistake(format!(
                "{:?} carries another claim already",
                header.as_header_name().as_str()
            ));
        }
        headers.push((claim.into(), header));
    }
    headers
}

/// `identity`: the six names, and with the headers of credentials what is taken.
pub fn names(
    top: &Mapping<'_>,
    credentials: &[KeySource],
    tokens: &[TokenPlace],
) -> (IdentityNames, Taken) {
    let mut names = IdentityNames::default();
    let mut taken = Taken::default();
    for source in credentials {
        taken.0.insert(fold(source.header.as_str()).into_owned(), "where API keys are read from");
    }
    for place in tokens.iter().filter(|place| **place != TokenPlace::default()) {
        taken.0.insert(fold(place.header().as_str()).into_owned(), "where tokens are read from");
    }
    let value = top.find("identity");
    let section = value.as_ref().and_then(|value| value.section(&keys::IDENTITY));
    let fields: [(&str, &'static str, &mut IdentityHeaderName); 6] = [
        ("subject", "the header of the subject", &mut names.subject),
        ("issuer", "the header of the issuer", &mut names.issuer),
        ("client_id", "the header of the client", &mut names.client_id),
        ("scopes", "the header of the scopes", &mut names.scopes),
        ("credential", "the header of the kind of credential", &mut names.credential),
        ("credential_id", "the header of the credential's id", &mut names.credential_id),
    ];
    for (key, what, name) in fields {
        let value = section.as_ref().and_then(|section| section.find(key));
        if let Some(read) = value.as_ref().and_then(|value| value.parse(IdentityHeaderName::parse))
        {
            *name = read;
        }
        let text = name.as_header_name().as_str();
        if let Some(other) = taken.0.insert(fold(text).into_owned(), what) {
            let message = format!("{text:?} is {other} already; {what} needs another name");
            value.as_ref().unwrap_or(top.value()).mistake(message);
        }
    }
    (names, taken)
}

/// Everything about identity headers, once all claims are known.
pub fn headers(
    top: &Mapping<'_>,
    names: IdentityNames,
    taken: &Taken,
    claims: Vec<IdentityHeaderName>,
) -> IdentityHeaders {
    let set_by_us = |name: &HeaderName| {
        let folded = fold(name.as_str());
        taken.0.contains_key(folded.as_ref())
            || claims.iter().any(|claim| fold(claim.as_header_name().as_str()) == folded)
    };
    let mut passed = Vec::new();
    if let Some(value) = top.find("pass_headers") {
        let items = value.items().unwrap_or_default();
        let _ = value.check_count(items.len(), &(0..=PASSED_MAX));
        for item in items {
            let Some(name) = item.parse(header_name) else { continue };
            if set_by_us(&name) {
                let name = name.as_str();
                item.mistake(format!(
                    "{name:?} is set by us or holds credentials: a client's own must not pass for it"
                ));
            }
            passed.push(name);
        }
    }
    IdentityHeaders::new(names, claims, &passed)
}

/// A header name.
///
/// # Errors
/// That it is none.
pub fn header_name(text: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("{text:?} is not a header name"))
}

/// A header that a value names, for callers outside of `identity`.
pub fn header(value: &Value<'_>) -> Option<HeaderName> {
    value.parse(header_name)
}
