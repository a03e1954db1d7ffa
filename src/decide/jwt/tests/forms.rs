//! Headers and forms that are refused on sight (R-303 to R-305, R-309, R-310, R-313, R-314).

use serde_json::{Value, json};

use super::fixture::*;
use crate::decide::jwt::{Algorithm, JwtError};

#[track_caller]
fn check(changes: &Value, expected: Result<(), &'static str>) {
    let header = with(header(Algorithm::Hs256), changes).to_string();
    let expected = expected.map_err(JwtError::HeaderRefused);
    assert_eq!(verify_header(&header).map(|_| ()), expected, "{header:.200}");
}

#[test]
fn r303_any_crit_is_refused() {
    check(&json!({}), Ok(()));
    for crit in [json!([]), json!(["exp"]), json!(["b64"]), json!("exp"), json!({}), json!(false)] {
        check(&json!({ "crit": crit }), Err("crit is not accepted"));
    }
    for b64 in [json!(false), json!(true), json!("false")] {
        check(&json!({ "b64": b64 }), Err("b64 is not accepted"));
    }
    let null = verify_header(r#"{"alg":"HS256","kid":"k1","crit":null}"#).map(|_| ());
    assert_eq!(null, Err(JwtError::HeaderRefused("crit is not accepted")));
}

#[test]
fn r304_keys_in_the_header_are_not_read() {
    let attacker = signer(Algorithm::Es256).jwk(Some("k1"), None);
    for changes in [
        json!({ "jwk": attacker }),
        json!({ "jku": "http://127.0.0.1:1/keys", "x5u": "http://127.0.0.1:1/chain" }),
        json!({ "x5c": ["AAAA"], "x5t": "AAAA", "x5t#S256": 7 }),
    ] {
        check(&changes, Ok(()));
        let issuers = one_key(Algorithm::Hs256);
        let forged = with(with(header(Algorithm::Es256), &changes), &json!({ "kid": "unknown" }));
        let token = sign(Algorithm::Es256, &forged, &payload());
        assert!(issuers.verify(&token, NOW).is_err());
    }
}

#[test]
fn r305_a_kid_is_a_short_string() {
    for kid in [json!(1), json!(["k1"]), json!({ "k": 1 }), json!(true)] {
        check(&json!({ "kid": kid }), Err("kid is not a string"));
    }
    check(&json!({ "kid": "k".repeat(257) }), Err("kid is longer than 256 bytes"));
    for kid in ["k".repeat(256), "../k1".into(), "k1'--".into(), "k1\0".into(), String::new()] {
        let header = with(header(Algorithm::Hs256), &json!({ "kid": kid })).to_string();
        let unknown = JwtError::KeyUnknown { issuer: "corp".into(), kid: Some(kid) };
        assert_eq!(verify_header(&header).err(), Some(unknown));
    }
}

#[test]
fn r309_compressed_and_nested_tokens_are_refused() {
    check(&json!({ "zip": "DEF" }), Err("zip is not accepted"));
    check(&json!({ "zip": "" }), Err("zip is not accepted"));
    for cty in [json!("JWT"), json!("jwt"), json!("application/jwt"), json!(["JWT"]), json!(1)] {
        check(&json!({ "cty": cty }), Err("cty says a token is nested"));
    }
    check(&json!({ "cty": "json" }), Ok(()));
}

#[test]
fn r310_a_name_twice_is_refused_in_header_and_payload() {
    let twice = |what| Some(JwtError::Malformed(what));
    for header in [
        r#"{"alg":"HS256","kid":"k1","alg":"HS256"}"#,
        r#"{"alg":"HS256","kid":"k1","\u0061lg":"none"}"#,
        r#"{"alg":"HS256","kid":"k1","x":{"y":1,"y":2}}"#,
    ] {
        assert_eq!(verify_header(header).err(), twice("the header has a name twice"));
    }
    let good = payload().to_string();
    for name in ["sub", "exp", "scope", "aud", "iss", "\\u0073ub", "\\u0065xp", "a", "a"] {
        let doubled = good.replacen('{', &format!("{{\"a\":1,\"scope\":\"\",\"{name}\":1,"), 1);
        assert_eq!(
            verify_payload(&doubled).err(),
            twice("the payload has a name twice"),
            "{doubled}"
        );
    }
}

#[test]
fn r310_only_whole_json_objects_are_read() {
    for header in ["", "null", "[]", "\"HS256\"", "{\"alg\":\"HS256\"}x", "{\"alg\":\"HS256\"}{}"] {
        assert!(matches!(verify_header(header), Err(JwtError::Malformed(_))), "{header}");
    }
    let good = payload().to_string();
    for payload in ["", "null", "[]", "1", &format!("{good}{good}"), &good[..good.len() - 1]] {
        assert!(matches!(verify_payload(payload), Err(JwtError::Malformed(_))), "{payload}");
    }
    assert!(verify_payload(&format!(" {good}\r\n\t")).is_ok());
}

#[test]
fn r313_typ_is_one_of_the_issuers_types() {
    for typ in ["at+jwt", "AT+JWT", "JWT", "jwt", "application/at+jwt", "Application/JWT"] {
        check(&json!({ "typ": typ }), Ok(()));
    }
    check(&json!({ "typ": null }), Ok(()));
    for typ in [
        "",
        "id+jwt",
        "logout+jwt",
        "at+jwt ",
        "text/jwt",
        "application/x/jwt",
        "applikation/jwt",
        "none",
    ] {
        check(&json!({ "typ": typ }), Err("typ is not among the issuer's types"));
    }
    check(&json!({ "typ": ["JWT"] }), Err("typ is not a string"));

    let mut strict = settings(&[Algorithm::Hs256]);
    strict.types = vec![Some("at+jwt".into())];
    let issuers = one_key_with(Algorithm::Hs256, strict);
    for (typ, accepted) in [(json!("at+jwt"), true), (json!("JWT"), false), (json!(null), false)] {
        let header = with(header(Algorithm::Hs256), &json!({ "typ": typ }));
        let token = sign(Algorithm::Hs256, &header, &payload());
        assert_eq!(issuers.verify(&token, NOW).is_ok(), accepted, "{typ}");
    }
}

#[test]
fn r301_alg_is_a_known_listed_name() {
    check(&json!({ "alg": null }), Err("alg is missing"));
    for alg in [json!(["HS256"]), json!(256), json!({})] {
        check(&json!({ "alg": alg }), Err("alg is not a string"));
    }
    let unknown = "alg is none, or not a signature algorithm known here";
    for alg in ["none", "hs256", "HS256\0", "", "dir", "RSA-OAEP", "ES256K", "Ed448"] {
        check(&json!({ "alg": alg }), Err(unknown));
    }
    check(&json!({ "alg": "HS384" }), Err("alg is not among the issuer's algorithms"));
}

#[test]
fn r314_deep_and_wide_payloads_are_refused() {
    let inside = |value: &str| payload().to_string().replacen('{', &format!("{{\"x\":{value},"), 1);
    let nested = |levels: usize| inside(&format!("{}{}", "[".repeat(levels), "]".repeat(levels)));
    assert!(verify_payload(&nested(31)).is_ok());
    assert_eq!(
        verify_payload(&nested(32)).err(),
        Some(JwtError::Malformed("the payload is nested deeper than 32 levels"))
    );
    let wide = inside(&format!("[{}0]", "0,".repeat(1500)));
    assert_eq!(
        verify_payload(&wide).err(),
        Some(JwtError::Malformed("the payload has more than 1024 members"))
    );
    let long = inside(&format!("\"{}\"", "x".repeat(1 << 20)));
    assert_eq!(verify_payload(&long).err(), Some(JwtError::TooLong(8_192)));
}

#[test]
fn r314_deep_and_wide_headers_are_refused() {
    let inside = |value: &str| {
        header(Algorithm::Hs256).to_string().replacen('{', &format!("{{\"x\":{value},"), 1)
    };
    let nested = |levels: usize| inside(&format!("{}{}", "[".repeat(levels), "]".repeat(levels)));
    assert!(verify_header(&nested(31)).is_ok());
    assert_eq!(
        verify_header(&nested(32)).err(),
        Some(JwtError::Malformed("the header is nested deeper than 32 levels"))
    );
    let wide = |items: usize| inside(&format!("[{}0]", "0,".repeat(items - 1)));
    assert!(verify_header(&wide(1000)).is_ok());
    assert_eq!(
        verify_header(&wide(1024)).err(),
        Some(JwtError::Malformed("the header has more than 1024 members"))
    );
}
