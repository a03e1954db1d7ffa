//! API keys: gatepost's own format, digests of any existing key, and the ring they are looked up
//! in.
//!
//! Owns the format of keys and the look-up of one among a million in constant time.
//! Never stores a key, only digests; never reads a file; never reads the clock.

pub mod digest;
pub mod format;
pub mod ring;
pub mod segment;
pub mod state;

use std::sync::Arc;

use thiserror::Error;

pub use digest::Digest;
pub use ring::{KeyRing, Peppers, VerifiedKey};
pub use segment::{KeySegment, SegmentBuilder};
pub use state::{KeyState, KeySummary};

use format::Form;

use crate::base::clock::UnixTime;
use crate::decide::principal::Claims;
use crate::decide::rate_limit::Quota;
use crate::decide::scope::ScopeSet;

/// A key's own quotas, by the name of the limit they replace.
pub type KeyLimits = Box<[(Box<str>, Quota)]>;

/// One key of a key file, parsed. Not a secret: it holds a digest.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyEntry {
    /// Unique over all key files.
    pub id: Arc<str>,
    /// A label for people.
    pub name: Option<Box<str>>,
    /// The expected digest of the presented key.
    pub digest: Digest,
    /// `key:<id>` unless given.
    pub subject: Arc<str>,
    /// The granted scopes.
    pub scopes: Arc<ScopeSet>,
    /// For conditions and claim headers.
    pub claims: Arc<Claims>,
    /// Not before this instant.
    pub not_before: Option<UnixTime>,
    /// Not at or after this instant.
    pub expires: Option<UnixTime>,
    /// `false` disables the key without removing its entry.
    pub enabled: bool,
    /// Quotas that replace the route's limit of that name.
    pub limits: KeyLimits,
    /// The key this one was rotated from.
    pub replaces: Option<Box<str>>,
}

/// A refused API key.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// Begins like a gatepost key (`gp_`), but has another length, character or checksum.
    #[error("malformed gatepost key: checksum mismatch")]
    Malformed,
    /// No entry has this key's digest.
    #[error("unknown API key")]
    Unknown,
    /// A secret of gatepost presented as a bearer token where `api_keys` does not read keys from
    /// there.
    #[error(
        "an API key of gatepost (gp_) in Authorization: Bearer, where api_keys.from does not read keys"
    )]
    Misplaced,
    /// `not_before` has not come.
    #[error("key {id} is not valid before {at}")]
    NotYetValid {
        /// The entry.
        id: Arc<str>,
        /// Its `not_before`.
        at: UnixTime,
    },
    /// `expires` has passed.
    #[error("key {id} expired at {at}")]
    Expired {
        /// The entry.
        id: Arc<str>,
        /// Its `expires`.
        at: UnixTime,
    },
    /// `enabled: false`.
    #[error("key {id} is disabled")]
    Disabled {
        /// The entry.
        id: Arc<str>,
    },
    /// The claims that become headers exceed 8 KiB, encoded.
    #[error("the claim headers of key {id} exceed 8 KiB")]
    ClaimsTooLarge {
        /// The entry.
        id: Arc<str>,
    },
}

impl KeyError {
    /// The entry that was found, if there is one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::NotYetValid { id, .. }
            | Self::Expired { id, .. }
            | Self::Disabled { id }
            | Self::ClaimsTooLarge { id } => Some(id),
            _ => None,
        }
    }
}

/// Returns whether a bearer begins like the secrets that gatepost issues, of any kind. No issuer is asked
/// about it, whatever is configured: the question would disclose the secret.
#[must_use]
pub(crate) fn is_reserved(bearer: &str) -> bool {
    bearer.starts_with(format::RESERVED_PREFIX)
}

/// Returns whether a secret that gatepost generated is anywhere in a field: in quotes, in a list or
/// behind an escape as well. An application's own text that begins with `gp_` is none.
#[must_use]
pub(crate) fn has_secret(value: &[u8]) -> bool {
    // Most fields are shorter, and have no underscore.
    value.len() >= format::SECRET_BYTES_MIN
        && memchr::memchr_iter(b'_', value)
            .any(|at| at >= 2 && format::is_secret_at(&value[at - 2..]))
}

/// Refuses a bearer that [is reserved](is_reserved), where bearers are not keys. Its form is
/// checked, nothing is looked up.
///
/// # Errors
/// [`KeyError::Malformed`] or [`KeyError::Misplaced`].
pub(crate) fn refuse_as_bearer(bearer: &str) -> Result<(), KeyError> {
    match format::check(bearer) {
        Form::Bad(_) => Err(KeyError::Malformed),
        Form::Good(_) => Err(KeyError::Misplaced),
        Form::NotOurs if is_reserved(bearer) => Err(KeyError::Misplaced),
        Form::NotOurs => Ok(()),
    }
}
