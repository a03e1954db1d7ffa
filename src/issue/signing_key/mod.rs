//! Signing keys of the issuer.
//!
//! Owns RS256 and ES256 keys, parsed once: generation, PKCS#8 in and out, the JWK with its RFC 7638
//! thumbprint as `kid`, and the signature. [`life`] owns when a key is published, signs and goes.
//! The library draws the randomness of key generation and of signatures; it takes none from a
//! caller. Never serves a private part: a JWK is written from the public key alone.

pub mod life;

use std::fmt;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;

use crate::base::secret::Secret;
use crate::base::sha256::sha256;
use crate::decide::jwt::{Algorithm, rsa_public_key};

/// A key that could not be generated or read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// The library failed.
    #[error("key generation failed")]
    Generation,
    /// Not a PKCS#8 key of the algorithm.
    #[error("not a PKCS#8 private key for {0}")]
    Malformed(Algorithm),
    /// Another algorithm.
    #[error("tokens are signed with RS256 or ES256, not {0}")]
    Algorithm(Algorithm),
}

/// The library failed to sign.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("signing failed")]
pub struct SignError;

/// A key that signs tokens.
pub struct SigningKey {
    kid: Box<str>,
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    P256(Box<EcdsaKeyPair>),
}

/// The public part of a key, as a JWK (RFC 7517).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicJwk {
    /// The members that its thumbprint is computed from, in lexicographic order.
    required: Vec<(&'static str, String)>,
    kid: Box<str>,
    algorithm: Algorithm,
}

impl SigningKey {
    /// A new key: RSA with 2048 bits, or P-256.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let pair = match algorithm {
            Algorithm::Rs256 => RsaKeyPair::generate(KeySize::Rsa2048).map(Box::new).map(Pair::Rsa),
            Algorithm::Es256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
                .map(Box::new)
                .map(Pair::P256),
            other => return Err(KeyError::Algorithm(other)),
        };
        Self::new(pair.map_err(|_| KeyError::Generation)?)
    }

    /// Reads a key in PKCS#8.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pkcs8(algorithm: Algorithm, der: &[u8]) -> Result<Self, KeyError> {
        let pair = match algorithm {
            Algorithm::Rs256 => RsaKeyPair::from_pkcs8(der).map(Box::new).map(Pair::Rsa),
            Algorithm::Es256 => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der)
                .map(Box::new)
                .map(Pair::P256),
            other => return Err(KeyError::Algorithm(other)),
        };
        Self::new(pair.map_err(|_| KeyError::Malformed(algorithm))?)
    }

    fn new(pair: Pair) -> Result<Self, KeyError> {
        let required = pair.required().ok_or(KeyError::Malformed(pair.algorithm()))?;
        Ok(Self { kid: thumbprint(&required).into(), pair })
    }

    /// The key in PKCS#8, to be sealed.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] if the library cannot write it.
    pub fn to_pkcs8(&self) -> Result<Secret<Vec<u8>>, KeyError> {
        let der = match &self.pair {
            Pair::Rsa(pair) => pair.as_der().map(|der| der.as_ref().to_vec()),
            Pair::P256(pair) => pair.to_pkcs8v1().map(|der| der.as_ref().to_vec()),
        };
        der.map(Secret::new).map_err(|_| KeyError::Malformed(self.algorithm()))
    }

    /// Its one algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.pair.algorithm()
    }

    /// Its id: the RFC 7638 thumbprint, SHA-256.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public part.
    #[must_use]
    pub fn jwk(&self) -> PublicJwk {
        PublicJwk {
            // The key has been written before, when it was read.
            required: self.pair.required().unwrap_or_default(),
            kid: self.kid.clone(),
            algorithm: self.algorithm(),
        }
    }

    /// Signs `message`.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed = pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature);
                signed.map(|()| signature).map_err(|_| SignError)
            }
            Pair::P256(pair) => {
                let signature = pair.sign(&random, message).map_err(|_| SignError)?;
                Ok(signature.as_ref().to_vec())
            }
        }
    }
}

impl Pair {
    const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa(_) => Algorithm::Rs256,
            Self::P256(_) => Algorithm::Es256,
        }
    }

    /// The required members of the JWK, in lexicographic order (RFC 7638 section 3.2).
    fn required(&self) -> Option<Vec<(&'static str, String)>> {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Rsa(pair) => {
                let (modulus, exponent) = rsa_public_key(pair.public_key().as_ref())?;
                let (e, n) = (encode(&exponent), encode(&modulus));
                Some(vec![("e", e), ("kty", "RSA".to_owned()), ("n", n)])
            }
            Self::P256(pair) => {
                let [4, point @ ..] = pair.public_key().as_ref() else { return None };
                let (x, y) = point.split_at_checked(32).filter(|(_, y)| y.len() == 32)?;
                let (crv, kty) = ("P-256".to_owned(), "EC".to_owned());
                Some(vec![("crv", crv), ("kty", kty), ("x", encode(x)), ("y", encode(y))])
            }
        }
    }
}

/// A JSON object of members that need no escaping.
fn object(members: &[(&str, &str)]) -> String {
    let members: Vec<_> =
        members.iter().map(|(name, value)| format!(r#""{name}":"{value}""#)).collect();
    format!("{{{}}}", members.join(","))
}

fn thumbprint(required: &[(&'static str, String)]) -> String {
    let members: Vec<_> = required.iter().map(|(name, value)| (*name, value.as_str())).collect();
    URL_SAFE_NO_PAD.encode(sha256(object(&members).as_bytes()))
}

/// JSON.
impl fmt::Display for PublicJwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = [("kid", &*self.kid), ("alg", self.algorithm.as_str()), ("use", "sig")];
        let required = self.required.iter().map(|(name, value)| (*name, value.as_str()));
        f.write_str(&object(&required.chain(own).collect::<Vec<_>>()))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {})", self.algorithm(), self.kid)
    }
}

/// The JWK set of these keys (RFC 7517 section 5).
#[must_use]
pub fn jwks<'a>(keys: impl IntoIterator<Item = &'a SigningKey>) -> String {
    let keys: Vec<_> = keys.into_iter().map(|key| key.jwk().to_string()).collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

#[cfg(test)]
pub(crate) mod tests;
