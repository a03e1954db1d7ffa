//! Whatever a key server sends: no secret, no private part, no weak or misplaced key becomes a key,
//! and a set without a usable key is an error. The oracle reads the document a second time, member
//! by member, with a lenient parser.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatepost::decide::jwt::{Algorithm, KeyFileFormat, KeySet, VerifyingKey};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const KEYS_MAX: usize = 100;

fuzz_target!(|data: &[u8]| {
    for listed in [
        &Algorithm::ALL[..],
        &[Algorithm::Rs256, Algorithm::Es256],
        &[Algorithm::EdDsa],
        &[Algorithm::Hs256, Algorithm::Ps512, Algorithm::Es512],
    ] {
        match KeySet::parse_remote(data, listed) {
            Ok(set) => {
                let skipped = set.skipped();
                let members = members(data);
                assert!(!set.is_empty() && set.len() <= KEYS_MAX);
                // Equal members are one key.
                assert!(set.len() + skipped.len() <= members.len(), "each is used or named once");
                assert!(!set.holds_secret(), "what anybody can fetch is no secret");
                each_is_fit(&set, &members, listed);
                if skipped.is_empty() {
                    let local = KeySet::parse(data, KeyFileFormat::JwksOrPem, listed);
                    assert!(local.is_ok_and(|local| local.has_same_keys(&set)));
                }
            }
            Err(mistake) => {
                assert!((1..1024).contains(&mistake.message.len()));
                assert!(!mistake.message.contains('\n'), "one mistake is one line");
            }
        }
    }
});

fn members(data: &[u8]) -> Vec<Value> {
    let data = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let mut document: Value = serde_json::from_slice(data).expect("an accepted set is JSON");
    match document["keys"].take() {
        Value::Array(members) => members,
        other => panic!("keys is {other}"),
    }
}

/// Every key in use is one member of the document that may be used so, and only that one.
fn each_is_fit(set: &KeySet, members: &[Value], listed: &[Algorithm]) {
    for key in set.iter() {
        assert!(listed.iter().any(|listed| listed.is_same_signature(key.algorithm())));
        let same = set.iter().filter(|other| other.kid() == key.kid());
        let ambiguous = same.filter(|other| same_algorithm(other, key)).count();
        let states = |member: &Value| member["x5t"].is_string() || member["x5t#S256"].is_string();
        let has_thumbprints = key.kid().is_none() && members.iter().any(states);
        assert!(ambiguous == 1 || has_thumbprints, "which key a token means can be told");
        let justified = members.iter().filter(|member| fits(member, key, listed));
        assert!(justified.count() >= 1, "nothing in the set is this {key:?}");
    }
    let usable = |member: &&Value| set.iter().any(|key| fits(member, key, listed));
    assert!(members.iter().filter(usable).count() >= set.len());
}

fn same_algorithm(one: &VerifyingKey, other: &VerifyingKey) -> bool {
    one.algorithm().is_same_signature(other.algorithm())
}

fn fits(member: &Value, key: &VerifyingKey, listed: &[Algorithm]) -> bool {
    let text = |name: &str| member.get(name).and_then(Value::as_str);
    let is_absent_or = |name: &str, wanted: &str| match member.get(name) {
        None => true,
        Some(value) => value == wanted,
    };
    let states = match member.get("alg") {
        None => listed.contains(&key.algorithm()),
        Some(stated) => stated == key.algorithm().as_str(),
    };
    let verifies = match member.get("key_ops") {
        None => true,
        Some(operations) => operations.as_array().is_some_and(|all| all.contains(&"verify".into())),
    };
    let is_public = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"]
        .into_iter()
        .all(|part| member.get(part).is_none());
    let has = |name: &str| text(name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let point = |curve: &str, bytes: usize| {
        let has_length = |name| has(name).is_some_and(|number| number.len() == bytes);
        text("kty") == Some("EC")
            && text("crv") == Some(curve)
            && has_length("x")
            && has_length("y")
    };
    let material = match key.algorithm().as_str() {
        "RS256" | "RS384" | "RS512" | "PS256" | "PS384" | "PS512" => {
            text("kty") == Some("RSA") && is_sound_rsa(has("n"), has("e"))
        }
        "ES256" => point("P-256", 32),
        "ES384" => point("P-384", 48),
        "ES512" => point("P-521", 66),
        "EdDSA" | "Ed25519" => {
            let x = has("x").filter(|x| x.len() == 32 && x.iter().any(|byte| *byte != 0));
            text("kty") == Some("OKP") && text("crv") == Some("Ed25519") && x.is_some()
        }
        other => panic!("{other} in a fetched set"),
    };
    let kid = member.get("kid").and_then(Value::as_str);
    kid == key.kid() && is_absent_or("use", "sig") && states && verifies && is_public && material
}

/// 2048 to 8192 bits, both numbers odd, the exponent at least 3.
fn is_sound_rsa(modulus: Option<Vec<u8>>, exponent: Option<Vec<u8>>) -> bool {
    let (Some(modulus), Some(exponent)) = (modulus, exponent) else { return false };
    let bits = |number: &[u8]| -> usize {
        let first = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
        let top = number.get(first).map_or(8, |byte| byte.leading_zeros() as usize);
        (number.len() - first + 1) * 8 - 8 - if first == number.len() { 0 } else { top }
    };
    let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
    (2048..=8192).contains(&bits(&modulus))
        && (2..=33).contains(&bits(&exponent))
        && is_odd(&modulus)
        && is_odd(&exponent)
}
