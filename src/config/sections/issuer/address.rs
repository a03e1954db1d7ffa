//! `issuer.url`, `hosts`, `prefixes`, `account` and `pages`.
//!
//! Owns where the issuer is: its identifier, and the hosts and paths of its endpoints. Never builds
//! a route.

use std::net::IpAddr;
use std::sync::Arc;

use http::Uri;

use crate::config::language::walk::Mapping;
use crate::config::language::walk::key::Key;
use crate::config::language::walk::types::{List, Parsed, Text};
use crate::config::sections::issuer::INSECURE_HTTP;
use crate::decide::policy::HostPattern;
use crate::issue::metadata;

pub(super) static URL: Key<Text> = Key::required(
    "url",
    Text,
    "the issuer identifier, `iss` byte for byte: https, or http on loopback; a change needs a restart",
);

// Each host has every route of the issuer.
pub(super) static HOSTS: Key<List<Parsed<HostPattern>>> = Key::new(
    "hosts",
    List(Parsed(host), 0, 32),
    "further hosts of the endpoints, besides that of url",
)
.or("[]");

pub(super) static PREFIXES: Key<List<Parsed<Box<str>>>> = Key::new(
    "prefixes",
    List(Parsed(folder), 1, 8),
    "the folders of the endpoints; the metadata names the first; a change needs a restart",
)
.or("[/oauth, /auth/oauth]");

pub(super) static ACCOUNT: Key<Parsed<Box<str>>> = Key::new(
    "account",
    Parsed(folder),
    "the folder of the account pages; a change needs a restart",
)
.or("/auth/account");

pub(super) static PAGES: Key<Text> =
    Key::new("pages", Text, "the origin of the account pages, where they have a host of their own");

/// The longest issuer identifier and the longest folder, in bytes.
const URL_BYTES_MAX: usize = 1_024;
const FOLDER_BYTES_MAX: usize = 128;

/// `url`, checked.
pub(super) fn url(section: &Mapping<'_>) -> Option<Arc<str>> {
    let allows_http = section.read(&INSECURE_HTTP)?;
    let value = section.require(&URL)?;
    value.parse(|text| parse_url(text, allows_http).map(|_| Arc::from(text)))
}

/// `pages`, checked: an origin.
pub(super) fn pages(section: &Mapping<'_>) -> Option<Box<str>> {
    let allows_http = section.read(&INSECURE_HTTP)?;
    let value = section.find(&PAGES)?;
    value.parse(|text| {
        parse_url(text, allows_http)?;
        if metadata::origin_of(text) == text {
            return Ok(Box::from(text));
        }
        Err("is an origin: https://HOST[:PORT] without a path or a trailing slash".to_owned())
    })
}

/// The host of `url`, then `hosts`, each once.
pub(super) fn hosts(section: &Mapping<'_>, url: Option<&str>) -> Vec<HostPattern> {
    let own = url.and_then(host_of);
    let mut hosts: Vec<HostPattern> = Vec::new();
    for host in own.into_iter().chain(section.read(&HOSTS).unwrap_or_default()) {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

/// `prefixes` and `account`.
pub(super) fn paths(section: &Mapping<'_>) -> Option<(Vec<Box<str>>, Box<str>)> {
    Some((section.read(&PREFIXES)?, section.read(&ACCOUNT)?))
}

/// The host of an URL, as it is matched.
pub(in crate::config) fn host_of(url: &str) -> Option<HostPattern> {
    let origin = metadata::origin_of(url);
    let (_, authority) = origin.split_once("://")?;
    HostPattern::parse(authority).ok()
}

/// An absolute URL without user, query and fragment. The text is not quoted: it might contain a
/// password.
fn parse_url(text: &str, allows_http: bool) -> Result<Uri, String> {
    const ACCEPTED: &str = "https://HOST[:PORT][/PATH] is accepted";
    let wrong = || format!("is not the URL of an issuer; {ACCEPTED}");
    let is_visible = text.len() <= URL_BYTES_MAX && text.bytes().all(|b| b.is_ascii_graphic());
    let uri = text.parse::<Uri>().ok().filter(|_| is_visible).ok_or_else(wrong)?;
    if text.contains(['?', '#', '\\', '@']) {
        return Err(format!("has a user, a query or a fragment; {ACCEPTED}"));
    }
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
    if host_of(text).is_none() {
        return Err(wrong());
    }
    let path = uri.path().trim_end_matches('/');
    if !path.is_empty() {
        folder(path)?;
    }
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if allows_http || is_loopback(host) => Ok(uri),
        Some("http") => Err(format!(
            "tokens that are sent over plain HTTP can be read on the way; {ACCEPTED}, and http on \
             loopback, or anywhere with insecure_http: true"
        )),
        Some(_) | None => Err(wrong()),
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// A folder whose paths have one reading: unreserved characters alone (RFC 3986 section 2.3).
fn folder(text: &str) -> Result<Box<str>, String> {
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_segment = |segment: &str| {
        segment.bytes().all(is_unreserved) && segment.bytes().any(|byte| byte != b'.')
    };
    let segments = text.strip_prefix('/').map(|rest| rest.split('/'));
    let fits = text.len() <= FOLDER_BYTES_MAX
        && segments.is_some_and(|mut segments| segments.all(is_segment));
    if fits {
        return Ok(text.into());
    }
    Err(format!(
        "{text:?} is not a folder of endpoints: accepted is a path such as /oauth or /auth/oauth, at \
         most {FOLDER_BYTES_MAX} bytes of letters, digits, '-', '.', '_' and '~', without a trailing slash"
    ))
}

fn host(text: &str) -> Result<HostPattern, String> {
    // A route with the host itself would take the paths of the endpoints from under a wildcard.
    if text.contains('*') {
        return Err(format!("{text:?}: a host of the issuer is exact, without a wildcard"));
    }
    HostPattern::parse(text).map_err(|error| error.to_string())
}
