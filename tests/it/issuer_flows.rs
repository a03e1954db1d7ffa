//! The flows of people, from page to token, on the proxied listener.

use crate::support::{Recorder, Reply, Response, Sandbox, Sidecar};

const SECRET: &str = "a-secret-of-the-configuration-0001";
const DEVICE: &str = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code";

const ISSUER: &str = "state_dir: '@dir@/state'
issuer:
  url: https://api.example.com
  scopes:
    read: See products and orders
    write: Change products and orders
    admin: { text: Administer the shop, roles: [operator] }
  applications:
    - { id: shop, name: Shop, profile: compat, secret_files: [shop.secret], redirect_uris: [https://shop.example.com/callback], grants: [authorization_code, refresh_token], scopes: [read, write] }
    - { id: tv, name: Television, type: public, profile: strict, grants: ['urn:ietf:params:oauth:grant-type:device_code', refresh_token] }
    - { id: phone, name: Phone, type: public, profile: strict, redirect_uris: ['com.example.phone:/cb'], grants: [authorization_code, refresh_token] }
";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("shop.secret", &format!("{SECRET}\n"));
    sandbox
}

fn config(upstream: &Recorder) -> String {
    format!(
        "{ISSUER}upstreams: {{ app: {{ url: \"{}\" }} }}
defaults: {{ upstream: app }}
routes:
  - {{ path: /api/**, access: {{ scopes: [read] }} }}
  - {{ path: /open/**, access: anonymous }}
",
        upstream.url()
    )
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

#[test]
fn contract_device_flow_begins_at_the_endpoint_that_the_metadata_names() {
    let upstream = Recorder::start();
    let sidecar = sandbox().start(&config(&upstream));
    let metadata = sidecar
        .get("/.well-known/oauth-authorization-server", &[("Host", "api.example.com")])
        .json();
    let endpoint = metadata["device_authorization_endpoint"].as_str().unwrap().to_owned();
    assert_eq!(endpoint, "https://api.example.com/oauth/device/code");
    let path = endpoint.strip_prefix("https://api.example.com").unwrap();
    let origin = [("Origin", "https://shop.example.com")];
    let answer = post(&sidecar, path, &origin, "client_id=tv&scope=read");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let allowed = answer.field("access-control-allow-origin");
    assert_eq!(allowed, Some("https://shop.example.com"), "of a redirect URI");
    let json = answer.json();
    let members: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
    for member in ["device_code", "expires_in", "interval", "user_code", "verification_uri"] {
        assert!(members.contains(&member.to_owned()), "{member}: {json}");
    }
    assert_eq!((&json["expires_in"], &json["interval"]), (&600.into(), &5.into()));
    assert_eq!(json["verification_uri"], "https://api.example.com/oauth/device");
    let code = json["device_code"].as_str().unwrap();
    let poll = format!("grant_type={DEVICE}&client_id=tv&device_code={code}");
    for expected in ["authorization_pending", "slow_down"] {
        let answer = post(&sidecar, "/auth/oauth/token", &[], &poll);
        assert_eq!((answer.status, &answer.json()["error"]), (400, &expected.into()));
    }
    let series = "gatepost_tokens_issued_total{grant=\"device_code\",result=\"slow_down\"}";
    assert_eq!(sidecar.metric(series), 1.0);
    let unknown = post(&sidecar, path, &[], "client_id=shop&scope=read");
    assert_eq!((unknown.status, &unknown.json()["error"]), (401, &"invalid_client".into()));
    let grant = format!("client_id=shop&client_secret={SECRET}");
    let other = post(&sidecar, path, &[], &grant);
    assert_eq!(other.json()["error"], "unauthorized_client");
    // The codes are in no log.
    let user_code = json["user_code"].as_str().unwrap();
    for secret in [code, user_code] {
        assert!(!sidecar.stdout().contains(secret) && !sidecar.stderr().contains(secret));
    }
}

#[test]
fn contract_grants_at_the_token_endpoint_refuse_what_was_never_given() {
    let upstream = Recorder::start();
    let sidecar = sandbox().start(&config(&upstream));
    let client = format!("client_id=shop&client_secret={SECRET}");
    for (rest, grant) in [
        ("grant_type=authorization_code&code=gp_ac_x", "authorization_code"),
        ("grant_type=refresh_token&refresh_token=gp_rt_x", "refresh_token"),
    ] {
        let answer = post(&sidecar, "/oauth/token", &[], &format!("{client}&{rest}"));
        assert_eq!((answer.status, &answer.json()["error"]), (400, &"invalid_grant".into()));
        assert_eq!(answer.field("cache-control"), Some("no-store"));
        let series =
            format!("gatepost_tokens_issued_total{{grant=\"{grant}\",result=\"invalid_grant\"}}");
        assert_eq!(sidecar.metric(&series), 1.0, "{series}");
    }
}

#[test]
fn r1108_the_session_cookie_stays_between_browser_and_gatepost() {
    let upstream = Recorder::start();
    let sidecar = sandbox().start(&config(&upstream));
    let cookie = |value: &str| {
        let fields = [("Host", "api.example.com"), ("Cookie", value)];
        assert_eq!(sidecar.get("/open/x", &fields).status, 200);
        upstream.last().field("cookie").map(str::to_owned)
    };
    assert_eq!(cookie("__Host-gatepost=a"), None);
    assert_eq!(cookie("a=b; __Host-gatepost=c; gatepost-session=d").as_deref(), Some("a=b"));
    assert_eq!(cookie("a=b").as_deref(), Some("a=b"));
}

#[test]
fn r1108_an_upstream_sets_no_session() {
    let upstream = Recorder::answering(|_| {
        let fields = "Set-Cookie: __Host-gatepost=evil; Path=/; Secure\r\n\
                      set-cookie: a=b\r\nSet-Cookie: gatepost-session=evil\r\n";
        Reply::Bytes(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok").into_bytes())
    });
    let sidecar = sandbox().start(&config(&upstream));
    let answer = sidecar.get("/open/x", &[("Host", "api.example.com")]);
    assert_eq!((answer.status, answer.field("set-cookie")), (200, Some("a=b")));
}
