//! Codes, refresh tokens and device codes at the token endpoint.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::Request;
use serde_json::Value;

use super::rig::{Answer, Ask, Rig};
use crate::base::sha256::sha256;
use crate::decide::policy::Endpoint;
use crate::decide::scope::ScopeSet;
use crate::issue::credential::UserCode;
use crate::issue::intent::device::{DecideDevice, OPEN_PER_ADDRESS_MAX};
use crate::issue::rows::Id;
use crate::serve::issuer::Caller;

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const DEVICE: &str = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code";

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(sha256(VERIFIER.as_bytes()))
}

fn shop(rest: &str) -> Ask {
    Ask::form(format!("client_id=shop&client_secret=secret-of-shop&{rest}"))
}

fn phone(rest: &str) -> Ask {
    Ask::form(format!("client_id=phone&{rest}"))
}

fn token(rig: &Rig, ask: Ask) -> Answer {
    rig.ask(Endpoint::Token, ask)
}

#[track_caller]
fn member<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name].as_str().unwrap_or_else(|| panic!("{name}: {answer}"))
}

#[track_caller]
fn refused(rig: &Rig, ask: Ask, code: &str) {
    let answer = token(rig, ask);
    assert_eq!((answer.status, answer.error().as_str()), (400, code), "{}", answer.body);
}

#[test]
fn contract_codes_give_the_answer_of_the_guides_and_a_replay_revokes_it() {
    let rig = Rig::start();
    let code = rig.code("shop", None);
    let redeem = format!("grant_type=authorization_code&code={code}");
    // Another client's try changes nothing.
    let other = format!("client_id=other&client_secret=secret-of-other&{redeem}");
    refused(&rig, Ask::form(other), "invalid_grant");
    let uri = "redirect_uri=https%3A%2F%2Fphone.example.com%3A8443%2Fcallback";
    let answer = token(&rig, shop(&format!("{redeem}&{uri}")));
    let (json, status) = (answer.json(), answer.status);
    let (access, refresh) = (member(&json, "access_token"), member(&json, "refresh_token"));
    let expected = format!(
        r#"{{"token_type":"Bearer","expires_in":7200,"access_token":"{access}","refresh_token":"{refresh}","scope":"read write"}}"#
    );
    assert_eq!((status, answer.body.as_str()), (200, expected.as_str()));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(refresh.starts_with("gp_rt_"), "{refresh}");
    assert_eq!(rig.issued("authorization_code", "ok"), 1);
    // A confidential client's refresh token stays, and scopes may shrink.
    let again = format!("grant_type=refresh_token&refresh_token={refresh}");
    for scope in ["", "&scope=", "&scope=read"] {
        let answer = token(&rig, shop(&format!("{again}{scope}"))).json();
        assert_eq!(member(&answer, "refresh_token"), refresh);
        let expected = if scope == "&scope=read" { "read" } else { "read write" };
        assert_eq!(member(&answer, "scope"), expected);
    }
    refused(&rig, shop(&format!("{again}&scope=admin")), "invalid_scope");
    assert_eq!(rig.issued("refresh_token", "ok"), 3);
    // The second use of the code revokes what the first gave.
    let live = |jti: &str| rig.live.load().check_token("usr_ada", "shop", jti).is_ok();
    let claims = access.split('.').nth(1).map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    let claims: Value = serde_json::from_slice(&claims.unwrap()).unwrap();
    assert!(live(member(&claims, "jti")));
    refused(&rig, shop(&format!("{redeem}&{uri}")), "invalid_grant");
    assert!(!live(member(&claims, "jti")));
    refused(&rig, shop(&again), "invalid_grant");
}

#[test]
fn r1102_a_verifier_must_match_at_the_token_endpoint() {
    let rig = Rig::start();
    let (uri, challenge) =
        ("redirect_uri=https%3A%2F%2Fphone.example.com%3A8443%2Fcallback", challenge());
    let redeem = |verifier: &str| {
        let code = rig.code("phone", Some(&challenge));
        format!("grant_type=authorization_code&code={code}&{uri}{verifier}")
    };
    for wrong in ["", "&code_verifier=short", &format!("&code_verifier={}", "a".repeat(43))] {
        let body = redeem(wrong);
        refused(&rig, phone(&body), "invalid_grant");
        let right = body.replace(wrong, "") + "&code_verifier=" + VERIFIER;
        refused(&rig, phone(&right), "invalid_grant");
    }
    let good = redeem(&format!("&code_verifier={VERIFIER}"));
    assert_eq!(token(&rig, phone(&good)).status, 200);
    // A downgrade: a verifier for a code without a challenge.
    let code = rig.code("shop", None);
    let body = format!("grant_type=authorization_code&code={code}&code_verifier={VERIFIER}");
    refused(&rig, shop(&body), "invalid_grant");
}

/// Answers to the same request, sent by 16 clients at once.
fn race(rig: &Rig, body: &str) -> Vec<(u16, Value)> {
    let racer = |_| {
        let request = Request::builder()
            .method("POST")
            .uri("/")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Bytes::from(body.to_owned()))
            .unwrap();
        let issuer = Arc::clone(&rig.issuer);
        let caller = Caller { address: None, request: "r".into() };
        rig.runtime.spawn(async move { issuer.answer(Endpoint::Token, request, caller).await })
    };
    let racers: Vec<_> = (0..16).map(racer).collect();
    let answers = racers.into_iter().map(|racer| rig.runtime.block_on(racer).unwrap());
    answers
        .map(|answer| (answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap()))
        .collect()
}

#[test]
fn r1103_of_racers_for_a_code_one_gets_a_token() {
    let rig = Rig::start();
    for _ in 0..20 {
        let code = rig.code("shop", None);
        let body = format!(
            "client_id=shop&client_secret=secret-of-shop&grant_type=authorization_code&code={code}"
        );
        let answers = race(&rig, &body);
        let won = answers.iter().filter(|(status, _)| *status == 200).count();
        assert_eq!(won, 1, "{answers:?}");
        assert!(answers.iter().all(|(_, answer)| *answer != Value::Null));
    }
}

#[test]
fn r1104_racers_for_a_public_refresh_token_get_the_same_successor() {
    let rig = Rig::start();
    let uri = "redirect_uri=https%3A%2F%2Fphone.example.com%3A8443%2Fcallback";
    let code = rig.code("phone", Some(&challenge()));
    let body = format!("grant_type=authorization_code&code={code}&{uri}&code_verifier={VERIFIER}");
    let first = token(&rig, phone(&body)).json();
    let mut current = member(&first, "refresh_token").to_owned();
    for _ in 0..5 {
        let body = format!("client_id=phone&grant_type=refresh_token&refresh_token={current}");
        let answers = race(&rig, &body);
        assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
        let tokens: BTreeSet<_> =
            answers.iter().map(|(_, answer)| member(answer, "refresh_token")).collect();
        assert_eq!(tokens.len(), 1, "one successor, byte for byte");
        let next = tokens.first().unwrap().to_string();
        assert_ne!(next, current);
        // Access tokens differ: each is a token of its own.
        let access: BTreeSet<_> =
            answers.iter().map(|(_, answer)| member(answer, "access_token")).collect();
        assert_eq!(access.len(), 16);
        current = next;
    }
    // A token of an earlier generation is a copy: the family ends.
    let old = member(&first, "refresh_token");
    let body = format!("grant_type=refresh_token&refresh_token={old}");
    refused(&rig, phone(&body), "invalid_grant");
    let body = format!("grant_type=refresh_token&refresh_token={current}");
    refused(&rig, phone(&body), "invalid_grant");
}

#[test]
fn contract_device_codes_are_given_approved_and_redeemed_once() {
    let rig = Rig::start();
    let answer = rig.ask(Endpoint::DeviceCode, phone("scope=read"));
    let json = answer.json();
    let (device, user) = (member(&json, "device_code"), member(&json, "user_code"));
    let page = "https://api.example.com/oauth/device";
    let expected = format!(
        r#"{{"device_code":"{device}","user_code":"{user}","verification_uri":"{page}","verification_uri_complete":"{page}?user_code={user}","expires_in":600,"interval":5}}"#
    );
    assert_eq!((answer.status, answer.body.as_str()), (200, expected.as_str()));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let poll = format!("grant_type={DEVICE}&device_code={device}");
    refused(&rig, phone(&poll), "authorization_pending");
    refused(&rig, phone(&poll), "slow_down");
    refused(&rig, shop(&poll), "invalid_grant");
    let user_code = UserCode::parse(user).unwrap();
    rig.run(DecideDevice {
        user_code: rig.issuer.vault.keyed_digest(user_code.letters()),
        person: Id::from("usr_ada"),
        auth_time: crate::base::clock::UnixTime(1),
        allow: Some(ScopeSet::parse("read").unwrap()),
    });
    let answer = token(&rig, phone(&poll)).json();
    assert_eq!(member(&answer, "scope"), "read");
    assert!(member(&answer, "refresh_token").starts_with("gp_rt_"));
    refused(&rig, phone(&poll), "invalid_grant");
    assert_eq!(rig.issued("device_code", "ok"), 1);
    assert_eq!(rig.issued("device_code", "slow_down"), 1);
    let wrong = rig.ask(Endpoint::DeviceCode, Ask::form("client_id=shop&scope=read"));
    assert_eq!((wrong.status, wrong.error().as_str()), (401, "invalid_client"));
}

#[test]
fn r1112_open_device_codes_of_an_address_are_bounded() {
    let rig = Rig::start();
    for _ in 0..OPEN_PER_ADDRESS_MAX {
        assert_eq!(rig.ask(Endpoint::DeviceCode, phone("")).status, 200);
    }
    let refused = rig.ask(Endpoint::DeviceCode, phone(""));
    assert_eq!(refused.status, 429, "{}", refused.body);
    assert_eq!(refused.header("retry-after"), Some("60"));
    let elsewhere = phone("").from("192.0.2.2");
    assert_eq!(rig.ask(Endpoint::DeviceCode, elsewhere).status, 200, "another address");
}
