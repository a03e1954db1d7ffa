//! One verification key, bound to one algorithm.
//!
//! Owns what a key must be to verify anything: kind, size, a point on its curve, enough secret
//! bytes (RFC 7518 sections 3.2 to 3.5, RFC 8725 section 3.5). A key is parsed once, when it is
//! loaded. Never picks its algorithm by what a token says, and does not look for the
//! fingerprint of weak RSA generators (ROCA): such a key is the issuer's to replace.

use std::fmt;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{self, ParsedPublicKey, RsaPublicKeyComponents};

use crate::decide::jwt::algorithm::KeyKind;
use crate::decide::jwt::{Algorithm, JwtError, secret_strength};

/// Shorter moduli are within reach of the patient (RFC 7518 section 3.3).
const RSA_BITS_MIN: usize = 2048;
/// Longer ones cost more per signature than they add.
const RSA_BITS_MAX: usize = 8192;

/// A key that verifies signatures of its one algorithm.
pub struct VerifyingKey {
    algorithm: Algorithm,
    kid: Option<Box<str>>,
    thumbprints: Thumbprints,
    /// The `issuer` members of its JWKs, sorted. All of them restrict what it verifies.
    stated_issuers: Vec<Box<str>>,
    has_low_entropy: bool,
    material: Material,
}

/// The digests of its certificate that a JWK states (RFC 7517 sections 4.8 and 4.9), as texts to
/// compare. The certificate itself is never read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Thumbprints {
    pub(super) sha1: Option<Box<str>>,
    pub(super) sha256: Option<Box<str>>,
}

enum Material {
    Public(ParsedPublicKey),
    /// Boxed: it is ten times as large as the other.
    Secret(Box<hmac::Key>),
}

/// An elliptic curve of RFC 7518 section 6.2.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

/// A public key as read, not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PublicKey {
    /// Big-endian, without leading zeros.
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// A point as in SEC 1.
    Ec {
        curve: Curve,
        point: Vec<u8>,
    },
    Ed25519([u8; 32]),
}

impl PublicKey {
    pub(super) const fn kind(&self) -> KeyKind {
        match self {
            Self::Rsa { .. } => KeyKind::Rsa,
            Self::Ec { curve: Curve::P256, .. } => KeyKind::P256,
            Self::Ec { curve: Curve::P384, .. } => KeyKind::P384,
            Self::Ec { curve: Curve::P521, .. } => KeyKind::P521,
            Self::Ed25519(_) => KeyKind::Ed25519,
        }
    }
}

impl VerifyingKey {
    /// Binds a public key. The error says what is wrong and what is accepted.
    pub(super) fn public(
        key: &PublicKey,
        algorithm: Algorithm,
        kid: Option<Box<str>>,
    ) -> Result<Self, String> {
        let verification = verification(algorithm)
            .filter(|_| key.kind() == algorithm.key_kind())
            .ok_or_else(|| does_not_fit(algorithm, key.kind()))?;
        let parsed = match key {
            PublicKey::Rsa { modulus, exponent } => parse_rsa(verification, modulus, exponent)?,
            PublicKey::Ec { point, .. } => ParsedPublicKey::new(verification, point)
                .map_err(|_| format!("is not a point on the curve of {algorithm}"))?,
            PublicKey::Ed25519(bytes) => parse_ed25519(bytes)?,
        };
        Ok(Self {
            algorithm,
            kid,
            thumbprints: Thumbprints::default(),
            stated_issuers: Vec::new(),
            has_low_entropy: false,
            material: Material::Public(parsed),
        })
    }

    /// Binds an HMAC secret. The error says what is wrong and what is accepted.
    pub(super) fn secret(
        secret: &[u8],
        algorithm: Algorithm,
        kid: Option<Box<str>>,
    ) -> Result<Self, String> {
        let (hash, bytes_min) = match algorithm {
            Algorithm::Hs256 => (hmac::HMAC_SHA256, 32),
            Algorithm::Hs384 => (hmac::HMAC_SHA384, 48),
            Algorithm::Hs512 => (hmac::HMAC_SHA512, 64),
            Algorithm::Rs256
            | Algorithm::Rs384
            | Algorithm::Rs512
            | Algorithm::Ps256
            | Algorithm::Ps384
            | Algorithm::Ps512
            | Algorithm::Es256
            | Algorithm::Es384
            | Algorithm::Es512
            | Algorithm::EdDsa
            | Algorithm::Ed25519 => return Err(does_not_fit(algorithm, KeyKind::Secret)),
        };
        if secret.len() < bytes_min {
            return Err(format!(
                "is a secret of {} bytes: {algorithm} needs at least {bytes_min} (RFC 7518 section 3.2)",
                secret.len()
            ));
        }
        if secret_strength::is_known(secret) {
            return Err(
                "is a secret that is publicly known, as an example in documentation or in \
                 public code: generate one with `openssl rand -base64 48`"
                    .to_owned(),
            );
        }
        Ok(Self {
            algorithm,
            kid,
            thumbprints: Thumbprints::default(),
            stated_issuers: Vec::new(),
            has_low_entropy: secret_strength::has_low_entropy(secret),
            material: Material::Secret(Box::new(hmac::Key::new(hash, secret))),
        })
    }

    /// The algorithm the key is bound to.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key id, if it has one.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The key with the issuer its JWK states.
    pub(super) fn with_issuer(self, stated: Option<Box<str>>) -> Self {
        Self { stated_issuers: stated.into_iter().collect(), ..self }
    }

    /// The `issuer` members of its JWKs, which sets for many tenants have.
    pub(super) fn stated_issuers(&self) -> &[Box<str>] {
        &self.stated_issuers
    }

    /// The key with the thumbprints its JWK states.
    pub(super) fn with_thumbprints(self, thumbprints: Thumbprints) -> Self {
        Self { thumbprints, ..self }
    }

    pub(super) fn thumbprints(&self) -> &Thumbprints {
        &self.thumbprints
    }

    /// Returns whether both JWKs state the same thumbprints and the same issuers.
    pub(super) fn states_the_same(&self, other: &Self) -> bool {
        self.thumbprints == other.thumbprints && self.stated_issuers == other.stated_issuers
    }

    /// Returns whether it is a secret of low entropy.
    pub(super) fn has_low_entropy(&self) -> bool {
        self.has_low_entropy
    }

    pub(super) fn has_thumbprint(&self) -> bool {
        self.thumbprints != Thumbprints::default()
    }

    /// Adds what an equal member states: thumbprints that this one does not, and every issuer, so
    /// that the order of members does not matter.
    pub(super) fn take_statements_of(&mut self, other: &Self) {
        self.stated_issuers.extend_from_slice(&other.stated_issuers);
        self.stated_issuers.sort_unstable();
        self.stated_issuers.dedup();
        let (ours, theirs) = (&mut self.thumbprints, &other.thumbprints);
        ours.sha1 = ours.sha1.take().or_else(|| theirs.sha1.clone());
        ours.sha256 = ours.sha256.take().or_else(|| theirs.sha256.clone());
    }

    /// Returns whether it is the same key under the same id, bound to the same signature.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.kid == other.kid
            && self.algorithm.is_same_signature(other.algorithm)
            && self.has_material_of(other)
    }

    /// Secrets are compared by what they sign.
    pub(super) fn has_material_of(&self, other: &Self) -> bool {
        match (&self.material, &other.material) {
            (Material::Public(one), Material::Public(other)) => one.as_ref() == other.as_ref(),
            (Material::Secret(one), Material::Secret(other)) => {
                one.algorithm() == other.algorithm()
                    && hmac::verify(one, b"", hmac::sign(other, b"").as_ref()).is_ok()
            }
            (Material::Public(_), Material::Secret(_))
            | (Material::Secret(_), Material::Public(_)) => false,
        }
    }

    /// Returns whether the signature over `signed` is valid, under the algorithm of the key.
    pub(super) fn verify(&self, signed: &[u8], signature: &[u8]) -> Result<(), JwtError> {
        let held = match &self.material {
            Material::Public(key) => key.verify_sig(signed, signature),
            Material::Secret(key) => hmac::verify(key, signed, signature),
        };
        held.map_err(|_| JwtError::SignatureBad)
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

fn does_not_fit(algorithm: Algorithm, kind: KeyKind) -> String {
    format!("is {kind}, which {algorithm} cannot use: it needs {}", algorithm.key_kind())
}

fn parse_rsa(
    verification: &'static dyn signature::VerificationAlgorithm,
    modulus: &[u8],
    exponent: &[u8],
) -> Result<ParsedPublicKey, String> {
    let bits = modulus.first().map_or(0, |&top| modulus.len() * 8 - top.leading_zeros() as usize);
    if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
        return Err(format!(
            "is an RSA key of {bits} bits: {RSA_BITS_MIN} to {RSA_BITS_MAX} are accepted"
        ));
    }
    // Through DER, because only that way checks the parts: an odd exponent above 1, an odd modulus.
    let wrong = "is not a sound RSA key: n and e must be odd, e at least 3 and at most 33 bits";
    let der = RsaPublicKeyComponents { n: modulus, e: exponent }.as_der().map_err(|_| wrong)?;
    ParsedPublicKey::new(verification, der.as_ref()).map_err(|_| wrong.to_owned())
}

fn parse_ed25519(bytes: &[u8; 32]) -> Result<ParsedPublicKey, String> {
    if has_small_order(bytes) {
        return Err("is an Ed25519 point of small order, under which anyone can sign".to_owned());
    }
    ParsedPublicKey::new(&signature::ED25519, bytes)
        .map_err(|_| "is not an Ed25519 public key".to_owned())
}

/// The points of order 1, 2, 4 and 8, in every encoding of their y coordinate (the sign of x is
/// masked). All zeros, the likeliest placeholder in a configuration, is one of them.
fn has_small_order(bytes: &[u8; 32]) -> bool {
    const ORDER_8: [[u8; 32]; 2] = [
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef,
            0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88,
            0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10,
            0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77,
            0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    let mut y = *bytes;
    y[31] &= 0x7f;
    let zero_or_one = y[0] <= 1 && y[1..].iter().all(|&byte| byte == 0);
    // p - 1, and the two non-canonical spellings p and p + 1 of zero and one.
    let about_p =
        (0xec..=0xee).contains(&y[0]) && y[1..31].iter().all(|&byte| byte == 0xff) && y[31] == 0x7f;
    zero_or_one || about_p || ORDER_8.contains(&y)
}

/// The aws-lc name of a public-key algorithm. Signatures of ECDSA are `r || s` of fixed length
/// (RFC 7518 section 3.4), salts of PSS as long as the hash (section 3.5).
fn verification(algorithm: Algorithm) -> Option<&'static dyn signature::VerificationAlgorithm> {
    Some(match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
        Algorithm::Es512 => &signature::ECDSA_P521_SHA512_FIXED,
        Algorithm::EdDsa | Algorithm::Ed25519 => &signature::ED25519,
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r306_points_of_small_order_are_told_from_those_that_look_a_little_like_them() {
        let point = |first: u8, middle: u8, last: u8| {
            let mut bytes = [middle; 32];
            (bytes[0], bytes[31]) = (first, last);
            bytes
        };
        for small in [
            point(0, 0, 0),
            point(1, 0, 0),
            point(1, 0, 0x80),
            point(0xec, 0xff, 0x7f),
            point(0xed, 0xff, 0xff),
            point(0xee, 0xff, 0x7f),
        ] {
            assert!(has_small_order(&small), "{small:x?}");
        }
        for sound in [
            point(2, 0, 0),
            point(1, 7, 0),
            point(9, 0, 0),
            point(0xec, 0, 0x7f),
            point(0xec, 0xff, 0x7e),
            point(0xeb, 0xff, 0x7f),
            point(9, 9, 0x7f),
        ] {
            assert!(!has_small_order(&sound), "{sound:x?}");
        }
    }

    #[test]
    fn r302_no_secret_is_bound_to_an_algorithm_of_public_keys_nor_the_reverse() {
        let secret = [7; 64];
        for algorithm in Algorithm::ALL {
            let is_hmac =
                matches!(algorithm, Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512);
            assert_eq!(
                VerifyingKey::secret(&secret, algorithm, None).is_ok(),
                is_hmac,
                "{algorithm}"
            );
            let ed25519 = PublicKey::Ed25519([9; 32]);
            if is_hmac {
                assert!(VerifyingKey::public(&ed25519, algorithm, None).is_err(), "{algorithm}");
            }
        }
    }

    #[test]
    fn secrets_are_the_same_key_if_they_sign_alike() {
        let key = |byte, algorithm| VerifyingKey::secret(&[byte; 64], algorithm, None).unwrap();
        let one = key(7, Algorithm::Hs256);
        assert!(one.is_same(&key(7, Algorithm::Hs256)));
        assert!(!one.is_same(&key(8, Algorithm::Hs256)));
        assert!(!one.is_same(&key(7, Algorithm::Hs512)));
    }
}
