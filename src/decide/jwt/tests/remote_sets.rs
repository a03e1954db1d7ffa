//! Fetched key sets: what is used, what is skipped, and what is no set at all.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

use super::fixture::*;
use crate::decide::jwt::{Algorithm, Issuers, JwtError, KeyMistake, KeySet};

const LISTED: [Algorithm; 3] = [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];

fn parse(set: &Value) -> Result<(KeySet, Vec<KeyMistake>), KeyMistake> {
    parse_in(set, &LISTED, &KeySet::default())
}

fn parse_in(
    set: &Value,
    listed: &[Algorithm],
    in_force: &KeySet,
) -> Result<(KeySet, Vec<KeyMistake>), KeyMistake> {
    let keys = in_force.refreshed(set.to_string().as_bytes(), listed)?;
    let skipped = keys.skipped().to_vec();
    Ok((keys, skipped))
}

fn jwk(algorithm: Algorithm, changes: &Value) -> Value {
    with(signer(algorithm).jwk(Some("k"), None), changes)
}

fn kids(keys: &KeySet) -> Vec<Option<&str>> {
    keys.iter().map(crate::decide::jwt::VerifyingKey::kid).collect()
}

#[test]
fn r306_an_unfit_member_is_skipped_and_the_rest_is_used() {
    let good = jwk(Algorithm::Es256, &json!({ "kid": "good" }));
    for (unfit, word) in [
        (json!({ "kty": "oct", "kid": "k", "k": "AAAA" }), "secret"),
        (jwk(Algorithm::Hs256, &json!({ "alg": "HS256" })), "HS256"),
        (jwk(Algorithm::Rs256, &json!({ "d": "AQAB" })), "private part d"),
        (jwk(Algorithm::Rs256, &json!({ "use": "enc" })), "only keys for signatures"),
        (jwk(Algorithm::Rs256, &json!({ "key_ops": ["encrypt"] })), "key_ops"),
        (jwk(Algorithm::Rs256, &json!({ "n": "u".repeat(172) })), "RSA key of"),
        (jwk(Algorithm::Rs256, &json!({ "e": "AQ" })), "not a sound RSA key"),
        (jwk(Algorithm::Rs256, &json!({ "alg": "RS512" })), "do not list"),
        (jwk(Algorithm::Es384, &json!({})), "none of the issuer's algorithms"),
        (jwk(Algorithm::Es256, &json!({ "crv": "P-384" })), "the curve needs"),
        (jwk(Algorithm::Es256, &json!({ "x": b64(&[7; 32]) })), "not a point"),
        (jwk(Algorithm::Es256, &json!({ "kid": 7 })), "kid"),
        (json!({ "kty": "PQ", "kid": "k" }), "kty"),
        (json!("nonsense"), "not an object"),
        (Value::Null, "not an object"),
    ] {
        let (keys, skipped) = parse(&json!({ "keys": [unfit, good] })).expect(word);
        assert_eq!(kids(&keys), [Some("good")], "{word}");
        assert_eq!(skipped.len(), 1, "{word}");
        assert_eq!(skipped[0].place, "keys[0]");
        assert!(skipped[0].message.contains(word), "{word}: {}", skipped[0].message);
        // Alone it is no set to put in the place of another.
        let alone = parse(&json!({ "keys": [unfit] })).expect_err(word);
        assert!(alone.message.contains("no usable key"), "{}", alone.message);
    }
}

#[test]
fn r306_a_symmetric_key_is_never_taken_from_a_fetched_set() {
    let secret = jwk(Algorithm::Hs256, &json!({ "alg": "HS256", "kid": "s" }));
    let public = jwk(Algorithm::Rs256, &json!({}));
    let listed = [Algorithm::Hs256, Algorithm::Rs256];
    let read = |set: Value| parse_in(&set, &listed, &KeySet::default());
    assert!(read(json!({ "keys": [secret] })).is_err());
    let (keys, skipped) = read(json!({ "keys": [secret, public] })).unwrap();
    assert_eq!(kids(&keys), [Some("k")]);
    assert!(skipped[0].message.contains("symmetric"), "{skipped:?}");
}

/// Another P-256 key than the fixture's, with this `kid`.
fn other_p256(kid: Option<&str>) -> Value {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    Signer::Ec(pair).jwk(kid, None)
}

#[test]
fn r305_of_two_keys_with_one_kid_and_algorithm_neither_is_used() {
    let one = jwk(Algorithm::Es256, &json!({}));
    let other = jwk(Algorithm::EdDsa, &json!({ "kid": "other" }));
    let twice = json!({ "keys": [one, other, other_p256(Some("k"))] });
    let (keys, skipped) = parse(&twice).unwrap();
    assert_eq!(kids(&keys), [Some("other")]);
    assert_eq!(skipped.len(), 2);
    assert!(skipped[0].message.contains("kid \"k\" is there twice"), "{skipped:?}");
    // A key that is not used anyway takes nothing from its namesake.
    let unused = with(other_p256(Some("k")), &json!({ "use": "enc" }));
    let (keys, _) = parse(&json!({ "keys": [one, unused] })).unwrap();
    assert_eq!(kids(&keys), [Some("k")]);
}

#[test]
fn contract_keys_of_a_jwt_equal_members_are_one() {
    let (one, other) = (jwk(Algorithm::Rs256, &json!({})), jwk(Algorithm::Es256, &json!({})));
    let before = parse(&json!({ "keys": [one] })).unwrap().0;
    // The same key with more said about it is the same key.
    for again in [json!({}), json!({ "alg": "RS256" }), json!({ "use": "sig", "x5t": "t" })] {
        let again = with(one.clone(), &again);
        let (keys, skipped) = parse(&json!({ "keys": [one, again, other, one] })).unwrap();
        assert_eq!((keys.len(), skipped.len()), (2, 0), "{skipped:?}");
        assert!(keys.contains(before.iter().next().unwrap()));
    }
    let plain = signer(Algorithm::Rs256).jwk(None, None);
    assert_eq!(parse(&json!({ "keys": [plain, plain] })).unwrap().0.len(), 1, "without kid");
}

#[test]
fn r304_an_issuer_that_a_key_states_is_compared_and_restricts_in_any_order() {
    let entra = "https://login.example.com/{tid}/v2.0";
    let iss = |tenant: &str| format!("https://login.example.com/{tenant}/v2.0");
    let stating = |issuer: Value| jwk(Algorithm::Rs256, &json!({ "issuer": issuer }));
    let (plain, a) = (jwk(Algorithm::Rs256, &json!({})), stating(json!(iss("a"))));
    let b = stating(json!(iss("b")));
    let set = |keys: &[&Value]| parse(&json!({ "keys": keys })).unwrap().0;
    let accepts = |keys: &[&Value], tenant: &str| {
        let mut settings = settings(&[Algorithm::Rs256]);
        settings.issuer = entra.into();
        let issuers = Issuers::new(vec![(settings.into(), set(keys).into())]);
        let header = with(header(Algorithm::Rs256), &json!({ "kid": "k" }));
        let payload = with(payload(), &json!({ "iss": iss(tenant), "tid": tenant }));
        issuers.verify(&sign(Algorithm::Rs256, &header, &payload), NOW).is_ok()
    };
    assert!(accepts(&[&plain], "a") && accepts(&[&plain], "b"));
    assert!(accepts(&[&stating(json!(entra))], "b"));
    for keys in [&[&a][..], &[&plain, &a], &[&a, &plain]] {
        assert!(accepts(keys, "a") && !accepts(keys, "b"), "{keys:?}");
        assert!(!set(keys).has_same_keys(&set(&[&plain])), "a refresh that restricts is a change");
    }
    assert!(!set(&[&a]).has_same_keys(&set(&[&b])));
    for keys in [&[&a, &b][..], &[&b, &a], &[&stating(json!([iss("a")]))], &[&stating(json!(7))]] {
        assert!(!accepts(keys, "a") && !accepts(keys, "b"), "{keys:?}");
    }
    assert!(set(&[&a, &b]).has_same_keys(&set(&[&b, &a])));
}

#[test]
fn contract_keys_of_a_jwt_kid_and_algorithm_tell_keys_apart() {
    let rs = |alg: &str| jwk(Algorithm::Rs256, &json!({ "alg": alg }));
    let listed = [Algorithm::Rs256, Algorithm::Rs512, Algorithm::Es256];
    let set = json!({ "keys": [rs("RS256"), rs("RS512"), jwk(Algorithm::Es256, &json!({}))] });
    let (keys, skipped) = parse_in(&set, &listed, &KeySet::default()).unwrap();
    assert_eq!((keys.len(), skipped.len()), (3, 0), "{skipped:?}");
    let mut settings = settings(&listed);
    settings.types.push(None);
    let issuers = Issuers::new(vec![(settings.into(), keys.into())]);
    for algorithm in listed {
        let header = with(header(algorithm), &json!({ "kid": "k" }));
        assert!(issuers.verify(&sign(algorithm, &header, &payload()), NOW).is_ok(), "{algorithm}");
    }
}

#[test]
fn contract_keys_of_a_jwt_a_conflict_never_withdraws_a_key_in_force_that_is_still_listed() {
    let (old, new) = (jwk(Algorithm::Es256, &json!({})), other_p256(Some("k")));
    let in_force = parse(&json!({ "keys": [old] })).unwrap().0;
    for set in [json!({ "keys": [new, old] }), json!({ "keys": [old, new, new] })] {
        let (keys, skipped) = parse_in(&set, &LISTED, &in_force).unwrap();
        assert!(keys.has_same_keys(&in_force), "{skipped:?}");
        assert_eq!(skipped.len(), 1, "{skipped:?}");
    }
    // The set no longer contains it: it is withdrawn.
    let (keys, _) = parse_in(&json!({ "keys": [new] }), &LISTED, &in_force).unwrap();
    assert!(!keys.has_same_keys(&in_force));
    // Keys without kid contradict each other as well.
    let plain = signer(Algorithm::Es256).jwk(None, None);
    let in_force = parse(&json!({ "keys": [plain] })).unwrap().0;
    let (keys, skipped) =
        parse_in(&json!({ "keys": [other_p256(None), plain] }), &LISTED, &in_force).unwrap();
    assert!(keys.has_same_keys(&in_force), "{skipped:?}");
    // A newcomer with a kid is used beside it, and tokens without kid stay with the old key.
    let set = json!({ "keys": [plain, other_p256(Some("new"))] });
    let (keys, _) = parse_in(&set, &LISTED, &in_force).unwrap();
    assert_eq!(keys.len(), 2);
    let issuers = Issuers::new(vec![(settings(&LISTED).into(), keys.into())]);
    let header = with(header(Algorithm::Es256), &json!({ "kid": null }));
    assert!(issuers.verify(&sign(Algorithm::Es256, &header, &payload()), NOW).is_ok());
}

#[test]
fn contract_keys_of_a_jwt_a_key_that_states_a_thumbprint_is_found_by_it() {
    let stated = |x5t: &Value| with(signer(Algorithm::Es256).jwk(None, None), x5t);
    let try_header = |set: &Value, changes: Value| {
        let keys = parse(set).unwrap().0;
        let issuers = Issuers::new(vec![(settings(&LISTED).into(), keys.into())]);
        let header = with(header(Algorithm::Es256), &with(json!({ "kid": null }), &changes));
        issuers.verify(&sign(Algorithm::Es256, &header, &payload()), NOW).map(drop)
    };
    for name in ["x5t", "x5t#S256"] {
        let one = stated(&json!({ name: "AAAA" }));
        let other = with(other_p256(None), &json!({ name: "BBBB" }));
        let set = json!({ "keys": [other, one, other_p256(Some("k"))] });
        assert_eq!(try_header(&set, json!({ name: "AAAA" })), Ok(()), "{name}");
        let bad = Err(JwtError::SignatureBad);
        assert_eq!(try_header(&set, json!({ name: "BBBB" })), bad, "{name}");
        assert_eq!(try_header(&set, json!({ name: "AAAA", "kid": "k" })), bad, "the kid decides");
        assert_eq!(try_header(&set, json!({ name: "AAAA", "kid": "x" })), Ok(()), "no such kid");
        for unknown in [json!({ name: "CCCC" }), json!({ name: 7 }), json!({})] {
            let answer = try_header(&set, unknown);
            assert!(matches!(answer, Err(JwtError::KeyUnknown { .. })), "{name} {answer:?}");
        }
        // Two keys that state one thumbprint cannot be told apart by it.
        let twin = with(other_p256(None), &json!({ name: "AAAA" }));
        let answer = try_header(&json!({ "keys": [one, twin] }), json!({ name: "AAAA" }));
        assert!(matches!(answer, Err(JwtError::KeyUnknown { .. })), "{name} {answer:?}");
        let named = with(stated(&json!({ name: "AAAA" })), &json!({ "kid": "a" }));
        let set = json!({ "keys": [named, other_p256(Some("k"))] });
        let answer = try_header(&set, json!({ name: "AAAA", "kid": "x" }));
        assert!(matches!(answer, Err(JwtError::KeyUnknown { .. })), "{name} {answer:?}");
    }
}

#[test]
fn contract_keys_of_a_jwt_a_fetched_jwk_without_alg_takes_the_only_one_that_fits() {
    let plain = json!({ "keys": [jwk(Algorithm::Rs256, &json!({ "alg": null }))] });
    let mut keys = plain;
    keys["keys"][0].as_object_mut().unwrap().remove("alg");
    let read = |listed: &[Algorithm]| parse_in(&keys, listed, &KeySet::default());
    let (set, _) = read(&LISTED).unwrap();
    assert_eq!(set.iter().next().unwrap().algorithm(), Algorithm::Rs256);
    let two = read(&[Algorithm::Rs256, Algorithm::Ps256]).unwrap_err();
    assert!(two.message.contains("all fit"), "{}", two.message);
}

#[test]
fn r306_what_is_no_key_set_is_refused_as_a_whole() {
    let one = jwk(Algorithm::Rs256, &json!({}));
    let many: Vec<_> =
        (0..101).map(|i| with(one.clone(), &json!({ "kid": i.to_string() }))).collect();
    for (text, word) in [
        (String::new(), "not JSON"),
        ("<html></html>".to_owned(), "not JSON"),
        ("[]".to_owned(), "not a JSON object"),
        ("{}".to_owned(), "no array"),
        (one.to_string(), "no array"),
        (json!({ "keys": { "k": one } }).to_string(), "no array"),
        (json!({ "keys": [] }).to_string(), "no usable key"),
        (json!({ "keys": many }).to_string(), "at most 100"),
        (format!("{{\"keys\":[],\"keys\":[{one}]}}"), "twice"),
        (pem("PUBLIC KEY", &signer(Algorithm::Rs256).spki()), "not JSON"),
        (format!("{}{}", json!({ "keys": [one] }), " ".repeat(1 << 20)), "1 MiB"),
    ] {
        let mistake = KeySet::parse_remote(text.as_bytes(), &LISTED).expect_err(word);
        assert!(mistake.message.contains(word), "{word}: {}", mistake.message);
    }
    assert!(KeySet::parse_remote(b"{\"keys\":[\"\xff\"]}", &LISTED).is_err());
    let set = json!({ "keys": [one] }).to_string();
    let padded = set.clone() + &" ".repeat((1 << 20) - set.len());
    let marked = format!("\u{feff}{set}");
    assert!(KeySet::parse_remote(marked.as_bytes(), &LISTED).is_ok(), "a byte-order mark");
    assert!(KeySet::parse_remote(padded.as_bytes(), &LISTED).is_ok(), "1 MiB is not longer");
}

#[test]
fn contract_keys_never_had_are_told_from_keys_unknown() {
    let settings = std::sync::Arc::new(settings(&LISTED));
    let name = settings.name.clone();
    let issuers = Issuers::new(vec![(settings, std::sync::Arc::default())]);
    let token = sign(Algorithm::Rs256, &header(Algorithm::Rs256), &payload());
    let error = issuers.verify(&token, NOW).unwrap_err();
    assert_eq!(error, JwtError::KeysUnavailable { issuer: name });
    // What is refused on sight is refused without keys, too.
    let none = with(header(Algorithm::Rs256), &json!({ "alg": "none" }));
    let token = sign(Algorithm::Rs256, &none, &payload());
    assert!(matches!(issuers.verify(&token, NOW), Err(JwtError::HeaderRefused(_))));
}

#[test]
fn r807_the_same_keys_in_another_order_are_the_same_set() {
    let one = jwk(Algorithm::Rs256, &json!({ "kid": "1" }));
    let two = jwk(Algorithm::Es256, &json!({ "kid": "2" }));
    let read = |keys: Value| parse(&json!({ "keys": keys })).unwrap().0;
    let set = read(json!([one, two]));
    assert!(set.has_same_keys(&read(json!([two, one]))));
    assert!(!set.has_same_keys(&read(json!([one]))));
    assert!(!read(json!([one])).has_same_keys(&set));
    let named = with(one.clone(), &json!({ "x5t": "AAAA" }));
    assert!(!set.has_same_keys(&read(json!([named, two]))), "found by more than before");
    let renamed = with(two.clone(), &json!({ "kid": "3" }));
    assert!(!set.has_same_keys(&read(json!([one, renamed]))));
    let other = with(signer(Algorithm::EdDsa).jwk(Some("2"), None), &json!({}));
    assert!(!set.has_same_keys(&read(json!([one, other]))));
    // Another key of the same kind under an old name, as some servers rotate.
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let rotated = Signer::Ec(pair).jwk(Some("2"), None);
    assert!(!set.has_same_keys(&read(json!([one, rotated]))));
}
