//! One refresh: a GET, or two where the issuer is discovered.
//!
//! Owns the bounds of what a key server may do to us: one deadline for all of it, 1 MiB of body,
//! 64 KiB of head, TLS verified, no redirects (an open redirect at the issuer would let anybody
//! answer in its place), no cookies, no compression. Never decides whether a set is good.

use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AGE, AUTHORIZATION, CACHE_CONTROL, ETAG, IF_NONE_MATCH, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error as ThisError;
use zeroize::Zeroizing;

use crate::config::files::disk::{Disk, LocalDisk};
use crate::config::{KeyLocation, KeyUrl, RemoteKeys};
use crate::serve::jwks::discovery;
use crate::serve::observe::line::shorten;

/// A set of a hundred keys with their certificates is smaller.
const BODY_BYTES_MAX: usize = 1 << 20;
const HEAD_BYTES_MAX: usize = 64 << 10;
const HEAD_FIELDS_MAX: usize = 100;
/// A bearer token is shorter.
const BEARER_BYTES_MAX: usize = 64 << 10;
/// Longer ones are not kept.
const ETAG_BYTES_MAX: usize = 256;
/// What the system says about a broken connection is cut here.
const ERROR_BYTES_MAX: usize = 300;

/// Why a refresh failed.
#[derive(Clone, Debug, ThisError, PartialEq, Eq)]
pub enum FetchError {
    /// The deadline passed.
    #[error("no whole answer in {0:?}")]
    Timeout(Duration),
    /// No connection, no TLS, or broken.
    #[error("{0}")]
    Transport(String),
    /// The certificates it should be verified with.
    #[error("the certificates to verify it with: {0}")]
    Authorities(String),
    /// The bearer token that the server demands.
    #[error("bearer_file {0}")]
    Bearer(&'static str),
    /// A proxy that cannot be used.
    #[error("the proxy of the environment is not an http:// one")]
    Proxy,
    /// 3xx.
    #[error("answered {0}: redirects are not followed")]
    Redirect(u16),
    /// Neither 200 nor an expected 304.
    #[error("answered {0}")]
    Status(u16),
    /// The body is over the bound.
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
    /// The metadata of the issuer.
    #[error("the metadata {0}")]
    Metadata(String),
    /// The key set.
    #[error("the key set {0}")]
    KeySet(String),
    /// A fault of ours.
    #[error("the refresh ended in a fault")]
    Fault,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) issuer: &'a str,
    pub(super) remote: &'a RemoteKeys,
    /// In PEM; `None` is the system's.
    pub(super) authorities: Option<&'a [u8]>,
    /// Where the set we have came from, and its entity tag.
    pub(super) known: Option<(&'a str, &'a str)>,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Fetched {
    /// `None` when the set we have is still the one.
    pub(super) body: Option<Bytes>,
    /// The address of the set.
    pub(super) from: String,
    pub(super) etag: Option<String>,
    /// How long it is fresh, where the server says so.
    pub(super) lifetime: Option<Duration>,
}

/// Asks, within the deadline.
pub(super) async fn fetch(question: Question<'_>) -> Result<Fetched, FetchError> {
    let patience = question.remote.timeout;
    let fetched = tokio::time::timeout(patience, fetch_set(question)).await;
    fetched.unwrap_or(Err(FetchError::Timeout(patience)))
}

async fn fetch_set(question: Question<'_>) -> Result<Fetched, FetchError> {
    let bearer = question.remote.bearer_file.as_ref().map(|file| bearer(&file.path)).transpose()?;
    let asking = Asking { tls: tls(question.authorities)?, proxies: Matcher::from_env(), bearer };
    let url = match &question.remote.location {
        KeyLocation::Url(url) => url.clone(),
        KeyLocation::Discovery => asking.discover(question).await?,
    };
    let from = url.uri().to_string();
    let known = question.known.filter(|(place, _)| *place == from).map(|(_, etag)| etag);
    let response = asking.get(&url, known).await?;
    let headers = response.headers();
    let lifetime = lifetime(headers);
    let etag = headers.get(ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
    let etag = etag.filter(|etag| etag.len() <= ETAG_BYTES_MAX);
    let body = match response.status() {
        StatusCode::OK => Some(body(response, BODY_BYTES_MAX).await?),
        StatusCode::NOT_MODIFIED if known.is_some() => None,
        status => return Err(refused(status)),
    };
    Ok(Fetched { body, from, etag, lifetime })
}

/// A way to one server for many requests: their connections are kept for a while.
pub(crate) enum Link {
    Direct(Pooled<HttpConnector>),
    Proxied(Pooled<Tunnel<HttpConnector>>),
}

type Pooled<C> = Client<HttpsConnector<C>, Full<Bytes>>;

/// How long a connection is kept that nobody uses.
const IDLE_MAX: Duration = Duration::from_secs(20);

impl Link {
    /// Connects when it is first used. `authorities` as in a question.
    pub(crate) fn new(url: &KeyUrl, authorities: Option<&[u8]>) -> Result<Self, FetchError> {
        let proxies = Matcher::from_env();
        let asking = Asking { tls: tls(authorities)?, proxies, bearer: None };
        Ok(match asking.proxy(url) {
            Some(proxy) => Self::Proxied(pooled(asking.over_tls(tunnel(&proxy, direct())?))),
            None => Self::Direct(pooled(asking.over_tls(direct()))),
        })
    }

    /// Sends a request and waits for the head of the answer. The deadline is the caller's.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, FetchError> {
        let sent = match self {
            Self::Direct(client) => client.request(request).await,
            Self::Proxied(client) => client.request(request).await,
        };
        sent.map_err(|error| broken(&error))
    }
}

fn pooled<C>(connector: HttpsConnector<C>) -> Pooled<C>
where
    HttpsConnector<C>: Connect + Clone,
{
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_MAX)
        .http1_max_buf_size(HEAD_BYTES_MAX)
        .http1_max_headers(HEAD_FIELDS_MAX)
        .build(connector)
}

fn direct() -> HttpConnector {
    let mut direct = HttpConnector::new();
    direct.enforce_http(false);
    direct.set_nodelay(true);
    direct
}

/// How the servers of one refresh are asked.
struct Asking {
    tls: ClientConfig,
    proxies: Matcher,
    /// For the one configured address.
    bearer: Option<HeaderValue>,
}

/// Reads the token for each refresh, so that one that is replaced counts from the next one on.
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

impl Asking {
    async fn discover(&self, question: Question<'_>) -> Result<KeyUrl, FetchError> {
        let allows_http = question.remote.insecure_http;
        let places = KeyUrl::of_metadata(question.issuer, allows_http);
        let [openid, oauth] = places.map_err(FetchError::Metadata)?;
        let mut response = self.get(&openid, None).await?;
        if response.status() == StatusCode::NOT_FOUND {
            response = self.get(&oauth, None).await?;
        }
        match response.status() {
            StatusCode::OK => discovery::jwks_uri(
                &body(response, BODY_BYTES_MAX).await?,
                question.issuer,
                allows_http,
            )
            .map_err(FetchError::Metadata),
            status => Err(refused(status)),
        }
    }

    /// Plain HTTP, which is for loopback, takes no proxy.
    async fn get(
        &self,
        url: &KeyUrl,
        etag: Option<&str>,
    ) -> Result<Response<Incoming>, FetchError> {
        let direct = direct();
        match self.proxy(url) {
            Some(proxy) => {
                let tunnel = tunnel(&proxy, direct)?;
                send(self.over_tls(tunnel), url.uri(), etag, self.bearer.as_ref()).await
            }
            None => send(self.over_tls(direct), url.uri(), etag, self.bearer.as_ref()).await,
        }
    }

    fn proxy(&self, url: &KeyUrl) -> Option<Intercept> {
        self.proxies.intercept(url.uri()).filter(|_| url.is_https())
    }

    fn over_tls<C>(&self, connector: C) -> HttpsConnector<C> {
        HttpsConnectorBuilder::new()
            .with_tls_config(self.tls.clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector)
    }
}

fn tunnel(proxy: &Intercept, direct: HttpConnector) -> Result<Tunnel<HttpConnector>, FetchError> {
    if proxy.uri().scheme_str() != Some("http") {
        return Err(FetchError::Proxy);
    }
    let tunnel = Tunnel::new(proxy.uri().clone(), direct);
    Ok(match proxy.basic_auth() {
        Some(credential) => tunnel.with_auth(credential.clone()),
        None => tunnel,
    })
}

async fn send<C>(
    connector: C,
    uri: &Uri,
    etag: Option<&str>,
    bearer: Option<&HeaderValue>,
) -> Result<Response<Incoming>, FetchError>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    // One request on one connection: they are minutes apart, and whoever holds a connection open
    // would be believed after its certificate has expired.
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .http1_max_buf_size(HEAD_BYTES_MAX)
        .http1_max_headers(HEAD_FIELDS_MAX)
        .build::<_, Empty<Bytes>>(connector);
    let mut request = Request::get(uri)
        .header(ACCEPT, "application/jwk-set+json, application/json")
        .header(USER_AGENT, concat!("gatepost/", env!("CARGO_PKG_VERSION")));
    if let Some(etag) = etag {
        request = request.header(IF_NONE_MATCH, etag);
    }
    if let Some(bearer) = bearer {
        request = request.header(AUTHORIZATION, bearer);
    }
    let request = request.body(Empty::new()).map_err(|error| broken(&error))?;
    client.request(request).await.map_err(|error| broken(&error))
}

/// The whole of an answer, if it is not longer than `bytes_max`.
pub(crate) async fn body(
    response: Response<Incoming>,
    bytes_max: usize,
) -> Result<Bytes, FetchError> {
    let read = Limited::new(response.into_body(), bytes_max).collect().await;
    read.map(http_body_util::Collected::to_bytes).map_err(|error| {
        if error.is::<LengthLimitError>() {
            FetchError::TooLarge(bytes_max)
        } else {
            broken(&*error)
        }
    })
}

/// What a status is that is no answer.
pub(crate) fn refused(status: StatusCode) -> FetchError {
    if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
        return FetchError::Redirect(status.as_u16());
    }
    FetchError::Status(status.as_u16())
}

/// An error and its causes. None of them has an address or a credential in it.
fn broken(error: &(dyn Error + 'static)) -> FetchError {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    FetchError::Transport(shorten(&text, ERROR_BYTES_MAX))
}

/// Read again for each refresh, so that a new file counts from the next one on.
fn tls(authorities: Option<&[u8]>) -> Result<ClientConfig, FetchError> {
    let wrong = |error: String| FetchError::Authorities(shorten(&error, ERROR_BYTES_MAX));
    // Named, because a process with two providers has no default.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?;
    let builder = match authorities {
        Some(pem) => builder.with_root_certificates(roots(pem).map_err(wrong)?),
        None => builder.with_native_roots().map_err(|error: io::Error| wrong(error.to_string()))?,
    };
    Ok(builder.with_no_client_auth())
}

fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() { Err("there are none".to_owned()) } else { Ok(roots) }
}

/// What is left of `max-age` (RFC 9111 section 4.2); zero where nothing may be kept.
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
    fn how_long_a_set_is_fresh() {
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

    #[test]
    fn certificates_that_are_none_verify_nobody() {
        for bad in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "x"] {
            assert!(tls(Some(bad.as_bytes())).is_err(), "{bad}");
        }
    }
}
