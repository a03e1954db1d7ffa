//! What a request presents: a bearer JWT, an API key, or nothing.
//!
//! Owns reading credentials out of header fields (RFC 6750 section 2.1, RFC 9110 section 11.4).
//! Never reads the query, a cookie or a body, and never says whether a credential is good.

use http::{HeaderMap, HeaderName};
use thiserror::Error;

/// The kinds of credential, as routes and identity headers name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CredentialKind {
    /// A signed JWT as a bearer token.
    Jwt,
    /// An API key.
    ApiKey,
    /// A personal access token.
    Pat,
}

impl CredentialKind {
    /// The word in configuration, headers, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::ApiKey => "api_key",
            Self::Pat => "pat",
        }
    }
}

/// Where API keys are read from: a header of their own, or a scheme of `Authorization`
/// (or of another header).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySource {
    /// The header.
    pub header: HeaderName,
    /// The authentication scheme in it, if any; compared without case.
    pub scheme: Option<Box<str>>,
}

/// What a request presents. At most one of each kind: more is refused before this exists.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_debug_implementations, reason = "it holds the secrets themselves")]
pub struct Presented<'a> {
    /// The bearer token, as text that has only `b64token` characters.
    pub jwt: Option<&'a str>,
    /// The API key, as visible ASCII.
    pub key: Option<&'a str>,
}

/// Why the credential fields of a request cannot be read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CredentialError {
    /// More than one field or value of a kind: each reader could pick another one.
    #[error("more than one credential of a kind")]
    Repeated,
    /// Not `scheme SP credentials`, an empty credential, or bytes no credential has.
    #[error("the credential field is malformed")]
    Malformed,
    /// A scheme nobody here understands: a bad credential, not none.
    #[error("the authentication scheme is unknown")]
    SchemeUnknown,
}

/// All the places credentials are read from, compiled from the configuration.
#[derive(Clone, Debug, Default)]
pub struct CredentialSources {
    keys: Vec<KeySource>,
}

impl CredentialSources {
    /// Bearer JWTs from `Authorization`, and API keys from each of `keys`.
    #[must_use]
    pub fn new(keys: Vec<KeySource>) -> Self {
        Self { keys }
    }

    /// Reads what the fields present.
    ///
    /// # Errors
    /// [`CredentialError`] when a field is repeated, malformed or of an unknown scheme.
    pub fn read<'a>(&self, headers: &'a HeaderMap) -> Result<Presented<'a>, CredentialError> {
        let _ = headers;
        todo!("credential helper")
    }

    /// The header names a credential can stand in: what is removed once it was consumed.
    pub fn header_names(&self) -> impl Iterator<Item = &HeaderName> {
        std::iter::once(&http::header::AUTHORIZATION)
            .chain(self.keys.iter().map(|source| &source.header))
    }
}
