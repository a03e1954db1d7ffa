//! `issuers[].from`.
//!
//! Owns the places that tokens may be read from. Never reads a token.

use http::header::{AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL};

use crate::config::keys;
use crate::config::language::walk::{Mapping, Value};
use crate::config::sections::api_keys::{NO_PLACE, scheme_token};
use crate::config::sections::identity::header;
use crate::decide::request::credential::{KeySource, TokenPlace};

/// Each place is looked at in every request.
const PLACES_MAX: usize = 8;
/// Names of cookies and prefixes of subprotocols are compared in every request.
const NAME_BYTES_MAX: usize = 128;

/// The places of every issuer together, each once: they are known before the issuers are read,
/// because no header of identity may be one of them.
pub fn all(top: &Mapping<'_>) -> Vec<TokenPlace> {
    let mut all = Vec::new();
    let issuers = top.find("issuers").filter(Value::is_list);
    for item in issuers.as_ref().and_then(Value::items).unwrap_or_default() {
        // The section is read twice; its unknown keys are the same mistakes and reported once.
        let Some(section) = item.section(&keys::ISSUER) else { continue };
        for place in places(&section) {
            if !all.contains(&place) {
                all.push(place);
            }
        }
    }
    all
}

/// The places of one issuer.
pub fn places(section: &Mapping<'_>) -> Vec<TokenPlace> {
    let Some(value) = section.find("from") else { return vec![TokenPlace::default()] };
    let items = value.items().unwrap_or_default();
    if value.is_list() {
        let _ = value.check_count(items.len(), &(1..=PLACES_MAX));
    }
    let mut places = Vec::with_capacity(items.len());
    for item in items {
        let Some(place) = item.section(&keys::TOKEN_PLACE).and_then(|one| place(&item, &one))
        else {
            continue;
        };
        if places.contains(&place) {
            item.mistake("this place is here twice");
        }
        places.push(place);
    }
    places
}

fn place(item: &Value<'_>, section: &Mapping<'_>) -> Option<TokenPlace> {
    let (header, cookie) = (section.find("header"), section.find("cookie"));
    let (subprotocol, scheme) = (section.find("subprotocol"), section.find("scheme"));
    match (header, cookie, subprotocol, scheme) {
        (Some(header), None, None, scheme) => in_header(&header, scheme.as_ref()),
        (None, Some(cookie), None, None) => cookie.parse(name).map(TokenPlace::Cookie),
        (None, None, Some(prefix), None) => prefix.parse(name).map(TokenPlace::Subprotocol),
        _ => {
            item.mistake(
                "is one of { header: NAME }, { header: NAME, scheme: SCHEME }, { cookie: NAME } and \
                 { subprotocol: PREFIX }",
            );
            None
        }
    }
}

fn in_header(value: &Value<'_>, scheme: Option<&Value<'_>>) -> Option<TokenPlace> {
    let header = header(value)?;
    let scheme = scheme.map(|scheme| scheme.parse(scheme_token));
    if header == COOKIE || header == SEC_WEBSOCKET_PROTOCOL {
        value.mistake("is a list: write { cookie: NAME } or { subprotocol: PREFIX }");
    } else if NO_PLACE.contains(&header.as_str()) {
        let name = header.as_str();
        value.mistake(format!("{name:?} cannot hold a token: it frames or routes messages"));
    } else if header == AUTHORIZATION && scheme.is_none() {
        value.mistake(
            "Authorization always has a scheme: write { header: Authorization, scheme: Bearer }",
        );
    }
    // A scheme that is a mistake must not become a place without one.
    let scheme = match scheme {
        Some(read) => Some(canonical(&read?)),
        None => None,
    };
    Some(TokenPlace::Header { name: header, scheme })
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
pub fn check_keys(top: &Mapping<'_>, tokens: &[TokenPlace], keys: &[KeySource]) {
    let clash = tokens.iter().find(|place| keys.iter().any(|key| is_clash(place, key)));
    if let (Some(place), Some(value)) = (clash, top.find("api_keys")) {
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
