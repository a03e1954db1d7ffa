//! `api_keys`.
//!
//! Owns where keys are read from and which files hold their digests. Never reads a key.

use http::HeaderName;
use http::header::{COOKIE, SEC_WEBSOCKET_PROTOCOL};

use crate::config::keys;
use crate::config::language::walk::{Mapping, Value};
use crate::config::model::ApiKeySettings;
use crate::config::sections::identity::{Taken, claim_headers, header};
use crate::config::sections::{Reading, name};
use crate::decide::request::credential::{BasicPart, KeySource};

/// Each place is looked at in every request.
const PLACES_MAX: usize = 8;
/// Each file is watched.
const FILES_MAX: usize = 100;
/// Each pepper in use is one more HMAC per unknown key.
const PEPPERS_MAX: usize = 32;

/// Headers that frame or route a message, or that our own answers and the JWTs depend on. A key
/// in one of them would be forwarded, or would stop every request.
pub(in crate::config::sections) const NO_PLACE: &[&str] = &[
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

/// The places keys are read from; the default one when `api_keys` says nothing.
pub fn places(top: &Mapping<'_>) -> Vec<KeySource> {
    let Some(value) = top.find("api_keys") else { return Vec::new() };
    // The section is read twice; its unknown keys are the same mistakes and reported once.
    let Some(section) = value.section(&keys::API_KEYS) else { return Vec::new() };
    let mut places: Vec<KeySource> = Vec::new();
    match (section.find("header"), section.find("from")) {
        (Some(short), None) => places.extend(place(&short, false, None)),
        (None, Some(list)) => {
            let items = list.items().unwrap_or_default();
            if list.is_list() {
                let _ = list.check_count(items.len(), &(1..=PLACES_MAX));
            }
            for item in items {
                let Some(source) = listed_place(&item) else { continue };
                let again = |other: &KeySource| {
                    other.header == source.header && same_scheme(other, &source)
                };
                if places.iter().any(again) {
                    item.mistake("this place is here twice");
                }
                places.push(source);
            }
        }
        (Some(short), Some(_)) => short.mistake("is short for `from`; remove one of the two"),
        (None, None) => {
            places.push(KeySource::new(HeaderName::from_static("x-api-key"), None));
        }
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
    let section = item.section(&keys::KEY_PLACE)?;
    let scheme = section.find("scheme");
    let read = scheme.as_ref().and_then(|value| value.parse(scheme_token));
    let part = section.find("key_in");
    let header = section.require("header")?;
    let mut source = place(&header, scheme.is_some(), read)?;
    if let Some(part) = part {
        let is_basic = |scheme: &str| scheme.eq_ignore_ascii_case("Basic");
        if !source.scheme.as_deref().is_some_and(is_basic) {
            part.mistake("belongs to scheme: Basic");
        }
        source.part = part
            .word(&[("user", BasicPart::User), ("password", BasicPart::Password)])
            .unwrap_or_default();
    }
    Some(source)
}

fn same_scheme(a: &KeySource, b: &KeySource) -> bool {
    match (&a.scheme, &b.scheme) {
        (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn place(value: &Value<'_>, has_scheme: bool, scheme: Option<Box<str>>) -> Option<KeySource> {
    let header = header(value)?;
    if NO_PLACE.contains(&header.as_str()) || LISTS.contains(&header) {
        value.mistake(format!(
            "{:?} cannot hold a key: it frames or routes messages, or is a list",
            header.as_str()
        ));
    }
    if header == http::header::AUTHORIZATION && !has_scheme {
        value.mistake("Authorization always has a scheme: write from: [{ header: Authorization, scheme: Bearer }]");
    }
    Some(KeySource::new(header, scheme))
}

/// An authentication scheme: a token (RFC 9110 section 11.1).
pub(in crate::config::sections) fn scheme_token(text: &str) -> Result<Box<str>, String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if text.len() <= 64 && text.bytes().all(token) {
        return Ok(text.into());
    }
    Err(format!("{text:?} is not an authentication scheme, such as Bearer or ApiKey"))
}

/// `api_keys` but for the places.
pub fn settings(top: &Mapping<'_>, reading: &Reading<'_>, taken: &Taken) -> ApiKeySettings {
    let value = top.find("api_keys");
    let Some(section) = value.as_ref().and_then(|value| value.section(&keys::API_KEYS)) else {
        return ApiKeySettings::default();
    };
    let mut settings = ApiKeySettings::default();
    let files = section.require("files");
    if let Some(files) = &files {
        settings.files = files.each(1..=FILES_MAX, |item| reading.file(item)).unwrap_or_default();
        for (index, file) in settings.files.iter().enumerate() {
            if settings.files[..index].contains(file) {
                files.mistake(format!("{} is here twice", file.path.display()));
            }
        }
    }
    if let Some(peppers) = section.find("peppers") {
        let table = peppers.table().unwrap_or_default();
        let _ = peppers.check_count(table.len(), &(0..=PEPPERS_MAX));
        for (key, value) in table {
            if let Err(message) = name(key) {
                value.mistake(message);
            }
            if let Some(file) = reading.file(&value) {
                settings.peppers.push((key.into(), file));
            }
        }
    }
    settings.claim_headers = claim_headers(&section, taken);
    settings
}
