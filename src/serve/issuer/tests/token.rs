//! The token endpoint.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

use super::rig::{Ask, Rig, URL};
use crate::decide::policy::Endpoint;

fn part(token: &str, at: usize) -> Value {
    let part = token.split('.').nth(at).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[test]
fn r1113_client_credentials_give_a_token_to_the_byte() {
    let rig = Rig::start();
    let answer = rig.ask(Endpoint::Token, Ask::credentials("shop"));
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let expected = format!(
        r#"{{"token_type":"Bearer","expires_in":7200,"access_token":"{token}","scope":"read write"}}"#
    );
    assert_eq!((answer.status, answer.body.as_str()), (200, expected.as_str()));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(token.starts_with("eyJ0"), "typ first");
    let claims = part(&token, 1);
    assert_eq!((&claims["iss"], &claims["aud"]), (&URL.into(), &URL.into()));
    assert_eq!((&claims["sub"], &claims["client_id"]), (&"app:shop".into(), &"shop".into()));
    assert!(claims["jti"].as_str().unwrap().starts_with("gr_shop."));
    assert_eq!(rig.issued("client_credentials", "ok"), 1);
    let issue = ("token.issue".to_owned(), "shop".to_owned(), Some("192.0.2.1".to_owned()));
    assert_eq!(rig.acts("shop").last(), Some(&issue));
    let again = rig.token("shop");
    assert_ne!(part(&again, 1)["jti"], claims["jti"], "a serial of its own");
}

#[test]
fn r1107_scopes_shrink_and_an_empty_one_is_the_default() {
    let rig = Rig::start();
    let scoped = |scope: &str| {
        let mut body =
            "grant_type=client_credentials&client_id=shop&client_secret=secret-of-shop".to_owned();
        body.push_str(&format!("&scope={scope}"));
        rig.ask(Endpoint::Token, Ask::form(body))
    };
    assert_eq!(scoped("read").json()["scope"], "read");
    assert_eq!(scoped("").json()["scope"], "read write");
    assert_eq!(scoped("read+offline_access").json()["scope"], "read");
    for wrong in ["admin", "unknown", "read+%22"] {
        let answer = scoped(wrong);
        assert_eq!((answer.status, answer.error().as_str()), (400, "invalid_scope"), "{wrong}");
    }
    assert_eq!(rig.issued("client_credentials", "invalid_scope"), 3);
}

#[test]
fn contract_reload_scopes_count_at_once() {
    let rig = Rig::start();
    rig.reload("read");
    let answer = rig.ask(Endpoint::Token, Ask::credentials("shop"));
    assert_eq!(answer.json()["scope"], "read");
    let metadata = rig.ask(Endpoint::Metadata, Ask::method("GET")).json();
    assert_eq!(metadata["scopes_supported"], serde_json::json!(["read"]));
}

#[test]
fn r1106_basic_and_post_authenticate_and_two_methods_do_not() {
    let rig = Rig::start();
    let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
    let grant = "grant_type=client_credentials";
    let good = Ask::form(grant).field("authorization", &basic("shop:secret-of-shop"));
    assert_eq!(rig.ask(Endpoint::Token, good).status, 200);
    let beside = Ask::form(format!("{grant}&client_id=shop"));
    let beside = beside.field("authorization", &basic("shop:secret-of-shop"));
    assert_eq!(rig.ask(Endpoint::Token, beside).status, 200);
    let both = Ask::credentials("shop").field("authorization", &basic("shop:secret-of-shop"));
    assert_eq!(rig.ask(Endpoint::Token, both).error(), "invalid_request");
    let wrong = Ask::form(grant).field("authorization", &basic("shop:wrong"));
    let wrong = rig.ask(Endpoint::Token, wrong);
    assert_eq!((wrong.status, wrong.error().as_str()), (401, "invalid_client"));
    assert!(wrong.header("www-authenticate").unwrap().starts_with("Basic "));
}

#[test]
fn r1115_an_unknown_client_and_a_wrong_secret_are_one_answer() {
    let rig = Rig::start();
    let ask = |client: &str, secret: &str| {
        let body =
            format!("grant_type=client_credentials&client_id={client}&client_secret={secret}");
        rig.ask(Endpoint::Token, Ask::form(body))
    };
    let (unknown, wrong) = (ask("nope", "secret-of-shop"), ask("shop", "wrong"));
    assert_eq!((unknown.status, &unknown.body), (401, &wrong.body));
    assert_eq!(wrong.header("www-authenticate"), None, "no challenge without the header");
    assert_eq!(ask("phone", "secret").status, 401, "a public client has no secret");
    let public = Ask::form("grant_type=client_credentials&client_id=phone");
    let public = rig.ask(Endpoint::Token, public);
    assert_eq!(public.error(), "unauthorized_client");
}

#[test]
fn contract_what_a_request_must_not_be() {
    let rig = Rig::start();
    let twice = Ask::form("grant_type=client_credentials&grant_type=client_credentials");
    assert_eq!(rig.ask(Endpoint::Token, twice).error(), "invalid_request");
    let query = Ask::credentials("shop").query("?client_secret=secret-of-shop");
    assert_eq!(rig.ask(Endpoint::Token, query).error(), "invalid_request");
    let mut json = Ask::method("POST").field("content-type", "application/json");
    json = json.field("authorization", "Basic c2hvcDpzZWNyZXQ=");
    assert_eq!(rig.ask(Endpoint::Token, json).error(), "invalid_request");
    for grant in ["password", "implicit", "token", "urn:ietf:params:oauth:grant-type:jwt-bearer"] {
        let body = format!("grant_type={grant}&client_id=shop&client_secret=secret-of-shop");
        let answer = rig.ask(Endpoint::Token, Ask::form(body));
        assert_eq!(answer.error(), "unsupported_grant_type", "{grant}");
    }
    assert_eq!(rig.issued("unknown", "unsupported_grant_type"), 4);
}

#[test]
fn contract_failures_are_limited_and_right_credentials_never_refused() {
    let rig = Rig::start();
    let wrong = || Ask::form("grant_type=client_credentials&client_id=shop&client_secret=wrong");
    let statuses: Vec<_> = (0..12).map(|_| rig.ask(Endpoint::Token, wrong()).status).collect();
    assert_eq!(statuses, [vec![401; 10], vec![429; 2]].concat());
    let limited = rig.ask(Endpoint::Token, wrong());
    assert!(limited.header("retry-after").unwrap().parse::<u64>().unwrap() <= 6);
    assert_eq!(rig.ask(Endpoint::Token, Ask::credentials("shop")).status, 200, "the right secret");
    assert_eq!(rig.ask(Endpoint::Token, wrong().from("192.0.2.2")).status, 401, "elsewhere");
    let other = Ask::form("grant_type=client_credentials&client_id=other&client_secret=wrong");
    assert_eq!(rig.ask(Endpoint::Token, other).status, 401, "another client");
}

#[test]
fn contract_a_token_that_is_issued_after_the_clock_went_back_is_accepted() {
    let rig = Rig::start();
    rig.set_last_commit_ahead(60 * 86_400);
    let token = rig.token("shop");
    let (issued, expires) = (&part(&token, 1)["iat"], &part(&token, 1)["exp"]);
    assert_eq!(expires.as_u64().unwrap() - issued.as_u64().unwrap(), 7_200);
    let form = format!("token={token}&client_id=checker&client_secret=secret-of-checker");
    let answer = rig.ask(Endpoint::Introspect, Ask::form(form));
    assert_eq!(answer.json()["active"], true, "{}", answer.body);
}
