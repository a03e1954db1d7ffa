//! What verifying a token costs beside the bare signature check it contains.
//!
//! `cargo bench --no-default-features --features mimalloc --bench jwt_verify`, with the allocator
//! of the binary. The budget: `gatepost/ALG` at most 1.1 times `bare/ALG` for public keys.
#![expect(clippy::unwrap_used, reason = "a bench may stop")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, ParsedPublicKey, RsaKeyPair, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use criterion::{Criterion, criterion_group, criterion_main};
use gatepost::base::clock::UnixTime;
use gatepost::decide::jwt::{Algorithm, IssuerSettings, Issuers, KeyFileFormat, KeySet};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOW: UnixTime = UnixTime(1_800_000_000);

/// About what a large identity provider puts into an access token.
const PAYLOAD: &str = r#"{"iss":"https://login.example.com","sub":"248289761001","aud":["orders-api","https://login.example.com/userinfo"],"exp":1800000300,"iat":1800000000,"nbf":1800000000,"jti":"0190f6a2-7d1c-7e61-9c1b-2f1d5a3b9c77","azp":"web-frontend","scope":"openid profile email read write","email":"jane@example.com","realm_access":{"roles":["user","editor"]}}"#;

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;
type Bare = Box<dyn Fn(&[u8], &[u8]) -> bool>;

struct Case {
    algorithm: Algorithm,
    key_file: Vec<u8>,
    format: KeyFileFormat,
    sign: Sign,
    bare: Bare,
}

fn public(
    algorithm: Algorithm,
    der: &[u8],
    verification: &'static dyn VerificationAlgorithm,
    sign: Sign,
) -> Case {
    let key = ParsedPublicKey::new(verification, der).unwrap();
    let pem =
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der));
    Case {
        algorithm,
        key_file: pem.into_bytes(),
        format: KeyFileFormat::JwksOrPem,
        sign,
        bare: Box::new(move |signed, sig| key.verify_sig(signed, sig).is_ok()),
    }
}

fn rs256() -> Case {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let der = pair.public_key().as_der().unwrap();
    let sign = move |signed: &[u8]| {
        let mut sig = vec![0; pair.public_modulus_len()];
        pair.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), signed, &mut sig).unwrap();
        sig
    };
    let verification = &signature::RSA_PKCS1_2048_8192_SHA256;
    public(Algorithm::Rs256, der.as_ref(), verification, Box::new(sign))
}

fn es256() -> Case {
    let pair = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let der = pair.public_key().as_der().unwrap();
    let sign =
        move |signed: &[u8]| pair.sign(&SystemRandom::new(), signed).unwrap().as_ref().to_vec();
    let verification = &signature::ECDSA_P256_SHA256_FIXED;
    public(Algorithm::Es256, der.as_ref(), verification, Box::new(sign))
}

fn ed25519() -> Case {
    let pair = Ed25519KeyPair::generate().unwrap();
    let der = pair.public_key().as_der().unwrap();
    let sign = move |signed: &[u8]| pair.sign(signed).as_ref().to_vec();
    public(Algorithm::Ed25519, der.as_ref(), &signature::ED25519, Box::new(sign))
}

fn hs256() -> Case {
    let secret = b"0123456789abcdef".repeat(2);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    let signing = key.clone();
    Case {
        algorithm: Algorithm::Hs256,
        key_file: secret,
        format: KeyFileFormat::Secret,
        sign: Box::new(move |signed| hmac::sign(&signing, signed).as_ref().to_vec()),
        bare: Box::new(move |signed, sig| hmac::verify(&key, signed, sig).is_ok()),
    }
}

fn settings(algorithm: Algorithm) -> IssuerSettings {
    IssuerSettings {
        issuer: "https://login.example.com".into(),
        name: "corp".into(),
        audiences: vec!["orders-api".into()],
        algorithms: vec![algorithm],
        types: vec![Some("at+jwt".into()), Some("jwt".into()), None],
        audience_claim: "aud".into(),
        scope_claims: vec!["scope".into(), "scp".into()],
        scopes_cap: None,
        leeway: Duration::from_secs(30),
        max_lifetime: None,
        claim_headers: Vec::new(),
        shape: gatepost::decide::jwt::TokenShape::of_rfc9068(),
        introspection: None,
    }
}

fn verify(criterion: &mut Criterion) {
    for case in [rs256(), es256(), ed25519(), hs256()] {
        let algorithm = case.algorithm;
        let header = format!(r#"{{"alg":"{algorithm}","typ":"at+jwt","kid":"2026-11-key-1"}}"#);
        let signed =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(PAYLOAD));
        let sig = (case.sign)(signed.as_bytes());
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&sig));
        let keys = KeySet::parse(&case.key_file, case.format, &[algorithm]).unwrap();
        let issuers = Issuers::new(vec![(Arc::new(settings(algorithm)), Arc::new(keys))]);
        assert!(issuers.verify(&token, NOW).is_ok() && (case.bare)(signed.as_bytes(), &sig));
        criterion.bench_function(&format!("bare/{algorithm}"), |bench| {
            bench.iter(|| (case.bare)(black_box(signed.as_bytes()), black_box(&sig)));
        });
        criterion.bench_function(&format!("gatepost/{algorithm}"), |bench| {
            bench.iter(|| issuers.verify(black_box(&token), NOW).is_ok());
        });
    }
}

criterion_group!(benches, verify);
criterion_main!(benches);
