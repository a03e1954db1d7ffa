//! `api_keys`.
//!
//! Owns where keys are read from and which files hold their digests. Never reads a key.

use http::HeaderName;
use http::header::{COOKIE, SEC_WEBSOCKET_PROTOCOL};

use crate::config::language::walk::key::{Key, Section, Type};
use crate::config::language::walk::types::{List, Nested, OneOrMany, Parsed, Table, Words};
use crate::config::language::walk::{Mapping, Value};
use crate::config::model::{ApiKeySettings, FileReference};
use crate::config::sections::file::{FILE, FileName, check_listed_once};
use crate::config::sections::identity::{CLAIM_HEADERS, Taken, claim_headers, header_name};
use crate::config::sections::issuer;
use crate::config::sections::name;
use crate::decide::identity::IdentityHeaderName;
use crate::decide::request::credential::{BasicPart, KeySource};

/// `api_keys`.
pub(in crate::config) static API_KEYS: Key<Nested> =
    Key::new("api_keys", Nested(&SECTION), "API keys; absent means that none is accepted");

static SECTION: Section = Section::new("api_keys", &[&HEADER, &FROM, &FILES, &PEPPERS, &CLAIMS]);

static HEADER: Key<Parsed<HeaderName>> =
    Key::new("header", Parsed(header_name), "short for from: [{ header: NAME }]").or("X-API-Key");

// Each place is read in every request.
static FROM: Key<List<Nested>> = Key::new(
    "from",
    List(Nested(&PLACE), 1, 8),
    "the headers that a key is read from; instead of header",
);

// Each file is watched.
static FILES: Key<OneOrMany<FileName>> = Key::new(
    "files",
    OneOrMany(FILE, 1, 100),
    "the key files: YAML, or JSON Lines if the name ends in .jsonl; required without issuer",
);

// Each pepper in use is one more HMAC per unknown key.
static PEPPERS: Key<Table<FileName>> = Key::new(
    "peppers",
    Table(FILE, 0, 32),
    "files with the keys of hmac-sha256 digests: NAME: FILE",
)
.or("{}");

static CLAIMS: Key<Table<Parsed<IdentityHeaderName>>> =
    Key::new("claims", CLAIM_HEADERS, "claims of a key that become headers: CLAIM: HEADER")
        .or("{}");

/// The header of `api_keys.header`, for keys of the issuer without `api_keys`.
const DEFAULT_HEADER: HeaderName = HeaderName::from_static("x-api-key");

static PLACE: Section = Section::new("a place for keys", &[&PLACE_HEADER, &SCHEME, &KEY_IN]);

static PLACE_HEADER: Key<Parsed<HeaderName>> =
    Key::required("header", Parsed(header_name), "the header");

static SCHEME: Key<Parsed<Box<str>>> =
    Key::new("scheme", Parsed(scheme_token), "the authentication scheme in it; absent means none");

static KEY_IN: Key<Words<BasicPart>> = Key::new(
    "key_in",
    Words(&[("user", BasicPart::User), ("password", BasicPart::Password)]),
    "the part of Basic credentials that is the key; the other one is empty",
)
.or("user");

/// Headers that frame or route a message, or that our own answers and the JWTs depend on. A key
/// in one of them would be forwarded, or would stop every request.
pub(super) const NO_PLACE: &[&str] = &[
    "host",
    "connection",
    "content-length",
    "content-type",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "date",
    "via",
    "forwarded",
    "keep-alive",
    "proxy-connection",
];

/// Fields that are lists, of which a key could only be one member.
const LISTS: &[HeaderName] = &[COOKIE, SEC_WEBSOCKET_PROTOCOL];

/// The places that keys are read from.
pub(in crate::config) fn places(top: &Mapping<'_>) -> Vec<KeySource> {
    let Some(value) = top.find(&API_KEYS) else {
        let default = issuer::grants_keys(top).then(|| KeySource::new(DEFAULT_HEADER, None));
        return default.into_iter().collect();
    };
    // The section is read twice; the report keeps each mistake once.
    let Some(section) = value.section(&SECTION) else { return Vec::new() };
    match (section.find(&HEADER), section.find(&FROM)) {
        (Some(short), Some(_)) => {
            short.mistake("is short for `from`; remove one of the two");
            Vec::new()
        }
        (None, Some(list)) => listed_places(&list),
        (short, None) => {
            let at = short.unwrap_or(*section.value());
            section
                .read(&HEADER)
                .map(|header| place(&at, header, false, None))
                .into_iter()
                .collect()
        }
    }
}

/// Returns whether key files are listed, perhaps with mistakes.
pub(in crate::config) fn has_files(top: &Mapping<'_>) -> bool {
    let value = top.find(&API_KEYS);
    let section = value.as_ref().and_then(|value| value.section(&SECTION));
    section.is_some_and(|section| section.has(&FILES))
}

fn listed_places(list: &Value<'_>) -> Vec<KeySource> {
    let mut places: Vec<KeySource> = Vec::new();
    for item in FROM.items(list) {
        let Some(source) = listed_place(&item) else { continue };
        let again =
            |other: &KeySource| other.header == source.header && same_scheme(other, &source);
        if places.iter().any(again) {
            item.mistake("this place is listed twice");
        }
        places.push(source);
    }
    places
}

/// One place of `from`.
fn listed_place(item: &Value<'_>) -> Option<KeySource> {
    if item.is_mapping() && item.table()?.iter().any(|(key, _)| *key == "query") {
        item.mistake(
            "a key in the query is never accepted: URLs are kept in logs, histories and Referer \
             fields; write { header: NAME }",
        );
        return None;
    }
    let section = item.section(&PLACE)?;
    let (header, scheme) = (section.read(&PLACE_HEADER), section.read(&SCHEME));
    let part = section.read(&KEY_IN)?;
    let at = section.find(&PLACE_HEADER)?;
    let mut source = place(&at, header?, section.has(&SCHEME), scheme);
    if let Some(part) = section.find(&KEY_IN) {
        let is_basic = |scheme: &str| scheme.eq_ignore_ascii_case("Basic");
        if !source.scheme.as_deref().is_some_and(is_basic) {
            part.mistake("belongs to scheme: Basic");
        }
    }
    source.part = part;
    Some(source)
}

fn same_scheme(a: &KeySource, b: &KeySource) -> bool {
    match (&a.scheme, &b.scheme) {
        (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// A place for keys in `header`; mistakes are about `value`.
fn place(
    value: &Value<'_>,
    header: HeaderName,
    has_scheme: bool,
    scheme: Option<Box<str>>,
) -> KeySource {
    if NO_PLACE.contains(&header.as_str()) || LISTS.contains(&header) {
        let name = header.as_str();
        value.mistake(format!(
            "{name:?} cannot carry a key: it frames or routes messages, or is a list"
        ));
    }
    if header == http::header::AUTHORIZATION && !has_scheme {
        value.mistake("Authorization always has a scheme: write from: [{ header: Authorization, scheme: Bearer }]");
    }
    KeySource::new(header, scheme)
}

/// An authentication scheme: a token (RFC 9110 section 11.1).
pub(super) fn scheme_token(text: &str) -> Result<Box<str>, String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if text.len() <= 64 && text.bytes().all(token) {
        return Ok(text.into());
    }
    Err(format!("{text:?} is not an authentication scheme, such as Bearer or ApiKey"))
}

/// `api_keys` without the places.
pub(in crate::config) fn settings(top: &Mapping<'_>, taken: &Taken) -> ApiKeySettings {
    let value = top.find(&API_KEYS);
    let Some(section) = value.as_ref().and_then(|value| value.section(&SECTION)) else {
        return ApiKeySettings::default();
    };
    if !issuer::grants_keys(top) {
        let _ = section.require(&FILES);
    }
    let files = section.read(&FILES).unwrap_or_default();
    if let Some(value) = section.find(&FILES) {
        check_listed_once(&value, &files);
    }
    let claim_headers = claim_headers(&section, &CLAIMS, taken);
    ApiKeySettings { files, peppers: peppers(&section), claim_headers }
}

fn peppers(section: &Mapping<'_>) -> Vec<(Box<str>, FileReference)> {
    let Some(value) = section.find(&PEPPERS) else { return Vec::new() };
    let table = PEPPERS.table(&value).into_iter();
    let read = table.filter_map(|(key, value)| {
        if let Err(message) = name(key) {
            value.mistake(message);
        }
        Some((key.into(), FILE.read(&value)?))
    });
    read.collect()
}
