//! Whatever an introspection endpoint says (RFC 7662): a token is active only where the answer says
//! so explicitly, for the issuer that was asked, for us, for now, and not for long. The oracle
//! reads the answer a second time with a lenient parser.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use gatepost::base::clock::UnixTime;
use gatepost::decide::jwt::introspection::SubjectFrom;
use gatepost::decide::jwt::{
    IntrospectionRules, IssuerSettings, Issuers, JwtError, KeySet, Recheck,
};
use gatepost::decide::scope::ScopeSet;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const NOW: u64 = 1_800_000_000;
const LEEWAY_S: u64 = 30;
const CACHE_S: u64 = 60;
const STALE_S: u64 = 15;
/// Names its audience; need not; has another claim for it and a cap on scopes.
const STRICT: &str = "https://strict.test";
const ANY: &str = "https://any.test";
const CAPPED: &str = "https://capped.test";

static ISSUERS: LazyLock<Issuers> = LazyLock::new(|| {
    Issuers::new(vec![
        issuer(STRICT, "aud", false, None),
        issuer(ANY, "aud", true, None),
        issuer(CAPPED, "for", true, Some("read write")),
    ])
});

fn issuer(
    name: &str,
    audience_claim: &str,
    any_audience: bool,
    cap: Option<&str>,
) -> (Arc<IssuerSettings>, Arc<KeySet>) {
    let settings = IssuerSettings {
        issuer: name.into(),
        name: name.into(),
        audiences: vec!["api".into(), "billing".into()],
        algorithms: Vec::new(),
        types: vec![None],
        audience_claim: audience_claim.into(),
        scope_claims: vec!["scope".into(), "realm.scp".into()],
        scopes_cap: cap.map(|cap| ScopeSet::parse(cap).expect("scopes")),
        leeway: Duration::from_secs(LEEWAY_S),
        max_lifetime: None,
        claim_headers: Vec::new(),
        shape: gatepost::decide::jwt::TokenShape::of_rfc9068(),
        introspection: Some(IntrospectionRules {
            endpoint: "https://asked.test/introspect".into(),
            cache: Duration::from_secs(CACHE_S),
            stale_for: Duration::from_secs(STALE_S),
            any_audience,
            subject_from: SubjectFrom::Sub,
        }),
    };
    (Arc::new(settings), Arc::new(KeySet::default()))
}

fuzz_target!(|data: &[u8]| {
    for issuer in [STRICT, ANY, CAPPED] {
        let read = ISSUERS.introspected(issuer, data, UnixTime(NOW));
        let answer: Value = serde_json::from_slice(data).unwrap_or_default();
        let token = match read {
            Ok(token) => token,
            Err(error) => {
                // What says no is heard as a no, and nothing else is.
                assert!(error != JwtError::Inactive || answer["active"] == false);
                continue;
            }
        };
        assert_eq!(answer["active"], true, "not in so many words");
        assert!(answer.get("iss").is_none_or(|iss| iss == issuer), "another issuer's");
        assert!(names_us(issuer, &answer), "for somebody else");
        let who = token.principal();
        assert_eq!((who.issuer(), Some(who.subject())), (issuer, answer["sub"].as_str()));
        assert!((1..=256).contains(&who.subject().len()));
        assert!(!who.subject().chars().any(char::is_control));
        granted(issuer, &answer, who.scopes());
        dates(&answer);
        later(&token, &answer);
    }
    assert!(ISSUERS.introspected("https://other.test", data, UnixTime(NOW)).is_err());
});

fn names_us(issuer: &str, answer: &Value) -> bool {
    let claim = if issuer == CAPPED { "for" } else { "aud" };
    let is_ours = |text: &Value| text == "api" || text == "billing";
    match answer.get(claim) {
        Some(Value::Array(all)) => all.iter().any(is_ours),
        Some(one) => is_ours(one),
        None => issuer != STRICT && answer.get("aud").is_none(),
    }
}

/// Nothing is granted that the answer does not say, and nothing beyond the cap.
fn granted(issuer: &str, answer: &Value, scopes: &ScopeSet) {
    let claims = [answer.get("scope"), answer.get("realm.scp"), answer.pointer("/realm/scp")];
    let mut said = Vec::new();
    for claim in claims.into_iter().flatten() {
        match claim {
            Value::Array(items) => said.extend(items.iter().filter_map(Value::as_str)),
            other => said.extend(other.as_str().unwrap_or("").split(' ')),
        }
    }
    for scope in scopes.iter() {
        assert!(said.contains(&scope), "{scope} was never granted");
        assert!(issuer != CAPPED || ["read", "write"].contains(&scope), "{scope} is over the cap");
    }
}

/// Absent or null, or a number on the right side of now.
fn dates(answer: &Value) {
    let date = |name: &str| {
        let value = answer.get(name).filter(|value| !value.is_null())?;
        Some(value.as_f64().unwrap_or_else(|| panic!("{name} is {value}")))
    };
    assert!(date("exp").is_none_or(|exp| exp > (NOW - LEEWAY_S) as f64));
    assert!(date("nbf").is_none_or(|nbf| nbf <= (NOW + LEEWAY_S) as f64));
    assert!(date("iat").is_none_or(|iat| iat <= (NOW + LEEWAY_S) as f64));
}

/// It holds now, is asked about again after a while, and is never believed after its end.
fn later(token: &gatepost::decide::jwt::VerifiedToken, answer: &Value) {
    let at = |seconds: u64| ISSUERS.recheck(token, UnixTime(NOW + seconds));
    assert_eq!(at(0), Recheck::Valid);
    for seconds in [1, LEEWAY_S, CACHE_S - 1, CACHE_S, CACHE_S + STALE_S - 1, CACHE_S + STALE_S] {
        let ended = answer["exp"]
            .as_f64()
            .is_some_and(|exp| (NOW + seconds) as f64 >= exp.floor() + LEEWAY_S as f64);
        match at(seconds) {
            Recheck::Valid => assert!(!ended && seconds < CACHE_S, "{seconds}"),
            Recheck::Stale => {
                assert!(!ended && (CACHE_S..CACHE_S + STALE_S).contains(&seconds), "{seconds}");
            }
            Recheck::Invalid(error) => {
                assert!(ended && matches!(error, JwtError::Expired(_)), "{seconds} {error}");
            }
            Recheck::Outdated => assert_eq!(seconds, CACHE_S + STALE_S),
        }
    }
}
