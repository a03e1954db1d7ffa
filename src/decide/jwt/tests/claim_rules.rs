//! Claims of tokens whose signature holds (R-311 to, and the contract).
#![expect(clippy::needless_pass_by_value, reason = "rows of a table are written by value")]

use std::time::Duration;

use serde_json::{Value, json};

use super::fixture::*;
use crate::base::clock::UnixTime;
use crate::decide::jwt::{Algorithm, ClaimError, IssuerSettings, Issuers, JwtError};
use crate::decide::scope::ScopeSet;

fn hs256() -> IssuerSettings {
    settings(&[Algorithm::Hs256])
}

/// A bad claim, whatever was found.
fn bad(claim: &str) -> JwtError {
    ClaimError::missing(claim).into()
}

fn blunt(error: JwtError) -> JwtError {
    match error {
        JwtError::ClaimBad(error) => bad(error.claim()),
        other => other,
    }
}

#[track_caller]
fn check(changes: &Value, expected: Result<(), JwtError>) {
    check_with(hs256(), changes, expected);
}

#[track_caller]
fn check_with(settings: IssuerSettings, changes: &Value, expected: Result<(), JwtError>) {
    let payload = with(payload(), changes).to_string();
    let verified = verify_payload_with(settings, &payload).map(drop).map_err(blunt);
    assert_eq!(verified, expected, "{payload:.300}");
}

/// A member as raw text, for values `serde_json` would not write.
#[track_caller]
fn check_raw(name: &str, value: &str, expected: Result<(), JwtError>) {
    let without = with(payload(), &json!({ name: null })).to_string();
    let payload = without.replacen('{', &format!("{{\"{name}\":{value},"), 1);
    let verified = verify_payload(&payload).map(drop).map_err(blunt);
    assert_eq!(verified, expected, "{payload}");
}

#[test]
fn r311_exp_is_required_and_a_number() {
    check(&json!({ "exp": null }), Err(bad("exp")));
    for value in [
        "null",
        "\"1900000000\"",
        "true",
        "[1900000000]",
        "{}",
        "-1",
        "-0",
        "-0.0",
        "1e300",
        "9007199254740993",
        "9007199254740994",
        "9223372036854775808",
        "18446744073709551616",
        "-1.5",
    ] {
        check_raw("exp", value, Err(bad("exp")));
        if value != "null" {
            check_raw("nbf", value, Err(bad("nbf")));
            check_raw("iat", value, Err(bad("iat")));
        }
    }
    check_raw("nbf", "null", Ok(()));
    check_raw("iat", "null", Ok(()));
    let not_json = Err(JwtError::Malformed("the payload is not JSON"));
    for value in ["1e400", "NaN", "Infinity", "0x7fffffff", "+1900000000", "01900000000", ""] {
        check_raw("exp", value, not_json.clone());
    }
    check_raw("exp", "9007199254740992", Ok(()));
    check_raw("exp", "1.9e9", Ok(()));
    for value in ["0", "1.5", "1"] {
        check_raw("exp", value, Err(JwtError::Expired(UnixTime(value[..1].parse().unwrap()))));
    }
}

#[test]
fn r311_a_token_ends_at_exp_plus_leeway() {
    let now = NOW.0;
    check(&json!({ "exp": now - 29 }), Ok(()));
    check(&json!({ "exp": now - 30 }), Err(JwtError::Expired(UnixTime(now - 30))));
    check_raw("exp", &format!("{}.9", now - 30), Err(JwtError::Expired(UnixTime(now - 30))));
    let mut exact = hs256();
    exact.leeway = Duration::ZERO;
    check_with(exact.clone(), &json!({ "exp": now + 1 }), Ok(()));
    check_with(exact, &json!({ "exp": now }), Err(JwtError::Expired(UnixTime(now))));
}

#[test]
fn r311_a_token_begins_at_nbf_and_iat_less_leeway() {
    let now = NOW.0;
    for name in ["nbf", "iat"] {
        check(&json!({ name: now + 30 }), Ok(()));
        check(&json!({ name: now + 31 }), Err(JwtError::NotYetValid(UnixTime(now + 31))));
        check_raw(name, &format!("{}.1", now + 30), Err(JwtError::NotYetValid(UnixTime(now + 31))));
    }
    check(&json!({ "nbf": now, "exp": now - 10 }), Err(bad("nbf")));
    check(&json!({ "nbf": now - 20, "exp": now - 10, "iat": now }), Ok(()));
    check(&json!({ "nbf": now - 10, "exp": now - 10 }), Ok(()));
}

#[test]
fn r311_a_lifetime_over_the_limit_is_refused() {
    let mut limited = hs256();
    limited.max_lifetime = Some(Duration::from_secs(3600));
    let now = NOW.0;
    check_with(limited.clone(), &json!({}), Err(bad("iat")));
    let null =
        with(payload(), &json!({ "x": 1 })).to_string().replacen("\"x\":1", "\"iat\":null", 1);
    assert!(verify_payload_with(limited.clone(), &null).is_err(), "null is an absent one");
    check_with(limited.clone(), &json!({ "iat": now, "exp": now + 3600 }), Ok(()));
    let over = Err(JwtError::LifetimeTooLong(3601));
    check_with(limited.clone(), &json!({ "iat": now, "exp": now + 3601 }), over.clone());
    check_with(limited.clone(), &json!({ "iat": now, "exp": now as f64 + 3600.5 }), over.clone());
    check_with(limited, &json!({ "iat": now as f64 - 0.5, "exp": now + 3600 }), over);
}

#[test]
fn r802_a_kept_token_is_compared_with_the_clock_again() {
    let verified = verify_payload(&payload().to_string()).unwrap();
    assert_eq!(verified.expires(), UnixTime(NOW.0 + 300));
    assert_eq!(verified.check_time(UnixTime(NOW.0 + 329)), Ok(()));
    assert_eq!(
        verified.check_time(UnixTime(NOW.0 + 330)),
        Err(JwtError::Expired(UnixTime(NOW.0 + 300)))
    );
}

#[test]
fn r312_the_issuer_is_compared_byte_for_byte() {
    for iss in [
        "https://login.example.com/",
        "https://login.example.co",
        "HTTPS://login.example.com",
        "",
        "https://login.example.com\0",
    ] {
        check(&json!({ "iss": iss }), Err(JwtError::IssuerUnknown(iss.to_owned())));
    }
    for iss in [json!([ISSUER]), json!({ "iss": ISSUER }), json!(5), json!(true)] {
        check(&json!({ "iss": iss }), Err(bad("iss")));
    }
    check(&json!({ "iss": null }), Err(bad("iss")));
    check_raw("iss", "null", Err(bad("iss")));
    let long = "é".repeat(300);
    check(&json!({ "iss": long }), Err(JwtError::IssuerUnknown("é".repeat(128))));
}

#[test]
fn r312_a_template_binds_the_tenant_of_iss_to_its_claim() {
    let mut entra = hs256();
    entra.issuer = "https://login.example.com/{tid}/v2.0".into();
    let check = |changes: &Value, expected| check_with(entra.clone(), changes, expected);
    let iss = |tenant: &str| format!("https://login.example.com/{tenant}/v2.0");
    check(&json!({ "iss": iss("a1"), "tid": "a1" }), Ok(()));
    check(&json!({ "iss": iss("a1"), "tid": "b2" }), Err(bad("tid")));
    check(&json!({ "iss": iss("a1"), "tid": "A1" }), Err(bad("tid")));
    check(&json!({ "iss": iss("a1"), "tid": ["a1"] }), Err(bad("tid")));
    check(&json!({ "iss": iss("a1") }), Err(bad("tid")));
    for other in [iss("{tid}"), iss(""), iss("a/1"), iss("a1") + "/", ISSUER.to_owned()] {
        let changes = json!({ "iss": &other, "tid": "{tid}" });
        check(&changes, Err(JwtError::IssuerUnknown(other)));
    }
    let payload = with(payload(), &json!({ "iss": iss("a1"), "tid": "a1" })).to_string();
    let token = verify_payload_with(entra, &payload).unwrap();
    let issuers: Vec<_> = token.principal().issuers().collect();
    assert_eq!(issuers, [&*iss("a1"), "https://login.example.com/{tid}/v2.0"]);
}

#[test]
fn r312_an_accepted_audience_is_named_byte_for_byte() {
    for aud in
        [json!("orders-api"), json!("billing"), json!(["x", "orders-api"]), json!(["billing"])]
    {
        check(&json!({ "aud": aud }), Ok(()));
    }
    for aud in [
        json!(""),
        json!("orders"),
        json!("orders-api2"),
        json!("Orders-Api"),
        json!("orders-api "),
        json!([]),
        json!(["x"]),
        json!([["orders-api"]]),
        json!(["orders-api", 1]),
        json!({ "aud": "orders-api" }),
        json!(1),
        json!(true),
        json!("orders-api billing"),
    ] {
        check(&json!({ "aud": aud }), Err(JwtError::AudienceWrong));
    }
    check(&json!({ "aud": null }), Err(JwtError::AudienceWrong));
    check_raw("aud", "null", Err(JwtError::AudienceWrong));
}

#[test]
fn r312_the_audience_claim_has_a_literal_name() {
    let mut cognito = hs256();
    cognito.audience_claim = "client.id".into();
    check_with(cognito.clone(), &json!({ "client.id": AUDIENCE }), Ok(()));
    check_with(cognito.clone(), &json!({}), Err(JwtError::AudienceWrong));
    check_with(cognito, &json!({ "client": { "id": AUDIENCE } }), Err(JwtError::AudienceWrong));
}

#[test]
fn r313_id_tokens_are_refused_where_they_can_be_told() {
    for name in ["nonce", "at_hash", "c_hash"] {
        for value in ["\"x\"", "\"\"", "null", "1"] {
            check_raw(name, value, Err(JwtError::IdToken));
        }
    }
    check(&json!({ "token_use": "id" }), Err(JwtError::IdToken));
    check(&json!({ "token_use": "access", "Nonce": "x" }), Ok(()));
}

#[test]
fn r315_a_subject_is_a_short_string_without_controls() {
    check(&json!({ "sub": "s".repeat(256) }), Ok(()));
    check(&json!({ "sub": "Zoë, 100 %" }), Ok(()));
    let bad = Err(bad("sub"));
    check(&json!({ "sub": null }), bad.clone());
    check_raw("sub", "null", bad.clone());
    for sub in [
        json!(""),
        json!(7),
        json!(["u"]),
        json!({ "u": 1 }),
        json!(true),
        json!("s".repeat(257)),
        json!("a\r\nX-Auth-Scopes: admin"),
        json!("a\0"),
        json!("a\u{7f}"),
        json!("a\u{85}"),
        json!("\t"),
    ] {
        check(&json!({ "sub": sub }), bad.clone());
    }
}

#[test]
fn r315_client_and_token_id_are_strings_like_the_subject() {
    for name in ["client_id", "azp", "jti"] {
        for value in [json!(""), json!(1), json!([]), json!("x".repeat(257)), json!("a\n")] {
            check(&json!({ name: value }), Err(bad(name)));
        }
        check_raw(name, "null", Ok(()));
    }
    let both = with(payload(), &json!({ "client_id": "cli", "azp": "other", "jti": "t-1" }));
    let verified = verify_payload(&both.to_string()).unwrap();
    assert_eq!(verified.principal().client_id(), Some("cli"));
    assert_eq!(verified.principal().credential_id(), Some("t-1"));
    let azp = verify_payload(&with(payload(), &json!({ "azp": "web" })).to_string()).unwrap();
    assert_eq!(azp.principal().client_id(), Some("web"));
    assert_eq!(azp.principal().credential_id(), None);
    assert_eq!(azp.principal().issuer(), ISSUER);
    assert_eq!(azp.principal().issuer_name(), "corp");
}

#[track_caller]
fn check_scopes(settings: IssuerSettings, changes: &Value, expected: Option<&str>) {
    let payload = with(payload(), changes).to_string();
    let verified = verify_payload_with(settings, &payload);
    let scopes = verified.as_ref().map(|token| token.principal().scopes().to_string());
    match expected {
        Some(expected) => assert_eq!(scopes, Ok(expected.to_owned()), "{payload}"),
        None => assert!(matches!(scopes, Err(JwtError::ClaimBad(_))), "{payload}"),
    }
}

#[test]
fn contract_scope_claims_are_strings_or_arrays_joined_and_capped() {
    for (changes, expected) in [
        (json!({}), Some("")),
        (json!({ "scope": "" }), Some("")),
        (json!({ "scope": "write read" }), Some("read write")),
        (json!({ "scope": " read  read " }), Some("read")),
        (json!({ "scp": ["read", "orders:write"] }), Some("orders:write read")),
        (json!({ "scope": "a", "scp": "b c" }), Some("a b c")),
        (json!({ "scope": [] }), Some("")),
        (json!({ "scope": ["a b", "é", "c"] }), Some("c")),
        (json!({ "scope": ["a", "", 1, null, ["b"], { "c": 1 }] }), Some("a")),
        (json!({ "scope": "a\tb" }), None),
        (json!({ "scope": "é" }), None),
        (json!({ "scope": "a \"b\"" }), None),
        (json!({ "scope": 1 }), None),
        (json!({ "scope": true }), None),
        (json!({ "scope": { "a": 1 } }), None),
        (json!({ "scope": "a", "scp": 1 }), None),
    ] {
        check_scopes(hs256(), &changes, expected);
    }
    let mut capped = hs256();
    capped.scopes_cap = Some(ScopeSet::parse("read write").unwrap());
    check_scopes(capped.clone(), &json!({ "scope": "read admin" }), Some("read"));
    check_scopes(capped, &json!({ "scope": "admin" }), Some(""));
    let mut nested = hs256();
    nested.scope_claims = vec!["realm_access.roles".into()];
    check_scopes(nested.clone(), &json!({ "realm_access": { "roles": ["a"] } }), Some("a"));
    check_scopes(nested, &json!({ "scope": "a" }), Some(""));
}

#[test]
fn contract_errors_name_the_claim_and_what_was_found() {
    for (changes, expected) in [
        (json!({ "sub": 7 }), "`sub` is a number, expected a string"),
        (json!({ "sub": null }), "`sub` is missing"),
        (json!({ "sub": "" }), "`sub` is empty"),
        (json!({ "sub": "a\n" }), "`sub` has control characters"),
        (json!({ "jti": "x".repeat(300) }), "`jti` has 300 bytes, at most 256 are accepted"),
        (json!({ "azp": ["web"] }), "`azp` is an array, expected a string"),
        (json!({ "scp": 1 }), "`scp` is a number, expected a string or an array"),
        (json!({ "scope": "a\tb" }), "`scope` has characters that no scope has"),
        (json!({ "exp": "1900000000" }), "`exp` is a string, expected a number"),
        (json!({ "iss": true }), "`iss` is a boolean, expected a string"),
    ] {
        let error = verify_payload(&with(payload(), &changes).to_string()).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}: {expected}");
    }
    let null = payload().to_string().replacen('{', "{\"scope\":null,\"jti\":null,", 1);
    assert!(verify_payload(&null).is_ok(), "null is absent");
}

#[test]
fn contract_subject_and_client_claims_are_read_where_the_issuer_puts_them() {
    let mut okta = hs256();
    okta.shape.subject_claim = "https://example.com/user.id".into();
    okta.shape.client_claims = vec!["cid".into(), "app.id".into()];
    let read = |changes: Value| {
        verify_payload_with(okta.clone(), &with(payload(), &changes).to_string())
            .map(|token| {
                let who = token.principal();
                (who.subject().to_owned(), who.client_id().map(str::to_owned))
            })
            .map_err(|error| error.to_string())
    };
    let id = |id: Value| json!({ "https://example.com/user": { "id": id }, "client_id": "shop" });
    assert_eq!(read(id(json!("ada"))), Ok(("ada".to_owned(), None)));
    let nested = with(id(json!("ada")), &json!({ "app": { "id": "a" } }));
    assert_eq!(read(nested.clone()), Ok(("ada".to_owned(), Some("a".to_owned()))));
    let first = with(nested, &json!({ "cid": "c" }));
    assert_eq!(read(first), Ok(("ada".to_owned(), Some("c".to_owned()))));
    let wrong = "`https://example.com/user.id` is a number, expected a string";
    assert_eq!(read(id(json!(7))), Err(wrong.to_owned()));
    let missing = "`https://example.com/user.id` is missing";
    assert_eq!(read(json!({})), Err(missing.to_owned()), "sub takes no one's place");
}

#[test]
fn r313_id_tokens_are_accepted_only_where_the_operator_says_so() {
    let mut keycloak = hs256();
    keycloak.shape.accepts_id_tokens = true;
    for name in ["nonce", "at_hash", "c_hash"] {
        check_with(keycloak.clone(), &json!({ name: "x" }), Ok(()));
    }
    check_with(keycloak, &json!({ "token_use": "id" }), Err(JwtError::IdToken));
}

#[test]
fn r314_each_issuer_has_its_own_longest_token() {
    let mut long = hs256();
    long.shape.token_bytes = 20_000;
    let padded = |bytes: usize| with(payload(), &json!({ "groups": "g".repeat(bytes) }));
    check_with(long.clone(), &padded(12_000), Ok(()));
    check_with(long.clone(), &padded(20_000), Err(JwtError::TooLong(20_000)));
    check(&padded(12_000), Err(JwtError::TooLong(8_192)));
    // The longest of all issuers is decoded, and then its own counts.
    let mut other = hs256();
    (other.issuer, other.name) = ("https://other.example.com".into(), "other".into());
    let keys = || key_set(&signer(Algorithm::Hs256).jwk(Some("k1"), None), &[Algorithm::Hs256]);
    let both = [hs256(), IssuerSettings { shape: long.shape, ..other }];
    let both = both.map(|settings| (settings.into(), keys().into()));
    let token = sign(Algorithm::Hs256, &header(Algorithm::Hs256), &padded(12_000));
    let error = Issuers::new(both.to_vec()).verify(&token, NOW).err();
    assert_eq!(error, Some(JwtError::TooLong(8_192)));
}

#[test]
fn r902_no_error_shows_the_token() {
    let token = sign(Algorithm::Hs256, &header(Algorithm::Hs256), &payload());
    let (_, signature) = token.rsplit_once('.').unwrap();
    let mut issuers = vec![one_key(Algorithm::Hs512), one_key(Algorithm::Rs256)];
    let mut wrong = hs256();
    wrong.audiences = vec!["other".into()];
    issuers.push(one_key_with(Algorithm::Hs256, wrong));
    for issuers in issuers {
        let error = issuers.verify(&token, NOW).expect_err("refused");
        assert!(!format!("{error} {error:?}").contains(signature));
    }
}

#[test]
fn r804_a_verified_token_tells_what_it_can_be_revoked_by() {
    let verified = |changes| verify_payload(&with(payload(), &changes).to_string()).unwrap();
    let token = verified(json!({ "iat": NOW.0 - 60 }));
    assert_eq!(token.issued(), Some(UnixTime(NOW.0 - 60)));
    assert_eq!(token.kid(), Some("k1"));
    assert_eq!(token.expires(), UnixTime(NOW.0 + 300));
    assert_eq!(verified(json!({})).issued(), None);
    assert_ne!(token.epoch(), crate::decide::jwt::Epoch::default());
}
