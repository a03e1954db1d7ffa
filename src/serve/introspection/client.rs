//! One introspection request over HTTP.
//!
//! Owns the request (RFC 7662 section 2.1), the client's authentication (RFC 6749 section 2.3.1)
//! and the bounds: one deadline, 64 KiB of response, TLS verified, no redirects. The secret and the
//! token are in the request and nowhere else.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::Full;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::base::secret::Secret;
use crate::config::{ClientAuthentication, IntrospectionEndpoint, IntrospectionFiles};
use crate::serve::outbound::{self, FetchError, PooledClient};

/// A response describes one token.
const RESPONSE_BYTES_MAX: usize = 64 << 10;

/// The shortest time a client is kept, however often it fails.
const KEPT_MIN: Duration = Duration::from_secs(10);

/// The client of one endpoint.
pub(super) struct EndpointClient {
    endpoint: Arc<IntrospectionEndpoint>,
    files: Arc<IntrospectionFiles>,
    /// Pooled, because a client request waits for the introspection.
    client: Result<PooledClient, FetchError>,
    made: Instant,
    has_failed: AtomicBool,
}

impl EndpointClient {
    pub(super) fn new(
        endpoint: Arc<IntrospectionEndpoint>,
        files: Arc<IntrospectionFiles>,
    ) -> Self {
        let authorities = files.authorities.as_ref().map(|pem| pem.as_slice());
        let client = PooledClient::new(&endpoint.url, authorities);
        Self { endpoint, files, client, made: Instant::now(), has_failed: AtomicBool::new(false) }
    }

    /// Returns whether this failure is its first: only that one is logged.
    pub(super) fn fails_first(&self) -> bool {
        !self.has_failed.swap(true, Ordering::Relaxed)
    }

    /// Returns whether a failure may replace it.
    pub(super) fn is_old(&self) -> bool {
        self.made.elapsed() >= KEPT_MIN
    }

    pub(super) fn is_for(
        &self,
        endpoint: &Arc<IntrospectionEndpoint>,
        files: &Arc<IntrospectionFiles>,
    ) -> bool {
        *self.endpoint == **endpoint && Arc::ptr_eq(&self.files, files)
    }

    /// The body of a 200, within the deadline.
    pub(super) async fn ask(&self, token: &Secret<Box<str>>) -> Result<Bytes, FetchError> {
        let patience = self.endpoint.timeout;
        let response = tokio::time::timeout(patience, self.exchange(token)).await;
        response.unwrap_or(Err(FetchError::Timeout(patience)))
    }

    async fn exchange(&self, token: &Secret<Box<str>>) -> Result<Bytes, FetchError> {
        let client = self.client.as_ref().map_err(Clone::clone)?;
        let response = client.send(self.request(token)).await?;
        match response.status() {
            StatusCode::OK => outbound::body(response, RESPONSE_BYTES_MAX).await,
            status => Err(outbound::unexpected(status)),
        }
    }

    fn request(&self, token: &Secret<Box<str>>) -> Request<Full<Bytes>> {
        let mut form = Zeroizing::new(String::from("token="));
        encode(token.expose().as_bytes(), &mut form);
        form.push_str("&token_type_hint=access_token");
        let (id, secret) = (self.endpoint.client_id.as_bytes(), self.files.client_secret.expose());
        let mut request = Request::post(self.endpoint.url.uri())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(USER_AGENT, concat!("gatepost/", env!("CARGO_PKG_VERSION")));
        match self.endpoint.authentication {
            ClientAuthentication::Basic => {
                let mut pair = Zeroizing::new(String::new());
                encode(id, &mut pair);
                pair.push(':');
                encode(secret, &mut pair);
                let text = Zeroizing::new(format!("Basic {}", STANDARD.encode(&*pair)));
                if let Ok(mut value) = HeaderValue::from_str(&text) {
                    value.set_sensitive(true);
                    request = request.header(AUTHORIZATION, value);
                }
            }
            ClientAuthentication::Post => {
                form.push_str("&client_id=");
                encode(id, &mut form);
                form.push_str("&client_secret=");
                encode(secret, &mut form);
            }
        }
        let body = Full::new(Bytes::copy_from_slice(form.as_bytes()));
        request.body(body).expect("the address was parsed before, the fields are constants")
    }
}

/// `application/x-www-form-urlencoded` (RFC 6749 appendix B).
fn encode(bytes: &[u8], out: &mut String) {
    for &byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            // Writing to a string cannot fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_encoding_of_rfc_6749_appendix_b() {
        let mut out = String::new();
        encode(" %&+\u{a3}\u{20ac}=:a~".as_bytes(), &mut out);
        assert_eq!(out, "+%25%26%2B%C2%A3%E2%82%AC%3D%3Aa%7E");
    }
}
