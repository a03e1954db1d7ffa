//! The HTTP form of answers.
//!
//! Owns status, content type and caching. Never writes CORS fields.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};

use crate::decide::policy::Methods;
use crate::issue::error::OAuthError;

/// Documents that are the same for every caller: metadata and keys.
const DOCUMENT_CACHING: &str = "public, max-age=300";

/// An answer that concerns one caller: no cache may keep it (RFC 6749 section 5.1).
pub(super) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = cached(body.into(), "no-store");
    *response.status_mut() = status;
    // For caches of HTTP/1.0, as the RFC demands.
    response.headers_mut().insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// A document for everyone.
pub(super) fn document(body: Bytes) -> Response<Bytes> {
    cached(body, DOCUMENT_CACHING)
}

fn cached(body: Bytes, caching: &'static str) -> Response<Bytes> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// An empty answer of success.
pub(super) fn done() -> Response<Bytes> {
    let mut response = json(StatusCode::OK, Bytes::new());
    response.headers_mut().remove(header::CONTENT_TYPE);
    response
}

/// The answer to an error; its code is an extension. `not_stored` adds `stored: false`: what the
/// request ended is in force, and may be lost at a restart.
pub(super) fn error_answer(error: &OAuthError, not_stored: bool) -> Response<Bytes> {
    let mut body = error.to_json();
    if not_stored {
        body.truncate(body.len() - 1);
        body.push_str(r#","stored":false}"#);
    }
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = json(status, body);
    let headers = response.headers_mut();
    let challenge = error.challenge().and_then(|text| HeaderValue::try_from(text).ok());
    if let Some(challenge) = challenge {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    if let Some(seconds) = error.retry_after() {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response.extensions_mut().insert(error.code());
    response
}

/// The answer to OPTIONS and to methods that the endpoint does not have.
pub(super) fn methods_answer(methods: &Methods, asked: &Method) -> Response<Bytes> {
    let mut response = done();
    let is_options = asked == Method::OPTIONS;
    *response.status_mut() =
        if is_options { StatusCode::NO_CONTENT } else { StatusCode::METHOD_NOT_ALLOWED };
    let names: Vec<_> = methods.allowed().map(Method::as_str).chain(["OPTIONS"]).collect();
    if let Ok(allow) = HeaderValue::try_from(names.join(", ")) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}
