//! `issuers`.
//!
//! Owns what may be demanded of an issuer's tokens. Never reads a key file.

use std::sync::Arc;
use std::time::Duration;

use crate::config::keys;
use crate::config::language::walk::{Mapping, Value, suggest};
use crate::config::model::{IssuerSource, KeySource};
use crate::config::sections::identity::{Taken, claim_headers};
use crate::config::sections::introspection::introspection;
use crate::config::sections::issuer_keys::key_source;
use crate::config::sections::{Reading, name, size, token_places};
use crate::decide::jwt::{Algorithm, IssuerSettings, IssuerTemplate, TOKEN_BYTES_MAX, TokenShape};
use crate::decide::principal::API_KEY_ISSUER;
use crate::decide::scope::ScopeSet;

/// Each issuer has metrics of its own.
const ISSUERS_MAX: usize = 100;
/// Compared one by one for every token that is verified.
const AUDIENCES_MAX: usize = 100;
const SCOPES_MAX: usize = 1_000;
const SHORT_LIST_MAX: usize = 16;
/// A longer leeway would be a longer lifetime by another name.
const LEEWAY_MAX: Duration = Duration::from_secs(300);
/// Ten years: beyond it `max_lifetime` says nothing.
const LIFETIME_MAX: Duration = Duration::from_secs(3650 * 86_400);
/// `iss` is compared for every token and shown in messages.
const ISSUER_BYTES_MAX: usize = 1_024;

/// No signed token is shorter than its signature.
const TOKEN_BYTES_MIN: usize = 1_024;

/// What keys are called where issuers have short names.
pub const API_KEY_NAME: &str = "api-key";

/// `issuers`, in the order of the file.
pub fn issuers(top: &Mapping<'_>, reading: &Reading<'_>, taken: &Taken) -> Vec<IssuerSource> {
    let Some(value) = top.find("issuers") else { return Vec::new() };
    let items = value.items().unwrap_or_default();
    let _ = value.check_count(items.len(), &(0..=ISSUERS_MAX));
    let mut issuers: Vec<IssuerSource> = Vec::with_capacity(items.len());
    for item in &items {
        let Some(section) = item.section(&keys::ISSUER) else { continue };
        let Some(source) = issuer(&section, reading, taken) else { continue };
        if issuers.iter().any(|other| is_same_issuer(&other.settings, &source.settings)) {
            item.mistake(format!("issuer {:?} is here twice", source.settings.issuer));
        } else if issuers.iter().any(|other| other.settings.name == source.settings.name) {
            item.mistake(format!(
                "two issuers have the name {:?}; give one of them another `name`",
                source.settings.name
            ));
        }
        issuers.push(source);
    }
    issuers
}

/// The same identifier, or templates that differ in the name of the claim alone.
fn is_same_issuer(a: &IssuerSettings, b: &IssuerSettings) -> bool {
    let same_form = a.template().zip(b.template()).is_some_and(|(a, b)| a.has_form_of(&b));
    a.issuer == b.issuer || same_form
}

fn issuer(section: &Mapping<'_>, reading: &Reading<'_>, taken: &Taken) -> Option<IssuerSource> {
    let iss = section.require("issuer").and_then(|value| value.parse(identifier));
    let asked = section.find("introspection");
    let is_asked = asked.is_some();
    let asked = asked.and_then(|value| introspection(&value, reading));
    let (algorithms, keys) = match is_asked && !section.has("keys") {
        true => (section.find("algorithms"), None),
        false => (section.require("algorithms"), section.require("keys")),
    };
    if iss.is_some_and(|iss| matches!(IssuerTemplate::parse(iss), Ok(Some(_)))) {
        check_template(section, is_asked);
    }
    let is_keyless = is_asked && keys.is_none();
    let algorithms = algorithms
        .and_then(|value| value.each(1..=Algorithm::ALL.len(), |item| item.parse(algorithm)))
        .unwrap_or_default();
    let keys = match keys {
        Some(value) => key_source(&value, reading, iss, &algorithms),
        None => is_keyless.then_some(KeySource::Nowhere),
    };
    let texts = |value: &Value<'_>, max| value.each(1..=max, |item| item.text().map(Box::from));
    let audiences = section.require("audiences").and_then(|value| texts(&value, AUDIENCES_MAX));
    let scope_claims = section.find("scope_claims").and_then(|value| texts(&value, SHORT_LIST_MAX));
    let types = section
        .find("types")
        .and_then(|value| value.each(1..=SHORT_LIST_MAX, |item| item.text().map(media_type)));
    let cap = section.find("scopes").and_then(|value| {
        let items = value.items()?;
        value.check_count(items.len(), &(0..=SCOPES_MAX))?;
        Some(scope_set(&items))
    });
    let leeway = section
        .find("leeway")
        .and_then(|value| value.duration(Duration::ZERO..=LEEWAY_MAX))
        .unwrap_or(Duration::from_secs(30));
    let max_lifetime = section
        .find("max_lifetime")
        .and_then(|value| value.duration(Duration::from_secs(1)..=LIFETIME_MAX));
    let audience_claim = section.find("audience_claim").and_then(|v| v.text().map(Box::from));
    let claim_headers = claim_headers(section, taken);
    let shape = token_shape(section, reading);
    let name = match section.find("name") {
        Some(value) => value.parse(issuer_name).map(str::to_owned),
        None => iss.and_then(|iss| {
            let name = default_name(iss);
            if name == API_KEY_NAME {
                section
                    .value()
                    .mistake(format!("{name:?} stands for API keys; add another `name`"));
                return None;
            }
            Some(name.to_owned())
        }),
    };
    let settings = IssuerSettings {
        issuer: iss?.into(),
        name: name?.into(),
        audiences: audiences.unwrap_or_default(),
        algorithms,
        types: types.unwrap_or_else(default_types),
        audience_claim: audience_claim.unwrap_or_else(|| "aud".into()),
        scope_claims: scope_claims.unwrap_or_else(|| vec!["scope".into(), "scp".into()]),
        scopes_cap: cap,
        leeway,
        max_lifetime,
        claim_headers,
        shape,
        introspection: asked.as_ref().map(|(rules, _)| rules.clone()),
    };
    let introspection = asked.map(|(_, endpoint)| endpoint);
    Some(IssuerSource { settings: Arc::new(settings), keys: keys?, introspection })
}

/// Many tenants have one key set, but no one endpoint or metadata document.
fn check_template(section: &Mapping<'_>, is_asked: bool) {
    if is_asked {
        section.value().mistake(
            "an issuer template cannot be combined with introspection: opaque tokens do not name \
             their tenant",
        );
    }
    let keys = section.find("keys").filter(Value::is_mapping);
    let table = keys.as_ref().and_then(Value::table).unwrap_or_default();
    for (_, value) in table.iter().filter(|(key, _)| *key == "discovery") {
        value.mistake(
            "an issuer template has no metadata of its own: write keys: { url: URL OF THE KEY SET }",
        );
    }
}

/// How its tokens differ from those of RFC 9068.
fn token_shape(section: &Mapping<'_>, reading: &Reading<'_>) -> TokenShape {
    let usual = TokenShape::default();
    let texts = |value: &Value<'_>| {
        value.each(1..=SHORT_LIST_MAX, |item| item.parse(claim_name).map(Box::from))
    };
    let id_tokens = section.find("id_tokens");
    let accepts_id_tokens = id_tokens.as_ref().is_some_and(|value| {
        let accepts = value.word(&[("refuse", false), ("insecure_accept", true)]);
        accepts.unwrap_or(false)
    });
    if let Some(value) = id_tokens.filter(|_| accepts_id_tokens) {
        reading.note_insecure(&value);
    }
    let claim = section.find("subject_claim").and_then(|value| value.parse(claim_name));
    let clients = section.find("client_claims").and_then(|value| texts(&value));
    let bytes = section.find("token_bytes").and_then(|value| value.parse(token_bytes));
    TokenShape {
        subject_claim: claim.map_or(usual.subject_claim, Box::from),
        client_claims: clients.unwrap_or(usual.client_claims),
        token_bytes: bytes.unwrap_or(usual.token_bytes),
        accepts_id_tokens,
        places: token_places::places(section),
    }
}

fn claim_name(text: &str) -> Result<&str, String> {
    if text.is_empty() { Err("a claim has a name".to_owned()) } else { Ok(text) }
}

fn token_bytes(text: &str) -> Result<usize, String> {
    let bytes = size(text)?.and_then(|bytes| usize::try_from(bytes).ok());
    bytes.filter(|bytes| (TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(bytes)).ok_or_else(|| {
        format!(
            "{text:?} is out of range: 1KiB to 64KiB, the limit of the whole head, are accepted"
        )
    })
}

/// `iss`, byte for byte; only that it can be shown and told from keys.
fn identifier(text: &str) -> Result<&str, String> {
    if text == API_KEY_ISSUER {
        return Err(format!("{text:?} stands for API keys; an issuer needs another identifier"));
    }
    IssuerTemplate::parse(text).map_err(|form| format!("{text:?}: {form}"))?;
    if text.len() > ISSUER_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(format!(
            "an issuer has at most {ISSUER_BYTES_MAX} bytes and no control characters"
        ));
    }
    Ok(text)
}

fn issuer_name(text: &str) -> Result<&str, String> {
    if text == API_KEY_NAME {
        return Err(format!("{text:?} stands for API keys; an issuer needs another name"));
    }
    name(text)
}

/// The host of an issuer that is a URL, else the whole of it.
fn default_name(issuer: &str) -> &str {
    let Some((_, rest)) = issuer.split_once("://") else { return issuer };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // An IPv6 address keeps its brackets.
    let host = match authority.split_once(']') {
        Some((address, _)) => &authority[..=address.len()],
        None => authority.split(':').next().unwrap_or_default(),
    };
    if host.is_empty() { issuer } else { host }
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    Algorithm::from_name(text).ok_or_else(|| {
        let names = Algorithm::ALL.iter().map(|algorithm| algorithm.as_str());
        format!("{text:?} is not an algorithm that can be trusted; {}", suggest(text, names))
    })
}

/// A `typ` as it is compared: lower case, without `application/`; `None` is an absent one.
fn media_type(text: &str) -> Option<Box<str>> {
    let lower = text.to_ascii_lowercase();
    let short = lower.strip_prefix("application/").unwrap_or(&lower);
    (short != "none").then(|| short.into())
}

fn default_types() -> Vec<Option<Box<str>>> {
    vec![Some("at+jwt".into()), Some("jwt".into()), None]
}

/// The scopes of a list, each checked in its place.
pub fn scope_set(items: &[Value<'_>]) -> ScopeSet {
    let tokens: Vec<&str> = items
        .iter()
        .filter_map(|item| item.parse(|text| ScopeSet::from_tokens([text]).map(|_| text)))
        .collect();
    ScopeSet::from_tokens(tokens).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_called_by_its_host() {
        for (issuer, name) in [
            ("https://login.example.com", "login.example.com"),
            ("https://login.example.com:8443/realms/a?b", "login.example.com"),
            ("accounts.example.com", "accounts.example.com"),
            ("urn:example:issuer", "urn:example:issuer"),
            ("https://[::1]:8443/a", "[::1]"),
            ("https://", "https://"),
            ("https://:1", "https://:1"),
        ] {
            assert_eq!(default_name(issuer), name);
        }
    }

    #[test]
    fn a_type_is_compared_without_case_and_prefix() {
        assert_eq!(media_type("application/AT+JWT").as_deref(), Some("at+jwt"));
        assert_eq!(media_type("JWT").as_deref(), Some("jwt"));
        assert_eq!(media_type("none"), None);
    }
}
