//! Just enough DER (X.690) to take a public key out of its wrapping.
//!
//! Owns `SubjectPublicKeyInfo` (RFC 5280 section 4.1, RFC 5480, RFC 8410), `RSAPublicKey`
//! (RFC 8017 appendix A.1.1) and the way to the key inside a certificate. Reads files of the
//! operator, never anything a caller sent. Never trusts a certificate: it is only an envelope
//! here, its validity and issuer are not looked at.

use crate::base::der::{Malformed, Reader};
use crate::decide::jwt::key::{Curve, PublicKey};

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const NULL: u8 = 0x05;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// `[0] EXPLICIT`, the version of a certificate.
const VERSION: u8 = 0xa0;

const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// The reason why no key was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DerError {
    /// Not the structure it should be.
    Malformed,
    /// A well-formed key of a kind no accepted algorithm uses.
    OtherKind,
}

impl From<Malformed> for DerError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// A `SubjectPublicKeyInfo`, as in `BEGIN PUBLIC KEY`.
pub(super) fn spki(der: &[u8]) -> Result<PublicKey, DerError> {
    let mut spki = Reader(whole(der, SEQUENCE)?);
    let mut algorithm = Reader(spki.take(SEQUENCE)?);
    let key = spki.take(BIT_STRING)?;
    spki.end()?;
    let [0, key @ ..] = key else { return Err(DerError::Malformed) };
    let name = algorithm.take(OBJECT_IDENTIFIER)?;
    if name == RSA_ENCRYPTION {
        algorithm.take(NULL)?;
        algorithm.end()?;
        pkcs1(key)
    } else if name == EC_PUBLIC_KEY {
        let curve = algorithm.take(OBJECT_IDENTIFIER)?;
        algorithm.end()?;
        let curve = match curve {
            P256 => Curve::P256,
            P384 => Curve::P384,
            P521 => Curve::P521,
            _ => return Err(DerError::OtherKind),
        };
        Ok(PublicKey::Ec { curve, point: key.to_vec() })
    } else if name == ED25519 {
        algorithm.end()?;
        key.try_into().map(PublicKey::Ed25519).map_err(|_| DerError::Malformed)
    } else {
        Err(DerError::OtherKind)
    }
}

/// An `RSAPublicKey`, as in `BEGIN RSA PUBLIC KEY`.
pub(super) fn pkcs1(der: &[u8]) -> Result<PublicKey, DerError> {
    let mut key = Reader(whole(der, SEQUENCE)?);
    let modulus = key.take(INTEGER)?;
    let exponent = key.take(INTEGER)?;
    key.end()?;
    Ok(PublicKey::Rsa { modulus: positive(modulus)?, exponent: positive(exponent)? })
}

/// The key inside a certificate (RFC 5280 section 4.1).
pub(super) fn certificate(der: &[u8]) -> Result<PublicKey, DerError> {
    let mut certificate = Reader(whole(der, SEQUENCE)?);
    let mut signed = Reader(certificate.take(SEQUENCE)?);
    if signed.tag() == Some(VERSION) {
        signed.take(VERSION)?;
    }
    signed.take(INTEGER)?;
    for _signature_issuer_validity_subject in 0..4 {
        signed.take(SEQUENCE)?;
    }
    spki(signed.element(SEQUENCE)?)
}

/// Anything of the above, whatever white space is around it: a file that holds one is not a secret
/// . Where it ends is its own word, since its last byte may look like white space.
pub(super) fn is_public_key(bytes: &[u8]) -> bool {
    let mut reader = Reader(bytes.trim_ascii_start());
    let Ok(der) = reader.element(SEQUENCE) else { return false };
    if !reader.0.trim_ascii().is_empty() {
        return false;
    }
    [spki(der), pkcs1(der), certificate(der)]
        .into_iter()
        .any(|read| matches!(read, Ok(_) | Err(DerError::OtherKind)))
}

fn positive(integer: &[u8]) -> Result<Vec<u8>, DerError> {
    match integer {
        [] | [0x80..=0xff, ..] => Err(DerError::Malformed),
        [0, rest @ ..] | rest => Ok(rest.to_vec()),
    }
}

fn whole(der: &[u8], tag: u8) -> Result<&[u8], DerError> {
    let mut reader = Reader(der);
    let content = reader.take(tag)?;
    reader.end()?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT_RSA: &[u8] = &[0x30, 0x07, 0x02, 0x02, 0x00, 0xff, 0x02, 0x01, 0x03];

    #[track_caller]
    fn check(der: &[u8], expected: Result<(u8, u8), DerError>) {
        let read = pkcs1(der).map(|key| match key {
            PublicKey::Rsa { modulus, exponent } => (modulus[0], exponent[0]),
            other => panic!("{other:?}"),
        });
        assert_eq!(read, expected, "{der:02x?}");
    }

    #[test]
    fn r306_only_whole_well_formed_der_is_read() {
        check(SHORT_RSA, Ok((0xff, 3)));
        let malformed = Err(DerError::Malformed);
        for length in 0..SHORT_RSA.len() {
            check(&SHORT_RSA[..length], malformed);
        }
        check(&[SHORT_RSA, &[0]].concat(), malformed);
        check(&[0x30, 0x81, 7, 2, 2, 0, 0xff, 2, 1, 3], malformed);
        check(&[0x30, 0x82, 0, 7, 2, 2, 0, 0xff, 2, 1, 3], malformed);
        check(&[0x30, 0x80, 2, 2, 0, 0xff, 2, 1, 3, 0, 0], malformed);
        check(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], malformed);
        check(&[0x30, 6, 2, 1, 0xff, 2, 1, 3], malformed);
        check(&[0x30, 6, 4, 1, 0x7f, 2, 1, 3], malformed);
        check(&[0x30, 5, 2, 0, 2, 1, 3], malformed);
    }

    /// An element as DER has it.
    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = match content.len() {
            short @ ..=0x7f => vec![short as u8],
            short @ ..=0xff => vec![0x81, short as u8],
            long => vec![0x82, (long >> 8) as u8, long as u8],
        };
        [&[tag][..], &length, content].concat()
    }

    #[test]
    fn r306_every_length_of_a_key_is_read() {
        for bytes in (100..300).chain([511, 512, 513, 1023, 1024]) {
            let modulus = element(INTEGER, &vec![0x7f; bytes]);
            let key = element(SEQUENCE, &[modulus, element(INTEGER, &[3])].concat());
            check(&key, Ok((0x7f, 3)));
            check(&key[..key.len() - 1], Err(DerError::Malformed));
        }
    }

    #[test]
    fn the_key_of_a_certificate_ends_where_its_extensions_begin() {
        let name = element(SEQUENCE, &element(OBJECT_IDENTIFIER, ED25519));
        let spki = [name.clone(), element(BIT_STRING, &[0; 33])].concat();
        let before = [element(INTEGER, &[1]), name.repeat(4), element(SEQUENCE, &spki)].concat();
        let extensions = element(0xa3, &element(SEQUENCE, &[]));
        let signature = [name, element(BIT_STRING, &[0; 65])].concat();
        for behind in [vec![], extensions] {
            let signed = element(SEQUENCE, &[before.clone(), behind].concat());
            let read = certificate(&element(SEQUENCE, &[signed, signature.clone()].concat()));
            assert_eq!(read, Ok(PublicKey::Ed25519([0; 32])));
        }
    }

    #[test]
    fn r306_keys_of_other_kinds_are_told_from_garbage() {
        let without_key = [0x30, 7, 0x30, 5, 6, 3, 0x2b, 0x65, 0x71];
        assert_eq!(spki(&without_key), Err(DerError::Malformed));
        let ed448 = [0x30, 0x0b, 0x30, 5, 6, 3, 0x2b, 0x65, 0x71, 3, 2, 0, 1];
        assert_eq!(spki(&ed448), Err(DerError::OtherKind));
        let unused_bits = [0x30, 0x0b, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 2, 1, 1];
        assert_eq!(spki(&unused_bits), Err(DerError::Malformed));
        assert_eq!(certificate(SHORT_RSA), Err(DerError::Malformed));
        assert!(is_public_key(SHORT_RSA) && is_public_key(&ed448) && !is_public_key(b"0123"));
    }
}
