//! The HTTP client for issuers: key servers, metadata and introspection endpoints; and for the
//! application that signs people in.
//!
//! Owns the bounds on a server: 64 KiB of head, a bounded body, TLS verified, no redirects (an open
//! redirect at the issuer would let anyone answer in its place), no cookies, no compression. The
//! deadline is the caller's. Never reads a body for its meaning.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, IF_NONE_MATCH, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
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

use crate::config::KeyUrl;
use crate::serve::observe::line::shorten;

const HEAD_BYTES_MAX: usize = 64 << 10;
const HEAD_FIELDS_MAX: usize = 100;
/// Bound on the text of a transport error.
const ERROR_BYTES_MAX: usize = 300;
/// Idle time of a pooled connection.
const IDLE_MAX: Duration = Duration::from_secs(20);

/// Failure of a request to an issuer.
#[derive(Clone, Debug, ThisError, PartialEq, Eq)]
pub(super) enum FetchError {
    /// The deadline passed.
    #[error("timed out after {0:?}")]
    Timeout(Duration),
    /// No connection, no TLS, or broken.
    #[error("{0}")]
    Transport(String),
    /// The certificates that the server is verified with.
    #[error("invalid ca_file: {0}")]
    Authorities(String),
    /// The bearer token that the server demands.
    #[error("bearer_file {0}")]
    Bearer(&'static str),
    /// A proxy with another scheme than `http`.
    #[error("unsupported proxy in the environment: only http:// proxies are accepted")]
    Proxy,
    /// 3xx.
    #[error("status {0}: redirects are not followed")]
    Redirect(u16),
    /// Neither 200 nor an expected 304.
    #[error("unexpected status {0}")]
    Status(u16),
    /// The body is over the bound.
    #[error("the response is longer than {0} bytes")]
    TooLarge(usize),
    /// The metadata of the issuer.
    #[error("the metadata {0}")]
    Metadata(String),
    /// The key set.
    #[error("the key set {0}")]
    KeySet(String),
    /// An internal error.
    #[error("internal error")]
    Fault,
}

/// A client for many requests to one server: its connections are pooled for [`IDLE_MAX`].
pub(in crate::serve) enum PooledClient {
    Direct(Pooled<HttpConnector>),
    Proxied(Pooled<Tunnel<HttpConnector>>),
}

type Pooled<C> = Client<HttpsConnector<C>, Full<Bytes>>;

impl PooledClient {
    /// Connects on first use. `authorities` as for [`SingleUseClient::new`].
    pub(in crate::serve) fn new(
        url: &KeyUrl,
        authorities: Option<&[u8]>,
    ) -> Result<Self, FetchError> {
        // A server on plain HTTP needs no certificates, and there may be none on the system.
        let tls = if url.is_https() { tls(authorities)? } else { without_roots()? };
        let client = SingleUseClient { tls, proxies: Matcher::from_env(), bearer: None };
        Ok(match client.proxy(url) {
            Some(proxy) => Self::Proxied(pooled(client.over_tls(tunnel(&proxy, direct())?))),
            None => Self::Direct(pooled(client.over_tls(direct()))),
        })
    }

    /// Sends a request and waits for the head of the response. The deadline is the caller's.
    pub(in crate::serve) async fn send(
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

/// A client for the requests of one refresh, each on a connection of its own.
pub(in crate::serve) struct SingleUseClient {
    tls: ClientConfig,
    proxies: Matcher,
    /// Sent with every request.
    bearer: Option<HeaderValue>,
}

impl SingleUseClient {
    /// `authorities` are the root certificates in PEM; `None` means those of the system.
    pub(in crate::serve) fn new(
        authorities: Option<&[u8]>,
        bearer: Option<HeaderValue>,
    ) -> Result<Self, FetchError> {
        Ok(Self { tls: tls(authorities)?, proxies: Matcher::from_env(), bearer })
    }

    /// GET for JSON, conditional with an `etag`. Plain HTTP, which is for loopback, uses no proxy.
    pub(in crate::serve) async fn get(
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
    // One request per connection: refreshes are minutes apart, and a server on a connection that
    // stays open would be trusted after its certificate has expired.
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

/// Reads a whole body of at most `bytes_max`.
pub(in crate::serve) async fn body(
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

/// The error for a status other than the expected one.
pub(in crate::serve) fn unexpected(status: StatusCode) -> FetchError {
    if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
        return FetchError::Redirect(status.as_u16());
    }
    FetchError::Status(status.as_u16())
}

/// An error and its causes. None of them contains an address or a credential.
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

/// Built for each client, so that a replaced certificate file counts from the next client on.
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

/// For servers without TLS: no certificate is accepted.
fn without_roots() -> Result<ClientConfig, FetchError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| FetchError::Authorities(shorten(&error.to_string(), ERROR_BYTES_MAX)))?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() { Err("no certificates found".to_owned()) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_certificates_verify_no_server() {
        for bad in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "x"] {
            assert!(tls(Some(bad.as_bytes())).is_err(), "{bad}");
        }
    }
}
