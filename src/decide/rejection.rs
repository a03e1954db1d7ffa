//! What a refusal looks like: the closed set of reasons, and the only mapping from them to the
//! wire.
//!
//! Owns [`Rejection`] (precise, for the operator), [`Reason`] (its word in log, metric, `why` and
//! `explain`) and [`Answer`] (coarse, for the caller; RFC 6750 section 3, RFC 9457). Never knows a
//! connection, and never tells the caller which check failed (R-316).

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use thiserror::Error;

use crate::decide::api_key::KeyError;
use crate::decide::jwt::JwtError;
use crate::decide::policy::AccessDenied;
use crate::decide::rate_limit::{self, Standing};
use crate::decide::request::credential::CredentialError;
use crate::decide::request::framing::FramingError;
use crate::decide::request::path::PathError;
use crate::decide::revocation::Hit;

/// Why a request is refused. Each variant keeps what the operator needs to understand it.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum Rejection {
    /// The message could be read in two ways, or breaks HTTP (R-401).
    #[error("framing: {0}")]
    Framing(#[from] FramingError),
    /// The path is refused before any route is looked up.
    #[error("path {0}")]
    Path(#[from] PathError),
    /// Under another reading the path meets a route with different access (R-503).
    #[error("under another reading ({view}) the path meets a route with different access")]
    PathAmbiguous {
        /// Which reading.
        view: &'static str,
    },
    /// No route for this host and path (R-504).
    #[error("no route for this host and path")]
    RouteUnknown,
    /// Routes for host and path, none for the method.
    #[error("the routes of this path take {allow}")]
    MethodUnknown {
        /// For the `Allow` field.
        allow: String,
    },
    /// The route demands a credential and there is none.
    #[error("no credential")]
    CredentialMissing,
    /// The credential fields cannot be read.
    #[error("{0}")]
    Credential(#[from] CredentialError),
    /// The bearer token does not verify.
    #[error("token: {0}")]
    Token(#[from] JwtError),
    /// The API key does not verify.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// The token holds and was revoked (R-804).
    #[error("token: {0}")]
    TokenRevoked(Hit),
    /// The API key holds and was revoked.
    #[error("key: {0}")]
    KeyRevoked(Hit),
    /// The caller is known and may not.
    #[error("{0}")]
    Denied(#[from] AccessDenied),
    /// A limit is spent. Where the caller stands with every limit that was asked.
    #[error("limit {} is spent", spent(.0))]
    RateLimited(Vec<Standing>),
    /// The address has failed too often lately; what would need new work is refused.
    #[error("too many failed credentials from this address")]
    FailedCredentialsSpent(Box<Standing>),
    /// The declared or streamed body is over the route's limit.
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge {
        /// The route's limit.
        limit: u64,
    },
    /// The request target is over the limit.
    #[error("the request target is longer than {limit} bytes")]
    TargetTooLong {
        /// The limit.
        limit: usize,
    },
    /// The header section is over a limit (R-107).
    #[error("the header section has more than {limit}")]
    HeadersTooLarge {
        /// Which limit, in words.
        limit: &'static str,
    },
}

fn spent(standings: &[Standing]) -> String {
    let names = standings.iter().filter(|one| !one.allowed).map(|one| &*one.policy.name);
    names.collect::<Vec<_>>().join(", ")
}

macro_rules! reasons {
    ($($variant:ident $word:literal $meaning:literal),+ $(,)?) => {
        /// The closed list of reasons: one word each, the same in log, metric, `why` and
        /// `explain`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $(#[doc = $meaning] $variant,)+
        }

        impl Reason {
            /// Every reason, for metrics declared in advance and for the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// What it means, for people.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }
        }
    };
}

reasons! {
    RequestMalformed "request_malformed" "the message breaks HTTP or can be framed in two ways",
    PathInvalid "path_invalid" "the path has a form that is never accepted",
    PathAmbiguous "path_ambiguous" "under another reading the path meets a route with different access",
    RouteUnknown "route_unknown" "no route for this host and path",
    MethodUnknown "method_unknown" "the path has routes, none for this method",
    CredentialMissing "credential_missing" "the route demands a credential and there is none",
    CredentialRepeated "credential_repeated" "more than one credential of a kind",
    CredentialMalformed "credential_malformed" "the credential field cannot be read",
    CredentialSchemeUnknown "credential_scheme_unknown" "the authentication scheme is not one we verify",
    CredentialKindRefused "credential_kind_refused" "the route does not accept this kind of credential",
    IssuerRefused "issuer_refused" "the route does not accept this issuer",
    TokenMalformed "token_malformed" "the bearer token is not a well-formed JWT",
    TokenHeaderRefused "token_header_refused" "the token's header has something that is refused on sight",
    TokenAlgorithmWrong "token_algorithm_wrong" "the token's alg is not the one its key is bound to",
    TokenIssuerUnknown "token_issuer_unknown" "no such issuer is configured",
    TokenKeyUnknown "token_key_unknown" "the issuer has no such key",
    TokenKeysUnavailable "token_keys_unavailable" "the keys of the token's issuer could not be had yet",
    TokenSignatureBad "token_signature_bad" "the signature does not hold",
    TokenExpired "token_expired" "the token has expired",
    TokenNotYetValid "token_not_yet_valid" "the token is not valid yet",
    TokenLifetimeTooLong "token_lifetime_too_long" "the token lives longer than its issuer may grant",
    TokenAudienceWrong "token_audience_wrong" "the token names no accepted audience",
    TokenClaimBad "token_claim_bad" "a claim of the token is missing or not acceptable",
    TokenIdToken "token_id_token" "an ID token was presented as an access token",
    TokenInactive "token_inactive" "the issuer says that the token is not active",
    IntrospectionFailed "introspection_failed" "the issuer could not be asked about the token",
    TokenRevoked "token_revoked" "the token was revoked",
    KeyMalformed "key_malformed" "the key's checksum does not hold",
    KeyUnknown "key_unknown" "no such API key",
    KeyNotYetValid "key_not_yet_valid" "the API key is not valid yet",
    KeyExpired "key_expired" "the API key has expired",
    KeyDisabled "key_disabled" "the API key is disabled",
    KeyRevoked "key_revoked" "the API key was revoked",
    ScopeMissing "scope_missing" "the credential does not grant the scopes the route demands",
    ClaimRefused "claim_refused" "a claim condition of the route is not met",
    RateLimited "rate_limited" "a limit is spent",
    FailedCredentialsSpent "failed_credentials_spent" "too many failed credentials from this address",
    BodyTooLarge "body_too_large" "the request body is over the route's limit",
    TargetTooLong "target_too_long" "the request target is too long",
    HeadersTooLarge "headers_too_large" "the header section is too large",
}

impl Rejection {
    /// The word for this refusal.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Framing(_) => Reason::RequestMalformed,
            Self::Path(_) => Reason::PathInvalid,
            Self::PathAmbiguous { .. } => Reason::PathAmbiguous,
            Self::RouteUnknown => Reason::RouteUnknown,
            Self::MethodUnknown { .. } => Reason::MethodUnknown,
            Self::CredentialMissing => Reason::CredentialMissing,
            Self::Credential(error) => credential_reason(*error),
            Self::Token(error) => token_reason(error),
            Self::Key(error) => key_reason(error),
            Self::TokenRevoked(_) => Reason::TokenRevoked,
            Self::KeyRevoked(_) => Reason::KeyRevoked,
            Self::Denied(denied) => denied_reason(denied),
            Self::RateLimited(_) => Reason::RateLimited,
            Self::FailedCredentialsSpent(_) => Reason::FailedCredentialsSpent,
            Self::BodyTooLarge { .. } => Reason::BodyTooLarge,
            Self::TargetTooLong { .. } => Reason::TargetTooLong,
            Self::HeadersTooLarge { .. } => Reason::HeadersTooLarge,
        }
    }
}

fn credential_reason(error: CredentialError) -> Reason {
    match error {
        CredentialError::Repeated => Reason::CredentialRepeated,
        CredentialError::Malformed => Reason::CredentialMalformed,
        CredentialError::SchemeUnknown => Reason::CredentialSchemeUnknown,
    }
}

fn token_reason(error: &JwtError) -> Reason {
    match error {
        JwtError::Malformed(_) => Reason::TokenMalformed,
        JwtError::HeaderRefused(_) => Reason::TokenHeaderRefused,
        JwtError::IssuerUnknown(_) => Reason::TokenIssuerUnknown,
        JwtError::KeyUnknown { .. } => Reason::TokenKeyUnknown,
        JwtError::KeysUnavailable { .. } => Reason::TokenKeysUnavailable,
        JwtError::AlgorithmMismatch { .. } => Reason::TokenAlgorithmWrong,
        JwtError::SignatureBad => Reason::TokenSignatureBad,
        JwtError::Expired(_) => Reason::TokenExpired,
        JwtError::NotYetValid(_) => Reason::TokenNotYetValid,
        JwtError::LifetimeTooLong(_) => Reason::TokenLifetimeTooLong,
        JwtError::AudienceWrong => Reason::TokenAudienceWrong,
        JwtError::ClaimBad(_) => Reason::TokenClaimBad,
        JwtError::IdToken => Reason::TokenIdToken,
        JwtError::Inactive => Reason::TokenInactive,
        JwtError::IntrospectionFailed { .. } => Reason::IntrospectionFailed,
    }
}

fn key_reason(error: &KeyError) -> Reason {
    match error {
        KeyError::Malformed => Reason::KeyMalformed,
        KeyError::Unknown => Reason::KeyUnknown,
        KeyError::NotYetValid { .. } => Reason::KeyNotYetValid,
        KeyError::Expired { .. } => Reason::KeyExpired,
        KeyError::Disabled { .. } => Reason::KeyDisabled,
    }
}

fn denied_reason(denied: &AccessDenied) -> Reason {
    match denied {
        AccessDenied::Kind(_) => Reason::CredentialKindRefused,
        AccessDenied::Issuer => Reason::IssuerRefused,
        AccessDenied::Scope { .. } => Reason::ScopeMissing,
        AccessDenied::Claim(_) => Reason::ClaimRefused,
    }
}

/// When to come again after what a request needs was not there: keys are tried for at least as often
/// in the first minutes.
const UNAVAILABLE_SECS: u64 = 5;

/// What the caller learns: the status and a coarse code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wire {
    status: StatusCode,
    code: &'static str,
    /// The `error` of a bearer challenge (RFC 6750 section 3.1); `Some("")` is a challenge
    /// without one.
    challenge: Option<&'static str>,
    /// Whether the connection must end.
    close: bool,
}

impl Wire {
    const fn plain(status: StatusCode, code: &'static str) -> Self {
        Self { status, code, challenge: None, close: false }
    }

    const fn challenge(status: StatusCode, code: &'static str, error: &'static str) -> Self {
        Self { status, code, challenge: Some(error), close: false }
    }
}

/// The table "Answers of our own" of the contract, row by row.
fn wire(reason: Reason) -> Wire {
    use Reason as R;
    use StatusCode as S;
    match reason {
        R::CredentialMissing => Wire::challenge(S::UNAUTHORIZED, "unauthenticated", ""),
        R::CredentialRepeated | R::CredentialMalformed => {
            Wire::challenge(S::BAD_REQUEST, "invalid_request", "invalid_request")
        }
        R::CredentialSchemeUnknown
        | R::CredentialKindRefused
        | R::IssuerRefused
        | R::TokenMalformed
        | R::TokenHeaderRefused
        | R::TokenAlgorithmWrong
        | R::TokenIssuerUnknown
        | R::TokenKeyUnknown
        | R::TokenSignatureBad
        | R::TokenExpired
        | R::TokenNotYetValid
        | R::TokenLifetimeTooLong
        | R::TokenAudienceWrong
        | R::TokenClaimBad
        | R::TokenIdToken
        | R::TokenInactive
        | R::TokenRevoked
        | R::KeyMalformed
        | R::KeyUnknown
        | R::KeyNotYetValid
        | R::KeyExpired
        | R::KeyDisabled
        | R::KeyRevoked => Wire::challenge(S::UNAUTHORIZED, "invalid_token", "invalid_token"),
        R::TokenKeysUnavailable => Wire::plain(S::SERVICE_UNAVAILABLE, "keys_unavailable"),
        R::ScopeMissing => {
            Wire::challenge(S::FORBIDDEN, "insufficient_scope", "insufficient_scope")
        }
        R::IntrospectionFailed => Wire::plain(S::SERVICE_UNAVAILABLE, "unavailable"),
        R::ClaimRefused => Wire::plain(S::FORBIDDEN, "forbidden"),
        R::RouteUnknown => Wire::plain(S::NOT_FOUND, "not_found"),
        R::MethodUnknown => Wire::plain(S::METHOD_NOT_ALLOWED, "method_not_allowed"),
        R::RateLimited | R::FailedCredentialsSpent => {
            Wire::plain(S::TOO_MANY_REQUESTS, "rate_limited")
        }
        R::PathInvalid | R::PathAmbiguous => Wire::plain(S::BAD_REQUEST, "invalid_path"),
        R::RequestMalformed => {
            Wire { close: true, ..Wire::plain(S::BAD_REQUEST, "invalid_request") }
        }
        R::BodyTooLarge => Wire::plain(S::PAYLOAD_TOO_LARGE, "body_too_large"),
        R::TargetTooLong => Wire::plain(S::URI_TOO_LONG, "target_too_long"),
        R::HeadersTooLarge => Wire::plain(S::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large"),
    }
}

/// What went wrong on our side or behind us: the caller did nothing wrong.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// No connection to the upstream.
    #[error("the upstream cannot be reached")]
    UpstreamConnect,
    /// The upstream did not answer in time.
    #[error("the upstream did not answer in time")]
    UpstreamTimeout,
    /// The upstream broke the connection or the protocol.
    #[error("the upstream broke the connection or the protocol")]
    UpstreamBroken,
    /// A bug of ours: forwarding without a permit, a panic.
    #[error("internal fault")]
    Internal,
}

impl Fault {
    /// Every fault, for metrics declared in advance.
    pub const ALL: &'static [Self] =
        &[Self::UpstreamConnect, Self::UpstreamTimeout, Self::UpstreamBroken, Self::Internal];

    /// The word in log and `why`; `kind` of `gatepost_upstream_failures_total`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UpstreamConnect => "upstream_connect",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::UpstreamBroken => "upstream_broken",
            Self::Internal => "internal",
        }
    }

    fn wire(self) -> Wire {
        match self {
            Self::UpstreamConnect | Self::UpstreamBroken => {
                Wire::plain(StatusCode::BAD_GATEWAY, "upstream_unavailable")
            }
            Self::UpstreamTimeout => Wire::plain(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout"),
            Self::Internal => Wire::plain(StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }
}

/// A response of our own, ready to be written.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// All fields but `Content-Length`, `Date`, `Connection` and `X-Request-Id`.
    pub fields: Vec<(HeaderName, HeaderValue)>,
    /// The problem document (RFC 9457).
    pub body: Bytes,
    /// Whether the connection must end after it.
    pub close: bool,
}

impl Answer {
    /// The answer to a refused request. `realm` has no quotes or backslashes (the configuration
    /// sees to that).
    #[must_use]
    pub fn to_rejection(rejection: &Rejection, realm: &str, request_id: &str) -> Self {
        let wire = wire(rejection.reason());
        let mut answer = Self::new(wire, request_id);
        if let Some(error) = wire.challenge {
            answer.push(header::WWW_AUTHENTICATE, challenge(realm, error, rejection));
        }
        if wire.status == StatusCode::SERVICE_UNAVAILABLE {
            answer.fields.push((header::RETRY_AFTER, HeaderValue::from(UNAVAILABLE_SECS)));
        }
        match rejection {
            Rejection::MethodUnknown { allow } => answer.push(header::ALLOW, allow.clone()),
            Rejection::RateLimited(standings) => answer.push_limits(standings),
            Rejection::FailedCredentialsSpent(spent) => {
                answer.push_limits(std::slice::from_ref(spent));
            }
            Rejection::Framing(_)
            | Rejection::Path(_)
            | Rejection::PathAmbiguous { .. }
            | Rejection::RouteUnknown
            | Rejection::CredentialMissing
            | Rejection::Credential(_)
            | Rejection::Token(_)
            | Rejection::Key(_)
            | Rejection::TokenRevoked(_)
            | Rejection::KeyRevoked(_)
            | Rejection::Denied(_)
            | Rejection::BodyTooLarge { .. }
            | Rejection::TargetTooLong { .. }
            | Rejection::HeadersTooLarge { .. } => {}
        }
        answer
    }

    /// The answer when something behind us or in us failed.
    #[must_use]
    pub fn to_fault(fault: Fault, request_id: &str) -> Self {
        Self::new(fault.wire(), request_id)
    }

    /// The answer to a CORS preflight: nothing but fields.
    #[must_use]
    pub fn to_preflight(fields: Vec<(HeaderName, HeaderValue)>) -> Self {
        Self { status: StatusCode::NO_CONTENT, fields, body: Bytes::new(), close: false }
    }

    fn new(wire: Wire, request_id: &str) -> Self {
        let title = wire.status.canonical_reason().unwrap_or("Error");
        let status = wire.status.as_str();
        // No word of it needs an escape.
        let body = [
            "{\"type\":\"about:blank\",\"title\":\"",
            title,
            "\",\"status\":",
            status,
            ",\"code\":\"",
            wire.code,
            "\",\"request_id\":\"",
            request_id,
            "\"}\n",
        ]
        .concat();
        let fields = vec![
            (header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        Self { status: wire.status, fields, body: body.into(), close: wire.close }
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

/// How the name of a field of an answer is spelled, where that is not in lower case.
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
    use crate::decide::rate_limit::{LimitBy, LimitHeaders, LimitPolicy};

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

    /// Where an address stands whose budget of failed credentials is spent.
    fn spent() -> Standing {
        let quota = crate::decide::gate::FailedCredentials::DEFAULT;
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
        let known = ["upstream_connect", "upstream_timeout", "upstream_broken", "internal"];
        assert_eq!(words.collect::<Vec<_>>(), known);
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
        check(&Rejection::TargetTooLong { limit: 1 }, 414, "target_too_long", None);
        check(&Rejection::HeadersTooLarge { limit: "1 field" }, 431, "headers_too_large", None);
    }

    #[test]
    fn r401_a_framing_refusal_closes_and_others_do_not() {
        let framing = Rejection::Framing(FramingError::HostMissing);
        assert!(Answer::to_rejection(&framing, "gatepost", "r").close);
        assert!(!Answer::to_rejection(&Rejection::CredentialMissing, "gatepost", "r").close);
    }

    #[test]
    fn every_reason_has_its_own_word_and_a_status_of_the_caller() {
        let mut words: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert!(words.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            let ours = matches!(reason, Reason::TokenKeysUnavailable | Reason::IntrospectionFailed);
            let status = wire(*reason).status;
            assert!(if ours { status == 503 } else { status.is_client_error() }, "{reason:?}");
        }
        for fault in Fault::ALL {
            assert!(fault.wire().status.is_server_error(), "{fault:?}");
        }
    }
}
