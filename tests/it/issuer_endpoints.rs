//! The endpoints of the issuer on the proxied listener, and what the gate makes of their tokens.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::{Recorder, Response, Sandbox, Sidecar};

const SECRET: &str = "a-secret-of-the-configuration-0001";

fn start(upstream: &Recorder) -> Sidecar {
    let sandbox = Sandbox::new();
    sandbox.write("sync.secret", &format!("{SECRET}\n"));
    sandbox.write("check.secret", "a-secret-of-the-configuration-0002\n");
    sandbox.start(&format!(
        "state_dir: '@dir@/state'
issuer:
  url: https://api.example.com
  cors: [https://shop.example.com]
  applications:
    - {{ id: sync, name: Sync, profile: compat, secret_files: [sync.secret], grants: [client_credentials], scopes: [read] }}
    - {{ id: check, name: Check, profile: compat, secret_files: [check.secret], grants: [client_credentials], introspect: true }}
upstreams: {{ app: {{ url: \"{}\" }} }}
defaults: {{ upstream: app }}
routes:
  - {{ path: /api/**, access: {{ scopes: [read] }} }}
  - {{ path: /admin/**, access: {{ scopes: [write] }} }}
  - {{ path: /open/**, access: anonymous }}
  - {{ path: /seen/**, access: {{ scopes: [write] }}, insecure_observe: true }}
",
        upstream.url()
    ))
}

fn post(sidecar: &Sidecar, path: &str, fields: &[(&str, &str)], form: &str) -> Response {
    let length = form.len().to_string();
    let own = [
        ("Host", "api.example.com"),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Content-Length", &length),
    ];
    let fields = [&own[..], fields].concat();
    let mut client = sidecar.connect();
    client.send(crate::support::head("POST", path, &fields)).send(form);
    client.response()
}

fn credentials(sidecar: &Sidecar) -> Response {
    let form = format!("grant_type=client_credentials&client_id=sync&client_secret={SECRET}");
    post(sidecar, "/auth/oauth/token", &[], &form)
}

fn token(sidecar: &Sidecar) -> String {
    credentials(sidecar).json()["access_token"].as_str().unwrap().to_owned()
}

fn api(sidecar: &Sidecar, path: &str, token: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    sidecar.get(path, &[("Host", "api.example.com"), ("Authorization", &bearer)]).status
}

fn is_active(sidecar: &Sidecar, token: &str) -> bool {
    let basic = STANDARD.encode("check:a-secret-of-the-configuration-0002");
    let fields = [("Authorization", &*format!("Basic {basic}"))];
    let answer = post(sidecar, "/oauth/introspect", &fields, &format!("token={token}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["active"] == true
}

#[test]
fn contract_issuer_a_token_is_issued_enforced_and_revoked() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let answer = credentials(&sidecar);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let expected = format!(
        r#"{{"token_type":"Bearer","expires_in":2592000,"access_token":"{token}","scope":"read"}}"#
    );
    assert_eq!(answer.text(), expected);
    assert_eq!(api(&sidecar, "/api/x", &token), 200);
    let recorded = upstream.last();
    assert_eq!(recorded.field("x-auth-subject"), Some("app:sync"));
    assert_eq!(recorded.field("x-auth-client-id"), Some("sync"));
    assert_eq!(api(&sidecar, "/admin/x", &token), 403, "a scope that it does not have");
    assert!(is_active(&sidecar, &token));
    let kept = self::token(&sidecar);
    // As in the guide: a bearer, and no body.
    let bearer = format!("Bearer {token}");
    let fields =
        [("Host", "api.example.com"), ("Authorization", &*bearer), ("Content-Length", "0")];
    assert_eq!(sidecar.request("POST", "/oauth/revoke", &fields).status, 200);
    assert_eq!(api(&sidecar, "/api/x", &token), 401, "on the very next request");
    assert!(!is_active(&sidecar, &token) && is_active(&sidecar, &kept));
    let form = format!("token={kept}&client_id=sync&client_secret={SECRET}");
    assert_eq!(post(&sidecar, "/oauth/revoke", &[], &form).status, 200);
    assert_eq!(api(&sidecar, "/api/x", &kept), 401);
}

#[test]
fn contract_issuer_errors_are_oauth_errors_in_log_and_metrics() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let wrong = "grant_type=client_credentials&client_id=sync&client_secret=wrong";
    let answer = post(&sidecar, "/oauth/token", &[("Origin", "https://shop.example.com")], wrong);
    assert_eq!((answer.status, &answer.json()["error"]), (401, &"invalid_client".into()));
    let origin = answer.field("access-control-allow-origin");
    assert_eq!(origin, Some("https://shop.example.com"));
    let line = sidecar.log_line(&answer);
    assert_eq!(
        (&line["outcome"], &line["reason"]),
        (&"refused".into(), &"issuer_invalid_client".into())
    );
    assert_eq!(line["route"], "issuer.token");
    let series =
        "gatepost_tokens_issued_total{grant=\"client_credentials\",result=\"invalid_client\"}";
    assert_eq!(sidecar.metric(series), 1.0);
    let get = sidecar.get("/oauth/token", &[("Host", "api.example.com")]);
    assert_eq!(get.status, 405);
    let large = post(&sidecar, "/oauth/token", &[], &format!("a={}", "b".repeat(65_536)));
    assert_eq!((large.status, &large.json()["error"]), (413, &"invalid_request".into()));
    assert_eq!(sidecar.log_line(&large)["reason"], "body_too_large");
    let other = sidecar.get("/oauth/token", &[("Host", "other.example.com")]);
    assert_eq!(other.status, 404, "another host");
    assert!(upstream.requests().is_empty());
}

#[test]
fn r1114_metadata_and_keys_are_served_to_everyone() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let get = |path: &str| sidecar.get(path, &[("Host", "api.example.com")]).json();
    let metadata = get("/.well-known/oauth-authorization-server");
    assert_eq!(metadata["issuer"], "https://api.example.com");
    assert_eq!(metadata["token_endpoint"], "https://api.example.com/oauth/token");
    assert_eq!(get("/.well-known/openid-configuration"), metadata);
    let keys = get("/.well-known/jwks.json");
    assert_eq!((&keys["keys"][0]["alg"], keys["keys"][0].get("d")), (&"RS256".into(), None));
}

#[test]
fn contract_issuer_tokens_survive_a_restart_and_a_revocation_does_too() {
    let upstream = Recorder::start();
    let mut sidecar = start(&upstream);
    let (ended, kept) = (token(&sidecar), token(&sidecar));
    let bearer = format!("Bearer {ended}");
    let fields =
        [("Host", "api.example.com"), ("Authorization", &*bearer), ("Content-Length", "0")];
    assert_eq!(sidecar.request("POST", "/oauth/revoke", &fields).status, 200);
    sidecar.signal("KILL");
    sidecar.wait();
    let sandbox = sidecar.sandbox.clone();
    drop(sidecar);
    let sidecar = sandbox.start_as_written();
    assert_eq!((api(&sidecar, "/api/x", &ended), api(&sidecar, "/api/x", &kept)), (401, 200));
}

/// Its checksum is right; no store knows it.
const GENERATED: &str = "gp_pat_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx3Ct62b";

#[test]
fn r801_a_credential_of_the_issuer_reaches_no_upstream() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    for path in ["/open/a", "/seen/a"] {
        for value in [
            "Bearer gp_pat_x",
            "gp_key_x",
            "Basic gp_cs_x",
            "Basic Z3Bfa2V5X3g6",
            "basic OmdwX3BhdF94",
            &*format!("Bearer \"{GENERATED}\""),
            &format!("Token token={GENERATED}, realm=a"),
            &format!("Digest username=a, password={GENERATED}x"),
        ] {
            assert_eq!(sidecar.get(path, &[("Authorization", value)]).status, 200);
            assert_eq!(upstream.last().field("authorization"), None, "{path} {value}");
        }
        for (cookie, forwarded) in [
            (format!("a=b; t={GENERATED}"), "a=b"),
            (format!("a=b; t=Bearer%20{GENERATED}; {GENERATED}=c"), "a=b"),
            (format!("t=%22{GENERATED}%22; a=b"), "a=b"),
            // An application's own words, with a typing error in a secret among them.
            ("gp_session=1; p=gp_gold".to_owned(), "gp_session=1; p=gp_gold"),
            ("x={\"gp_a\":1}; t=gp_pat_x".to_owned(), "x={\"gp_a\":1}; t=gp_pat_x"),
        ] {
            assert_eq!(sidecar.get(path, &[("Cookie", &*cookie)]).status, 200);
            assert_eq!(upstream.last().field("cookie"), Some(forwarded), "{path}");
        }
        let digest = "Digest username=\"gp_bob\", realm=a";
        for value in ["Bearer other", "Basic YTpi", "Bearer eyJ.a-gp_pat_x.b/gp_x", digest] {
            assert_eq!(sidecar.get(path, &[("Authorization", value)]).status, 200);
            assert_eq!(upstream.last().field("authorization"), Some(value), "{path}");
        }
    }
}

#[test]
fn r804_what_is_revoked_by_its_id_is_inactive_for_resource_servers_as_well() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let run = |arguments: &[&str]| {
        let run = sidecar.sandbox.run(&[arguments, &["--config", "gatepost.yaml"]].concat());
        assert_eq!(run.exit, 0, "{run:?}");
        run.stdout.trim().to_owned()
    };
    run(&["user", "add", "--login", "ada"]);
    let made = run(&["token", "create", "--user", "ada", "--name", "ci", "--output", "json"]);
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let token = made["token"].as_str().unwrap();
    assert!(is_active(&sidecar, token));
    run(&["revoke", "--key", made["id"].as_str().unwrap()]);
    assert_eq!(api(&sidecar, "/api/x", token), 401);
    assert!(!is_active(&sidecar, token));
}
