//! Which key a token is verified with (the contract's "Keys of a JWT", R-305).

use std::sync::Arc;

use serde_json::{Value, json};

use super::fixture::*;
use crate::decide::jwt::{Algorithm, Issuers, JwtError, KeyFileFormat, KeySet};

const LISTED: [Algorithm; 3] = [Algorithm::Rs256, Algorithm::Es256, Algorithm::Hs256];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Accepted,
    KeyUnknown,
    Mismatch,
}

fn issuers(keys: KeySet) -> Issuers {
    Issuers::new(vec![(Arc::new(settings(&LISTED)), Arc::new(keys))])
}

#[track_caller]
fn check(issuers: &Issuers, algorithm: Algorithm, kid: Option<&str>, expected: Outcome) {
    let header = with(header(algorithm), &json!({ "kid": kid.map_or(Value::Null, Value::from) }));
    let found = match issuers.verify(&sign(algorithm, &header, &payload()), NOW) {
        Ok(_) => Outcome::Accepted,
        Err(JwtError::KeyUnknown { issuer, kid: shown }) => {
            assert_eq!((&*issuer, shown.as_deref()), ("corp", kid));
            Outcome::KeyUnknown
        }
        Err(JwtError::AlgorithmMismatch { .. }) => Outcome::Mismatch,
        Err(other) => panic!("{other}"),
    };
    assert_eq!(found, expected, "{algorithm} {kid:?}");
}

#[test]
fn contract_keys_with_kids_are_chosen_by_them() {
    let rs = signer(Algorithm::Rs256).jwk(Some("r"), Some(Algorithm::Rs256));
    let es = signer(Algorithm::Es256).jwk(Some("e"), Some(Algorithm::Es256));
    let two = issuers(key_set(&json!({ "keys": [rs, es] }), &LISTED));
    check(&two, Algorithm::Rs256, Some("r"), Outcome::Accepted);
    check(&two, Algorithm::Es256, Some("e"), Outcome::Accepted);
    check(&two, Algorithm::Rs256, Some("e"), Outcome::Mismatch);
    check(&two, Algorithm::Rs256, Some("R"), Outcome::KeyUnknown);
    check(&two, Algorithm::Rs256, Some(""), Outcome::KeyUnknown);
    check(&two, Algorithm::Rs256, None, Outcome::Accepted);
    check(&two, Algorithm::Es256, None, Outcome::Accepted);
    check(&two, Algorithm::Hs256, None, Outcome::KeyUnknown);
}

#[test]
fn contract_the_only_key_without_kid_serves_any_token() {
    let pem = pem("PUBLIC KEY", &signer(Algorithm::Rs256).spki());
    let one = KeySet::parse(pem.as_bytes(), KeyFileFormat::JwksOrPem, &LISTED).unwrap();
    let one = issuers(one);
    check(&one, Algorithm::Rs256, Some("anything"), Outcome::Accepted);
    check(&one, Algorithm::Rs256, None, Outcome::Accepted);
    check(&one, Algorithm::Es256, Some("anything"), Outcome::Mismatch);
    check(&one, Algorithm::Es256, None, Outcome::KeyUnknown);

    let es = signer(Algorithm::Es256).jwk(Some("e"), None);
    let rs = signer(Algorithm::Rs256).jwk(None, None);
    let two = issuers(key_set(&json!({ "keys": [rs, es] }), &LISTED));
    check(&two, Algorithm::Rs256, Some("anything"), Outcome::KeyUnknown);
    check(&two, Algorithm::Rs256, None, Outcome::Accepted);
    check(&two, Algorithm::Es256, Some("e"), Outcome::Accepted);
}

#[test]
fn contract_a_token_without_kid_is_not_tried_on_several_keys() {
    let keys = ["a", "b"].map(|kid| signer(Algorithm::Rs256).jwk(Some(kid), None));
    let two = issuers(key_set(&json!({ "keys": keys }), &LISTED));
    check(&two, Algorithm::Rs256, None, Outcome::KeyUnknown);
    check(&two, Algorithm::Rs256, Some("a"), Outcome::Accepted);
}

#[test]
fn contract_a_key_with_a_kid_does_not_serve_another_kid() {
    let one = issuers(key_set(&signer(Algorithm::Rs256).jwk(Some("a"), None), &LISTED));
    check(&one, Algorithm::Rs256, Some("b"), Outcome::KeyUnknown);
    check(&one, Algorithm::Rs256, None, Outcome::Accepted);
}

#[test]
fn r304_keys_stay_with_their_issuer() {
    let mut other = settings(&LISTED);
    other.issuer = "https://other.example.com".into();
    other.name = "other".into();
    let rs = key_set(&signer(Algorithm::Rs256).jwk(Some("k1"), None), &LISTED);
    let es = key_set(&signer(Algorithm::Es256).jwk(Some("k2"), None), &LISTED);
    let both = Issuers::new(vec![
        (Arc::new(settings(&LISTED)), Arc::new(rs)),
        (Arc::new(other), Arc::new(es)),
    ]);
    check(&both, Algorithm::Rs256, Some("k1"), Outcome::Accepted);
    check(&both, Algorithm::Es256, Some("k2"), Outcome::KeyUnknown);
    let stolen = with(payload(), &json!({ "iss": "https://other.example.com" }));
    let token = sign(Algorithm::Rs256, &header(Algorithm::Rs256), &stolen);
    assert!(matches!(both.verify(&token, NOW), Err(JwtError::KeyUnknown { .. })));
    assert!(Issuers::default().verify(&token, NOW).is_err());
}

#[test]
fn an_unknown_key_is_named_for_the_operator() {
    let said = |kid: Option<&str>| {
        let kid = kid.map(str::to_owned);
        JwtError::KeyUnknown { issuer: "corp".into(), kid }.to_string()
    };
    assert_eq!(said(Some("a\n")), "issuer corp has no key for a token with kid \"a\\n\"");
    assert!(said(None).starts_with("issuer corp has no key for a token without kid: "));
}
