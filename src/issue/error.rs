//! OAuth errors (RFC 6749 sections 4.1.2.1 and 5.2, RFC 6750, RFC 7009, RFC 8628).
//!
//! Owns one table of codes with their statuses, and the error of an endpoint with its description.
//! Never carries text of the caller but scope names, and never a secret.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;

use crate::issue::intent::Refusal;

/// The longest description, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 300;

/// One row a code: variant, code, HTTP status.
macro_rules! codes {
    ($($(#[$doc:meta])* $Variant:ident = $code:literal, $status:literal;)*) => {
        /// The codes of OAuth errors.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $Variant,)*
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$Variant),*];

            /// The registered code, and the label of metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$Variant => $code,)*
                }
            }

            /// The reason in access log and metrics: `issuer_` and the code.
            #[must_use]
            pub const fn reason(self) -> &'static str {
                match self {
                    $(Self::$Variant => concat!("issuer_", $code),)*
                }
            }

            /// The status of a direct answer.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$Variant => $status,)*
                }
            }
        }
    };
}

codes! {
    /// A parameter is missing, repeated or malformed.
    InvalidRequest = "invalid_request", 400;
    /// The client did not prove to be it.
    InvalidClient = "invalid_client", 401;
    /// A code, refresh token or device code is unknown, ended or another client's.
    InvalidGrant = "invalid_grant", 400;
    /// The client may not use this grant type.
    UnauthorizedClient = "unauthorized_client", 400;
    /// The grant type is unknown.
    UnsupportedGrantType = "unsupported_grant_type", 400;
    /// The response type is not `code`.
    UnsupportedResponseType = "unsupported_response_type", 400;
    /// A scope is unknown, malformed or not allowed.
    InvalidScope = "invalid_scope", 400;
    /// A person refused.
    AccessDenied = "access_denied", 400;
    /// RFC 8628 section 3.5.
    AuthorizationPending = "authorization_pending", 400;
    /// RFC 8628 section 3.5.
    SlowDown = "slow_down", 400;
    /// RFC 8628 section 3.5.
    ExpiredToken = "expired_token", 400;
    /// RFC 6750 section 3.1.
    InvalidToken = "invalid_token", 401;
    /// `prompt=none` without a session (OpenID Connect Core section 3.1.2.6).
    LoginRequired = "login_required", 400;
    /// `prompt=none` without consent.
    ConsentRequired = "consent_required", 400;
    /// A limit of the endpoint, with the status of RFC 6585. RFC 6749 section 5.2 has no code for it:
    /// this one says to try again later (RFC 6749 section 4.1.2.1).
    RateLimited = "temporarily_unavailable", 429;
    /// An internal fault.
    ServerError = "server_error", 500;
    /// The store does not answer.
    TemporarilyUnavailable = "temporarily_unavailable", 503;
}

/// The scheme of a `WWW-Authenticate` field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// RFC 6749 section 5.2: the client used the `Authorization` header.
    Basic,
    /// RFC 6750 section 3.
    Bearer,
}

/// An error of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthError {
    code: ErrorCode,
    description: Cow<'static, str>,
    challenge: Option<Challenge>,
    retry_after: Option<Duration>,
    status: u16,
}

/// The members of an error answer, in this order.
#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    error_description: &'a str,
}

impl OAuthError {
    /// An error with a description for developers.
    #[must_use]
    pub fn new(code: ErrorCode, description: impl Into<Cow<'static, str>>) -> Self {
        let description = plain(description.into());
        Self { code, description, challenge: None, retry_after: None, status: code.status() }
    }

    /// A parameter that is missing, repeated or malformed.
    #[must_use]
    pub fn invalid_request(description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidRequest, description)
    }

    /// The one answer for every failed client authentication: nothing in it tells an unknown
    /// client from a wrong secret.
    #[must_use]
    pub fn invalid_client() -> Self {
        Self::new(ErrorCode::InvalidClient, "client authentication failed")
    }

    /// The same error with a `WWW-Authenticate` field.
    #[must_use]
    pub fn with_challenge(self, challenge: Challenge) -> Self {
        Self { challenge: Some(challenge), ..self }
    }

    /// The same error with a `Retry-After` field.
    #[must_use]
    pub fn with_retry_after(self, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..self }
    }

    /// The same error with another status.
    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// The HTTP status of a direct answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// `error_description`: characters of RFC 6749 appendix A.8 alone.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The `WWW-Authenticate` field, where there is one.
    #[must_use]
    pub fn challenge(&self) -> Option<String> {
        let (code, text) = (self.code.as_str(), &self.description);
        self.challenge.map(|scheme| match scheme {
            Challenge::Basic => r#"Basic realm="gatepost", charset="UTF-8""#.to_owned(),
            Challenge::Bearer => {
                format!(r#"Bearer realm="gatepost", error="{code}", error_description="{text}""#)
            }
        })
    }

    /// Whole seconds of the `Retry-After` field, where there is one.
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        self.retry_after.map(|wait| wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
    }

    /// The JSON of a direct answer.
    #[must_use]
    pub fn to_json(&self) -> String {
        let body = Body { error: self.code.as_str(), error_description: &self.description };
        // Strings alone.
        serde_json::to_string(&body).unwrap_or_default()
    }
}

/// Only the characters that a description may have, so that it needs no escaping in JSON, in a
/// header or in a redirect.
fn plain(text: Cow<'static, str>) -> Cow<'static, str> {
    let fits = |c: char| matches!(c, '\x20'..='\x21' | '\x23'..='\x5b' | '\x5d'..='\x7e');
    if text.len() <= DESCRIPTION_BYTES_MAX && text.chars().all(fits) {
        return text;
    }
    let replaced = text.chars().map(|c| if fits(c) { c } else { '\'' });
    replaced.take(DESCRIPTION_BYTES_MAX).collect::<String>().into()
}

/// A refusal of an intent, as an OAuth client gets it.
impl From<&Refusal> for OAuthError {
    fn from(refusal: &Refusal) -> Self {
        let code = match refusal {
            Refusal::InvalidClient => return Self::invalid_client(),
            Refusal::Scope(_) | Refusal::Default(_) => ErrorCode::InvalidScope,
            Refusal::UnauthorizedClient => ErrorCode::UnauthorizedClient,
            Refusal::InvalidGrant(_) | Refusal::Unknown(..) | Refusal::Disabled(..) => {
                ErrorCode::InvalidGrant
            }
            Refusal::AuthorizationPending => ErrorCode::AuthorizationPending,
            Refusal::SlowDown(_) => ErrorCode::SlowDown,
            Refusal::ExpiredToken => ErrorCode::ExpiredToken,
            Refusal::AccessDenied => ErrorCode::AccessDenied,
            Refusal::Limit(_) => ErrorCode::RateLimited,
            Refusal::Exists(..)
            | Refusal::Application(_)
            | Refusal::Lifetime(_)
            | Refusal::Forever
            | Refusal::Declared(_)
            | Refusal::Stale(_)
            | Refusal::OwnsApplications(_)
            | Refusal::Held(..) => ErrorCode::InvalidRequest,
        };
        Self::new(code, refusal.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issue::intent::Thing;

    #[test]
    fn contract_errors_have_the_statuses_of_the_rfcs() {
        let status = |status| {
            let of = ErrorCode::ALL.iter().filter(move |code| code.status() == status);
            of.map(|code| code.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(status(401), ["invalid_client", "invalid_token"]);
        assert_eq!(status(429), ["temporarily_unavailable"]);
        assert_eq!(status(500), ["server_error"]);
        assert_eq!(status(503), ["temporarily_unavailable"]);
        assert_eq!(status(400).len(), ErrorCode::ALL.len() - 5);
    }

    #[test]
    fn contract_errors_are_json_with_a_description() {
        let error = OAuthError::new(ErrorCode::InvalidScope, "scope not allowed: admin");
        assert_eq!(
            error.to_json(),
            r#"{"error":"invalid_scope","error_description":"scope not allowed: admin"}"#
        );
        assert_eq!((error.status(), error.challenge(), error.retry_after()), (400, None, None));
    }

    #[test]
    fn challenges_and_waits_are_fields() {
        let basic = OAuthError::invalid_client().with_challenge(Challenge::Basic);
        assert_eq!(basic.challenge().unwrap(), r#"Basic realm="gatepost", charset="UTF-8""#);
        let ended = OAuthError::new(ErrorCode::InvalidToken, "token revoked");
        assert_eq!(
            ended.with_challenge(Challenge::Bearer).challenge().unwrap(),
            r#"Bearer realm="gatepost", error="invalid_token", error_description="token revoked""#
        );
        let wait = |millis| {
            let error = OAuthError::new(ErrorCode::RateLimited, "rate limit exceeded");
            error.with_retry_after(Duration::from_millis(millis)).retry_after()
        };
        assert_eq!([wait(1), wait(1000), wait(1001)], [Some(1), Some(1), Some(2)]);
    }

    #[test]
    fn r1109_a_description_has_no_character_that_needs_escaping() {
        let error = OAuthError::invalid_request("a \"b\" \\ \r\n é\u{7f}<script>");
        assert_eq!(error.description(), "a 'b' ' '' ''<script>");
        let long = OAuthError::invalid_request("é".repeat(500));
        assert_eq!(long.description(), "'".repeat(300));
    }

    #[test]
    fn r1106_r1115_every_failed_client_authentication_is_the_same_answer() {
        assert_eq!(OAuthError::from(&Refusal::InvalidClient), OAuthError::invalid_client());
        assert_eq!(OAuthError::invalid_client().status(), 401);
    }

    #[test]
    fn a_refusal_of_an_intent_has_its_code() {
        let code = |refusal: Refusal| OAuthError::from(&refusal).code().as_str();
        assert_eq!(code(Refusal::Scope("x".into())), "invalid_scope");
        assert_eq!(code(Refusal::UnauthorizedClient), "unauthorized_client");
        assert_eq!(code(Refusal::InvalidGrant("code expired")), "invalid_grant");
        assert_eq!(code(Refusal::AuthorizationPending), "authorization_pending");
        assert_eq!(code(Refusal::SlowDown(10)), "slow_down");
        assert_eq!(code(Refusal::ExpiredToken), "expired_token");
        assert_eq!(code(Refusal::AccessDenied), "access_denied");
        assert_eq!(code(Refusal::Disabled(Thing::Person, "usr_1".into())), "invalid_grant");
        assert_eq!(code(Refusal::Forever), "invalid_request");
    }
}
