//! Shares: the owner's half of every key.
//!
//! Owns their generation and their wrapping under a key derived from a pepper. Without its share
//! nothing of an owner opens, so deleting it makes all their records unreadable for good. Never
//! leaves the process unwrapped.

use aws_lc_rs::error::Unspecified;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::base::secret::Secret;
use crate::issue::safe_store::derive::{KEK_BYTES, Purpose, derive, unwrap, wrap};
use crate::issue::safe_store::pepper::{PEPPER_BYTES, Pepper, Peppers, is_pepper_id};
use crate::issue::safe_store::{Fill, SealError, Unreadable};

/// Bytes of a share.
const SHARE_BYTES: usize = 32;

/// The longest id of an owner, in bytes: that of a subject.
const OWNER_BYTES_MAX: usize = 256;

/// The owner of what the issuer itself needs: signing keys and the HMAC key.
const SYSTEM: &str = "system";

/// The owner of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner(Box<str>);

impl Owner {
    /// A person or an application, by id; `None` for an empty id, one over 256 bytes, and that of
    /// [`Self::system`].
    #[must_use]
    pub fn new(id: &str) -> Option<Self> {
        let fits = (1..=OWNER_BYTES_MAX).contains(&id.len()) && id != SYSTEM;
        fits.then(|| Self(id.into()))
    }

    /// The issuer itself. Its share is never deleted.
    #[must_use]
    pub fn system() -> Self {
        Self(SYSTEM.into())
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The share of one owner, out of its wrapping.
#[derive(Clone, Debug)]
pub struct Share {
    owner: Owner,
    version: u32,
    secret: Secret<[u8; SHARE_BYTES]>,
}

/// A share as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedShare {
    /// The pepper that it is wrapped under.
    pub pepper: Box<str>,
    /// Grows when the share of an owner is replaced.
    pub version: u32,
    /// AES key wrap (RFC 3394), in base64url.
    pub wrapped: Box<str>,
}

impl Share {
    /// A new share.
    ///
    /// # Errors
    /// [`SealError::Random`].
    pub fn generate(owner: Owner, version: u32, fill: &mut Fill<'_>) -> Result<Self, SealError> {
        let mut bytes = Zeroizing::new([0; SHARE_BYTES]);
        fill(bytes.as_mut_slice())?;
        Ok(Self { owner, version, secret: Secret::new(*bytes) })
    }

    /// Its owner.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Wraps it under the active pepper.
    ///
    /// # Errors
    /// [`SealError::Cipher`].
    pub fn wrap(&self, peppers: &Peppers) -> Result<WrappedShare, SealError> {
        let pepper = peppers.active();
        let kek = wrapping_key(pepper, &self.owner, self.version)?;
        let wrapped = URL_SAFE_NO_PAD.encode(wrap(&kek, self.secret.expose())?);
        let wrapped = wrapped.into();
        Ok(WrappedShare { pepper: pepper.id().into(), version: self.version, wrapped })
    }

    /// Unwraps the share of `owner`. That of another owner does not unwrap.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn unwrap(
        peppers: &Peppers,
        owner: Owner,
        wrapped: &WrappedShare,
    ) -> Result<Self, Unreadable> {
        let pepper = Some(&wrapped.pepper).filter(|id| is_pepper_id(id));
        let pepper = pepper.and_then(|id| peppers.find(id)).ok_or(Unreadable)?;
        let kek = wrapping_key(pepper, &owner, wrapped.version)?;
        let bytes = URL_SAFE_NO_PAD.decode(&*wrapped.wrapped).map_err(|_| Unreadable)?;
        let secret = Secret::new(*unwrap::<SHARE_BYTES>(&kek, &bytes)?);
        Ok(Self { owner, version: wrapped.version, secret })
    }

    /// The key that wraps the content keys of this owner's records: derived from both halves.
    pub(super) fn record_key(
        &self,
        pepper: &Pepper,
    ) -> Result<Zeroizing<[u8; KEK_BYTES]>, Unspecified> {
        let mut both = Zeroizing::new([0; PEPPER_BYTES + SHARE_BYTES]);
        both[..PEPPER_BYTES].copy_from_slice(pepper.bytes());
        both[PEPPER_BYTES..].copy_from_slice(self.secret.expose());
        let version = self.version.to_string();
        derive(&*both, Purpose::Record, &[self.owner.as_str(), pepper.id(), &version])
    }
}

fn wrapping_key(
    pepper: &Pepper,
    owner: &Owner,
    version: u32,
) -> Result<Zeroizing<[u8; KEK_BYTES]>, Unspecified> {
    let version = version.to_string();
    derive(pepper.bytes(), Purpose::Share, &[owner.as_str(), pepper.id(), &version])
}
