//! Peppers: the server's half of every key.
//!
//! Owns their ids, their check values and the ring of those that are known. Never writes a pepper
//! anywhere: it is in a file of the operator, and never in the store.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;

use crate::base::secret::Secret;
use crate::issue::safe_store::derive::{Purpose, derive};

/// Bytes of a pepper.
pub const PEPPER_BYTES: usize = 32;

/// The longest id of a pepper, in bytes.
const ID_BYTES_MAX: usize = 64;

/// The most peppers of a ring: the active one, and those that records still need.
pub const PEPPERS_MAX: usize = 64;

/// One pepper.
#[derive(Clone, Debug)]
pub struct Pepper {
    id: Box<str>,
    secret: Secret<[u8; PEPPER_BYTES]>,
}

/// A pepper or a ring that cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PepperError {
    /// An id with other characters, or too long.
    #[error("a pepper id has 1 to {ID_BYTES_MAX} letters, digits, '_' or '-', not {0:?}")]
    Id(String),
    /// Another length.
    #[error("a pepper has {PEPPER_BYTES} bytes, this one has {0}")]
    Length(usize),
    /// One byte, repeated.
    #[error("not a pepper: the same byte {PEPPER_BYTES} times")]
    Constant,
    /// The active pepper is not among the peppers.
    #[error("the active pepper {0:?} is not one of the peppers")]
    ActiveUnknown(String),
    /// Two peppers with one id.
    #[error("pepper {0:?} is listed twice")]
    Twice(String),
    /// Too many.
    #[error("at most {PEPPERS_MAX} peppers are accepted")]
    TooMany,
}

/// Checks the id of a pepper.
///
/// # Errors
/// [`PepperError::Id`].
pub fn check_pepper_id(id: &str) -> Result<(), PepperError> {
    if is_pepper_id(id) {
        return Ok(());
    }
    Err(PepperError::Id(id.chars().take(ID_BYTES_MAX).collect()))
}

pub(super) fn is_pepper_id(id: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(is_fit)
}

impl Pepper {
    /// A pepper from the bytes of its file.
    ///
    /// # Errors
    /// [`PepperError`].
    pub fn new(id: &str, bytes: &[u8]) -> Result<Self, PepperError> {
        check_pepper_id(id)?;
        let bytes: [u8; PEPPER_BYTES] =
            bytes.try_into().map_err(|_| PepperError::Length(bytes.len()))?;
        if bytes.iter().all(|byte| *byte == bytes[0]) {
            return Err(PepperError::Constant);
        }
        Ok(Self { id: id.into(), secret: Secret::new(bytes) })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A text that is the same for the same bytes under the same id, and from which the pepper
    /// cannot be computed. The store keeps it, so that other bytes in the file are noticed before
    /// anything is sealed under them.
    #[must_use]
    pub fn check_value(&self) -> String {
        let derived = derive::<16>(self.bytes(), Purpose::Check, &[&self.id]);
        // HKDF fails for outputs of more than 255 blocks alone.
        URL_SAFE_NO_PAD.encode(derived.map(|value| *value).unwrap_or_default())
    }

    pub(super) fn bytes(&self) -> &[u8; PEPPER_BYTES] {
        self.secret.expose()
    }
}

/// The peppers of a server. What is new is sealed under the active one.
#[derive(Clone, Debug)]
pub struct Peppers {
    active: Pepper,
    all: BTreeMap<Box<str>, Pepper>,
}

impl Peppers {
    /// A ring of peppers.
    ///
    /// # Errors
    /// [`PepperError`].
    pub fn new(
        peppers: impl IntoIterator<Item = Pepper>,
        active: &str,
    ) -> Result<Self, PepperError> {
        let mut all = BTreeMap::new();
        for pepper in peppers {
            if all.len() == PEPPERS_MAX {
                return Err(PepperError::TooMany);
            }
            if let Some(first) = all.insert(pepper.id.clone(), pepper) {
                return Err(PepperError::Twice(first.id.into()));
            }
        }
        match all.get(active).cloned() {
            Some(active) => Ok(Self { active, all }),
            None => Err(PepperError::ActiveUnknown(active.to_owned())),
        }
    }

    /// The one that new records are sealed under.
    #[must_use]
    pub fn active(&self) -> &Pepper {
        &self.active
    }

    /// The pepper of this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Pepper> {
        self.all.get(id)
    }

    /// Every pepper, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Pepper> {
        self.all.values()
    }
}
