//! `identity`, `pass_headers` and the claims that become headers.
//!
//! Owns the check that no two sources write one header and that nothing the client sends can
//! pass for what we set. Names are compared as upstreams may fold them.

use std::collections::BTreeMap;

use http::HeaderName;

use crate::base::field_name::fold;
use crate::config::language::walk::Mapping;
use crate::config::language::walk::key::{Key, Section};
use crate::config::language::walk::types::{List, Nested, Parsed, Table};
use crate::decide::identity::{IdentityHeaderName, IdentityHeaders, IdentityNames};
use crate::decide::request::credential::{KeySource, TokenPlace};

/// `identity`.
pub(super) static IDENTITY: Key<Nested> = Key::new(
    "identity",
    Nested(&NAMES),
    "the headers that carry the verified identity to the upstream",
)
.or("{}");

static NAMES: Section = Section::new(
    "identity",
    &[&SUBJECT, &ISSUER, &CLIENT_ID, &SCOPES, &CREDENTIAL, &CREDENTIAL_ID],
);

type Name = Key<Parsed<IdentityHeaderName>>;

static SUBJECT: Name =
    Key::new("subject", Parsed(identity_name), "the header for the subject").or("X-Auth-Subject");

static ISSUER: Name =
    Key::new("issuer", Parsed(identity_name), "the header for the issuer").or("X-Auth-Issuer");

static CLIENT_ID: Name =
    Key::new("client_id", Parsed(identity_name), "the header for the OAuth client")
        .or("X-Auth-Client-Id");

static SCOPES: Name =
    Key::new("scopes", Parsed(identity_name), "the header for the granted scopes")
        .or("X-Auth-Scopes");

static CREDENTIAL: Name =
    Key::new("credential", Parsed(identity_name), "the header for the kind of credential")
        .or("X-Auth-Credential");

static CREDENTIAL_ID: Name =
    Key::new("credential_id", Parsed(identity_name), "the header for the id of the token or key")
        .or("X-Auth-Credential-Id");

/// `pass_headers`, looked up for every header that looks like one of identity.
pub(super) static PASS_HEADERS: Key<List<Parsed<HeaderName>>> = Key::new(
    "pass_headers",
    List(Parsed(header_name), 0, 64),
    "client headers that reach the upstream although they look like identity headers",
)
.or("[]");

/// The type of `claims` of an issuer or of API keys: each is a header on every request.
pub(super) const CLAIM_HEADERS: Table<Parsed<IdentityHeaderName>> =
    Table(Parsed(identity_name), 0, 64);

fn identity_name(text: &str) -> Result<IdentityHeaderName, String> {
    IdentityHeaderName::parse(text).map_err(|error| error.to_string())
}

/// `CLAIM: HEADER`, as written under an issuer or `api_keys`.
pub(super) type ClaimHeaders = Vec<(Box<str>, IdentityHeaderName)>;

/// Headers that are in use, by folded name, with their purpose.
#[derive(Debug, Default)]
pub(in crate::config) struct Taken(BTreeMap<String, &'static str>);

/// `claims` of an issuer or of `api_keys`.
pub(super) fn claim_headers(
    section: &Mapping<'_>,
    key: &Key<Table<Parsed<IdentityHeaderName>>>,
    taken: &Taken,
) -> ClaimHeaders {
    let Some(value) = section.find(key) else { return Vec::new() };
    let mut headers = ClaimHeaders::new();
    for (claim, value) in key.table(&value) {
        if claim.is_empty() {
            value.mistake("a claim needs a name");
        }
        let Some(header) = value.parse(identity_name) else { continue };
        let folded = fold(header.as_header_name().as_str()).into_owned();
        if let Some(what) = taken.0.get(&folded) {
            let name = header.as_header_name().as_str();
            value.mistake(format!("{name:?} is already {what}"));
        }
        let again = |other: &IdentityHeaderName| fold(other.as_header_name().as_str()) == folded;
        if headers.iter().any(|(_, other)| again(other)) {
            let name = header.as_header_name().as_str();
            value.mistake(format!("{name:?} already carries another claim"));
        }
        headers.push((claim.into(), header));
    }
    headers
}

/// `identity`: the six names, which join the headers of credentials in the set of headers in use.
pub(in crate::config) fn names(
    top: &Mapping<'_>,
    credentials: &[KeySource],
    tokens: &[TokenPlace],
) -> Option<(IdentityNames, Taken)> {
    let mut taken = Taken::default();
    for source in credentials {
        taken.0.insert(fold(source.header.as_str()).into_owned(), "where API keys are read from");
    }
    for place in tokens.iter().filter(|place| **place != TokenPlace::default()) {
        taken.0.insert(fold(place.header().as_str()).into_owned(), "where tokens are read from");
    }
    let names = top.within(&IDENTITY, |section| {
        let mut read = |key: &Name, purpose| {
            let name = section.read(key)?;
            let text = name.as_header_name().as_str();
            if let Some(other) = taken.0.insert(fold(text).into_owned(), purpose) {
                let message = format!("{text:?} is already {other}; {purpose} needs another name");
                section.find(key).unwrap_or(*section.value()).mistake(message);
            }
            Some(name)
        };
        Some(IdentityNames {
            subject: read(&SUBJECT, "the header of the subject")?,
            issuer: read(&ISSUER, "the header of the issuer")?,
            client_id: read(&CLIENT_ID, "the header of the client")?,
            scopes: read(&SCOPES, "the header of the scopes")?,
            credential: read(&CREDENTIAL, "the header of the kind of credential")?,
            credential_id: read(&CREDENTIAL_ID, "the header of the credential's id")?,
        })
    })?;
    Some((names, taken))
}

/// The identity headers, once all claims are known.
pub(in crate::config) fn headers(
    top: &Mapping<'_>,
    names: IdentityNames,
    taken: &Taken,
    claims: Vec<IdentityHeaderName>,
) -> IdentityHeaders {
    let is_set_here = |name: &HeaderName| {
        let folded = fold(name.as_str());
        taken.0.contains_key(folded.as_ref())
            || claims.iter().any(|claim| fold(claim.as_header_name().as_str()) == folded)
    };
    let mut passed = Vec::new();
    let value = top.find(&PASS_HEADERS);
    for item in value.iter().flat_map(|value| PASS_HEADERS.items(value)) {
        let Some(name) = item.parse(header_name) else { continue };
        if is_set_here(&name) {
            let name = name.as_str();
            item.mistake(format!(
                "{name:?} carries identity or credentials: the value of a client must not pass for it"
            ));
        }
        passed.push(name);
    }
    IdentityHeaders::new(names, claims, &passed)
}

/// A header name.
///
/// # Errors
/// A text that is not a header name.
pub(super) fn header_name(text: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("{text:?} is not a header name"))
}
