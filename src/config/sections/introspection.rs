//! `issuers[].introspection`.
//!
//! Owns the introspection endpoint of an issuer and the lifetime of its answers. Never reads a file
//! and never sends a request.

use std::sync::Arc;
use std::time::Duration;

use crate::config::key_url::KeyUrl;
use crate::config::language::walk::key::{Key, Section, Type};
use crate::config::language::walk::types::{
    Custom, Either, Insecure, Lasting, Nested, NestedAs, Parsed, Text, Words,
};
use crate::config::language::walk::{Mapping, Value};
use crate::config::model::{ClientAuthentication, IntrospectionEndpoint};
use crate::config::sections::file::{FILE, FileName};
use crate::decide::jwt::{IntrospectionRules, SubjectFrom};

/// The type of `introspection`.
pub(in crate::config) const INTROSPECTION: NestedAs<Introspection> =
    NestedAs(&SECTION, introspection);

/// `issuers[].introspection`.
pub(in crate::config) static SECTION: Section = Section::new(
    "introspection",
    &[
        &URL,
        &CLIENT_ID,
        &CLIENT_SECRET_FILE,
        &AUTH,
        &TIMEOUT,
        &CACHE,
        &ON_FAILURE,
        &CA_FILE,
        &INSECURE_HTTP,
        &SUBJECT_FROM,
        &INSECURE_ANY_AUDIENCE,
    ],
);

static URL: Key<Text> = Key::required("url", Text, "the endpoint: https, or http on loopback");

static CLIENT_ID: Key<Parsed<Box<str>>> =
    Key::required("client_id", Parsed(client_id), "the client id of this proxy at the issuer");

static CLIENT_SECRET_FILE: Key<FileName> =
    Key::required("client_secret_file", FILE, "a file with the client secret");

static AUTH: Key<Words<ClientAuthentication>> = Key::new(
    "auth",
    Words(&[("basic", ClientAuthentication::Basic), ("post", ClientAuthentication::Post)]),
    "the client authentication: client_secret_basic or client_secret_post",
)
.or("basic");

// An introspection request delays the request that it is about.
static TIMEOUT: Key<Lasting> = Key::new(
    "timeout",
    Lasting(Duration::from_millis(50), Duration::from_secs(30)),
    "the timeout of an introspection request",
)
.or("2s");

// A token that is revoked at its issuer is accepted for this long.
static CACHE: Key<Lasting> = Key::new(
    "cache",
    Lasting(Duration::ZERO, Duration::from_secs(3_600)),
    "the lifetime of a cached answer; `exp` ends it earlier",
)
.or("30s");

static ON_FAILURE: Key<Custom<Either<Words<Duration>, Nested>, Duration>> = Key::new(
    "on_failure",
    Custom(Either(DENY, Nested(&FAILURE)), on_failure),
    "the result while the endpoint does not answer",
)
.or("deny");

/// No answer counts longer than `cache`.
const DENY: Words<Duration> = Words(&[("deny", Duration::ZERO)]);

static FAILURE: Section = Section::new("on_failure", &[&STALE_FOR]);

static STALE_FOR: Key<Lasting> = Key::required(
    "stale_for",
    Lasting(Duration::ZERO, Duration::from_secs(3_600)),
    "the additional lifetime of the last answer",
);

static CA_FILE: Key<FileName> = Key::new(
    "ca_file",
    FILE,
    "trusted certificates in PEM for the endpoint; absent means those of the system",
);

static INSECURE_HTTP: Key<Insecure> =
    Key::insecure("insecure_http", "ask over plain HTTP beyond loopback");

static SUBJECT_FROM: Key<Words<SubjectFrom>> = Key::new(
    "subject_from",
    Words(&[("sub", SubjectFrom::Sub), ("client_id", SubjectFrom::ClientId)]),
    "the subject of an answer without `sub`: none, so that it is refused, or the client itself",
)
.or("sub");

static INSECURE_ANY_AUDIENCE: Key<Insecure> =
    Key::insecure("insecure_any_audience", "accept answers without `aud`");

const CLIENT_ID_BYTES_MAX: usize = 256;

/// The rules for answers, and the endpoint.
pub(super) type Introspection = (IntrospectionRules, Arc<IntrospectionEndpoint>);

fn introspection(section: &Mapping<'_>) -> Option<Introspection> {
    let insecure_http = section.read(&INSECURE_HTTP)?;
    let any_audience = section.read(&INSECURE_ANY_AUDIENCE)?;
    let url = section.require(&URL);
    let url = url.and_then(|value| value.parse(|text| KeyUrl::parse(text, insecure_http)));
    let (client_id, secret) = (section.read(&CLIENT_ID), section.read(&CLIENT_SECRET_FILE));
    let (timeout, cache) = (section.read(&TIMEOUT)?, section.read(&CACHE)?);
    let stale_for = section.read(&ON_FAILURE)?;
    let (subject_from, authentication) = (section.read(&SUBJECT_FROM)?, section.read(&AUTH)?);
    let ca_file = section.read(&CA_FILE);
    let url = url?;
    let endpoint = url.uri().to_string().into();
    let rules = IntrospectionRules { endpoint, cache, stale_for, any_audience, subject_from };
    let endpoint = IntrospectionEndpoint {
        url,
        client_id: client_id?,
        client_secret: secret?,
        authentication,
        timeout,
        ca_file,
    };
    Some((rules, Arc::new(endpoint)))
}

fn client_id(text: &str) -> Result<Box<str>, String> {
    let fits = !text.is_empty() && text.len() <= CLIENT_ID_BYTES_MAX;
    if fits && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Ok(text.into());
    }
    Err(format!("a client id has 1 to {CLIENT_ID_BYTES_MAX} visible ASCII characters and spaces"))
}

/// `deny`, or `{ stale_for: 30s }`.
fn on_failure(value: &Value<'_>) -> Option<Duration> {
    if value.is_mapping() { value.section(&FAILURE)?.read(&STALE_FOR) } else { DENY.read(value) }
}
