//! The demo's keys and tokens, generated at every start.
//!
//! Owns a small signer for one algorithm, because the demo has no issuer. The private key never
//! leaves this module; tokens expire after 12 hours.

use std::time::Duration;

use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::base::clock::{Clock, UnixTime};
use crate::base::secret::Secret;
use crate::cli::Failure;
use crate::decide::api_key::Digest;
use crate::decide::api_key::format::{self, RandomFault, SecretKind};

pub(super) const ISSUER: &str = "https://demo.gatepost.invalid";
pub(super) const AUDIENCE: &str = "demo-api";

const KEY_ID: &str = "demo-1";
const LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// The keys and tokens of the demo.
pub(super) struct Credentials {
    /// The JWKS with the public key.
    pub(super) key_set: String,
    /// A token with the scope `read`.
    pub(super) token: String,
    /// A token without scopes.
    pub(super) token_without_scope: String,
    /// An API key with the scope `read`.
    pub(super) api_key: Secret<String>,
    /// The key file with its digest.
    pub(super) key_file: String,
    /// Expiry of the tokens.
    pub(super) expires: UnixTime,
}

impl Credentials {
    pub(super) fn generate() -> Result<Self, Failure> {
        let signer = Signer::generate().map_err(|_| Failure::fault("no signing key"))?;
        let now = Clock::start().now().unix;
        let expires = now.plus(LIFETIME);
        let sign = |claims: &Value| {
            signer.sign(claims).map_err(|_| Failure::fault("a token could not be signed"))
        };
        let mut claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "jti": "demo-token-1",
            "iat": now.0, "exp": expires.0, "scope": "read",
        });
        let token = sign(&claims)?;
        claims["sub"] = "grace".into();
        claims["jti"] = "demo-token-2".into();
        claims["scope"] = "".into();
        let token_without_scope = sign(&claims)?;
        let mut fill = |bytes: &mut [u8]| rand::fill(bytes).map_err(|_| RandomFault);
        let api_key = format::generate(SecretKind::ApiKey, &mut fill)
            .map_err(|error| Failure::fault(error.to_string()))?;
        let digest = Digest::sha256(api_key.expose()).to_text();
        let key_file = format!(
            "keys:\n  - {{ id: demo, name: demo, digest: \"{digest}\", scopes: [read] }}\n"
        );
        let key_set = signer.key_set();
        Ok(Self { key_set, token, token_without_scope, api_key, key_file, expires })
    }
}

/// Signs with ES256.
struct Signer {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Signer {
    fn generate() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        Ok(Self { key, random: SystemRandom::new() })
    }

    fn sign(&self, claims: &Value) -> Result<String, aws_lc_rs::error::Unspecified> {
        let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": KEY_ID });
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(&header), encode(claims));
        let signature = self.key.sign(&self.random, signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn key_set(&self) -> String {
        // An uncompressed point: 0x04, then x and y of equal length (SEC 1, 2.3.3).
        let point = &self.key.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        let encode = |coordinate: &[u8]| URL_SAFE_NO_PAD.encode(coordinate);
        let key = json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID,
            "x": encode(x), "y": encode(y),
        });
        json!({ "keys": [key] }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    #[test]
    fn the_tokens_verify_with_the_published_key() {
        let credentials = Credentials::generate().unwrap();
        let key_set: Value = serde_json::from_str(&credentials.key_set).unwrap();
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        let coordinate = |name: &str| decode(key_set["keys"][0][name].as_str().unwrap());
        let point = [vec![4], coordinate("x"), coordinate("y")].concat();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        for token in [&credentials.token, &credentials.token_without_scope] {
            let (signed, signature) = token.rsplit_once('.').unwrap();
            key.verify(signed.as_bytes(), &decode(signature)).unwrap();
        }
    }
}
