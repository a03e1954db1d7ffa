//! The endpoints on a store in a folder of its own.

mod existence;
mod grants;
mod introspect;
mod revoke;
mod rig;
mod token;

use http::StatusCode;

use crate::decide::policy::Endpoint;
use rig::{Ask, Rig};

#[test]
fn contract_methods_and_preflights() {
    let rig = Rig::start();
    for (endpoint, method, status) in [
        (Endpoint::Token, "GET", 405),
        (Endpoint::Token, "OPTIONS", 204),
        (Endpoint::Introspect, "OPTIONS", 204),
        (Endpoint::Jwks, "POST", 405),
        (Endpoint::Metadata, "GET", 200),
    ] {
        let answer = rig.ask(endpoint, Ask::method(method));
        assert_eq!(answer.status, status, "{endpoint:?} {method}");
        assert_eq!(answer.header("allow").is_some(), status != 200, "{endpoint:?} {method}");
    }
    let refused = rig.ask(Endpoint::Token, Ask::method("DELETE"));
    assert_eq!(refused.header("allow"), Some("POST, OPTIONS"));
}

#[test]
fn r45_scripts_of_known_origins_read_answers_and_errors() {
    let rig = Rig::start();
    let from = |origin: &str| Ask::form("").field("origin", origin);
    let allowed = rig.ask(Endpoint::Token, from("https://shop.example.com"));
    assert_eq!(allowed.status, 400);
    let origin = "access-control-allow-origin";
    assert_eq!(allowed.header(origin), Some("https://shop.example.com"));
    assert_eq!(allowed.header("vary"), Some("Origin"));
    let registered = "https://phone.example.com:8443";
    let answer = rig.ask(Endpoint::Token, from(registered));
    assert_eq!(answer.header(origin), Some(registered), "of a redirect URI");
    for other in [
        "https://phone.example.com",
        "https://phone.example.com:8443/callback",
        "https://evil.example",
        "null",
        "https://shop.example.com.evil.example",
    ] {
        assert_eq!(rig.ask(Endpoint::Token, from(other)).header(origin), None, "{other}");
    }
    let introspect = rig.ask(Endpoint::Introspect, from("https://shop.example.com"));
    assert_eq!((introspect.header(origin), introspect.header("vary")), (None, None));
    let preflight = Ask::method("OPTIONS").field("origin", "https://shop.example.com");
    let preflight = rig.ask(Endpoint::Revoke, preflight);
    assert_eq!(preflight.header("access-control-allow-methods"), Some("POST"));
    assert_eq!(
        preflight.header("access-control-allow-headers"),
        Some("Authorization, Content-Type")
    );
    assert_eq!(preflight.header("access-control-allow-credentials"), None);
}

#[test]
fn r1114_metadata_names_what_exists_and_keys_are_public() {
    let rig = Rig::start();
    let metadata = rig.ask(Endpoint::Metadata, Ask::method("GET"));
    let document = metadata.json();
    assert_eq!(document["issuer"], "https://api.example.com");
    assert_eq!(document["token_endpoint"], "https://api.example.com/oauth/token");
    let device = "urn:ietf:params:oauth:grant-type:device_code";
    let grants = ["authorization_code", "client_credentials", "refresh_token", device];
    assert_eq!(document["grant_types_supported"], serde_json::json!(grants));
    let endpoint = "https://api.example.com/oauth/device/code";
    assert_eq!(document["device_authorization_endpoint"], endpoint);
    assert_eq!(metadata.header("cache-control"), Some("public, max-age=300"));
    let keys = rig.ask(Endpoint::Jwks, Ask::method("GET")).json();
    assert_eq!(keys["keys"][0]["alg"], "ES256");
    assert!(keys["keys"][0].get("d").is_none());
}

#[test]
fn r1116_a_store_that_is_closed_gives_503_and_no_token() {
    let rig = Rig::start();
    let token = rig.token("shop");
    rig.close_store();
    let answer = rig.ask(Endpoint::Token, Ask::credentials("shop"));
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["error"], "temporarily_unavailable");
    let bearer = Ask::form("").field("authorization", &format!("Bearer {token}"));
    assert_eq!(rig.ask(Endpoint::Revoke, bearer).status, StatusCode::SERVICE_UNAVAILABLE);
}
