//! `issuers`.
//!
//! Owns the requirements on the tokens of an issuer. Never reads a key file.

use std::sync::Arc;
use std::time::Duration;

use crate::config::language::walk::key::{Form, Key, Section, Type};
use crate::config::language::walk::types::{
    Custom, Lasting, List, Nested, NestedAs, OneOrMany, Parsed, Size, Table, Text, Words,
};
use crate::config::language::walk::{Mapping, Value, suggest};
use crate::config::model::{IssuerSource, KeySource};
use crate::config::sections::identity::{CLAIM_HEADERS, Taken, claim_headers};
use crate::config::sections::introspection::{self, Introspection};
use crate::config::sections::issuer::{self, OWN_NAME};
use crate::config::sections::issuer_keys::{self, key_source};
use crate::config::sections::token_places::FROM;
use crate::config::sections::{name, scope, scope_set};
use crate::decide::identity::IdentityHeaderName;
use crate::decide::jwt::{Algorithm, IssuerSettings, IssuerTemplate, TOKEN_BYTES_MAX, TokenShape};
use crate::decide::principal::API_KEY_ISSUER;
use crate::decide::request::credential::TokenPlace;

/// `issuers`. Each has its own metrics.
pub(super) static ISSUERS: Key<List<Nested>> = Key::new(
    "issuers",
    List(Nested(&ISSUER), 0, 100),
    "the issuers whose JWTs are trusted; keys are bound to their issuer",
)
.or("[]");

static ISSUER: Section = Section::new(
    "an issuer",
    &[
        &IDENTIFIER,
        &NAME,
        &AUDIENCES,
        &ALGORITHMS,
        &KEYS,
        &INTROSPECTION,
        &TYPES,
        &AUDIENCE_CLAIM,
        &SCOPE_CLAIMS,
        &SCOPES,
        &LEEWAY,
        &MAX_LIFETIME,
        &CLAIMS,
        &SUBJECT_CLAIM,
        &CLIENT_CLAIMS,
        &TOKEN_BYTES,
        &ID_TOKENS,
        &FROM,
    ],
);

static IDENTIFIER: Key<Parsed<Box<str>>> =
    Key::required("issuer", Parsed(identifier), "the `iss` of its tokens, byte for byte");

static NAME: Key<Parsed<Box<str>>> = Key::new(
    "name",
    Parsed(issuer_name),
    "the name in metrics, commands and access; absent means the host",
);

// Compared one by one for every token that is verified.
static AUDIENCES: Key<OneOrMany<Text>> =
    Key::required("audiences", OneOrMany(Text, 1, 100), "a token must name at least one of these");

static ALGORITHMS: Key<OneOrMany<AlgorithmName>> = Key::new(
    "algorithms",
    OneOrMany(AlgorithmName, 1, Algorithm::ALL.len()),
    "the algorithms of its keys, each key bound to exactly one; required with keys",
);

static KEYS: Key<Nested> =
    Key::new("keys", Nested(&issuer_keys::SECTION), "the source of its verification keys");

static INTROSPECTION: Key<NestedAs<Introspection>> = Key::new(
    "introspection",
    introspection::INTROSPECTION,
    "the endpoint for opaque tokens (RFC 7662); an issuer has keys, introspection or both",
);

const SHORT_LIST_MAX: usize = 16;

static TYPES: Key<OneOrMany<Parsed<Option<Box<str>>>>> = Key::new(
    "types",
    OneOrMany(Parsed(media_type), 1, SHORT_LIST_MAX),
    "accepted `typ` values, without regard to case and `application/`; none is an absent one",
)
.or("[at+jwt, JWT, none]");

static AUDIENCE_CLAIM: Key<Text> =
    Key::new("audience_claim", Text, "the claim that holds the audience").or("aud");

static SCOPE_CLAIMS: Key<OneOrMany<Text>> = Key::new(
    "scope_claims",
    OneOrMany(Text, 1, SHORT_LIST_MAX),
    "the claims that hold scopes, joined",
)
.or("[scope, scp]");

static SCOPES: Key<List<Parsed<Box<str>>>> = Key::new(
    "scopes",
    List(Parsed(scope), 0, 1_000),
    "the scopes that it may grant; absent means no cap",
);

// A longer leeway would be a longer lifetime by another name.
static LEEWAY: Key<Lasting> = Key::new(
    "leeway",
    Lasting(Duration::ZERO, Duration::from_secs(300)),
    "the tolerance for clocks that differ",
)
.or("30s");

// A lifetime beyond ten years is no limit.
static MAX_LIFETIME: Key<Lasting> = Key::new(
    "max_lifetime",
    Lasting(Duration::from_secs(1), Duration::from_secs(3_650 * 86_400)),
    "the longest accepted exp - iat; with it, `iat` is required; absent means no limit",
);

static CLAIMS: Key<Table<Parsed<IdentityHeaderName>>> =
    Key::new("claims", CLAIM_HEADERS, "claims that become headers: CLAIM: HEADER").or("{}");

static SUBJECT_CLAIM: Key<Text> =
    Key::new("subject_claim", Text, "the claim that holds the subject").or("sub");

static CLIENT_CLAIMS: Key<OneOrMany<Text>> = Key::new(
    "client_claims",
    OneOrMany(Text, 1, SHORT_LIST_MAX),
    "the claims that may hold the client; the first one that is present counts",
)
.or("[client_id, azp]");

// No signed token is shorter than its signature.
static TOKEN_BYTES: Key<Size> =
    Key::new("token_bytes", Size(1_024, TOKEN_BYTES_MAX as u64), "the longest accepted token")
        .or("8KiB");

/// True is `insecure_accept`.
static ID_TOKENS: Key<Custom<Words<bool>, bool>> = Key::new(
    "id_tokens",
    Custom(ID_TOKEN_WORDS, id_tokens),
    "the handling of tokens with nonce, at_hash or c_hash",
)
.or("refuse");

const ID_TOKEN_WORDS: Words<bool> = Words(&[("refuse", false), ("insecure_accept", true)]);

/// `iss` is compared for every token and shown in messages.
const ISSUER_BYTES_MAX: usize = 1_024;

/// The name of API keys where issuers have short names.
pub(super) const API_KEY_NAME: &str = "api-key";

/// The number of issuers in the file, with those that have mistakes.
pub(in crate::config) fn listed(top: &Mapping<'_>) -> usize {
    top.find(&ISSUERS).and_then(|value| value.items().map(|items| items.len())).unwrap_or(0)
}

/// `issuers`, in the order of the file. `running` is the url of the built-in issuer that serves,
/// which the file may have changed.
pub(in crate::config) fn issuers(
    top: &Mapping<'_>,
    taken: &Taken,
    running: Option<&str>,
) -> Vec<IssuerSource> {
    let Some(value) = top.find(&ISSUERS) else { return Vec::new() };
    let configured = issuer::url(top);
    let built_in: Vec<&str> = configured.as_deref().into_iter().chain(running).collect();
    let mut issuers: Vec<IssuerSource> = Vec::new();
    for item in ISSUERS.items(&value) {
        let Some(section) = item.section(&ISSUER) else { continue };
        let Some(source) = source(&section, taken) else { continue };
        check_built_in(&item, &source.settings, &built_in);
        if issuers.iter().any(|other| is_same_issuer(&other.settings, &source.settings)) {
            item.mistake(format!("duplicate issuer {:?}", source.settings.issuer));
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

/// Checks that an entry does not pass for the built-in issuer.
fn check_built_in(item: &Value<'_>, settings: &IssuerSettings, built_in: &[&str]) {
    let is_it = |url: &&str| *settings.issuer == **url || settings.has_tenant(url);
    if built_in.iter().any(is_it) {
        item.mistake(format!(
            "issuer {:?} is the built-in one (issuer.url), which needs no entry: remove this one",
            settings.issuer
        ));
    } else if *settings.name == *OWN_NAME && !built_in.is_empty() {
        item.mistake(format!(
            "{OWN_NAME:?} is the name of the built-in issuer; give this one another `name`"
        ));
    }
}

/// The places of every issuer together, each once, with that of the built-in issuer: they are known before the issuers are read,
/// because no header of identity may be one of them.
pub(in crate::config) fn token_places(top: &Mapping<'_>) -> Vec<TokenPlace> {
    let value = top.find(&ISSUERS);
    let own = issuer::is_configured(top).then(TokenPlace::default);
    let mut all: Vec<_> = own.into_iter().collect();
    for item in value.iter().flat_map(|value| ISSUERS.items(value)) {
        // The section is read twice; the report keeps each mistake once.
        let places = item.section(&ISSUER).and_then(|section| section.read(&FROM));
        for place in places.unwrap_or_default() {
            if !all.contains(&place) {
                all.push(place);
            }
        }
    }
    all
}

/// True for the same identifier, and for templates that differ in the name of the claim alone.
fn is_same_issuer(a: &IssuerSettings, b: &IssuerSettings) -> bool {
    let same_form = a.template().zip(b.template()).is_some_and(|(a, b)| a.has_form_of(&b));
    a.issuer == b.issuer || same_form
}

fn source(section: &Mapping<'_>, taken: &Taken) -> Option<IssuerSource> {
    let iss = section.read(&IDENTIFIER);
    if iss.as_ref().is_some_and(|iss| matches!(IssuerTemplate::parse(iss), Ok(Some(_)))) {
        check_template(section);
    }
    let (asked, audiences) = (section.read(&INTROSPECTION), section.read(&AUDIENCES));
    let (algorithms, keys) = keys(section, iss.as_deref());
    let claim_headers = claim_headers(section, &CLAIMS, taken);
    let (cap, max_lifetime) = (section.read(&SCOPES), section.read(&MAX_LIFETIME));
    let settings = IssuerSettings {
        name: issuer_label(section, iss.as_deref()).unwrap_or_default().into(),
        issuer: iss.as_deref().unwrap_or_default().into(),
        audiences: audiences.unwrap_or_default(),
        algorithms,
        types: section.read(&TYPES)?,
        audience_claim: section.read(&AUDIENCE_CLAIM)?,
        scope_claims: section.read(&SCOPE_CLAIMS)?,
        scopes_cap: cap.map(|scopes| scope_set(Some(scopes))),
        leeway: section.read(&LEEWAY)?,
        max_lifetime,
        claim_headers,
        shape: token_shape(section)?,
        introspection: asked.as_ref().map(|(rules, _)| rules.clone()),
    };
    // The stand-ins for a missing identifier and name end here.
    let is_named = !settings.issuer.is_empty() && !settings.name.is_empty();
    let introspection = asked.map(|(_, endpoint)| endpoint);
    is_named.then_some(IssuerSource { settings: Arc::new(settings), keys: keys?, introspection })
}

/// Tenants share one key set, but neither an endpoint nor a metadata document.
fn check_template(section: &Mapping<'_>) {
    if section.has(&INTROSPECTION) {
        section.value().mistake(
            "an issuer template cannot be combined with introspection: opaque tokens do not name \
             their tenant",
        );
    }
    let keys = section.find(&KEYS).filter(Value::is_mapping);
    let keys = keys.as_ref().and_then(|value| value.section(&issuer_keys::SECTION));
    if let Some(value) = keys.as_ref().and_then(|keys| keys.find(&issuer_keys::DISCOVERY)) {
        value.mistake(
            "an issuer template has no metadata of its own: write keys: { url: URL OF THE KEY SET }",
        );
    }
}

/// `algorithms` and `keys`, which an issuer with introspection may leave out.
fn keys(section: &Mapping<'_>, iss: Option<&str>) -> (Vec<Algorithm>, Option<KeySource>) {
    let is_keyless = section.has(&INTROSPECTION) && !section.has(&KEYS);
    if !is_keyless {
        let _ = section.require(&ALGORITHMS);
    }
    let algorithms = section.read(&ALGORITHMS).unwrap_or_default();
    if is_keyless {
        return (algorithms, Some(KeySource::Nowhere));
    }
    let keys = section.require(&KEYS).and_then(|value| key_source(&value, iss, &algorithms));
    (algorithms, keys)
}

/// The name of an issuer: `name`, or its host.
fn issuer_label(section: &Mapping<'_>, iss: Option<&str>) -> Option<Box<str>> {
    if section.has(&NAME) {
        return section.read(&NAME);
    }
    let name = default_name(iss?);
    if name == API_KEY_NAME {
        section.value().mistake(format!("{name:?} is reserved for API keys; add another `name`"));
        return None;
    }
    Some(name.into())
}

/// Differences of its tokens from those of RFC 9068.
fn token_shape(section: &Mapping<'_>) -> Option<TokenShape> {
    Some(TokenShape {
        subject_claim: section.read(&SUBJECT_CLAIM)?,
        client_claims: section.read(&CLIENT_CLAIMS)?,
        token_bytes: usize::try_from(section.read(&TOKEN_BYTES)?).ok()?,
        accepts_id_tokens: section.read(&ID_TOKENS)?,
        places: section.read(&FROM)?,
        exp_leeway: None,
    })
}

fn id_tokens(value: &Value<'_>) -> Option<bool> {
    let accepts = ID_TOKEN_WORDS.read(value)?;
    if accepts {
        value.note_insecure();
    }
    Some(accepts)
}

/// `iss`, byte for byte; only that it can be shown and told from keys.
fn identifier(text: &str) -> Result<Box<str>, String> {
    if text == API_KEY_ISSUER {
        return Err(format!(
            "{text:?} is reserved for API keys; an issuer needs another identifier"
        ));
    }
    IssuerTemplate::parse(text).map_err(|form| format!("{text:?}: {form}"))?;
    if text.len() > ISSUER_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(format!(
            "an issuer has at most {ISSUER_BYTES_MAX} bytes and no control characters"
        ));
    }
    Ok(text.into())
}

fn issuer_name(text: &str) -> Result<Box<str>, String> {
    if text == API_KEY_NAME {
        return Err(format!("{text:?} is reserved for API keys; an issuer needs another name"));
    }
    name(text).map(Box::from)
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

/// The name of an algorithm.
#[derive(Clone, Copy, Debug)]
struct AlgorithmName;

impl Form for AlgorithmName {
    fn schema(&self) -> serde_json::Value {
        let names: Vec<&str> = Algorithm::ALL.iter().map(|algorithm| algorithm.as_str()).collect();
        serde_json::json!({ "enum": names })
    }
}

impl Type for AlgorithmName {
    type Read = Algorithm;

    fn read(&self, value: &Value<'_>) -> Option<Algorithm> {
        value.parse(|text| {
            Algorithm::from_name(text).ok_or_else(|| {
                let names = Algorithm::ALL.iter().map(|algorithm| algorithm.as_str());
                format!("{text:?} is not an accepted algorithm; {}", suggest(text, names))
            })
        })
    }
}

/// A `typ` as it is compared: lower case, without `application/`; `None` is an absent one.
fn media_type(text: &str) -> Result<Option<Box<str>>, String> {
    let lower = text.to_ascii_lowercase();
    let short = lower.strip_prefix("application/").unwrap_or(&lower);
    Ok((short != "none").then(|| short.into()))
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
        assert_eq!(media_type("application/AT+JWT"), Ok(Some("at+jwt".into())));
        assert_eq!(media_type("JWT"), Ok(Some("jwt".into())));
        assert_eq!(media_type("none"), Ok(None));
    }
}
