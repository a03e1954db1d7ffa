//! `jsonwebtoken` as the oracle: whatever we accept, it accepts.

use std::sync::Arc;

use jsonwebtoken::{DecodingKey, Validation};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::fixture::*;
use crate::base::clock::{Clock, UnixTime};
use crate::decide::jwt::{Algorithm, Issuers};

/// The algorithms the oracle knows.
const KNOWN: [(Algorithm, jsonwebtoken::Algorithm); 12] = [
    (Algorithm::Hs256, jsonwebtoken::Algorithm::HS256),
    (Algorithm::Hs384, jsonwebtoken::Algorithm::HS384),
    (Algorithm::Hs512, jsonwebtoken::Algorithm::HS512),
    (Algorithm::Rs256, jsonwebtoken::Algorithm::RS256),
    (Algorithm::Rs384, jsonwebtoken::Algorithm::RS384),
    (Algorithm::Rs512, jsonwebtoken::Algorithm::RS512),
    (Algorithm::Ps256, jsonwebtoken::Algorithm::PS256),
    (Algorithm::Ps384, jsonwebtoken::Algorithm::PS384),
    (Algorithm::Ps512, jsonwebtoken::Algorithm::PS512),
    (Algorithm::Es256, jsonwebtoken::Algorithm::ES256),
    (Algorithm::Es384, jsonwebtoken::Algorithm::ES384),
    (Algorithm::EdDsa, jsonwebtoken::Algorithm::EdDSA),
];

fn oracle_accepts(token: &str, algorithm: Algorithm, named: jsonwebtoken::Algorithm) -> bool {
    let jwk = signer(algorithm).jwk(None, None);
    let key = DecodingKey::from_jwk(&serde_json::from_value(jwk).unwrap()).unwrap();
    let mut validation = Validation::new(named);
    validation.set_audience(&[AUDIENCE, "billing"]);
    validation.set_issuer(&[ISSUER]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.validate_nbf = true;
    validation.leeway = 30;
    jsonwebtoken::decode::<Value>(token, &key, &validation).is_ok()
}

/// The oracle reads the system clock, so this test does too; dates stay off its edges.
fn now() -> UnixTime {
    Clock::start().now().unix
}

fn date() -> impl Strategy<Value = Option<Value>> {
    let near =
        prop_oneof![Just(-100_000i64), Just(-40), Just(-20), Just(20), Just(300), Just(100_000)];
    prop_oneof![
        3 => near.prop_map(|offset| Some(json!(now().0.saturating_add_signed(offset)))),
        1 => Just(None),
        1 => prop_oneof![Just(json!("soon")), Just(json!(1.9e9)), Just(json!(-1)), Just(json!([1]))]
            .prop_map(Some),
    ]
}

fn audience() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => Just(json!(AUDIENCE)),
        2 => Just(json!(["x", AUDIENCE])),
        1 => Just(json!([])),
        1 => Just(json!("orders")),
        1 => Just(json!(7)),
    ]
}

fn claims() -> impl Strategy<Value = Value> {
    (date(), date(), date(), audience()).prop_map(|(exp, nbf, iat, aud)| {
        let mut claims = json!({ "iss": ISSUER, "sub": "user-1", "aud": aud });
        for (name, value) in [("exp", exp), ("nbf", nbf), ("iat", iat)] {
            if let Some(value) = value {
                claims[name] = value;
            }
        }
        claims
    })
}

fn issuers(algorithm: Algorithm) -> Issuers {
    let keys = key_set(&signer(algorithm).jwk(Some("k1"), Some(algorithm)), &Algorithm::ALL);
    Issuers::new(vec![(Arc::new(settings(&Algorithm::ALL)), Arc::new(keys))])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Claims of every sort, then up to two bytes of the text changed before it is signed.
    #[test]
    fn r311_r312_what_we_accept_the_oracle_accepts(
        which in 0..KNOWN.len(),
        claims in claims(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0x20u8..0x7f), 0..3),
    ) {
        let (algorithm, named) = KNOWN[which];
        let mut text = claims.to_string().into_bytes();
        for (index, byte) in changes {
            let at = index.index(text.len());
            text[at] = byte;
        }
        let text = String::from_utf8(text).unwrap();
        let token = sign_text(algorithm, &header(algorithm).to_string(), &text);
        if issuers(algorithm).verify(&token, now()).is_ok() {
            prop_assert!(oracle_accepts(&token, algorithm, named), "{text}");
        }
    }

    /// Bytes of the finished token changed: we and the oracle refuse both, or accept both.
    #[test]
    fn r301_a_changed_token_is_refused(
        which in 0..KNOWN.len(),
        at in any::<prop::sample::Index>(),
        byte in 0x20u8..0x7f,
    ) {
        let (algorithm, _) = KNOWN[which];
        let claims = with(payload(), &json!({ "exp": now().0 + 300 }));
        let good = sign(algorithm, &header(algorithm), &claims);
        let mut bytes = good.clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let token = String::from_utf8(bytes).unwrap();
        prop_assert_eq!(issuers(algorithm).verify(&token, now()).is_ok(), token == good);
    }
}

#[test]
fn the_oracle_and_we_accept_a_good_token_of_every_algorithm() {
    for (algorithm, named) in KNOWN {
        let claims = with(payload(), &json!({ "exp": now().0 + 300 }));
        let token = sign(algorithm, &header(algorithm), &claims);
        assert!(oracle_accepts(&token, algorithm, named), "{algorithm}");
        assert!(issuers(algorithm).verify(&token, now()).is_ok(), "{algorithm}");
    }
}
