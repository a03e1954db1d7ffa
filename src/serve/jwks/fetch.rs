//! One refresh of a key set: a GET, or two where the issuer is discovered.
//!
//! Owns the bounds on a key server beyond those of [`crate::serve::outbound`]: one deadline for all
//! of it, 1 MiB of body. Never decides whether a set is good.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AGE, CACHE_CONTROL, ETAG};
use http::{HeaderMap, HeaderValue, StatusCode};
use zeroize::Zeroizing;

use crate::config::files::disk::{Disk, LocalDisk};
use crate::config::{KeyLocation, KeyUrl, RemoteKeys};
use crate::serve::jwks::discovery;
use crate::serve::outbound::{self, FetchError, SingleUseClient};

/// A set of a hundred keys with their certificates is smaller.
const BODY_BYTES_MAX: usize = 1 << 20;
/// A bearer token is shorter.
const BEARER_BYTES_MAX: usize = 64 << 10;
/// Longer entity tags are not kept.
const ETAG_BYTES_MAX: usize = 256;

/// A key set to fetch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) issuer: &'a str,
    pub(super) remote: &'a RemoteKeys,
    /// Root certificates in PEM; `None` means those of the system.
    pub(super) authorities: Option<&'a [u8]>,
    /// Address and entity tag of the set in force.
    pub(super) known: Option<(&'a str, &'a str)>,
}

/// A fetched or confirmed key set.
#[derive(Debug)]
pub(super) struct Fetched {
    /// `None` when the set in force was confirmed (304).
    pub(super) body: Option<Bytes>,
    /// The address of the set.
    pub(super) from: String,
    pub(super) etag: Option<String>,
    /// The lifetime that the server states.
    pub(super) lifetime: Option<Duration>,
}

/// Fetches a key set within the deadline.
pub(super) async fn fetch(question: Question<'_>) -> Result<Fetched, FetchError> {
    let patience = question.remote.timeout;
    let fetched = tokio::time::timeout(patience, fetch_set(question)).await;
    fetched.unwrap_or(Err(FetchError::Timeout(patience)))
}

async fn fetch_set(question: Question<'_>) -> Result<Fetched, FetchError> {
    let bearer = question.remote.bearer_file.as_ref().map(|file| bearer(&file.path)).transpose()?;
    let client = SingleUseClient::new(question.authorities, bearer)?;
    let url = match &question.remote.location {
        KeyLocation::Url(url) => url.clone(),
        KeyLocation::Discovery => discover(&client, question).await?,
    };
    let from = url.uri().to_string();
    let known = question.known.filter(|(place, _)| *place == from).map(|(_, etag)| etag);
    let response = client.get(&url, known).await?;
    let headers = response.headers();
    let lifetime = lifetime(headers);
    let etag = headers.get(ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
    let etag = etag.filter(|etag| etag.len() <= ETAG_BYTES_MAX);
    let body = match response.status() {
        StatusCode::OK => Some(outbound::body(response, BODY_BYTES_MAX).await?),
        StatusCode::NOT_MODIFIED if known.is_some() => None,
        status => return Err(outbound::unexpected(status)),
    };
    Ok(Fetched { body, from, etag, lifetime })
}

/// Reads the token for each refresh, so that a replaced one counts from the next refresh on. A
/// configuration has a `bearer_file` only beside a fixed address.
fn bearer(path: &Path) -> Result<HeaderValue, FetchError> {
    const NO_TOKEN: FetchError = FetchError::Bearer("holds no token: visible ASCII is accepted");
    let content = LocalDisk.read(path, BEARER_BYTES_MAX);
    let bytes = content.map_err(|_| FetchError::Bearer("cannot be read"))?.bytes;
    let bytes = Zeroizing::new(bytes);
    let token = bytes.trim_ascii();
    if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
        return Err(NO_TOKEN);
    }
    let field = Zeroizing::new([b"Bearer ", token].concat());
    let mut value = HeaderValue::from_bytes(&field).map_err(|_| NO_TOKEN)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The address of the key set, from the metadata of the issuer.
async fn discover(client: &SingleUseClient, question: Question<'_>) -> Result<KeyUrl, FetchError> {
    let allows_http = question.remote.insecure_http;
    let places = KeyUrl::of_metadata(question.issuer, allows_http);
    let [openid, oauth] = places.map_err(FetchError::Metadata)?;
    let mut response = client.get(&openid, None).await?;
    if response.status() == StatusCode::NOT_FOUND {
        response = client.get(&oauth, None).await?;
    }
    match response.status() {
        StatusCode::OK => {
            let body = outbound::body(response, BODY_BYTES_MAX).await?;
            discovery::jwks_uri(&body, question.issuer, allows_http).map_err(FetchError::Metadata)
        }
        status => Err(outbound::unexpected(status)),
    }
}

/// Remaining `max-age` (RFC 9111 section 4.2); zero for `no-store` and `no-cache`.
fn lifetime(headers: &HeaderMap) -> Option<Duration> {
    let fields = headers.get_all(CACHE_CONTROL).iter().filter_map(|field| field.to_str().ok());
    let directives =
        fields.flat_map(|field| field.split(',')).map(|one| one.trim().to_ascii_lowercase());
    let mut lifetime = None;
    for directive in directives {
        let (name, value) = directive.split_once('=').unwrap_or((&directive, ""));
        match name {
            "no-store" | "no-cache" => return Some(Duration::ZERO),
            "max-age" => lifetime = lifetime.or(value.trim_matches('"').parse::<u64>().ok()),
            _ => {}
        }
    }
    let age = headers.get(AGE).and_then(|age| age.to_str().ok()?.parse::<u64>().ok());
    lifetime.map(|seconds| Duration::from_secs(seconds.saturating_sub(age.unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetime_of_a_set_by_cache_control() {
        let read = |fields: &[(http::HeaderName, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(name, HeaderValue::from_static(value));
            }
            lifetime(&headers).map(|lifetime| lifetime.as_secs())
        };
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[(CACHE_CONTROL, "public, Max-Age=300")]), Some(300));
        assert_eq!(read(&[(CACHE_CONTROL, "max-age=300"), (AGE, "100")]), Some(200));
        assert_eq!(read(&[(CACHE_CONTROL, "max-age=300"), (AGE, "900")]), Some(0));
        assert_eq!(read(&[(CACHE_CONTROL, "max-age=300"), (CACHE_CONTROL, "no-store")]), Some(0));
        for odd in ["max-age=-1", "max-age=x", "max-age", "s-maxage=5", "immutable", ""] {
            assert_eq!(read(&[(CACHE_CONTROL, odd)]), None, "{odd}");
        }
        assert_eq!(read(&[(CACHE_CONTROL, "max-age=18446744073709551615")]), Some(u64::MAX));
    }
}
