//! One key, one algorithm, and what no algorithm accepts.

use std::sync::Arc;

use serde_json::json;

use super::fixture::*;
use crate::decide::jwt::{Algorithm, Issuers, JwtError, KeyFileFormat, KeyMistake, KeySet};

#[test]
fn every_algorithm_verifies_its_own_tokens_and_no_others() {
    for algorithm in Algorithm::ALL {
        let issuers = one_key(algorithm);
        let token = sign(algorithm, &header(algorithm), &payload());
        let verified = issuers.verify(&token, NOW).unwrap();
        assert_eq!(verified.principal().subject(), "user-1");
        for (index, _) in token.char_indices().filter(|(index, _)| index % 7 == 0) {
            let mut bytes = token.clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(issuers.verify(&changed, NOW).is_err(), "{algorithm}: byte {index} changed");
        }
    }
}

#[test]
fn r302_no_header_turns_a_public_key_into_a_secret() {
    let mut tried = 0;
    for bound in Algorithm::ALL {
        let key = signer(bound);
        let jwk = key.jwk(Some("k1"), Some(bound));
        let keys = Arc::new(key_set(&jwk, &Algorithm::ALL));
        let issuers = Issuers::new(vec![(Arc::new(settings(&Algorithm::ALL)), keys)]);
        for claimed in Algorithm::ALL {
            for (spelling, secret) in spellings(key) {
                for kid in [json!("k1"), json!(null)] {
                    let header = with(header(claimed), &json!({ "kid": kid }));
                    let signed = format!(
                        "{}.{}",
                        b64(header.to_string().as_bytes()),
                        b64(payload().to_string().as_bytes())
                    );
                    let forged = mac(claimed, &secret, signed.as_bytes());
                    let refused = issuers.verify(&format!("{signed}.{}", b64(&forged)), NOW);
                    assert!(refused.is_err(), "{bound} key as {spelling}, header {claimed}");
                    tried += 1;
                }
            }
        }
    }
    assert_eq!(tried, 14 * 14 * 6 * 2);
}

#[test]
fn r302_the_header_can_only_confirm_the_algorithm_of_the_key() {
    for bound in Algorithm::ALL {
        let jwk = signer(bound).jwk(Some("k1"), Some(bound));
        let keys = Arc::new(key_set(&jwk, &Algorithm::ALL));
        let issuers = Issuers::new(vec![(Arc::new(settings(&Algorithm::ALL)), keys)]);
        for claimed in Algorithm::ALL {
            let token = sign(claimed, &header(claimed), &payload());
            let verified = issuers.verify(&token, NOW).map(|_| ());
            if claimed.is_same_signature(bound) {
                assert_eq!(verified, Ok(()));
            } else {
                let mismatch = JwtError::AlgorithmMismatch { key: bound, token: claimed };
                assert_eq!(verified, Err(mismatch));
            }
        }
    }
}

#[test]
fn r302_a_name_of_ed25519_must_be_listed() {
    let other = JwtError::HeaderRefused("alg is not among the issuer's algorithms");
    for (listed, stated, claimed) in [
        (Algorithm::EdDsa, Algorithm::EdDsa, Algorithm::Ed25519),
        (Algorithm::EdDsa, Algorithm::Ed25519, Algorithm::Ed25519),
        (Algorithm::Ed25519, Algorithm::EdDsa, Algorithm::EdDsa),
    ] {
        let jwk = signer(listed).jwk(Some("k1"), Some(stated));
        let keys = Arc::new(key_set(&jwk, &[listed]));
        let issuers = Issuers::new(vec![(Arc::new(settings(&[listed])), keys)]);
        let token = sign(claimed, &header(claimed), &payload());
        assert_eq!(issuers.verify(&token, NOW).err(), Some(other.clone()));
        let token = sign(listed, &header(listed), &payload());
        assert!(issuers.verify(&token, NOW).is_ok());
    }
}

#[test]
fn r302_a_secret_file_with_a_public_key_in_it_is_a_mistake() {
    let listed = [Algorithm::Hs256, Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];
    for algorithm in Algorithm::ALL {
        for (spelling, bytes) in spellings(signer(algorithm)) {
            if bytes.is_empty() || bytes.starts_with(b"-----BEGIN PUBLIC KEY-----\n\n") {
                continue;
            }
            let read = KeySet::parse(&bytes, KeyFileFormat::Secret, &listed);
            assert_refused_as_key(read, &format!("{algorithm} key as {spelling}"));
            let jwk = json!({ "kty": "oct", "k": b64(&bytes), "alg": "HS256" }).to_string();
            let read = KeySet::parse(jwk.as_bytes(), KeyFileFormat::JwksOrPem, &listed);
            assert_refused_as_key(read, &format!("{algorithm} key as {spelling} in a JWK"));
        }
        let der = signer(algorithm).spki();
        if !der.is_empty() {
            let read = KeySet::parse(&[&der, &b"\n"[..]].concat(), KeyFileFormat::Secret, &listed);
            assert_refused_as_key(read, &format!("{algorithm} key as DER with a newline"));
        }
    }
}

#[test]
fn r302_a_public_key_whose_last_byte_is_white_space_is_no_secret_either() {
    let start = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
    for last in *b" \t\n\r\x0c" {
        for after in ["", "\n", "\r\n", " \n\n"] {
            let bytes = [&start[..], &[7; 31], &[last], after.as_bytes()].concat();
            let read = KeySet::parse(&bytes, KeyFileFormat::Secret, &[Algorithm::Hs256]);
            assert_refused_as_key(read, &format!("{last:02x} and {after:?}"));
        }
    }
}

#[track_caller]
fn assert_refused_as_key(read: Result<KeySet, Vec<KeyMistake>>, what: &str) {
    let mistakes = read.expect_err(what);
    assert!(mistakes[0].message.contains("not an HMAC secret"), "{what}: {mistakes:?}");
}

#[test]
fn r301_none_is_nobody_and_a_signature_is_needed() {
    let body = b64(payload().to_string().as_bytes());
    for name in ["none", "None", "NONE", "nOnE", "", "null", "hs256", "HS256 ", "RS1", "ES256K"] {
        let header = json!({ "alg": name, "kid": "k1" }).to_string();
        for signature in ["", "AA", "e30"] {
            let token = format!("{}.{body}.{signature}", b64(header.as_bytes()));
            for algorithm in Algorithm::ALL {
                assert!(one_key(algorithm).verify(&token, NOW).is_err(), "{name:?} {signature:?}");
            }
        }
    }
}

#[test]
fn r301_a_cut_or_lengthened_signature_does_not_hold() {
    for algorithm in Algorithm::ALL {
        let issuers = one_key(algorithm);
        let head = header(algorithm).to_string();
        let signed = format!("{}.{}", b64(head.as_bytes()), b64(payload().to_string().as_bytes()));
        let good = signer(algorithm).sign(algorithm, signed.as_bytes());
        let cuts = [&good[..1], &good[..good.len() / 2], &good[..good.len() - 1]];
        let longer = [&good[..], &[0]].concat();
        let zeros = vec![0; good.len()];
        for bad in cuts.into_iter().chain([&longer[..], &zeros[..]]) {
            let token = format!("{signed}.{}", b64(bad));
            assert_eq!(issuers.verify(&token, NOW).err(), Some(JwtError::SignatureBad));
        }
    }
}

#[test]
fn r307_ecdsa_edge_values_and_der_do_not_hold() {
    const N: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let near = |delta: i8| {
        let mut value = N;
        value[31] = value[31].wrapping_add_signed(delta);
        value
    };
    let mut one = [0; 32];
    one[31] = 1;
    let values = [[0; 32], one, near(-1), N, near(1), [0xff; 32]];
    let issuers = one_key(Algorithm::Es256);
    let head = header(Algorithm::Es256).to_string();
    let signed = format!("{}.{}", b64(head.as_bytes()), b64(payload().to_string().as_bytes()));
    let good = signer(Algorithm::Es256).sign(Algorithm::Es256, signed.as_bytes());
    let der = [&[0x30, 68, 2, 32][..], &good[..32], &[2, 32], &good[32..]].concat();
    let mut forged = vec![der, vec![0; 64], [&good[32..], &good[..32]].concat()];
    for r in values {
        for s in values {
            forged.push([r, s].concat());
        }
        forged.push([&r[..], &good[32..]].concat());
        forged.push([&good[..32], &r[..]].concat());
    }
    for signature in forged {
        let token = format!("{signed}.{}", b64(&signature));
        assert_eq!(issuers.verify(&token, NOW).err(), Some(JwtError::SignatureBad));
    }
}

#[test]
fn r316_no_claim_is_looked_at_before_the_signature_holds() {
    let issuers = one_key(Algorithm::Hs256);
    for changes in [
        json!({ "exp": 1 }),
        json!({ "exp": "never" }),
        json!({ "aud": "elsewhere" }),
        json!({ "sub": null }),
        json!({ "nonce": "n" }),
    ] {
        let good = sign(Algorithm::Hs256, &header(Algorithm::Hs256), &with(payload(), &changes));
        let reason = issuers.verify(&good, NOW).expect_err("a bad claim");
        assert_ne!(reason, JwtError::SignatureBad);
        let (signed, _) = good.rsplit_once('.').unwrap();
        let bad = format!("{signed}.{}", b64(&[7; 32]));
        assert_eq!(issuers.verify(&bad, NOW).err(), Some(JwtError::SignatureBad));
    }
}
