//! Bearer JWTs: from bytes to [`VerifiedToken`], or a reason why not.
//!
//! Owns the compact form (RFC 7515), the header, the claims (RFC 7519), the algorithms (RFC 7518,
//! 8037, 9864), the key sets (RFC 7517) and the order of the checks. What is accepted is narrower
//! than the RFCs allow, on purpose (RFC 8725). Never fetches a key, never reads `jwk`, `jku`,
//! `x5u` or `x5c`, never reads the clock, and uses no claim for anything but key choice before the
//! signature holds.

pub mod algorithm;
mod claim_error;
mod claims;
mod compact;
mod der;
#[cfg(any(feature = "fuzzing", test))]
pub mod fuzz;
mod header;
pub mod introspection;
mod json;
mod jwk;
mod key;
pub mod key_file;
pub mod key_set;
mod member;
mod pem;
mod secret_strength;
mod template;
mod validity;
pub mod verifier;

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

pub use algorithm::{Algorithm, KeyKind};
pub use claim_error::ClaimError;
pub use compact::TOKEN_BYTES_MAX;
pub use introspection::{IntrospectionRules, SubjectFrom};
pub use key::VerifyingKey;
pub use key_file::{KeyFileFormat, KeyMistake};
pub use key_set::{FollowedKeys, KeySet};
pub use template::IssuerTemplate;
pub use verifier::{Epoch, Issuers, Recheck, VerifiedToken};

use crate::decide::identity::IdentityHeaderName;
use crate::decide::request::credential::TokenPlace;
use crate::decide::scope::ScopeSet;

/// One issuer whose tokens are trusted, as configured. Keys come beside it, because they are
/// reloaded on their own.
#[derive(Clone, Debug, PartialEq)]
pub struct IssuerSettings {
    /// `iss`, compared byte for byte, or an [`IssuerTemplate`].
    pub issuer: Arc<str>,
    /// Short name for metrics and commands.
    pub name: Arc<str>,
    /// A token must name at least one of these. Never empty.
    pub audiences: Vec<Box<str>>,
    /// The algorithms that keys may be bound to and a token header may name. Never empty.
    pub algorithms: Vec<Algorithm>,
    /// Accepted `typ` values, lower case, without `application/`; `None` is an absent one.
    pub types: Vec<Option<Box<str>>>,
    /// The claim that holds the audience; `aud` unless configured.
    pub audience_claim: Box<str>,
    /// The claims that hold scopes; all that are present are joined. Dots step into objects. A
    /// value that is not a scope token refuses the whole token.
    pub scope_claims: Vec<Box<str>>,
    /// The most this issuer may grant; `None` is no cap.
    pub scopes_cap: Option<ScopeSet>,
    /// Tolerance for clocks that differ; at most five minutes.
    pub leeway: Duration,
    /// The longest accepted `exp` - `iat`. With it, `iat` is required.
    pub max_lifetime: Option<Duration>,
    /// Claims that become headers, by claim name.
    pub claim_headers: Vec<(Box<str>, IdentityHeaderName)>,
    /// The differences of its tokens from those of RFC 9068.
    pub shape: TokenShape,
    /// The introspection of its opaque tokens; `None` without one.
    pub introspection: Option<IntrospectionRules>,
}

/// The differences of an issuer's tokens from those of RFC 9068; none by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenShape {
    /// The claim that holds the subject; dots step into objects.
    pub subject_claim: Box<str>,
    /// The claims that may hold the client, for identity, limits and revocation alike: the first
    /// one that is there counts. Dots step into objects.
    pub client_claims: Vec<Box<str>>,
    /// The longest accepted token, in bytes.
    pub token_bytes: usize,
    /// True if tokens with `nonce`, `at_hash` or `c_hash` are accepted
    /// (`id_tokens: insecure_accept`).
    pub accepts_id_tokens: bool,
    /// The places that its tokens are read from (`from`). Never empty.
    pub places: Vec<TokenPlace>,
    /// The leeway for `exp`, where it is not that for the other dates.
    pub exp_leeway: Option<Duration>,
}

impl TokenShape {
    /// Tokens of RFC 9068 of at most 8 KiB: for tests and benchmarks.
    #[must_use]
    pub fn of_rfc9068() -> Self {
        Self {
            subject_claim: "sub".into(),
            client_claims: vec!["client_id".into(), "azp".into()],
            token_bytes: 8_192,
            accepts_id_tokens: false,
            places: vec![TokenPlace::default()],
            exp_leeway: None,
        }
    }
}

impl IssuerSettings {
    /// The template that the identifier is; `None` for one that is compared byte for byte.
    #[must_use]
    pub fn template(&self) -> Option<IssuerTemplate<'_>> {
        IssuerTemplate::parse(&self.issuer).ok().flatten()
    }

    /// Returns whether the issuer's tokens may have this `iss` by its template.
    #[must_use]
    pub fn has_tenant(&self, iss: &str) -> bool {
        self.template().is_some_and(|template| template.tenant(iss).is_some())
    }

    fn check_place(&self, place: &TokenPlace) -> Result<(), JwtError> {
        match self.shape.places.contains(place) {
            true => Ok(()),
            false => Err(JwtError::Misplaced { issuer: Arc::clone(&self.name) }),
        }
    }

    /// The longest lifetime of a token of this issuer, if known: opaque tokens have no bound.
    #[must_use]
    pub fn longest_lifetime(&self) -> Option<Duration> {
        self.max_lifetime.filter(|_| self.introspection.is_none())
    }
}

/// A refused token. The variant is the reason; fields are evidence for the operator and
/// come from the token unverified, so they are shown only escaped and shortened.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum JwtError {
    /// Longer than its issuer's `token_bytes`, or than that of every issuer.
    #[error("the token is longer than {0} bytes (`token_bytes` of its issuer)")]
    TooLong(usize),
    /// Not three parts of canonical base64url, not JSON, a duplicate name, too deep.
    #[error("not a well-formed compact JWS: {0}")]
    Malformed(&'static str),
    /// The header has something we refuse on sight: `crit`, `b64`, `zip`, a `typ` not accepted,
    /// an algorithm that is unknown or not listed for the issuer.
    #[error("header not accepted: {0}")]
    HeaderRefused(&'static str),
    /// No such issuer is configured.
    #[error("issuer {0:?} is not configured")]
    IssuerUnknown(String),
    /// No key of the issuer has this `kid` (or none is fit for a token without one).
    #[error("issuer {issuer} has no key for {}", described(.kid.as_deref()))]
    KeyUnknown {
        /// The issuer's short name.
        issuer: Arc<str>,
        /// The token's `kid`.
        kid: Option<String>,
    },
    /// The keys of the issuer have not been fetched yet, or are too old to be trusted.
    #[error("the keys of issuer {issuer} have not been fetched yet, or are too old")]
    KeysUnavailable {
        /// The issuer's short name.
        issuer: Arc<str>,
    },
    /// The header's `alg` is not the key's.
    #[error("algorithm mismatch: the key is bound to {key}, the token names {token}")]
    AlgorithmMismatch {
        /// The algorithm that the key is bound to.
        key: Algorithm,
        /// The algorithm that the token names.
        token: Algorithm,
    },
    /// Invalid signature.
    #[error("invalid signature")]
    SignatureBad,
    /// `exp` has passed.
    #[error("expired at {0}")]
    Expired(crate::base::clock::UnixTime),
    /// `nbf` has not come, or `iat` lies in the future.
    #[error("not valid before {0}")]
    NotYetValid(crate::base::clock::UnixTime),
    /// `exp` - `iat` is over the issuer's limit.
    #[error("lifetime of {0} s exceeds max_lifetime")]
    LifetimeTooLong(u64),
    /// Found in a place that its issuer does not list (`from`).
    #[error("issuer {issuer} does not accept tokens from this place; see `from`")]
    Misplaced {
        /// The issuer's short name.
        issuer: Arc<str>,
    },
    /// No accepted audience.
    #[error("audience not accepted")]
    AudienceWrong,
    /// A claim is missing or has a type or value it must not have.
    #[error(transparent)]
    ClaimBad(#[from] ClaimError),
    /// An ID token, which proves a login and grants nothing.
    #[error("ID token presented as an access token")]
    IdToken,
    /// The issuer was asked about an opaque token, and says that it is not active (RFC 7662
    /// section 2.2): unknown, expired or revoked.
    #[error("not active according to its issuer")]
    Inactive,
    /// The issuer could not be asked about an opaque token, or its answer was not usable.
    #[error("introspection by issuer {issuer} failed")]
    IntrospectionFailed {
        /// The issuer's short name.
        issuer: Arc<str>,
    },
}

/// Modulus and exponent of an `RSAPublicKey` (RFC 8017 appendix A.1.1), big-endian, without
/// leading zeros.
pub(crate) fn rsa_public_key(der: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    match der::pkcs1(der).ok()? {
        key::PublicKey::Rsa { modulus, exponent } => Some((modulus, exponent)),
        key::PublicKey::Ec { .. } | key::PublicKey::Ed25519(_) => None,
    }
}

fn described(kid: Option<&str>) -> String {
    match kid {
        Some(kid) => format!("a token with kid {kid:?}"),
        None => "a token without kid: its key must be the only one of that algorithm".to_owned(),
    }
}

#[cfg(test)]
mod tests;
