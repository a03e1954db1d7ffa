//! The account of a decision: every step in its order, in the operator's words.

use super::*;
use crate::decide::gate::evidence::Step;

const CONFIG: &str = "
limits: { few: { rate: 1/h, burst: 2, by: principal }, near: { rate: 1/h, burst: 9, by: address } }
routes:
  - { path: /open, name: open, access: anonymous }
  - { path: /maybe, name: maybe, access: { optional: true } }
  - name: orders
    path: /orders/**
    access: { scopes: [read], any_scope: [keys, read], issuers: [corp, api-key] }
    limits: [near, few]
  - { path: /acme, name: acme, access: { credentials: [jwt], claims: { tenant: [acme, globex] } } }
";

fn told(decision: &Decision) -> Vec<String> {
    let tell = |step: Step| {
        let sign = if step.passed { '+' } else { '-' };
        format!("{sign} {}: {}", step.question, step.answer)
    };
    decision.steps().into_iter().map(tell).collect()
}

/// The steps before any credential is read.
fn to_route(route: &str) -> Vec<String> {
    let steps = ["+ address: 203.0.113.1", "+ path: one reading"].map(str::to_owned);
    steps.into_iter().chain([format!("+ route: {route}, to upstream app")]).collect()
}

#[track_caller]
fn check(decision: &Decision, route: &str, behind: &[&str]) {
    let mut expected = to_route(route);
    expected.extend(behind.iter().map(|step| (*step).to_owned()));
    assert_eq!(told(decision), expected);
}

#[test]
fn contract_admin_explain_tells_every_step_of_a_permit() {
    let tried = Tried::new(CONFIG);
    let anonymous = ["+ verdict: admitted as anonymous"];
    check(&tried.get("/open", &[]), "open (/open): anonymous", &anonymous);
    check(&tried.get("/maybe", &[]), "maybe (/maybe): optional, jwt or api_key", &anonymous);
    let orders = "orders (/orders/**): jwt or api_key from https://login.example.com or \
                  urn:gatepost:api-key with scope read with any scope of keys read";
    let (good, own) = (token(&claims()), own_key());
    let who = format!(
        "+ token: subject \"ada\" of corp, id \"t-1\", scopes [read], expires {}",
        UnixTime(NOW + 300)
    );
    let own_is = "+ api key: subject \"key:own\" of api-key, id \"own\", scopes [keys read]";
    for (fields, seen, found, left, name) in [
        (vec![jwt(&good)], "a bearer token", vec![&*who], [8, 1], "ada"),
        (vec![key(&own)], "an API key", vec![own_is], [7, 1], "key:own"),
    ] {
        let seen = format!("+ credential: {seen} (redacted)");
        let limits =
            [format!("+ limit: near: {} left", left[0]), format!("+ limit: few: {} left", left[1])];
        let name = format!("+ verdict: admitted as {name:?}");
        let mut behind = vec![&*seen];
        behind.extend(found);
        behind.extend([&*limits[0], &*limits[1], &*name]);
        check(&tried.get("/orders/1", &fields), orders, &behind);
    }
    // Of both, and the token is known by now.
    let both = tried.get("/acme", &[jwt(&good)]);
    let again = format!("{who}, verified before");
    let acme = "acme (/acme): jwt with tenant in [acme, globex]";
    let seen = "+ credential: a bearer token (redacted)";
    check(&both, acme, &[seen, &again, "+ verdict: admitted as \"ada\""]);
    let both = told(&tried.get("/maybe", &[jwt(&good), key(&own)]));
    let seen = "+ credential: a bearer token and an API key (redacted)";
    assert_eq!(both[3..], [seen, own_is, &again, "+ verdict: admitted as \"ada\""]);
}

#[test]
fn contract_admin_explain_the_last_step_of_a_refusal_is_its_question_and_reason() {
    let tried = Tried::new(CONFIG);
    let last = |path: &str, fields: &[(&str, &str)]| {
        let last = told(&tried.get(path, fields)).pop().unwrap();
        last.splitn(3, ": ").take(2).collect::<Vec<_>>().join(": ")
    };
    let (good, forged, scopeless) = (token(&claims()), forged(), with("scope", "other"));
    assert_eq!(last("/a/../..", &[]), "- path: path_invalid");
    assert_eq!(last("/unknown", &[]), "- route: route_unknown");
    assert_eq!(last("/orders/1", &[]), "- credential: credential_missing");
    assert_eq!(last("/orders/1", &[jwt(&forged)]), "- token: token_signature_bad");
    assert_eq!(
        last("/orders/1", &[key("an-unknown-key-of-some-length")]),
        "- api key: key_unknown"
    );
    assert_eq!(last("/orders/1", &[jwt(&scopeless)]), "- access: scope_missing");
    for _ in 0..2 {
        tried.check("/orders/1", &[jwt(&good)], "ada");
    }
    // The exceeded limit; the others are reported with their state.
    let refused = told(&tried.get("/orders/1", &[jwt(&good)]));
    let tail = ["+ limit: near: 2 left", "- limit: rate_limited: rate limit few exceeded"];
    assert_eq!(refused[refused.len() - 2..], tail);
    // Steps that were not reached are not reported.
    assert_eq!(told(&tried.get("/unknown", &[jwt(&good)])).len(), 2);
}
