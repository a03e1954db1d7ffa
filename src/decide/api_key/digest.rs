//! The stored form of an API key: `sha256:<digest>`, `sha512:<digest>` or
//! `hmac-sha256:<pepper>:<digest>`, in hexadecimal digits or base64.
//!
//! Owns the digests, their text form and their computation. A bare SHA-256 is enough for a key
//! that cannot be guessed; a short or human-made key needs the pepper, so that a stolen key file
//! alone cannot be searched. Never stores a key, and never prints a whole digest: the digest of a
//! guessable key is as good as the key.

use std::cell::OnceCell;
use std::fmt;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use thiserror::Error;

use crate::base::sha256::sha256;

/// The shortest presented key that may match a bare SHA-256, in bytes: 22 base64 characters carry
/// 128 bits. Anything shorter could be found from the key file by brute force.
pub(crate) const BARE_KEY_BYTES_MIN: usize = 22;

pub use crate::decide::request::credential::KEY_BYTES_MAX;

/// The [method](Digest::method) of SHA-512: no pepper has this name.
pub(super) const SHA512: &str = ":sha512";

/// The longest pepper name, in bytes.
const PEPPER_NAME_BYTES_MAX: usize = 128;

/// The digest of a whole key text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Digest {
    /// `sha256:<digest>`.
    Sha256([u8; 32]),
    /// `sha512:<digest>`, as other makers store keys.
    Sha512([u8; 64]),
    /// `hmac-sha256:<pepper>:<digest>`, keyed with the named pepper.
    HmacSha256 {
        /// The pepper's name in `api_keys.peppers`.
        pepper: Box<str>,
        /// The tag.
        tag: [u8; 32],
    },
}

/// A text that is not a digest. The error shows nothing of the text itself.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DigestError {
    /// None of the known prefixes.
    #[error(
        "not a digest: sha256:<digest>, sha512:<digest> and hmac-sha256:<pepper>:<digest> are \
         accepted, in hexadecimal digits or base64"
    )]
    Form,
    /// Neither as many hexadecimal digits nor as many characters of base64 as the digest has.
    #[error(
        "a SHA-{} digest has {} hexadecimal digits or {} characters of base64, this one \
         has {found} characters",
        .bytes * 8, .bytes * 2, (.bytes * 4).div_ceil(3)
    )]
    Length {
        /// The names that the digest needs.
        bytes: usize,
        /// The characters that were found.
        found: usize,
    },
    /// A character that is not a hexadecimal digit.
    #[error("a digest has hexadecimal digits only (0-9, a-f)")]
    NotHex,
    /// As long as base64 of the digest, and no base64.
    #[error("a digest of this length is base64, with or without padding")]
    NotBase64,
    /// A pepper name that is empty, too long or has other characters.
    #[error("a pepper name has 1 to 128 letters, digits, '.', '_' or '-'")]
    Pepper,
}

impl Digest {
    /// Reads `sha256:`, `sha512:` or `hmac-sha256:<pepper>:`, and the digest behind it: hexadecimal
    /// digits of either case, or base64 in either alphabet.
    ///
    /// # Errors
    /// [`DigestError`], with what is accepted.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        if let Some(hex) = text.strip_prefix("sha256:") {
            return Ok(Self::Sha256(parse_bytes(hex)?));
        }
        if let Some(digest) = text.strip_prefix("sha512:") {
            return Ok(Self::Sha512(parse_bytes(digest)?));
        }
        let rest = text.strip_prefix("hmac-sha256:").ok_or(DigestError::Form)?;
        let (pepper, hex) = rest.split_once(':').ok_or(DigestError::Form)?;
        if !is_pepper_name(pepper) {
            return Err(DigestError::Pepper);
        }
        Ok(Self::HmacSha256 { pepper: pepper.into(), tag: parse_bytes(hex)? })
    }

    /// The bare digest of a key.
    #[must_use]
    pub fn sha256(key: &str) -> Self {
        Self::Sha256(sha256_tag(key))
    }

    /// The bare SHA-512 of a key.
    #[must_use]
    pub fn sha512(key: &str) -> Self {
        let mut tag = [0; 64];
        tag.copy_from_slice(digest::digest(&digest::SHA512, key.as_bytes()).as_ref());
        Self::Sha512(tag)
    }

    /// The digest of a key under a pepper.
    #[must_use]
    pub fn hmac_sha256(key: &str, pepper: &str, secret: &[u8]) -> Self {
        let tag = hmac_tag(key, &hmac::Key::new(hmac::HMAC_SHA256, secret));
        Self::HmacSha256 { pepper: pepper.into(), tag }
    }

    /// The pepper this digest needs, if any.
    #[must_use]
    pub fn pepper(&self) -> Option<&str> {
        match self {
            Self::Sha256(_) | Self::Sha512(_) => None,
            Self::HmacSha256 { pepper, .. } => Some(pepper),
        }
    }

    /// The digest of a presented key to compare: the pepper, [`SHA512`], or `None` for SHA-256.
    pub(super) fn method(&self) -> Option<&str> {
        match self {
            Self::Sha512(_) => Some(SHA512),
            Self::Sha256(_) | Self::HmacSha256 { .. } => self.pepper(),
        }
    }

    /// The 256 bits that are compared: all of the digest, but for SHA-512 its first half.
    #[must_use]
    pub fn tag(&self) -> &[u8; 32] {
        match self {
            Self::Sha256(tag) | Self::HmacSha256 { tag, .. } => tag,
            Self::Sha512(tag) => half(tag),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(tag) | Self::HmacSha256 { tag, .. } => tag,
            Self::Sha512(tag) => tag,
        }
    }

    /// The text form used in key files. For writing key files only.
    #[must_use]
    pub fn to_text(&self) -> String {
        use fmt::Write as _;
        let mut text = match self {
            Self::Sha256(_) => "sha256:".to_owned(),
            Self::Sha512(_) => "sha512:".to_owned(),
            Self::HmacSha256 { pepper, .. } => format!("hmac-sha256:{pepper}:"),
        };
        for byte in self.bytes() {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

/// Only the kind: a digest of a guessable key must not reach a log.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(_) => f.write_str("sha256:.."),
            Self::Sha512(_) => f.write_str("sha512:.."),
            Self::HmacSha256 { pepper, .. } => write!(f, "hmac-sha256:{pepper}:.."),
        }
    }
}

/// Returns whether a text is a valid pepper name.
#[must_use]
pub(crate) fn is_pepper_name(text: &str) -> bool {
    (1..=PEPPER_NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// A presented key. Its SHA-256 is computed at most once: key files and the store look for the same
/// one.
pub(in crate::decide) struct KeyText<'a> {
    pub(in crate::decide) text: &'a str,
    sha256: OnceCell<[u8; 32]>,
}

impl<'a> KeyText<'a> {
    pub(in crate::decide) const fn new(text: &'a str) -> Self {
        Self { text, sha256: OnceCell::new() }
    }

    pub(in crate::decide) fn sha256(&self) -> [u8; 32] {
        *self.sha256.get_or_init(|| sha256_tag(self.text))
    }
}

pub(super) fn sha256_tag(key: &str) -> [u8; 32] {
    sha256(key.as_bytes())
}

pub(in crate::decide) fn hmac_tag(key: &str, pepper: &hmac::Key) -> [u8; 32] {
    let tag = hmac::sign(pepper, key.as_bytes());
    tag.as_ref().try_into().expect("an HMAC-SHA-256 tag has 32 bytes")
}

/// SHA-512 of a presented key, as far as it is compared.
pub(super) fn sha512_tag(key: &str) -> [u8; 32] {
    *Digest::sha512(key).tag()
}

fn half(tag: &[u8; 64]) -> &[u8; 32] {
    tag.first_chunk().expect("32 of 64 bytes")
}

/// Hexadecimal digits, or base64 in either alphabet: their lengths tell them apart.
fn parse_bytes<const N: usize>(text: &str) -> Result<[u8; N], DigestError> {
    if text.len() == 2 * N {
        return parse_hex(text);
    }
    let plain = text.trim_end_matches('=');
    if plain.len() != (4 * N).div_ceil(3) || text.len() > 4 * N.div_ceil(3) {
        return Err(DigestError::Length { bytes: N, found: text.chars().count() });
    }
    let decoded = [STANDARD_NO_PAD.decode(plain), URL_SAFE_NO_PAD.decode(plain)];
    let mut decoded = decoded.into_iter().flatten();
    decoded.next().and_then(|bytes| bytes.try_into().ok()).ok_or(DigestError::NotBase64)
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], DigestError> {
    let mut tag = [0; N];
    for (byte, pair) in tag.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Ok(tag)
}

fn nibble(digit: u8) -> Result<u8, DigestError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(DigestError::NotHex),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn known_answers_of_both_digests() {
        // FIPS 180-4 "abc"; RFC 4231 test case 2.
        assert_eq!(Digest::sha256("abc").to_text(), format!("sha256:{ABC}"));
        assert_eq!(
            Digest::hmac_sha256("what do ya want for nothing?", "p1", b"Jefe").to_text(),
            "hmac-sha256:p1:5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn contract_key_files_hex_of_either_case_is_the_same_digest() {
        let upper = Digest::parse(&format!("sha256:{}", ABC.to_uppercase())).unwrap();
        assert_eq!(upper, Digest::sha256("abc"));
        assert_eq!(upper.to_text(), format!("sha256:{ABC}"));
    }

    #[track_caller]
    fn check_refused(text: &str, expected: DigestError) {
        assert_eq!(Digest::parse(text), Err(expected), "{text:?}");
    }

    #[test]
    fn contract_key_files_what_is_no_digest_is_refused() {
        check_refused("", DigestError::Form);
        check_refused(ABC, DigestError::Form);
        check_refused(&format!("SHA256:{ABC}"), DigestError::Form);
        check_refused(&format!("sha384:{ABC}"), DigestError::Form);
        check_refused(&format!("sha512:{ABC}"), DigestError::Length { bytes: 64, found: 64 });
        check_refused(&format!("sha256:{}", "!".repeat(43)), DigestError::NotBase64);
        check_refused(&format!("sha256:{}", "_".repeat(43)), DigestError::NotBase64);
        check_refused(&format!("hmac-sha256:{ABC}"), DigestError::Form);
        check_refused("sha256:", DigestError::Length { bytes: 32, found: 0 });
        check_refused(
            &format!("sha256:{}", &ABC[1..]),
            DigestError::Length { bytes: 32, found: 63 },
        );
        check_refused(&format!("sha256:{ABC}0"), DigestError::Length { bytes: 32, found: 65 });
        check_refused(&format!("sha256: {}", &ABC[1..]), DigestError::NotHex);
        check_refused(&format!("sha256:+{}", &ABC[1..]), DigestError::NotHex);
        check_refused(&format!("sha256:é{}", &ABC[2..]), DigestError::NotHex);
        check_refused(&format!("hmac-sha256::{ABC}"), DigestError::Pepper);
        check_refused(&format!("hmac-sha256:p 1:{ABC}"), DigestError::Pepper);
        check_refused(
            &format!("hmac-sha256:p1:x:{ABC}"),
            DigestError::Length { bytes: 32, found: 66 },
        );
    }

    #[test]
    fn contract_key_files_base64_of_either_alphabet_is_the_same_digest() {
        // FIPS 180-4 "abc".
        for text in [
            "sha256:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
            "sha256:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0",
            "sha256:ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0",
        ] {
            assert_eq!(Digest::parse(text), Ok(Digest::sha256("abc")), "{text}");
        }
        let hex = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                   2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
        assert_eq!(Digest::parse(&format!("sha512:{hex}")), Ok(Digest::sha512("abc")));
        let base64 = "3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw";
        for pad in ["", "=="] {
            let read = Digest::parse(&format!("sha512:{base64}{pad}"));
            assert_eq!(read, Ok(Digest::sha512("abc")), "{pad}");
        }
        assert_eq!(Digest::sha512("abc").to_text(), format!("sha512:{hex}"));
    }

    #[test]
    fn r902_debug_and_errors_never_show_a_digest() {
        for digest in [Digest::sha256("abc"), Digest::hmac_sha256("abc", "p1", b"pepper")] {
            let text = digest.to_text();
            let hex = text.rsplit(':').next().unwrap();
            assert!(!format!("{digest:?}").contains(&hex[..6]));
        }
        let error = Digest::parse(&format!("sha256:{ABC}0")).unwrap_err();
        assert!(!error.to_string().contains(&ABC[..6]));
    }

    proptest! {
        #[test]
        fn a_digest_reads_back_as_it_was_written(key in "\\PC{0,40}", pepper in "[a-z0-9._-]{1,9}") {
            for digest in [Digest::sha256(&key), Digest::sha512(&key), Digest::hmac_sha256(&key, &pepper, b"secret")] {
                prop_assert_eq!(Digest::parse(&digest.to_text()), Ok(digest));
            }
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,90}") {
            let _ = Digest::parse(&text);
            let _ = Digest::parse(&format!("sha256:{text}"));
            let _ = Digest::parse(&format!("hmac-sha256:{text}"));
        }
    }
}
