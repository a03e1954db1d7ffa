//! The revocation endpoint.

use super::rig::{Answer, Ask, Rig};
use crate::base::clock::UnixTime;
use crate::decide::policy::Endpoint;

fn bearer(rig: &Rig, token: &str) -> Answer {
    let ask = Ask::method("POST").field("authorization", &format!("Bearer {token}"));
    rig.ask(Endpoint::Revoke, ask)
}

fn by(rig: &Rig, client: &str, token: &str) -> Answer {
    let body = format!("token={token}&client_id={client}&client_secret=secret-of-{client}");
    rig.ask(Endpoint::Revoke, Ask::form(body))
}

/// Returns whether an application with `introspect` gets the token as active.
fn is_active(rig: &Rig, token: &str) -> bool {
    let body = format!("token={token}&client_id=checker&client_secret=secret-of-checker");
    rig.ask(Endpoint::Introspect, Ask::form(body)).json()["active"] == true
}

#[test]
fn r38_a_bearer_ends_itself_once() {
    let rig = Rig::start();
    let (token, kept) = (rig.token("shop"), rig.token("shop"));
    let ended = bearer(&rig, &token);
    assert_eq!((ended.status, ended.body.as_str()), (200, ""));
    assert!(!is_active(&rig, &token) && is_active(&rig, &kept), "this one alone");
    let again = bearer(&rig, &token);
    assert_eq!((again.status, again.error().as_str()), (401, "invalid_token"));
    assert!(again.header("www-authenticate").unwrap().starts_with("Bearer "));
    // An empty form with its content type is no body either.
    let form = Ask::form("").field("authorization", &format!("bearer {kept}"));
    assert_eq!(rig.ask(Endpoint::Revoke, form).status, 200);
    assert_eq!(bearer(&rig, "eyJ.a.b").status, 401);
}

#[test]
fn r38_a_personal_access_token_ends_itself() {
    let rig = Rig::start();
    let pat = rig.pat("read");
    assert_eq!(bearer(&rig, &pat).status, 200);
    assert_eq!(bearer(&rig, &pat).status, 401);
    let digest = crate::base::sha256::sha256(pat.as_bytes());
    let set = rig.live.load();
    let found = set.find(crate::decide::live::Kind::Pat, &digest, UnixTime(0)).unwrap();
    assert!(found.is_err(), "refused at the gate");
}

#[test]
fn contract_a_client_ends_its_own_tokens_alone() {
    let rig = Rig::start();
    let token = rig.token("shop");
    let refused = by(&rig, "other", &token);
    assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_grant"));
    assert!(is_active(&rig, &token));
    assert_eq!(by(&rig, "shop", &token).status, 200);
    assert!(!is_active(&rig, &token));
    assert_eq!(by(&rig, "shop", &token).status, 200, "already ended");
    for unknown in ["nothing", "eyJ.a.b", "gp_rt_x"] {
        assert_eq!(by(&rig, "shop", unknown).status, 200, "{unknown}");
    }
    let pat = rig.pat("read");
    assert_eq!(by(&rig, "shop", &pat).error(), "invalid_grant");
    assert!(is_active(&rig, &pat), "nothing ended it");
}

#[test]
fn r1115_a_revocation_needs_the_secret_before_anything() {
    let rig = Rig::start();
    let token = rig.token("shop");
    for token in [token.as_str(), "unknown"] {
        let body = format!("token={token}&client_id=shop&client_secret=wrong");
        let answer = rig.ask(Endpoint::Revoke, Ask::form(body));
        assert_eq!((answer.status, answer.error().as_str()), (401, "invalid_client"), "{token}");
    }
    assert!(is_active(&rig, &token));
    let nothing = rig.ask(Endpoint::Revoke, Ask::method("POST"));
    assert_eq!((nothing.status, nothing.error().as_str()), (401, "invalid_token"));
    let no_token = Ask::form("client_id=shop&client_secret=secret-of-shop");
    assert_eq!(rig.ask(Endpoint::Revoke, no_token).error(), "invalid_request");
    let query = Ask::method("POST").query("?token=x");
    assert_eq!(rig.ask(Endpoint::Revoke, query).error(), "invalid_request");
}
