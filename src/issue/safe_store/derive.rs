//! Key derivation and key wrapping.
//!
//! Owns HKDF-SHA-512 (RFC 5869) with one label a purpose, and AES-256 key wrap (RFC 3394). Never
//! uses a derived key for two purposes.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA512, KeyType, Salt};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap as _};
use zeroize::Zeroizing;

/// Every derivation of the SafeStore begins with it.
const SALT: &[u8] = b"safestore/v1";

/// Bytes of a derived key.
pub(super) const KEK_BYTES: usize = 32;

/// The purposes of derived keys.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// Wraps the share of an owner.
    Share,
    /// Wraps the content key of a record.
    Record,
    /// Recognizes a pepper.
    Check,
}

impl Purpose {
    const fn label(self) -> &'static str {
        match self {
            Self::Share => "share",
            Self::Record => "record",
            Self::Check => "check",
        }
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// A key from `input`, bound to a purpose and to each of `names`, with their lengths: no two lists
/// of names are the same bytes.
pub(super) fn derive<const N: usize>(
    input: &[u8],
    purpose: Purpose,
    names: &[&str],
) -> Result<Zeroizing<[u8; N]>, Unspecified> {
    let mut info = Vec::new();
    for name in std::iter::once(&purpose.label()).chain(names) {
        info.extend_from_slice(&(name.len() as u64).to_be_bytes());
        info.extend_from_slice(name.as_bytes());
    }
    let mut key = Zeroizing::new([0; N]);
    let secret = Salt::new(HKDF_SHA512, SALT).extract(input);
    secret.expand(&[&info], Length(N))?.fill(&mut *key)?;
    Ok(key)
}

/// Wraps `key`, whose length is a multiple of 8.
pub(super) fn wrap(kek: &[u8; KEK_BYTES], key: &[u8]) -> Result<Vec<u8>, Unspecified> {
    let mut wrapped = vec![0; key.len() + 8];
    AesKek::new(&AES_256, kek)?.wrap(key, &mut wrapped)?;
    Ok(wrapped)
}

/// Unwraps a key of exactly `N` bytes.
pub(super) fn unwrap<const N: usize>(
    kek: &[u8; KEK_BYTES],
    wrapped: &[u8],
) -> Result<Zeroizing<[u8; N]>, Unspecified> {
    if wrapped.len() != N + 8 {
        return Err(Unspecified);
    }
    // The library asks for room beyond the key.
    let mut room = Zeroizing::new(vec![0; N + 8]);
    let plain = AesKek::new(&AES_256, kek)?.unwrap(wrapped, &mut room)?;
    let mut key = Zeroizing::new([0; N]);
    if plain.len() != N {
        return Err(Unspecified);
    }
    key.copy_from_slice(plain);
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<_> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
        digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
    }

    /// RFC 3394 section 4.6: 256 bits of key data with a 256-bit key.
    #[test]
    fn the_test_vector_of_rfc_3394_section_4_6() {
        let kek = (0..32).collect::<Vec<u8>>().try_into().unwrap();
        let key = hex("00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F");
        let wrapped = hex(
            "28C9F404C4B810F4CBCCB35CFB87F826 3F5786E2D80ED326CBC7F0E71A99F43B FB988B9B7A02DD21",
        );
        assert_eq!(wrap(&kek, &key).unwrap(), wrapped);
        assert_eq!(unwrap::<32>(&kek, &wrapped).unwrap().as_slice(), key);
        assert!(unwrap::<24>(&kek, &wrapped).is_err());
        assert!(unwrap::<32>(&kek, &wrapped[1..]).is_err());
    }

    #[test]
    fn purposes_and_names_never_share_a_key() {
        let key = |purpose, names: &[&str]| *derive::<32>(b"input", purpose, names).unwrap();
        let one = key(Purpose::Record, &["ab", "c"]);
        assert_eq!(one, key(Purpose::Record, &["ab", "c"]));
        assert_ne!(one, key(Purpose::Record, &["a", "bc"]));
        assert_ne!(one, key(Purpose::Share, &["ab", "c"]));
        assert_ne!(one, *derive::<32>(b"other", Purpose::Record, &["ab", "c"]).unwrap());
    }
}
