//! A256CBC-HS512: AES-256-CBC with HMAC-SHA-512 (RFC 7518 section 5.2.5).
//!
//! Owns the content key of one record. The tag is compared, in constant time, before anything is
//! decrypted, so that padding is never an oracle. Never reuses a key for another plaintext.

use aws_lc_rs::cipher::{
    AES_256, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey,
    PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

pub(super) const KEY_BYTES: usize = 64;
pub(super) const IV_BYTES: usize = 16;
pub(super) const TAG_BYTES: usize = 32;
const BLOCK_BYTES: usize = 16;

/// The MAC key, then the encryption key.
pub(super) struct ContentKey(pub(super) Zeroizing<[u8; KEY_BYTES]>);

impl ContentKey {
    /// The ciphertext of `plaintext`.
    pub(super) fn encrypt(
        &self,
        iv: &[u8; IV_BYTES],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, Unspecified> {
        // Full capacity from the start, so that padding leaves no copy of the plaintext behind.
        let mut text = Zeroizing::new(Vec::with_capacity(plaintext.len() + BLOCK_BYTES));
        text.extend_from_slice(plaintext);
        let key = PaddedBlockEncryptingKey::cbc_pkcs7(self.cipher_key()?)?;
        key.less_safe_encrypt(&mut *text, EncryptionContext::Iv128(iv.into()))?;
        Ok(std::mem::take(&mut *text))
    }

    /// The authentication tag over header, IV and ciphertext.
    pub(super) fn tag(&self, aad: &[u8], iv: &[u8], ciphertext: &[u8]) -> [u8; TAG_BYTES] {
        let key = hmac::Key::new(hmac::HMAC_SHA512, &self.0[..KEY_BYTES / 2]);
        let mut mac = hmac::Context::with_key(&key);
        let aad_bits = 8 * aad.len() as u64;
        for part in [aad, iv, ciphertext, &aad_bits.to_be_bytes()] {
            mac.update(part);
        }
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&mac.sign().as_ref()[..TAG_BYTES]);
        tag
    }

    /// Returns whether `tag` is that of header, IV and ciphertext.
    pub(super) fn is_tag(&self, tag: &[u8], aad: &[u8], iv: &[u8], ciphertext: &[u8]) -> bool {
        self.tag(aad, iv, ciphertext).ct_eq(tag).into()
    }

    /// The plaintext of a ciphertext whose tag has been compared.
    pub(super) fn decrypt(
        &self,
        iv: &[u8; IV_BYTES],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Unspecified> {
        let mut text = Zeroizing::new(ciphertext.to_vec());
        let key = PaddedBlockDecryptingKey::cbc_pkcs7(self.cipher_key()?)?;
        let plain = key.decrypt(&mut text, DecryptionContext::Iv128(iv.into()))?.len();
        text.truncate(plain);
        Ok(text)
    }

    fn cipher_key(&self) -> Result<UnboundCipherKey, Unspecified> {
        UnboundCipherKey::new(&AES_256, &self.0[KEY_BYTES / 2..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hexadecimal digits with spaces.
    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<_> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
        digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
    }

    const PLAINTEXT: &[u8] = b"A cipher system must not be required to be secret, and it must be \
        able to fall into the hands of the enemy without inconvenience";
    const AAD: &[u8] = b"The second principle of Auguste Kerckhoffs";

    /// RFC 7518 appendix B.3.
    #[test]
    fn contract_safe_store_the_test_vector_of_rfc_7518_appendix_b_3() {
        let counted: Vec<_> = (0..64).collect();
        let key = ContentKey(Zeroizing::new(counted.try_into().unwrap()));
        let iv = hex("1af38c2dc2b96ffdd86694092341bc04").try_into().unwrap();
        let expected = hex("4affaaadb78c31c5da4b1b590d10ffbd 3dd8d5d302423526912da037ecbcc7bd \
             822c301dd67c373bccb584ad3e9279c2 e6d12a1374b77f077553df829410446b \
             36ebd97066296ae6427ea75c2e0846a1 1a09ccf5370dc80bfecbad28c73f09b3 \
             a3b75e662a2594410ae496b2e2e6609e 31e6e02cc837f053d21f37ff4f51950b \
             be2638d09dd7a4930930806d0703b1f6");
        let tag = hex("4dd3b4c088a7f45c216839645b2012bf2e6269a8c56a816dbc1b267761955bc5");
        let ciphertext = key.encrypt(&iv, PLAINTEXT).unwrap();
        assert_eq!(ciphertext, expected);
        assert_eq!(key.tag(AAD, &iv, &ciphertext), *tag);
        assert!(key.is_tag(&tag, AAD, &iv, &ciphertext));
        assert_eq!(**key.decrypt(&iv, &ciphertext).unwrap(), *PLAINTEXT);
    }

    #[test]
    fn a_short_tag_or_another_header_is_not_the_tag() {
        let key = ContentKey(Zeroizing::new([7; KEY_BYTES]));
        let tag = key.tag(b"header", b"iv", b"text");
        assert!(key.is_tag(&tag, b"header", b"iv", b"text"));
        assert!(!key.is_tag(&tag[..16], b"header", b"iv", b"text"));
        assert!(!key.is_tag(&[], b"header", b"iv", b"text"));
        // The length of the header is authenticated: no byte moves from one part to the next.
        assert!(!key.is_tag(&tag, b"head", b"eriv", b"text"));
    }
}
