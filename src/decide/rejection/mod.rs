//! Refusals: the closed list of reasons and the properties of each.
//!
//! Owns [`Rejection`] (precise, for the operator), [`Reason`] (its word in log, metric, `why` and
//! `explain`) and the one table that maps them to the answer for the caller ([`answer`]). Never
//! tells the caller which check failed.

pub mod answer;

use http::StatusCode;
use thiserror::Error;

use crate::decide::api_key::KeyError;
use crate::decide::jwt::JwtError;
use crate::decide::live::LiveError;
use crate::decide::policy::{AccessDenied, CertificateDenied};
use crate::decide::rate_limit::Standing;
use crate::decide::request::credential::CredentialError;
use crate::decide::request::framing::{FramingError, HeadRefused, TARGET_BYTES_MAX};
use crate::decide::request::path::PathError;
use crate::decide::revocation::Hit;

pub use answer::{Answer, Fault, TlsCheck, spelling};

use answer::Coarse;

/// A refused request. Each variant keeps what the operator needs to understand the refusal.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum Rejection {
    /// Malformed HTTP or ambiguous framing.
    #[error("framing: {0}")]
    Framing(#[from] FramingError),
    /// Plain HTTP on a listener for TLS.
    #[error("plain HTTP on a listener for TLS")]
    TlsRequired,
    /// A host that the certificate of the connection is not for (RFC 9110 section 7.4).
    #[error("host {host:?} is not a name of the certificate of this connection")]
    HostNotCovered {
        /// The host.
        host: Box<str>,
    },
    /// A path that is refused before routing.
    #[error("path {0}")]
    Path(#[from] PathError),
    /// Another reading of the path matches a route with different access.
    #[error("ambiguous: read as {view}, the path matches a route with different access")]
    PathAmbiguous {
        /// The other reading.
        view: &'static str,
    },
    /// No route matches host and path.
    #[error("no route matches this host and path")]
    RouteUnknown,
    /// A route matches the host and the path, but not the port.
    #[error(
        "no route matches this host and path: the port of {host:?} does not fit; hosts without a \
         port stand for ports 80 and 443, list {host:?} as well"
    )]
    HostPortUnknown {
        /// The host, with the port.
        host: Box<str>,
    },
    /// Routes match host and path, but none of them the method.
    #[error("allowed methods: {allow}")]
    MethodUnknown {
        /// The value of the `Allow` field.
        allow: String,
    },
    /// The route requires a credential and the request has none.
    #[error("no credential presented")]
    CredentialMissing,
    /// The credential fields cannot be parsed.
    #[error("{0}")]
    Credential(#[from] CredentialError),
    /// A cookie holds the credential and the request comes from another origin (CSRF).
    #[error("credential in a cookie from another origin, or without Origin where it is required")]
    OriginRefused,
    /// The bearer token is not valid.
    #[error("token: {0}")]
    Token(#[from] JwtError),
    /// The API key is not valid.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// The token is valid but revoked.
    #[error("token: {0}")]
    TokenRevoked(Hit),
    /// The token is one of this issuer, valid, and has ended.
    #[error("token: {0}")]
    TokenEnded(#[from] LiveError),
    /// The API key is valid but revoked.
    #[error("key: {0}")]
    KeyRevoked(Hit),
    /// The caller is authenticated but not authorized.
    #[error("{0}")]
    Denied(#[from] AccessDenied),
    /// A rate limit is exceeded. Holds the state of every limit that was checked.
    #[error("rate limit {} exceeded", exceeded(.0))]
    RateLimited(Vec<Standing>),
    /// Too many credentials from this address have failed lately; requests that need new work
    /// are refused.
    #[error("too many failed credentials from this address")]
    FailedCredentialsSpent(Box<Standing>),
    /// The declared or streamed body exceeds the route's limit.
    #[error("request body larger than {limit} bytes")]
    BodyTooLarge {
        /// The route's limit.
        limit: u64,
    },
    /// The body paused for longer than `timeouts.body`, or is below `min_body_rate`.
    #[error("request body too slow")]
    BodyTooSlow,
    /// The request target exceeds the limit.
    #[error("request target longer than {limit} bytes")]
    TargetTooLong {
        /// The limit.
        limit: usize,
    },
    /// The header section exceeds a limit.
    #[error("header section larger than {limit}")]
    HeadersTooLarge {
        /// The limit in words.
        limit: &'static str,
    },
}

impl From<HeadRefused> for Rejection {
    fn from(refused: HeadRefused) -> Self {
        match refused {
            HeadRefused::Malformed(error) => error.into(),
            HeadRefused::TargetTooLong => Self::TargetTooLong { limit: TARGET_BYTES_MAX },
            HeadRefused::TooManyFields => Self::HeadersTooLarge { limit: "100 fields" },
            HeadRefused::TooLarge => Self::HeadersTooLarge { limit: "64 KiB" },
            HeadRefused::Connect => Self::MethodUnknown { allow: String::new() },
        }
    }
}

fn exceeded(standings: &[Standing]) -> String {
    let names = standings.iter().filter(|one| !one.allowed).map(|one| &*one.policy.name);
    names.collect::<Vec<_>>().join(", ")
}

/// The properties of a reason.
#[derive(Debug)]
struct Refusal {
    word: &'static str,
    meaning: &'static str,
    step: &'static str,
    answer: Coarse,
    counts: bool,
}

/// Writes [`Reason`], its table and the mapping from [`Rejection`] from one entry each:
/// `Reason: pattern, word, meaning, step, answer` and `counts` for failures charged to the budget
/// of failed credentials.
macro_rules! refusals {
    ($($reason:ident: $when:pat, $word:literal, $meaning:literal,
        step $step:literal, $answer:ident $(, $counts:ident)?;)+) => {
        /// The closed list of reasons: one word each, the same in log, metric, `why` and
        /// `explain`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $(#[doc = $meaning] $reason,)+
        }

        impl Reason {
            /// Every reason, for metrics declared in advance and for the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$reason,)+];

            const fn refusal(self) -> &'static Refusal {
                match self {
                    $(Self::$reason => &Refusal {
                        word: $word,
                        meaning: $meaning,
                        step: $step,
                        answer: $answer,
                        counts: refusals!(@counts $($counts)?),
                    },)+
                }
            }
        }

        impl Rejection {
            /// The reason of this refusal.
            #[must_use]
            pub fn reason(&self) -> Reason {
                match self { $($when => Reason::$reason,)+ }
            }
        }
    };
    (@counts counts) => { true };
    (@counts) => { false };
}

// The answers of the contract, shared by the entries of the table.
const FRAMING: Coarse = Coarse::plain(StatusCode::BAD_REQUEST, "invalid_request").and_close();
const VERSION_UNSUPPORTED: Coarse =
    Coarse::plain(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "version_unsupported").and_close();
const TLS_REQUIRED: Coarse = Coarse::plain(StatusCode::BAD_REQUEST, "tls_required").and_close();
const MISDIRECTED: Coarse = Coarse::plain(StatusCode::MISDIRECTED_REQUEST, "misdirected_request");
const INVALID_PATH: Coarse = Coarse::plain(StatusCode::BAD_REQUEST, "invalid_path");
const NOT_FOUND: Coarse = Coarse::plain(StatusCode::NOT_FOUND, "not_found");
const METHOD_NOT_ALLOWED: Coarse =
    Coarse::plain(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed");
const UNAUTHENTICATED: Coarse = Coarse::challenge(StatusCode::UNAUTHORIZED, "unauthenticated", "");
const INVALID_REQUEST: Coarse =
    Coarse::challenge(StatusCode::BAD_REQUEST, "invalid_request", "invalid_request");
const INVALID_TOKEN: Coarse =
    Coarse::challenge(StatusCode::UNAUTHORIZED, "invalid_token", "invalid_token");
const INSUFFICIENT_SCOPE: Coarse =
    Coarse::challenge(StatusCode::FORBIDDEN, "insufficient_scope", "insufficient_scope");
const FORBIDDEN: Coarse = Coarse::plain(StatusCode::FORBIDDEN, "forbidden");
const CERTIFICATE_ENDED: Coarse = Coarse::plain(StatusCode::FORBIDDEN, "forbidden").and_close();
const KEYS_UNAVAILABLE: Coarse = Coarse::plain(StatusCode::SERVICE_UNAVAILABLE, "keys_unavailable");
const UNAVAILABLE: Coarse = Coarse::plain(StatusCode::SERVICE_UNAVAILABLE, "unavailable");
const RATE_LIMITED: Coarse = Coarse::plain(StatusCode::TOO_MANY_REQUESTS, "rate_limited");
const BODY_TOO_LARGE: Coarse = Coarse::plain(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large");
const BODY_TOO_SLOW: Coarse =
    Coarse::plain(StatusCode::REQUEST_TIMEOUT, "body_too_slow").and_close();
const TARGET_TOO_LONG: Coarse = Coarse::plain(StatusCode::URI_TOO_LONG, "target_too_long");
const HEADERS_TOO_LARGE: Coarse =
    Coarse::plain(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large");

refusals! {
    VersionUnsupported: Rejection::Framing(FramingError::Version),
        "version_unsupported", "HTTP version not supported",
        step "framing", VERSION_UNSUPPORTED;
    RequestMalformed: Rejection::Framing(_),
        "request_malformed", "malformed HTTP request or ambiguous framing",
        step "framing", FRAMING;
    TlsRequired: Rejection::TlsRequired,
        "tls_required", "plain HTTP on a listener for TLS",
        step "framing", TLS_REQUIRED;
    HostNotCovered: Rejection::HostNotCovered { .. },
        "host_not_covered", "host is not a name of the certificate of the connection",
        step "framing", MISDIRECTED;
    PathInvalid: Rejection::Path(_),
        "path_invalid", "path in a form that the route does not accept",
        step "path", INVALID_PATH;
    PathAmbiguous: Rejection::PathAmbiguous { .. },
        "path_ambiguous", "ambiguous path: another reading matches a route with different access",
        step "path", INVALID_PATH;
    RouteUnknown: Rejection::RouteUnknown | Rejection::HostPortUnknown { .. },
        "route_unknown", "no route matches this host and path",
        step "route", NOT_FOUND;
    MethodUnknown: Rejection::MethodUnknown { .. },
        "method_unknown", "method not allowed on this path",
        step "route", METHOD_NOT_ALLOWED;
    CertificateMissing: Rejection::Denied(AccessDenied::Certificate(CertificateDenied::Missing)),
        "client_certificate_missing", "no client certificate on this connection",
        step "certificate", FORBIDDEN;
    CertificateEnded: Rejection::Denied(AccessDenied::Certificate(CertificateDenied::Ended(_))),
        "client_certificate_ended", "client certificate expired or its authority removed since the handshake",
        step "certificate", CERTIFICATE_ENDED;
    CertificateRefused: Rejection::Denied(AccessDenied::Certificate(_)),
        "client_certificate_refused", "client certificate not accepted by the route",
        step "certificate", FORBIDDEN;
    CredentialMissing: Rejection::CredentialMissing,
        "credential_missing", "no credential presented",
        step "credential", UNAUTHENTICATED;
    CredentialRepeated: Rejection::Credential(CredentialError::Repeated),
        "credential_repeated", "more than one credential of a kind",
        step "credential", INVALID_REQUEST;
    CredentialMalformed: Rejection::Credential(CredentialError::Malformed),
        "credential_malformed", "malformed credential field",
        step "credential", INVALID_REQUEST;
    CredentialSchemeUnknown: Rejection::Credential(CredentialError::SchemeUnknown),
        "credential_scheme_unknown", "unknown authentication scheme",
        step "credential", INVALID_TOKEN;
    OriginRefused: Rejection::OriginRefused,
        "origin_refused", "credential in a cookie from another origin",
        step "credential", FORBIDDEN;
    CredentialKindRefused: Rejection::Denied(AccessDenied::Kind(_)),
        "credential_kind_refused", "kind of credential not accepted by the route",
        step "access", INVALID_TOKEN;
    IssuerRefused: Rejection::Denied(AccessDenied::Issuer),
        "issuer_refused", "issuer not accepted by the route",
        step "access", INVALID_TOKEN;
    TokenMalformed: Rejection::Token(JwtError::Malformed(_)),
        "token_malformed", "malformed token: not a well-formed JWT",
        step "token", INVALID_TOKEN, counts;
    TokenTooLong: Rejection::Token(JwtError::TooLong(_)),
        "token_too_long", "token longer than token_bytes of its issuer",
        step "token", INVALID_TOKEN;
    TokenHeaderRefused: Rejection::Token(JwtError::HeaderRefused(_)),
        "token_header_refused", "token header not accepted",
        step "token", INVALID_TOKEN, counts;
    TokenAlgorithmWrong: Rejection::Token(JwtError::AlgorithmMismatch { .. }),
        "token_algorithm_wrong", "token algorithm differs from the algorithm of the key",
        step "token", INVALID_TOKEN, counts;
    TokenIssuerUnknown: Rejection::Token(JwtError::IssuerUnknown(_)),
        "token_issuer_unknown", "token issuer not configured",
        step "token", INVALID_TOKEN, counts;
    TokenKeyUnknown: Rejection::Token(JwtError::KeyUnknown { .. }),
        "token_key_unknown", "no key of the issuer matches the token",
        step "token", INVALID_TOKEN, counts;
    TokenKeysUnavailable: Rejection::Token(JwtError::KeysUnavailable { .. }),
        "token_keys_unavailable", "keys of the issuer not available",
        step "token", KEYS_UNAVAILABLE;
    TokenSignatureBad: Rejection::Token(JwtError::SignatureBad),
        "token_signature_bad", "invalid signature",
        step "token", INVALID_TOKEN, counts;
    TokenExpired: Rejection::Token(JwtError::Expired(_)),
        "token_expired", "token expired",
        step "token", INVALID_TOKEN;
    TokenNotYetValid: Rejection::Token(JwtError::NotYetValid(_)),
        "token_not_yet_valid", "token not valid yet",
        step "token", INVALID_TOKEN;
    TokenLifetimeTooLong: Rejection::Token(JwtError::LifetimeTooLong(_)),
        "token_lifetime_too_long", "token lifetime exceeds max_lifetime",
        step "token", INVALID_TOKEN;
    TokenMisplaced: Rejection::Token(JwtError::Misplaced { .. }),
        "token_misplaced", "token in a place that its issuer does not list in `from`",
        step "token", INVALID_TOKEN;
    TokenAudienceWrong: Rejection::Token(JwtError::AudienceWrong),
        "token_audience_wrong", "token audience not accepted",
        step "token", INVALID_TOKEN;
    TokenClaimBad: Rejection::Token(JwtError::ClaimBad(_)),
        "token_claim_bad", "token claim missing or invalid",
        step "token", INVALID_TOKEN;
    TokenIdToken: Rejection::Token(JwtError::IdToken),
        "token_id_token", "ID token presented as an access token",
        step "token", INVALID_TOKEN;
    TokenInactive: Rejection::Token(JwtError::Inactive),
        "token_inactive", "token not active according to its issuer",
        step "token", INVALID_TOKEN;
    IntrospectionFailed: Rejection::Token(JwtError::IntrospectionFailed { .. }),
        "introspection_failed", "token introspection failed",
        step "token", UNAVAILABLE;
    TokenRevoked: Rejection::TokenRevoked(_) | Rejection::TokenEnded(_),
        "token_revoked", "token revoked",
        step "token", INVALID_TOKEN;
    KeyMalformed: Rejection::Key(KeyError::Malformed),
        "key_malformed", "API key checksum mismatch",
        step "api key", INVALID_TOKEN, counts;
    KeyUnknown: Rejection::Key(KeyError::Unknown),
        "key_unknown", "unknown API key",
        step "api key", INVALID_TOKEN, counts;
    KeyMisplaced: Rejection::Key(KeyError::Misplaced),
        "key_misplaced", "gatepost API key in a field that keys are not read from",
        step "api key", INVALID_TOKEN;
    KeyNotYetValid: Rejection::Key(KeyError::NotYetValid { .. }),
        "key_not_yet_valid", "API key not valid yet",
        step "api key", INVALID_TOKEN;
    KeyExpired: Rejection::Key(KeyError::Expired { .. }),
        "key_expired", "API key expired",
        step "api key", INVALID_TOKEN;
    KeyDisabled: Rejection::Key(KeyError::Disabled { .. }),
        "key_disabled", "API key disabled",
        step "api key", INVALID_TOKEN;
    KeyClaimsTooLarge: Rejection::Key(KeyError::ClaimsTooLarge { .. }),
        "key_claims_too_large", "claim headers of the API key exceed 8 KiB",
        step "api key", INVALID_TOKEN;
    KeyRevoked: Rejection::KeyRevoked(_),
        "key_revoked", "API key revoked",
        step "api key", INVALID_TOKEN;
    ScopeMissing: Rejection::Denied(AccessDenied::Scope { .. }),
        "scope_missing", "insufficient scope",
        step "access", INSUFFICIENT_SCOPE;
    ClaimRefused: Rejection::Denied(AccessDenied::Claim(_)),
        "claim_refused", "claim condition of the route not met",
        step "access", FORBIDDEN;
    RateLimited: Rejection::RateLimited(_),
        "rate_limited", "rate limit exceeded",
        step "limit", RATE_LIMITED;
    FailedCredentialsSpent: Rejection::FailedCredentialsSpent(_),
        "failed_credentials_spent", "too many failed credentials from this address",
        step "limit", RATE_LIMITED;
    BodyTooLarge: Rejection::BodyTooLarge { .. },
        "body_too_large", "request body too large",
        step "body", BODY_TOO_LARGE;
    BodyTooSlow: Rejection::BodyTooSlow,
        "body_too_slow", "request body slower than timeouts.body or min_body_rate allows",
        step "body", BODY_TOO_SLOW;
    TargetTooLong: Rejection::TargetTooLong { .. },
        "target_too_long", "request target too long",
        step "framing", TARGET_TOO_LONG;
    HeadersTooLarge: Rejection::HeadersTooLarge { .. },
        "headers_too_large", "header section too large",
        step "framing", HEADERS_TOO_LARGE;
}

impl Reason {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.refusal().word
    }

    /// The explanation for people.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        self.refusal().meaning
    }

    /// The step of a decision that ends with this refusal.
    #[must_use]
    pub const fn step(self) -> &'static str {
        self.refusal().step
    }

    /// Returns whether the refusal is charged to the budget of failed credentials: malformed
    /// credentials, unknown keys and bad signatures, which honest clients do not present by
    /// accident.
    pub(in crate::decide) const fn counts_as_failed_credential(self) -> bool {
        self.refusal().counts
    }

    const fn answer(self) -> Coarse {
        self.refusal().answer
    }
}

impl Rejection {
    /// The limits that the answer reports, for a refusal by a limit.
    fn standings(&self) -> Option<&[Standing]> {
        if let Self::RateLimited(standings) = self {
            return Some(standings);
        }
        if let Self::FailedCredentialsSpent(standing) = self {
            return Some(std::slice::from_ref(standing));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_word_and_a_status_of_the_caller() {
        let mut words: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert!(words.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            let ours = matches!(reason, Reason::TokenKeysUnavailable | Reason::IntrospectionFailed);
            let status = reason.answer().status;
            // The only 5xx that is the caller's: RFC 9110 has no other for a version.
            let is_version = *reason == Reason::VersionUnsupported;
            let is_right = match (ours, is_version) {
                (true, _) => status == 503,
                (false, true) => status == 505,
                (false, false) => status.is_client_error(),
            };
            assert!(is_right, "{reason:?}");
        }
    }
}
