//! One file for each part of the configuration: the entries of its keys beside their readers.
//!
//! Owns the meaning of every key. A section with mistakes still returns what it could read, so that
//! references to it are not reported as well. Never opens a file.

pub mod access;
pub mod api_keys;
pub mod cors;
mod end_streams;
mod file;
pub mod identity;
mod introspection;
pub mod issuer;
mod issuer_keys;
pub mod issuers;
pub mod limits;
mod listener_tls;
pub mod listeners;
pub mod process;
pub mod revocations;
mod route_name;
pub mod routes;
pub mod token_places;
pub mod trusted_proxies;
mod upstream_tls;
pub mod upstreams;

use http::Method;

use crate::config::language::walk::key::{Key, Section};
use crate::config::language::walk::types::{Insecure, Parsed};
use crate::decide::scope::ScopeSet;

/// The whole file.
pub(in crate::config) static TOP: Section = Section::new(
    "the configuration",
    &[
        &listeners::LISTENERS,
        &listeners::ADMIN,
        &listeners::METRICS,
        &trusted_proxies::TRUSTED_PROXIES,
        &upstreams::UPSTREAMS,
        &issuers::ISSUERS,
        &api_keys::API_KEYS,
        &revocations::REVOCATIONS,
        &limits::FAILED_CREDENTIALS,
        &limits::LIMITS,
        &identity::IDENTITY,
        &identity::PASS_HEADERS,
        &REALM,
        &routes::DEFAULTS,
        &routes::ROUTES,
        &issuer::ISSUER,
        &process::THREADS,
        &process::SHUTDOWN_TIMEOUT,
        &process::LAME_DUCK,
        &process::CONNECTIONS,
        &process::ACCESS_LOG,
        &process::LIMIT_ENTRIES,
        &process::UPSTREAM_POOL,
        &process::TOKEN_CACHE,
        &process::STATE_DIR,
        &INSECURE_FILE_MODES,
        &routes::INSECURE_HOST_SELECTED,
    ],
);

/// `insecure_file_modes`.
pub(super) static INSECURE_FILE_MODES: Key<Insecure> = Key::insecure(
    "insecure_file_modes",
    "accept secrets, peppers and private keys from files that others can read",
);

/// `realm`.
pub(super) static REALM: Key<Parsed<Box<str>>> =
    Key::new("realm", Parsed(realm), "the realm of every challenge").or("gatepost");

/// The realm is part of a quoted string in every challenge (RFC 9110 section 11.5).
fn realm(text: &str) -> Result<Box<str>, String> {
    const BYTES_MAX: usize = 128;
    let quotable = |b: u8| (b == b' ' || b.is_ascii_graphic()) && b != b'"' && b != b'\\';
    if text.len() <= BYTES_MAX && text.bytes().all(quotable) {
        return Ok(text.into());
    }
    Err(format!(
        "{text:?} is not a realm: at most {BYTES_MAX} visible ASCII characters and spaces without \" and \\ are accepted"
    ))
}

/// The longest name that becomes a metric label.
const NAME_BYTES_MAX: usize = 64;

/// A name of the operator's choice that becomes a metric label and part of header fields.
///
/// # Errors
/// A text that is not a name; the message says what is accepted.
pub fn name(text: &str) -> Result<&str, String> {
    let fits = !text.is_empty()
        && text.len() <= NAME_BYTES_MAX
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if fits {
        return Ok(text);
    }
    Err(format!(
        "{text:?} is not a name: 1 to {NAME_BYTES_MAX} letters, digits, `.`, `_` and `-` are accepted"
    ))
}

/// A scope token.
pub(super) fn scope(text: &str) -> Result<Box<str>, String> {
    match ScopeSet::from_tokens([text]) {
        Ok(_) => Ok(text.into()),
        Err(error) => Err(error.to_string()),
    }
}

/// The set of scopes that [`scope`] read.
pub(super) fn scope_set(scopes: Option<Vec<Box<str>>>) -> ScopeSet {
    let scopes = scopes.unwrap_or_default();
    ScopeSet::from_tokens(scopes.iter().map(AsRef::as_ref)).unwrap_or_default()
}

/// Methods are compared byte for byte (RFC 9110 section 9.1), so `get` would match nothing.
fn method(text: &str) -> Result<Method, String> {
    if text == "*" {
        return Err("\"*\" is not a method: without the key, every method is accepted".to_owned());
    }
    if text != text.to_ascii_uppercase() {
        return Err(format!(
            "{text:?} is not a method; methods are upper case: {}",
            text.to_ascii_uppercase()
        ));
    }
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::TRACE | Method::CONNECT) => Err(format!("{text} is refused on every route")),
        Ok(method) => Ok(method),
        Err(_) => Err(format!("{text:?} is not a method, such as GET or POST")),
    }
}
