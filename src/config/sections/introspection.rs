//! `issuers[].introspection`.
//!
//! Owns where an issuer is asked about opaque tokens, and how long its answers are believed. Never
//! reads a file and never asks anybody.

use std::sync::Arc;
use std::time::Duration;

use crate::config::key_url::KeyUrl;
use crate::config::keys;
use crate::config::language::walk::{Mapping, Value};
use crate::config::model::{ClientAuthentication, IntrospectionEndpoint};
use crate::config::sections::Reading;
use crate::decide::jwt::{IntrospectionRules, SubjectFrom};

/// A question is part of a request.
const TIMEOUT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(30));
/// A token that is revoked at its issuer is believed for this long.
const CACHE_MAX: Duration = Duration::from_secs(3_600);
/// What is believed although nobody could confirm it.
const STALE_FOR_MAX: Duration = Duration::from_secs(3_600);
const CLIENT_ID_BYTES_MAX: usize = 256;

/// What the section says. `None` after a mistake that leaves nothing.
pub(super) fn introspection(
    value: &Value<'_>,
    reading: &Reading<'_>,
) -> Option<(IntrospectionRules, Arc<IntrospectionEndpoint>)> {
    let section = value.section(&keys::INTROSPECTION)?;
    let insecure_http = reading.insecure_switch(section.find("insecure_http")).unwrap_or(false);
    let any_audience =
        reading.insecure_switch(section.find("insecure_any_audience")).unwrap_or(false);
    let url = section.require("url");
    let url = url.and_then(|value| value.parse(|text| KeyUrl::parse(text, insecure_http)));
    let client_id = section.require("client_id").and_then(|value| value.parse(client_id));
    let secret = section.require("client_secret_file").and_then(|value| reading.file(&value));
    let duration = |name, (low, high), default_s| {
        let read = section.find(name).and_then(|value| value.duration(low..=high));
        read.unwrap_or(Duration::from_secs(default_s))
    };
    let (timeout, cache) =
        (duration("timeout", TIMEOUT, 2), duration("cache", (Duration::ZERO, CACHE_MAX), 30));
    let stale_for = section.find("on_failure").and_then(|value| on_failure(&value));
    let subject_from = section.find("subject_from").and_then(|value| subject_from(&value));
    let authentication = section.find("auth").and_then(|value| authentication(&value));
    let ca_file = match section.find("ca_file") {
        Some(file) => Some(reading.file(&file)?),
        None => None,
    };
    let url = url?;
    let rules = IntrospectionRules {
        endpoint: url.uri().to_string().into(),
        cache,
        stale_for: stale_for.unwrap_or(Duration::ZERO),
        any_audience,
        subject_from: subject_from.unwrap_or_default(),
    };
    let endpoint = IntrospectionEndpoint {
        url,
        client_id: client_id?.into(),
        client_secret: secret?,
        authentication: authentication.unwrap_or(ClientAuthentication::Basic),
        timeout,
        ca_file,
    };
    Some((rules, Arc::new(endpoint)))
}

fn client_id(text: &str) -> Result<&str, String> {
    let fits = !text.is_empty() && text.len() <= CLIENT_ID_BYTES_MAX;
    if fits && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Ok(text);
    }
    Err(format!("a client id has 1 to {CLIENT_ID_BYTES_MAX} visible ASCII characters and spaces"))
}

fn authentication(value: &Value<'_>) -> Option<ClientAuthentication> {
    value.word(&[("basic", ClientAuthentication::Basic), ("post", ClientAuthentication::Post)])
}

fn subject_from(value: &Value<'_>) -> Option<SubjectFrom> {
    value.word(&[("sub", SubjectFrom::Sub), ("client_id", SubjectFrom::ClientId)])
}

/// `deny`, or `{ stale_for: 30s }`.
fn on_failure(value: &Value<'_>) -> Option<Duration> {
    if !value.is_mapping() {
        return value.word(&[("deny", Duration::ZERO)]);
    }
    let section: Mapping<'_> = value.section(&keys::ON_FAILURE)?;
    let value = section.require("stale_for")?;
    value.duration(Duration::ZERO..=STALE_FOR_MAX)
}
