//! The SafeStore: secrets that must be readable again, under split knowledge.
//!
//! Owns AES-256-CBC with HMAC-SHA-512 under a key derived from both the server's pepper and the
//! owner's share ([`Share`]). The pepper is never in the store; the share is there only wrapped
//! under the pepper. A record is a compact JWE (RFC 7516) that other libraries open; its
//! authenticated header names pepper, owner, share and place ([`Context`]). Protects against the
//! loss of the store or of the pepper alone, not against a reader of process memory.
//!
//! Every function is pure: randomness is an argument. Never says why a record does not open: a
//! flipped bit, a row that was swapped, another owner and a missing pepper are one error.

mod content;
mod derive;
mod header;
mod pepper;
mod share;

use aws_lc_rs::error::Unspecified;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::base::secret::Secret;
use crate::decide::api_key::format::RandomFault;
use crate::issue::rows::Sealed;
use crate::issue::safe_store::content::{ContentKey, IV_BYTES, KEY_BYTES, TAG_BYTES};
use crate::issue::safe_store::derive::{unwrap, wrap};

pub use header::SealedUnder;
pub use pepper::{PEPPER_BYTES, PEPPERS_MAX, Pepper, PepperError, Peppers, check_pepper_id};
pub use share::{Owner, Share, WrappedShare};

/// The longest secret that is sealed, in bytes: a signing key has less than 5 KiB.
pub const SECRET_BYTES_MAX: usize = 16 * 1024;

/// The longest record that is read, in bytes.
pub const RECORD_BYTES_MAX: usize = 32 * 1024;

/// The longest context, in bytes.
const CONTEXT_BYTES_MAX: usize = 512;

/// A source of random bytes: fills the slice.
pub type Fill<'a> = dyn FnMut(&mut [u8]) -> Result<(), RandomFault> + 'a;

/// A record that does not open, for one of many reasons that are not told apart.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the sealed record cannot be opened")]
pub struct Unreadable;

impl From<Unspecified> for Unreadable {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

/// A secret that cannot be sealed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SealError {
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomFault),
    /// Longer than [`SECRET_BYTES_MAX`].
    #[error("the secret is longer than {SECRET_BYTES_MAX} bytes")]
    TooLong,
    /// The cipher failed.
    #[error("encryption failed")]
    Cipher,
}

impl From<Unspecified> for SealError {
    fn from(_: Unspecified) -> Self {
        Self::Cipher
    }
}

/// The place of a record: table, column and row. A record that was copied to another place does
/// not open there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context(Box<str>);

impl Context {
    /// The place `table/column/row`; `None` if it is longer than 512 bytes.
    #[must_use]
    pub fn new(table: &str, column: &str, row: &str) -> Option<Self> {
        let text = format!("{table}/{column}/{row}");
        (text.len() <= CONTEXT_BYTES_MAX).then(|| Self(text.into()))
    }
}

/// Seals a secret for the owner of `share`, under the active pepper.
///
/// # Errors
/// [`SealError`].
pub fn seal(
    peppers: &Peppers,
    share: &Share,
    context: &Context,
    secret: &[u8],
    fill: &mut Fill<'_>,
) -> Result<Sealed, SealError> {
    if secret.len() > SECRET_BYTES_MAX {
        return Err(SealError::TooLong);
    }
    let mut key = ContentKey(Zeroizing::new([0; KEY_BYTES]));
    let mut iv = [0; IV_BYTES];
    fill(key.0.as_mut_slice())?;
    fill(&mut iv)?;
    let ciphertext = key.encrypt(&iv, secret)?;
    Ok(record(peppers.active(), share, context, &Content { key, iv, ciphertext })?)
}

/// Opens a record.
///
/// # Errors
/// [`Unreadable`].
pub fn open(
    peppers: &Peppers,
    share: &Share,
    context: &Context,
    sealed: &Sealed,
) -> Result<Secret<Vec<u8>>, Unreadable> {
    let content = authenticate(peppers, share, context, sealed)?;
    let mut plaintext = content.key.decrypt(&content.iv, &content.ciphertext)?;
    Ok(Secret::new(std::mem::take(&mut *plaintext)))
}

/// Writes the header, the wrapped content key and the tag of a record again, for the active pepper
/// and for `new` (another version of the owner's share, or the same one). The ciphertext stays as
/// it is and is not decrypted.
///
/// # Errors
/// [`Unreadable`].
pub fn rewrap(
    peppers: &Peppers,
    old: &Share,
    new: &Share,
    context: &Context,
    sealed: &Sealed,
) -> Result<Sealed, Unreadable> {
    if old.owner() != new.owner() {
        return Err(Unreadable);
    }
    let content = authenticate(peppers, old, context, sealed)?;
    Ok(record(peppers.active(), new, context, &content)?)
}

/// Pepper and share that a record names, for reports on a rotation. Not authenticated; `None` if
/// it is no record.
#[must_use]
pub fn sealed_under(sealed: &Sealed) -> Option<SealedUnder> {
    header::read(&decoded(Parts::of(sealed).ok()?.header).ok()?)
}

/// The contents of a record: the content key is out of its wrapping, the ciphertext is not decrypted.
struct Content {
    key: ContentKey,
    iv: [u8; IV_BYTES],
    ciphertext: Vec<u8>,
}

/// The five parts of a compact JWE, as text.
struct Parts<'a> {
    header: &'a str,
    key: &'a str,
    iv: &'a str,
    ciphertext: &'a str,
    tag: &'a str,
}

impl<'a> Parts<'a> {
    fn of(sealed: &'a Sealed) -> Result<Self, Unreadable> {
        if sealed.0.len() > RECORD_BYTES_MAX {
            return Err(Unreadable);
        }
        let mut parts = sealed.0.split('.');
        let mut next = || parts.next().ok_or(Unreadable);
        let (header, key, iv) = (next()?, next()?, next()?);
        let read = Self { header, key, iv, ciphertext: next()?, tag: next()? };
        if parts.next().is_some() { Err(Unreadable) } else { Ok(read) }
    }
}

fn decoded(part: &str) -> Result<Vec<u8>, Unreadable> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Unreadable)
}

/// The content of a record whose header is what this place demands, and whose tag is right.
fn authenticate(
    peppers: &Peppers,
    share: &Share,
    context: &Context,
    sealed: &Sealed,
) -> Result<Content, Unreadable> {
    let parts = Parts::of(sealed)?;
    let header = decoded(parts.header)?;
    let under = header::read(&header).ok_or(Unreadable)?;
    let pepper = peppers.find(&under.pepper).ok_or(Unreadable)?;
    let expected = header::write(pepper.id(), share.owner().as_str(), share.version(), &context.0);
    if header != expected.as_bytes() {
        return Err(Unreadable);
    }
    let key = ContentKey(unwrap(&*share.record_key(pepper)?, &decoded(parts.key)?)?);
    let iv: [u8; IV_BYTES] = decoded(parts.iv)?.try_into().map_err(|_| Unreadable)?;
    let (ciphertext, tag) = (decoded(parts.ciphertext)?, decoded(parts.tag)?);
    if !key.is_tag(&tag, parts.header.as_bytes(), &iv, &ciphertext) {
        return Err(Unreadable);
    }
    Ok(Content { key, iv, ciphertext })
}

/// The compact JWE.
fn record(
    pepper: &Pepper,
    share: &Share,
    context: &Context,
    content: &Content,
) -> Result<Sealed, Unspecified> {
    let header = header::write(pepper.id(), share.owner().as_str(), share.version(), &context.0);
    let header = URL_SAFE_NO_PAD.encode(header);
    let wrapped = wrap(&*share.record_key(pepper)?, content.key.0.as_slice())?;
    let tag: [u8; TAG_BYTES] = content.key.tag(header.as_bytes(), &content.iv, &content.ciphertext);
    let [key, iv, ciphertext, tag] = [&*wrapped, &content.iv, &content.ciphertext, &tag]
        .map(|part| URL_SAFE_NO_PAD.encode(part));
    Ok(Sealed(format!("{header}.{key}.{iv}.{ciphertext}.{tag}").into()))
}

#[cfg(test)]
mod tests;
