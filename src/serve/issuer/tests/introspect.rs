//! The introspection endpoint.

use super::rig::{Answer, Ask, Rig, URL};
use crate::decide::policy::Endpoint;
use crate::issue::intent::applications::{Turn, TurnApplication};
use crate::issue::intent::people::DisablePerson;
use crate::issue::rows::Id;

const INACTIVE: &str = r#"{"active":false}"#;

fn ask(rig: &Rig, client: &str, token: &str) -> Answer {
    let body = format!("token={token}&client_id={client}&client_secret=secret-of-{client}");
    rig.ask(Endpoint::Introspect, Ask::form(body))
}

#[test]
fn contract_an_access_token_is_active_until_its_application_ends() {
    let rig = Rig::start();
    let token = rig.token("shop");
    let active = ask(&rig, "checker", &token);
    let document = active.json();
    assert_eq!(document["active"], true);
    assert_eq!(document["client_id"], "shop");
    assert_eq!(document["sub"], "app:shop");
    assert_eq!((&document["iss"], &document["scope"]), (&URL.into(), &"read write".into()));
    assert_eq!(document["exp"].as_u64().unwrap() - document["iat"].as_u64().unwrap(), 7_200);
    assert_eq!(active.header("cache-control"), Some("no-store"));
    rig.run(TurnApplication {
        application: Id::from("shop"),
        turn: Turn::EndTokens(Id::from("gr_2")),
    });
    assert_eq!(ask(&rig, "checker", &token).body, INACTIVE);
}

#[test]
fn contract_a_personal_access_token_shows_what_roles_allow() {
    let rig = Rig::start();
    let pat = rig.pat("admin read");
    let document = ask(&rig, "checker", &pat).json();
    assert_eq!((&document["sub"], &document["username"]), (&"usr_ada".into(), &"ada".into()));
    assert_eq!((&document["scope"], &document["jti"]), (&"read".into(), &"pat_1".into()));
    assert!(document.get("client_id").is_none());
    rig.run(DisablePerson { person: "ada".into() });
    assert_eq!(ask(&rig, "checker", &pat).body, INACTIVE);
}

#[test]
fn r1115_nothing_is_revealed_to_other_applications() {
    let rig = Rig::start();
    let token = rig.token("shop");
    let refused = ask(&rig, "shop", &token);
    assert_eq!((refused.status, refused.error().as_str()), (400, "unauthorized_client"));
    let wrong = Ask::form(format!("token={token}&client_id=checker&client_secret=wrong"));
    assert_eq!(rig.ask(Endpoint::Introspect, wrong).status, 401);
    for unknown in ["nothing", "eyJ.a.b", "gp_rt_x", &token[..token.len() - 4]] {
        let answer = ask(&rig, "checker", unknown);
        assert_eq!((answer.status, answer.body.as_str()), (200, INACTIVE), "{unknown}");
    }
    let missing = Ask::form("client_id=checker&client_secret=secret-of-checker");
    assert_eq!(rig.ask(Endpoint::Introspect, missing).error(), "invalid_request");
}
