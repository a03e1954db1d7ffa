//! `issuers[].from`.
//!
//! Owns the places that tokens may be read from. Never reads a token.

use http::HeaderName;
use http::header::{AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL};

use crate::config::language::walk::key::{AnyKey, Key, Section};
use crate::config::language::walk::types::{Custom, List, Nested, Parsed};
use crate::config::language::walk::{Mapping, Value};
use crate::config::sections::api_keys::{API_KEYS, NO_PLACE, scheme_token};
use crate::config::sections::identity::header_name;
use crate::decide::request::credential::{KeySource, TokenPlace};

/// `issuers[].from`.
pub(super) static FROM: Key<Custom<List<Nested>, Vec<TokenPlace>>> =
    Key::new("from", Custom(PLACES, places), "the places that its tokens are read from")
        .or("[{ header: Authorization, scheme: Bearer }]");

// Each place is read in every request.
const PLACES: List<Nested> = List(Nested(&PLACE), 1, 8);

static PLACE: Section =
    Section::new("a place of tokens", &[&HEADER, &SCHEME, &COOKIE_NAME, &SUBPROTOCOL]);

static HEADER: Key<Parsed<HeaderName>> =
    Key::new("header", Parsed(header_name), "a header; removed like every consumed credential");

static SCHEME: Key<Parsed<Box<str>>> =
    Key::new("scheme", Parsed(scheme_token), "the authentication scheme in that header");

static COOKIE_NAME: Key<Parsed<Box<str>>> = Key::new(
    "cookie",
    Parsed(name),
    "a cookie; Origin must be that of the host or listed in cors with credentials: true",
);

static SUBPROTOCOL: Key<Parsed<Box<str>>> = Key::new(
    "subprotocol",
    Parsed(name),
    "the prefix of an element of Sec-WebSocket-Protocol, on routes with upgrade: websocket",
);

/// Names of cookies and prefixes of subprotocols are compared in every request.
const NAME_BYTES_MAX: usize = 128;

fn places(value: &Value<'_>) -> Option<Vec<TokenPlace>> {
    let mut places = Vec::new();
    for item in PLACES.items(value) {
        let Some(place) = item.section(&PLACE).and_then(|section| place(&section)) else {
            continue;
        };
        if places.contains(&place) {
            item.mistake("this place is listed twice");
        }
        places.push(place);
    }
    Some(places)
}

fn place(section: &Mapping<'_>) -> Option<TokenPlace> {
    let has = |key: &'static dyn AnyKey| section.has(key);
    match (has(&HEADER), has(&COOKIE_NAME), has(&SUBPROTOCOL), has(&SCHEME)) {
        (true, false, false, _) => in_header(section),
        (false, true, false, false) => section.read(&COOKIE_NAME).map(TokenPlace::Cookie),
        (false, false, true, false) => section.read(&SUBPROTOCOL).map(TokenPlace::Subprotocol),
        _ => {
            section.value().mistake(
                "is one of { header: NAME }, { header: NAME, scheme: SCHEME }, { cookie: NAME } and \
                 { subprotocol: PREFIX }",
            );
            None
        }
    }
}

fn in_header(section: &Mapping<'_>) -> Option<TokenPlace> {
    let (header, scheme) = (section.read(&HEADER), section.read(&SCHEME));
    let (header, value) = (header?, section.find(&HEADER)?);
    if header == COOKIE || header == SEC_WEBSOCKET_PROTOCOL {
        value.mistake("is a list: write { cookie: NAME } or { subprotocol: PREFIX }");
    } else if NO_PLACE.contains(&header.as_str()) {
        let name = header.as_str();
        value.mistake(format!("{name:?} cannot carry a token: it frames or routes messages"));
    } else if header == AUTHORIZATION && !section.has(&SCHEME) {
        value.mistake(
            "Authorization always has a scheme: write { header: Authorization, scheme: Bearer }",
        );
    }
    // A scheme with a mistake must not become a place without one.
    if section.has(&SCHEME) && scheme.is_none() {
        return None;
    }
    Some(TokenPlace::Header { name: header, scheme: scheme.as_deref().map(canonical) })
}

/// Schemes are compared without case: one place has one spelling.
fn canonical(scheme: &str) -> Box<str> {
    if scheme.eq_ignore_ascii_case("Bearer") {
        "Bearer".into()
    } else {
        scheme.to_ascii_lowercase().into()
    }
}

/// A cookie name (RFC 6265 section 4.1.1) or a prefix of a subprotocol: a token.
fn name(text: &str) -> Result<Box<str>, String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(token) {
        return Ok(text.into());
    }
    Err(format!(
        "{text:?} is not a token of 1 to {NAME_BYTES_MAX} characters (RFC 9110 section 5.6.2)"
    ))
}

/// Refuses a header that both tokens and API keys are read from, but for different schemes, and for
/// `Authorization: Bearer`, where the shape of the credential decides.
pub(in crate::config) fn check_keys(top: &Mapping<'_>, tokens: &[TokenPlace], keys: &[KeySource]) {
    let clash = tokens.iter().find(|place| keys.iter().any(|key| is_clash(place, key)));
    if let (Some(place), Some(value)) = (clash, top.find(&API_KEYS)) {
        value.mistake(format!(
            "reads keys from {:?}, where tokens are read from (`from` of an issuer): give keys a \
             header or a scheme of their own",
            place.header().as_str()
        ));
    }
}

fn is_clash(place: &TokenPlace, key: &KeySource) -> bool {
    let TokenPlace::Header { name, scheme } = place else { return false };
    let same_scheme = match (scheme, &key.scheme) {
        (Some(token), Some(key)) => token.eq_ignore_ascii_case(key),
        (Some(_) | None, _) => true,
    };
    key.header == *name && same_scheme && *place != TokenPlace::default()
}
