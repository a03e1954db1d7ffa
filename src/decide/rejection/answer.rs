//! The answer to a refused or failed request (RFC 6750 section 3, RFC 9457).
//!
//! Owns status, fields and body of every answer that gatepost writes itself: [`Answer`] is built
//! here and nowhere else. Never knows a connection: `serve` writes the bytes.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use thiserror::Error;

use crate::decide::policy::AccessDenied;
use crate::decide::rate_limit::{self, Standing};
use crate::decide::rejection::{Reason, Rejection};

/// The media type of the bodies (RFC 9457 section 3).
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// `Retry-After` of a 503: unavailable keys are fetched at least this often in the first minutes.
const UNAVAILABLE_SECS: u64 = 5;

/// The part of an answer that the caller learns of a refusal: the status and a coarse code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Coarse {
    pub(super) status: StatusCode,
    code: &'static str,
    /// The `error` of a bearer challenge (RFC 6750 section 3.1); `Some("")` is a challenge
    /// without one.
    challenge: Option<&'static str>,
    /// True if the connection is closed.
    close: bool,
}

impl Coarse {
    pub(super) const fn plain(status: StatusCode, code: &'static str) -> Self {
        Self { status, code, challenge: None, close: false }
    }

    pub(super) const fn challenge(
        status: StatusCode,
        code: &'static str,
        error: &'static str,
    ) -> Self {
        Self { status, code, challenge: Some(error), close: false }
    }

    pub(super) const fn and_close(self) -> Self {
        Self { close: true, ..self }
    }
}

impl Reason {
    /// The status of the answer.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.answer().status
    }

    /// The coarse code in the body of the answer.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.answer().code
    }
}

/// A failure of the upstream or of the proxy that is not the caller's fault.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// No connection to the upstream.
    #[error("no connection to the upstream")]
    UpstreamConnect,
    /// The upstream timed out.
    #[error("upstream timed out")]
    UpstreamTimeout,
    /// The TLS handshake with the upstream failed.
    #[error("TLS to the upstream failed: {0}")]
    UpstreamTls(TlsCheck),
    /// The upstream broke the connection or the protocol.
    #[error("upstream broke the connection or the protocol")]
    UpstreamBroken,
    /// A bug: forwarding without a permit, a panic.
    #[error("internal fault")]
    Internal,
}

/// The check that failed in a TLS handshake with an upstream.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsCheck {
    /// A check of its certificate: authority, name, validity, use.
    #[error("its certificate {0}")]
    Certificate(&'static str),
    /// The upstream refuses the certificate of gatepost.
    #[error("it does not accept the client certificate")]
    ClientCertificate,
    /// No version, cipher suite or protocol in common, or no TLS at all.
    #[error("handshake failure: no TLS, nothing in common, or no client certificate")]
    Handshake,
}

impl Fault {
    /// Every fault, for metrics declared in advance; one check of TLS represents all.
    pub const ALL: &'static [Self] = &[
        Self::UpstreamConnect,
        Self::UpstreamTimeout,
        Self::UpstreamTls(TlsCheck::Handshake),
        Self::UpstreamBroken,
        Self::Internal,
    ];

    /// The place in [`Self::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::UpstreamConnect => 0,
            Self::UpstreamTimeout => 1,
            Self::UpstreamTls(_) => 2,
            Self::UpstreamBroken => 3,
            Self::Internal => 4,
        }
    }

    /// The word in log and `why`; `kind` of `gatepost_upstream_failures_total`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UpstreamConnect => "upstream_connect",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::UpstreamTls(_) => "upstream_tls",
            Self::UpstreamBroken => "upstream_broken",
            Self::Internal => "internal",
        }
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.answer().status
    }

    /// The coarse code in the body of the answer.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.answer().code
    }

    fn answer(self) -> Coarse {
        match self {
            Self::UpstreamConnect | Self::UpstreamTls(_) | Self::UpstreamBroken => {
                Coarse::plain(StatusCode::BAD_GATEWAY, "upstream_unavailable")
            }
            Self::UpstreamTimeout => Coarse::plain(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout"),
            Self::Internal => Coarse::plain(StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }
}

/// A response of gatepost itself, ready to be written.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// All fields but `Content-Length`, `Date`, `Connection` and `X-Request-Id`.
    pub fields: Vec<(HeaderName, HeaderValue)>,
    /// The problem document (RFC 9457).
    pub body: Bytes,
    /// True if the connection is closed after it.
    pub close: bool,
}

impl Answer {
    /// The answer to a refused request. `realm` has no quotes or backslashes (the configuration
    /// refuses them).
    #[must_use]
    pub fn to_rejection(rejection: &Rejection, realm: &str, request_id: &str) -> Self {
        let coarse = rejection.reason().answer();
        let mut answer = Self::new(coarse, request_id);
        if let Some(error) = coarse.challenge {
            answer.push(header::WWW_AUTHENTICATE, challenge(realm, error, rejection));
        }
        if coarse.status == StatusCode::SERVICE_UNAVAILABLE {
            answer.fields.push((header::RETRY_AFTER, HeaderValue::from(UNAVAILABLE_SECS)));
        }
        if let Rejection::MethodUnknown { allow } = rejection {
            answer.push(header::ALLOW, allow.clone());
        }
        if let Some(standings) = rejection.standings() {
            answer.push_limits(standings);
        }
        answer
    }

    /// The answer to a request that failed in the upstream or the proxy.
    #[must_use]
    pub fn to_fault(fault: Fault, request_id: &str) -> Self {
        Self::new(fault.answer(), request_id)
    }

    /// The answer to a CORS preflight: fields and no body.
    #[must_use]
    pub fn to_preflight(fields: Vec<(HeaderName, HeaderValue)>) -> Self {
        Self { status: StatusCode::NO_CONTENT, fields, body: Bytes::new(), close: false }
    }

    /// The answer of an endpoint of the issuer.
    #[must_use]
    pub fn of_issuer(response: Response<Bytes>) -> Self {
        let (parts, body) = response.into_parts();
        let fields = parts.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
        Self { status: parts.status, fields: fields.collect(), body, close: false }
    }

    /// The answer to `OPTIONS *`, which asks about the server itself and not about a resource (RFC 9110
    /// section 9.3.7): it serves HTTP. What a caller may do depends on the path.
    #[must_use]
    pub fn about_the_server() -> Self {
        let allow = HeaderValue::from_static("DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT");
        let fields = vec![(header::ALLOW, allow)];
        Self { status: StatusCode::NO_CONTENT, fields, body: Bytes::new(), close: false }
    }

    fn new(coarse: Coarse, request_id: &str) -> Self {
        let title = coarse.status.canonical_reason().unwrap_or("Error");
        let status = coarse.status.as_str();
        // None of these strings needs escaping.
        let body = [
            "{\"type\":\"about:blank\",\"title\":\"",
            title,
            "\",\"status\":",
            status,
            ",\"code\":\"",
            coarse.code,
            "\",\"request_id\":\"",
            request_id,
            "\"}\n",
        ]
        .concat();
        let fields = vec![
            (header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON)),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        Self { status: coarse.status, fields, body: body.into(), close: coarse.close }
    }

    fn push(&mut self, name: HeaderName, value: String) {
        if let Ok(value) = HeaderValue::try_from(value) {
            self.fields.push((name, value));
        }
    }

    fn push_limits(&mut self, standings: &[Standing]) {
        let retry_after = rate_limit::headers::retry_after_secs(standings);
        self.fields.push((header::RETRY_AFTER, HeaderValue::from(retry_after)));
        self.fields.extend(rate_limit::headers::fields(&rate_limit::tightest(standings), true));
    }
}

/// The spelling of a field name of an answer, where it is not lower case.
#[must_use]
pub fn spelling(name: &HeaderName) -> Option<&'static str> {
    Some(match *name {
        header::CONTENT_TYPE => "Content-Type",
        header::CACHE_CONTROL => "Cache-Control",
        header::WWW_AUTHENTICATE => "WWW-Authenticate",
        header::RETRY_AFTER => "Retry-After",
        header::ALLOW => "Allow",
        header::VARY => "Vary",
        _ => match name.as_str() {
            "ratelimit" => "RateLimit",
            "ratelimit-policy" => "RateLimit-Policy",
            _ => return None,
        },
    })
}

/// `Bearer realm="...", error="...", scope="..."` (RFC 6750 section 3).
fn challenge(realm: &str, error: &str, rejection: &Rejection) -> String {
    let mut text = format!("Bearer realm=\"{realm}\"");
    if !error.is_empty() {
        text.push_str(", error=\"");
        text.push_str(error);
        text.push('"');
    }
    if let Rejection::Denied(AccessDenied::Scope { needed }) = rejection {
        text.push_str(", scope=\"");
        text.push_str(needed);
        text.push('"');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::decide::api_key::KeyError;
    use crate::decide::jwt::JwtError;
    use crate::decide::rate_limit::Quota;
    use crate::decide::rate_limit::{LimitBy, LimitHeaders, LimitPolicy};
    use crate::decide::request::credential::CredentialError;
    use crate::decide::request::framing::FramingError;
    use crate::decide::request::path::PathError;

    #[track_caller]
    fn check(rejection: &Rejection, status: u16, code: &str, challenge: Option<&str>) {
        let answer = Answer::to_rejection(rejection, "gatepost", "r-1");
        assert_eq!(answer.status.as_u16(), status, "{rejection:?}");
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["status"], status);
        assert_eq!(body["code"], code);
        assert_eq!(body["request_id"], "r-1");
        assert_eq!(body["title"], answer.status.canonical_reason().unwrap());
        let field = answer.fields.iter().find(|(name, _)| name == header::WWW_AUTHENTICATE);
        assert_eq!(field.map(|(_, value)| value.to_str().unwrap()), challenge, "{rejection:?}");
    }

    /// The state of an address whose budget of failed credentials is exhausted.
    fn spent() -> Standing {
        let quota = Quota::parse("5/s", std::num::NonZeroU32::new(100)).unwrap();
        let policy = LimitPolicy {
            name: "failed-credentials".into(),
            index: 0,
            quota,
            by: LimitBy::Address,
            headers: LimitHeaders::Refused,
        };
        Standing {
            policy: policy.into(),
            quota,
            remaining: 0,
            reset_after: Duration::from_secs(20),
            retry_after: Duration::from_millis(200),
            allowed: false,
        }
    }

    #[test]
    fn contract_failed_credentials_the_answer_is_that_of_a_limit() {
        let rejection = Rejection::FailedCredentialsSpent(Box::new(spent()));
        assert_eq!(rejection.reason().as_str(), "failed_credentials_spent");
        let answer = Answer::to_rejection(&rejection, "gatepost", "r-1");
        let names: Vec<_> = answer.fields.iter().map(|(name, _)| name.as_str()).collect();
        let limited =
            ["content-type", "cache-control", "retry-after", "ratelimit", "ratelimit-policy"];
        assert_eq!(names, limited);
    }

    #[test]
    fn contract_answers_fields_are_spelled_as_people_write_them() {
        let written = [
            "Content-Type",
            "Cache-Control",
            "WWW-Authenticate",
            "Retry-After",
            "Allow",
            "Vary",
            "RateLimit",
            "RateLimit-Policy",
        ];
        for spelled in written {
            assert_eq!(spelling(&HeaderName::try_from(spelled).unwrap()), Some(spelled));
        }
        assert_eq!(spelling(&header::DATE), None);
    }

    #[test]
    fn a_fault_of_ours_or_of_the_upstream_has_one_word() {
        let words = Fault::ALL.iter().map(|fault| fault.as_str());
        let known =
            ["upstream_connect", "upstream_timeout", "upstream_tls", "upstream_broken", "internal"];
        assert_eq!(words.collect::<Vec<_>>(), known);
        for fault in Fault::ALL {
            assert!(fault.answer().status.is_server_error(), "{fault:?}");
            assert_eq!(Fault::ALL[fault.index()], *fault);
        }
    }

    #[test]
    fn contract_answers_the_table_row_by_row() {
        let bare = "Bearer realm=\"gatepost\"";
        let bad = "Bearer realm=\"gatepost\", error=\"invalid_token\"";
        let request = "Bearer realm=\"gatepost\", error=\"invalid_request\"";
        let scope = "Bearer realm=\"gatepost\", error=\"insufficient_scope\", scope=\"read write\"";
        let needed = AccessDenied::Scope { needed: "read write".into() };
        check(&Rejection::CredentialMissing, 401, "unauthenticated", Some(bare));
        check(&CredentialError::Repeated.into(), 400, "invalid_request", Some(request));
        check(&CredentialError::Malformed.into(), 400, "invalid_request", Some(request));
        check(&CredentialError::SchemeUnknown.into(), 401, "invalid_token", Some(bad));
        check(&JwtError::SignatureBad.into(), 401, "invalid_token", Some(bad));
        let unavailable = JwtError::KeysUnavailable { issuer: "corp".into() };
        check(&unavailable.into(), 503, "keys_unavailable", None);
        check(&KeyError::Unknown.into(), 401, "invalid_token", Some(bad));
        check(&AccessDenied::Issuer.into(), 401, "invalid_token", Some(bad));
        check(&needed.into(), 403, "insufficient_scope", Some(scope));
        check(&AccessDenied::Claim("tenant".into()).into(), 403, "forbidden", None);
        check(&Rejection::RouteUnknown, 404, "not_found", None);
        check(&Rejection::MethodUnknown { allow: "GET".into() }, 405, "method_not_allowed", None);
        check(&Rejection::RateLimited(vec![]), 429, "rate_limited", None);
        check(&Rejection::FailedCredentialsSpent(Box::new(spent())), 429, "rate_limited", None);
        check(&Rejection::PathAmbiguous { view: "lower case" }, 400, "invalid_path", None);
        check(&PathError::AboveRoot.into(), 400, "invalid_path", None);
        check(&Rejection::BodyTooLarge { limit: 1 }, 413, "body_too_large", None);
        check(&Rejection::BodyTooSlow, 408, "body_too_slow", None);
        check(&Rejection::TargetTooLong { limit: 1 }, 414, "target_too_long", None);
        check(&Rejection::HeadersTooLarge { limit: "1 field" }, 431, "headers_too_large", None);
    }

    #[test]
    fn r401_a_framing_refusal_closes_and_others_do_not() {
        let framing = Rejection::Framing(FramingError::HostMissing);
        assert!(Answer::to_rejection(&framing, "gatepost", "r").close);
        assert!(!Answer::to_rejection(&Rejection::CredentialMissing, "gatepost", "r").close);
    }
}
