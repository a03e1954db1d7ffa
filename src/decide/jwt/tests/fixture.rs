//! Keys that sign, and tokens made of raw text.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::base::clock::UnixTime;
use crate::decide::jwt::{
    Algorithm, IssuerSettings, Issuers, JwtError, KeyFileFormat, KeySet, VerifiedToken, der,
    key::PublicKey,
};

pub(super) const ISSUER: &str = "https://login.example.com";
pub(super) const AUDIENCE: &str = "orders-api";
pub(super) const NOW: UnixTime = UnixTime(1_800_000_000);

pub(super) enum Signer {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Secret(Vec<u8>),
}

static RSA: LazyLock<Signer> =
    LazyLock::new(|| Signer::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key")));
static P256: LazyLock<Signer> = LazyLock::new(|| ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING));
static P384: LazyLock<Signer> = LazyLock::new(|| ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING));
static P521: LazyLock<Signer> = LazyLock::new(|| ec(&signature::ECDSA_P521_SHA512_FIXED_SIGNING));
static ED: LazyLock<Signer> =
    LazyLock::new(|| Signer::Ed(Ed25519KeyPair::generate().expect("a key")));
static SECRET: LazyLock<Signer> = LazyLock::new(|| Signer::Secret(b"0123456789abcdef".repeat(4)));

fn ec(algorithm: &'static EcdsaSigningAlgorithm) -> Signer {
    Signer::Ec(EcdsaKeyPair::generate(algorithm).expect("a key"))
}

/// The one signer of the kind an algorithm needs.
pub(super) fn signer(algorithm: Algorithm) -> &'static Signer {
    match algorithm {
        Algorithm::Rs256
        | Algorithm::Rs384
        | Algorithm::Rs512
        | Algorithm::Ps256
        | Algorithm::Ps384
        | Algorithm::Ps512 => &RSA,
        Algorithm::Es256 => &P256,
        Algorithm::Es384 => &P384,
        Algorithm::Es512 => &P521,
        Algorithm::EdDsa | Algorithm::Ed25519 => &ED,
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => &SECRET,
    }
}

impl Signer {
    pub(super) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(rsa_encoding(algorithm), &random, message, &mut signature)
                    .expect("a signature");
                signature
            }
            Self::Ec(pair) => pair.sign(&random, message).expect("a signature").as_ref().to_vec(),
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Secret(secret) => mac(algorithm, secret, message),
        }
    }

    /// `SubjectPublicKeyInfo`; empty for a secret.
    pub(super) fn spki(&self) -> Vec<u8> {
        match self {
            Self::Rsa(pair) => pair.public_key().as_der().expect("DER").as_ref().to_vec(),
            Self::Ec(pair) => pair.public_key().as_der().expect("DER").as_ref().to_vec(),
            Self::Ed(pair) => pair.public_key().as_der().expect("DER").as_ref().to_vec(),
            Self::Secret(_) => Vec::new(),
        }
    }

    /// The JWK with `kid` and `alg` where given.
    pub(super) fn jwk(&self, kid: Option<&str>, algorithm: Option<Algorithm>) -> Value {
        let mut jwk = match self {
            Self::Secret(secret) => json!({ "kty": "oct", "k": b64(secret) }),
            Self::Rsa(_) | Self::Ec(_) | Self::Ed(_) => public_jwk(&self.spki()),
        };
        if let Some(kid) = kid {
            jwk["kid"] = kid.into();
        }
        if let Some(algorithm) = algorithm {
            jwk["alg"] = algorithm.as_str().into();
        }
        jwk
    }
}

fn public_jwk(spki: &[u8]) -> Value {
    match der::spki(spki).expect("our own key") {
        PublicKey::Rsa { modulus, exponent } => {
            json!({ "kty": "RSA", "n": b64(&modulus), "e": b64(&exponent) })
        }
        PublicKey::Ec { curve, point } => {
            let (x, y) = point[1..].split_at(point.len() / 2);
            let crv = match x.len() {
                32 => "P-256",
                48 => "P-384",
                66 => "P-521",
                other => panic!("{curve:?} with {other} bytes"),
            };
            json!({ "kty": "EC", "crv": crv, "x": b64(x), "y": b64(y) })
        }
        PublicKey::Ed25519(x) => json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(&x) }),
    }
}

fn rsa_encoding(algorithm: Algorithm) -> &'static dyn RsaEncoding {
    match algorithm {
        Algorithm::Rs384 => &signature::RSA_PKCS1_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_SHA512,
        _ => &signature::RSA_PKCS1_SHA256,
    }
}

pub(super) fn mac(algorithm: Algorithm, secret: &[u8], message: &[u8]) -> Vec<u8> {
    let hash = match algorithm {
        Algorithm::Hs384 => hmac::HMAC_SHA384,
        Algorithm::Hs512 => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    };
    hmac::sign(&hmac::Key::new(hash, secret), message).as_ref().to_vec()
}

pub(super) fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<_> =
        body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

pub(super) fn settings(algorithms: &[Algorithm]) -> IssuerSettings {
    IssuerSettings {
        issuer: ISSUER.into(),
        name: "corp".into(),
        audiences: vec![AUDIENCE.into(), "billing".into()],
        algorithms: algorithms.to_vec(),
        types: vec![Some("at+jwt".into()), Some("jwt".into()), None],
        audience_claim: "aud".into(),
        scope_claims: vec!["scope".into(), "scp".into()],
        scopes_cap: None,
        leeway: Duration::from_secs(30),
        max_lifetime: None,
        claim_headers: Vec::new(),
        shape: crate::decide::jwt::TokenShape::of_rfc9068(),
        introspection: None,
    }
}

pub(super) fn key_set(document: &Value, algorithms: &[Algorithm]) -> KeySet {
    KeySet::parse(document.to_string().as_bytes(), KeyFileFormat::JwksOrPem, algorithms)
        .expect("a key set")
}

/// One issuer, one key `k1` of `algorithm`, that algorithm alone listed.
pub(super) fn one_key(algorithm: Algorithm) -> Issuers {
    one_key_with(algorithm, settings(&[algorithm]))
}

pub(super) fn one_key_with(algorithm: Algorithm, settings: IssuerSettings) -> Issuers {
    let jwk = signer(algorithm).jwk(Some("k1"), Some(algorithm));
    let keys = key_set(&jwk, &settings.algorithms);
    Issuers::new(vec![(Arc::new(settings), Arc::new(keys))])
}

/// A token of exactly this text, signed by the signer of `algorithm`.
pub(super) fn sign_text(algorithm: Algorithm, header: &str, payload: &str) -> String {
    let signed = format!("{}.{}", b64(header.as_bytes()), b64(payload.as_bytes()));
    let signature = signer(algorithm).sign(algorithm, signed.as_bytes());
    format!("{signed}.{}", b64(&signature))
}

pub(super) fn sign(algorithm: Algorithm, header: &Value, payload: &Value) -> String {
    sign_text(algorithm, &header.to_string(), &payload.to_string())
}

pub(super) fn header(algorithm: Algorithm) -> Value {
    json!({ "alg": algorithm.as_str(), "kid": "k1", "typ": "at+jwt" })
}

/// A payload that is accepted.
pub(super) fn payload() -> Value {
    json!({ "iss": ISSUER, "sub": "user-1", "aud": AUDIENCE, "exp": NOW.0 + 300 })
}

/// An object with members replaced, or removed where the new value is null.
pub(super) fn with(mut object: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().expect("changes") {
        let members = object.as_object_mut().expect("an object");
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    object
}

/// Verifies with an HS256 key, the cheapest to sign with.
pub(super) fn verify_payload(payload: &str) -> Result<VerifiedToken, JwtError> {
    verify_payload_with(settings(&[Algorithm::Hs256]), payload)
}

pub(super) fn verify_payload_with(
    settings: IssuerSettings,
    payload: &str,
) -> Result<VerifiedToken, JwtError> {
    let token = sign_text(Algorithm::Hs256, &header(Algorithm::Hs256).to_string(), payload);
    one_key_with(Algorithm::Hs256, settings).verify(&token, NOW)
}

pub(super) fn verify_header(header: &str) -> Result<VerifiedToken, JwtError> {
    static ISSUERS: LazyLock<Issuers> = LazyLock::new(|| one_key(Algorithm::Hs256));
    ISSUERS.verify(&sign_text(Algorithm::Hs256, header, &payload().to_string()), NOW)
}

/// The spellings of a public key an attacker would use as an HMAC secret.
pub(super) fn spellings(signer: &Signer) -> HashMap<&'static str, Vec<u8>> {
    let spki = signer.spki();
    let text = pem("PUBLIC KEY", &spki);
    HashMap::from([
        ("PEM", text.clone().into_bytes()),
        ("PEM without last newline", text.trim_end().into()),
        ("PEM with leading space", format!(" {text}").into_bytes()),
        ("base64, as in x5c", STANDARD.encode(&spki).into_bytes()),
        ("JWK", signer.jwk(None, None).to_string().into_bytes()),
        ("DER", spki),
    ])
}
