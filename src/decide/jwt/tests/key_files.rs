//! Key files: what loads, and what is a mistake (R-306 and the contract).

use serde_json::{Value, json};

use super::fixture::*;
use crate::decide::jwt::{Algorithm, KeyFileFormat, KeyMistake, KeySet};

const ASYMMETRIC: [Algorithm; 4] =
    [Algorithm::Rs256, Algorithm::Es256, Algorithm::Es512, Algorithm::Ed25519];

fn parse(text: &str, algorithms: &[Algorithm]) -> Result<KeySet, Vec<KeyMistake>> {
    KeySet::parse(text.as_bytes(), KeyFileFormat::JwksOrPem, algorithms)
}

#[track_caller]
fn check(text: &str, algorithms: &[Algorithm], expected: &str) {
    let mistakes = parse(text, algorithms).expect_err(text);
    let said: Vec<_> = mistakes.iter().map(|m| m.message.as_str()).collect();
    assert!(said.iter().any(|message| message.contains(expected)), "{said:?} for {text:.300}");
}

#[track_caller]
fn check_jwk(base: Algorithm, changes: &Value, expected: &str) {
    let jwk = with(signer(base).jwk(Some("k"), None), changes);
    check(&jwk.to_string(), &ASYMMETRIC, expected);
    check(&json!({ "keys": [jwk] }).to_string(), &ASYMMETRIC, expected);
}

#[test]
fn every_kind_of_file_loads() {
    for algorithm in Algorithm::ALL {
        let key = signer(algorithm);
        let jwk = key.jwk(Some("k"), None);
        for text in [jwk.to_string(), json!({ "keys": [jwk], "x": 1 }).to_string()] {
            let keys = parse(&format!("\n {text}\n"), &[algorithm]).unwrap();
            assert_eq!((keys.len(), keys.is_empty()), (1, false));
            let only = keys.iter().next().unwrap();
            assert_eq!((only.kid(), only.algorithm()), (Some("k"), algorithm));
        }
    }
    let [rsa, ec, ed] = [Algorithm::Rs256, Algorithm::Es256, Algorithm::Ed25519]
        .map(|a| pem("PUBLIC KEY", &signer(a).spki()));
    for text in [&rsa, &ec, &ed, &rsa.replace('\n', "\r\n"), &format!("# comment\n{rsa}")] {
        assert_eq!(parse(text, &ASYMMETRIC).unwrap().len(), 1);
    }
    assert_eq!(parse(&[rsa, ec, ed].concat(), &ASYMMETRIC).unwrap().len(), 3);
}

#[test]
fn r306_keys_not_for_verifying_are_mistakes() {
    let rs = Algorithm::Rs256;
    check_jwk(rs, &json!({ "use": "enc" }), "only keys for signatures");
    check_jwk(rs, &json!({ "use": 1 }), "use is not a string");
    check_jwk(rs, &json!({ "key_ops": ["encrypt"] }), "key_ops");
    check_jwk(rs, &json!({ "key_ops": [] }), "key_ops");
    check_jwk(rs, &json!({ "key_ops": "verify" }), "key_ops");
    check_jwk(rs, &json!({ "alg": "RSA-OAEP" }), "not a signature algorithm");
    check_jwk(rs, &json!({ "alg": "none" }), "not a signature algorithm");
    check_jwk(rs, &json!({ "alg": "RS512" }), "do not list");
    check_jwk(rs, &json!({ "alg": "ES256" }), "is an RSA key, which ES256 cannot use");
    check_jwk(Algorithm::Es256, &json!({ "alg": "ES512" }), "is a P-256 key");
    check_jwk(rs, &json!({ "kid": 7 }), "kid is not a string");
    check_jwk(rs, &json!({ "kid": "k".repeat(257) }), "kid is longer");
    let untyped = with(signer(rs).jwk(None, None), &json!({ "kty": null }));
    check(&json!({ "keys": [untyped] }).to_string(), &ASYMMETRIC, "kty is missing");
    check_jwk(rs, &json!({ "kty": "rsa" }), "kty \"rsa\"");
    let both = with(signer(rs).jwk(None, None), &json!({ "use": "sig", "key_ops": ["verify"] }));
    assert!(parse(&both.to_string(), &ASYMMETRIC).is_ok());
    let longest = with(signer(rs).jwk(None, None), &json!({ "kid": "k".repeat(256) }));
    assert!(parse(&json!({ "keys": [longest] }).to_string(), &[rs]).is_ok());
}

#[test]
fn r306_private_parts_are_mistakes() {
    for part in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        for base in [Algorithm::Rs256, Algorithm::Es256, Algorithm::Ed25519] {
            check_jwk(base, &json!({ part: "c2VjcmV0" }), "public half only");
        }
    }
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
        check(&pem(label, b"c2VjcmV0"), &ASYMMETRIC, "openssl pkey -in private.pem -pubout");
    }
}

#[test]
fn r306_unsound_rsa_keys_are_mistakes() {
    let rs = Algorithm::Rs256;
    for n in ["", "AQ", &b64(&[0xff; 255]), &b64(&[[0x7f; 1].as_slice(), &[0xff; 255]].concat())] {
        check_jwk(rs, &json!({ "n": n }), "2048 to 8192 are accepted");
    }
    check_jwk(rs, &json!({ "n": b64(&[0xff; 1025]) }), "2048 to 8192 are accepted");
    check_jwk(rs, &json!({ "n": b64(&[0xfe; 256]) }), "not a sound RSA key");
    for e in ["AQ", "AA", "Ag", "AQAA", "", "________"] {
        check_jwk(rs, &json!({ "e": e }), "not a sound RSA key");
    }
    check_jwk(rs, &json!({ "e": "AQAB=" }), "e is not base64url");
    check_jwk(rs, &json!({ "n": null }), "n is missing");
    check_jwk(rs, &json!({ "e": 65537 }), "e is not a string");
    assert!(
        parse(
            &with(signer(rs).jwk(None, None), &json!({ "e": "AAEAAQ" })).to_string(),
            &ASYMMETRIC
        )
        .is_ok()
    );
}

#[test]
fn r306_points_must_be_on_their_curve() {
    let es = Algorithm::Es256;
    check_jwk(es, &json!({ "x": b64(&[1; 32]) }), "not a point on the curve");
    check_jwk(es, &json!({ "x": b64(&[0; 32]), "y": b64(&[0; 32]) }), "not a point on the curve");
    check_jwk(es, &json!({ "x": b64(&[1; 31]) }), "x has 31 bytes");
    check_jwk(es, &json!({ "y": b64(&[1; 33]) }), "y has 33 bytes");
    check_jwk(es, &json!({ "crv": "P-384" }), "x has 32 bytes");
    check_jwk(es, &json!({ "crv": "secp256k1" }), "crv is not");
    check_jwk(es, &json!({ "crv": null }), "crv is not");
    check_jwk(es, &json!({ "kty": "OKP" }), "crv is not Ed25519");
    check_jwk(Algorithm::Ed25519, &json!({ "crv": "X25519" }), "crv is not Ed25519");
    check_jwk(Algorithm::Ed25519, &json!({ "crv": "Ed448" }), "crv is not Ed25519");
    check_jwk(Algorithm::Ed25519, &json!({ "x": b64(&[1; 31]) }), "x has 31 bytes");
}

#[test]
fn r306_ed25519_points_of_small_order_are_mistakes() {
    let mut one = [0; 32];
    one[0] = 1;
    let mut about_p = [0xff; 32];
    about_p[31] = 0x7f;
    let mut points = vec![[0; 32], one];
    for low in [0xec, 0xed, 0xee] {
        about_p[0] = low;
        points.push(about_p);
    }
    for mut point in points {
        for sign in [0, 0x80] {
            point[31] |= sign;
            check_jwk(Algorithm::Ed25519, &json!({ "x": b64(&point) }), "small order");
        }
    }
}

#[test]
fn contract_a_jwk_without_alg_takes_the_single_listed_algorithm_that_fits() {
    let rsa = signer(Algorithm::Rs256).jwk(Some("k"), None).to_string();
    let both = [Algorithm::Rs256, Algorithm::Es256, Algorithm::Ps256];
    check(&rsa, &both, "RS256, PS256 all fit: give the JWK an alg");
    check(&rsa, &[Algorithm::Es256], "none of the issuer's algorithms can use");
    check(
        &pem("PUBLIC KEY", &signer(Algorithm::Rs256).spki()),
        &both,
        "write it as a JWK with alg",
    );
    let ed = signer(Algorithm::Ed25519).jwk(None, None).to_string();
    let names = [Algorithm::EdDsa, Algorithm::Rs256, Algorithm::Ed25519];
    assert_eq!(parse(&ed, &names).unwrap().iter().next().unwrap().algorithm(), Algorithm::EdDsa);
}

/// Keys that are used, and members that are not, by their place.
#[track_caller]
fn sorted(text: &str, listed: &[Algorithm]) -> (usize, Vec<String>) {
    let keys = parse(text, listed).expect(text);
    (keys.len(), keys.skipped().iter().map(|mistake| mistake.place.clone()).collect())
}

#[test]
fn r306_a_kid_is_there_once_for_an_algorithm_and_every_key_can_be_chosen() {
    let rs = |kid| signer(Algorithm::Rs256).jwk(kid, None);
    let es = |kid| signer(Algorithm::Es256).jwk(kid, None);
    let other = with(rs(Some("a")), &json!({ "e": "Aw" }));
    let set = |keys: &[Value]| json!({ "keys": keys }).to_string();
    check(&set(&[rs(Some("a")), other]), &ASYMMETRIC, "kid \"a\" is there twice");
    assert_eq!(sorted(&set(&[rs(Some("a")), es(Some("a"))]), &ASYMMETRIC), (2, vec![]));
    assert_eq!(sorted(&set(&[rs(Some("a")), rs(Some("a"))]), &ASYMMETRIC), (1, vec![]));
    let skipped = sorted(&set(&[rs(None), rs(Some("a"))]), &ASYMMETRIC);
    assert_eq!(skipped, (1, vec!["keys[0]".to_owned()]));
    let nameless = with(rs(None), &json!({ "e": "Aw" }));
    check(&set(&[rs(None), nameless]), &ASYMMETRIC, "no token could choose it");
    assert_eq!(parse(&set(&[rs(None), es(None)]), &ASYMMETRIC).unwrap().len(), 2);
    let two = pem("PUBLIC KEY", &signer(Algorithm::Rs256).spki()).repeat(2);
    assert_eq!(sorted(&two, &ASYMMETRIC), (1, vec![]));
}

#[test]
fn contract_keys_of_a_jwt_a_file_as_a_provider_publishes_it_loads() {
    let good = signer(Algorithm::Rs256).jwk(Some("a"), None);
    for unfit in [
        with(good.clone(), &json!({ "use": "enc", "kid": "e", "alg": "RSA-OAEP" })),
        with(good.clone(), &json!({ "kid": "p", "alg": "PS256" })),
        json!({ "kty": "AKP", "alg": "ML-DSA-65", "kid": "m", "pub": "AAAA" }),
    ] {
        for mark in ["", "\u{feff}"] {
            let set = format!("{mark}{}", json!({ "keys": [unfit, good] }));
            assert_eq!(sorted(&set, &ASYMMETRIC), (1, vec!["keys[0]".to_owned()]));
        }
        check(&json!({ "keys": [unfit] }).to_string(), &ASYMMETRIC, "");
    }
    let mark = "\u{feff}".to_owned();
    let pem = pem("PUBLIC KEY", &signer(Algorithm::Rs256).spki());
    assert_eq!(sorted(&(mark + &pem), &ASYMMETRIC), (1, vec![]));
}

#[test]
fn contract_keys_of_a_jwt_a_file_never_withdraws_a_key_in_force_that_it_still_contains() {
    let old = signer(Algorithm::Rs256).jwk(Some("a"), None);
    let new = with(old.clone(), &json!({ "e": "Aw" }));
    let in_force = parse(&old.to_string(), &ASYMMETRIC).unwrap();
    let both = json!({ "keys": [new, old] }).to_string();
    check(&both, &ASYMMETRIC, "there twice");
    let renewed = in_force.renewed(both.as_bytes(), KeyFileFormat::JwksOrPem, &ASYMMETRIC);
    assert!(renewed.unwrap().has_same_keys(&in_force));
}

#[test]
fn r306_secrets_and_public_keys_do_not_mix() {
    let listed = [Algorithm::Hs256, Algorithm::Rs256];
    let oct = signer(Algorithm::Hs256).jwk(Some("s"), None);
    let rsa = signer(Algorithm::Rs256).jwk(Some("r"), None);
    let mixed = parse(&json!({ "keys": [oct, rsa] }).to_string(), &listed).unwrap();
    assert!(!mixed.holds_secret());
    assert!(mixed.skipped()[0].message.contains("a file of its own"));
    let same = json!({ "keys": [oct, oct] }).to_string();
    assert_eq!(sorted(&same, &listed), (1, vec![]), "equal secrets are one");
    check(&oct.to_string(), &[Algorithm::Rs256], "none of the issuer's algorithms");
    assert!(parse(&oct.to_string(), &listed).unwrap().holds_secret());
    assert!(!parse(&rsa.to_string(), &listed).unwrap().holds_secret());
    let hs = [Algorithm::Hs256, Algorithm::Hs512];
    check(&oct.to_string(), &hs, "HS256, HS512 all fit");
    for (algorithm, bytes) in
        [(Algorithm::Hs256, 31), (Algorithm::Hs384, 47), (Algorithm::Hs512, 63)]
    {
        for short in [0, 1, bytes] {
            let jwk = json!({ "kty": "oct", "k": b64(&vec![7; short]) }).to_string();
            check(&jwk, &[algorithm], &format!("needs at least {}", bytes + 1));
        }
        let enough = json!({ "kty": "oct", "k": b64(&vec![7; bytes + 1]) }).to_string();
        assert!(parse(&enough, &[algorithm]).is_ok());
    }
}

#[test]
fn contract_a_secret_file_is_its_bytes_less_one_final_newline() {
    let read =
        |bytes: &[u8], listed: &[Algorithm]| KeySet::parse(bytes, KeyFileFormat::Secret, listed);
    let hs = [Algorithm::Hs256, Algorithm::Rs256];
    assert!(read(&[b'x'; 32], &hs).is_ok());
    for short in [&b"\n"[..], b"", &[b'x'; 31], &[&[b'x'; 31][..], b"\n"].concat()] {
        assert!(read(short, &hs).is_err());
    }
    assert!(read(&[&[b'x'; 31][..], b"\n\n"].concat(), &hs).is_ok());
    assert!(read(&[b'x'; 64], &[Algorithm::Rs256]).is_err());
    assert!(read(&[b'x'; 64], &[Algorithm::Hs256, Algorithm::Hs512]).is_err());
    assert!(read(&[0xff; 64], &[Algorithm::Hs512]).unwrap().holds_secret());
}

#[test]
fn every_unusable_member_of_a_file_is_reported_with_its_place() {
    let good = signer(Algorithm::Rs256).jwk(Some("a"), None);
    let enc = with(good.clone(), &json!({ "use": "enc", "kid": "b" }));
    let weak = with(good.clone(), &json!({ "n": "AQ", "kid": "c" }));
    let set = json!({ "keys": [good, enc, 7, weak] }).to_string();
    let three = ["keys[1]", "keys[2]", "keys[3]"].map(str::to_owned).to_vec();
    assert_eq!(sorted(&set, &ASYMMETRIC), (1, three));
    let none = json!({ "keys": [enc, 7, weak] }).to_string();
    let mistakes = parse(&none, &ASYMMETRIC).unwrap_err();
    let places: Vec<_> = mistakes.iter().map(|mistake| &*mistake.place).collect();
    assert_eq!(places, ["keys[0]", "keys[1]", "keys[2]"]);
    let oct = signer(Algorithm::Hs256).jwk(Some("s"), None);
    let mixed = json!({ "keys": [good, oct] }).to_string();
    let listed = [Algorithm::Hs256, Algorithm::Rs256];
    assert_eq!(sorted(&mixed, &listed), (1, vec!["keys[1]".to_owned()]));
    assert_eq!(parse("\n\n{", &ASYMMETRIC).unwrap_err()[0].line, Some(3));

    let rsa = pem("PUBLIC KEY", &signer(Algorithm::Rs256).spki());
    let lines = rsa.lines().count() as u64;
    let text = format!("{rsa}{}{}", pem("PRIVATE KEY", b"x"), pem("PUBLIC KEY", b"x"));
    let keys = parse(&text, &ASYMMETRIC).unwrap();
    let lines: Vec<_> = keys.skipped().iter().map(|m| m.line.unwrap() - lines).collect();
    assert_eq!(lines, [1, 4]);
}

#[test]
fn a_file_that_is_no_key_file_is_one_mistake() {
    let broken_pem =
        pem("PUBLIC KEY", &signer(Algorithm::Rs256).spki()).replace("-----END", "----END");
    for (text, expected) in [
        ("", "is empty"),
        (" \n", "is empty"),
        ("{", "is not JSON"),
        ("{}", "without keys"),
        ("{\"keys\":[]}", "holds no key"),
        ("{\"keys\":{}}", "keys is not an array"),
        ("{\"keys\":[],\"keys\":[]}", "a name twice"),
        ("[]", "neither a JWK set"),
        ("hunter2", "an HMAC secret goes into secret_file"),
        (broken_pem.as_str(), "has no line -----END PUBLIC KEY-----"),
        ("-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----", "is not base64"),
        ("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----", "is not the DER"),
        ("-----BEGIN X509 CRL-----\n-----END X509 CRL-----", "is a block of \"X509 CRL\""),
    ] {
        check(text, &ASYMMETRIC, expected);
    }
    let many = vec![signer(Algorithm::Es256).jwk(None, None); 101];
    check(&json!({ "keys": many }).to_string(), &ASYMMETRIC, "at most 100");
    check(&"{".repeat((1 << 20) + 1), &ASYMMETRIC, "longer than 1 MiB");
    let one = many[0].to_string();
    let padded = one.clone() + &" ".repeat((1 << 20) - one.len());
    assert!(parse(&padded, &ASYMMETRIC).is_ok(), "1 MiB is not longer");
    assert!(KeySet::parse(&[0xff; 40], KeyFileFormat::JwksOrPem, &ASYMMETRIC).is_err());
    assert!(KeySet::default().is_empty());
}

#[test]
fn r902_no_mistake_and_no_debug_shows_key_material() {
    let secret = b64(&[7; 16]);
    let jwk = json!({ "kty": "oct", "k": secret, "alg": "HS256" }).to_string();
    let mistakes = format!("{:?}", parse(&jwk, &[Algorithm::Hs256]).unwrap_err());
    assert!(!mistakes.contains(&secret) && !mistakes.contains("7, 7"));
    let keys = key_set(&signer(Algorithm::Hs256).jwk(Some("k"), None), &[Algorithm::Hs256]);
    let key = keys.iter().next().unwrap();
    assert_eq!(format!("{key:?}"), "VerifyingKey { algorithm: Hs256, kid: Some(\"k\"), .. }");
}

/// A `SubjectPublicKeyInfo` with a curve of this name, and a point that is long enough for any.
fn spki_of_curve(curve: &[u8]) -> Vec<u8> {
    const EC_PUBLIC_KEY: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    let element = |tag: u8, content: &[u8]| [&[tag, content.len() as u8], content].concat();
    let algorithm = [EC_PUBLIC_KEY, &element(0x06, curve)].concat();
    let point = [&[0, 4][..], &[7; 64]].concat();
    element(0x30, &[element(0x30, &algorithm), element(0x03, &point)].concat())
}

#[test]
fn r306_a_curve_that_no_algorithm_has_is_a_mistake_and_no_secret() {
    // secp256k1, brainpoolP256r1, and P-256 with another last byte.
    for curve in [
        &[0x2b, 0x81, 0x04, 0x00, 0x0a][..],
        &[0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x07],
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x06],
    ] {
        let der = spki_of_curve(curve);
        let text = pem("PUBLIC KEY", &der);
        check(&text, &ASYMMETRIC, "is a key no accepted algorithm uses");
        for secret in [text.as_bytes(), &der] {
            let read = KeySet::parse(secret, KeyFileFormat::Secret, &[Algorithm::Hs256]);
            let mistakes = read.expect_err("a public key");
            assert!(mistakes[0].message.contains("not an HMAC secret"), "{mistakes:?}");
        }
    }
}

#[test]
fn deep_and_wide_key_files_are_mistakes() {
    let deep = format!("{{\"keys\":{}{}}}", "[".repeat(32), "]".repeat(32));
    check(&deep, &ASYMMETRIC, "is nested deeper than 32 levels");
    let wide = format!("{{\"keys\":[{}0]}}", "0,".repeat(16 * 1024));
    check(&wide, &ASYMMETRIC, "has too many members");
    check("{\"keys\":[],\"keys\":[]}", &ASYMMETRIC, "has a name twice");
}
