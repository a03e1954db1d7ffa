//! Contract, "Identity headers to the upstream".

use serde_json::json;

use crate::support::{KEY, Recorder, Wsgi, bearer, claims, signer, standard};

const ROUTES: &str = "\
routes:
  - { path: /public/**, access: anonymous }
  - { path: /keep/**, access: { scopes: [read] }, forward_credential: true }
  - { path: /**, access: { scopes: [read] } }
";

#[test]
fn contract_identity_headers_of_a_token() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let mapping = "    keys: { file: jwks.json }\n    claims: { email: X-Auth-Email, realm.roles: X-Auth-Roles, none: X-Auth-None }\n";
    let config = config.replace("    keys: { file: jwks.json }\n", mapping);
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    let mut claims = claims();
    claims["sub"] = "Zoë, 100%".into();
    claims["scope"] = "read write".into();
    claims["email"] = "zoe@example.com".into();
    claims["realm"] = json!({"roles": ["a,b", "c d", "é"]});
    let token = bearer(&signer().sign("p256", "ES256", &claims));
    assert_eq!(sidecar.get("/", &[("Authorization", &token)]).status, 200);
    let recorded = upstream.last();
    for (name, value) in [
        ("X-Auth-Subject", "Zo%C3%AB, 100%25"),
        ("X-Auth-Issuer", "https://login.example.com"),
        ("X-Auth-Client-Id", "shop"),
        ("X-Auth-Scopes", "read write"),
        ("X-Auth-Credential", "jwt"),
        ("X-Auth-Credential-Id", "token-1"),
        ("X-Auth-Email", "zoe@example.com"),
    ] {
        let found = recorded.field(name).unwrap_or_default().replace("%20", " ");
        assert_eq!(found, value.replace("%20", " "), "{name}");
    }
    let roles = recorded.field("X-Auth-Roles").unwrap_or_default().replace("%20", " ");
    assert_eq!(roles, "a%2Cb,c d,%C3%A9");
    assert_eq!(recorded.field("X-Auth-None"), None);
    assert_eq!(recorded.field("Authorization"), None, "the credential stays with us");
}

#[test]
fn contract_identity_headers_forward_credential() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    assert_eq!(sidecar.get("/keep/x", &[("X-API-Key", KEY)]).status, 200);
    assert_eq!(upstream.last().field("x-api-key"), Some(KEY));
    assert_eq!(sidecar.get("/public/x", &[("X-API-Key", "anything")]).status, 200);
    assert_eq!(
        upstream.last().field("x-api-key"),
        Some("anything"),
        "anonymous: neither read nor removed"
    );
}

/// Every spelling that an upstream might fold into an identity header.
const SPELLINGS: &[&str] = &[
    "X-Auth-Subject",
    "x-auth-subject",
    "X_Auth_Subject",
    "X-Auth_Subject",
    "x_auth-subject",
    "X.Auth.Subject",
    "X-Auth.Subject",
    "X--Auth-Subject",
    "X-Auth--Subject",
    "X-Auth-Anything",
    "X_AUTH_SCOPES",
    "X-Auth-Credential_Id",
    "X-Auth-",
];

#[test]
fn r601_r605_no_spelling_of_an_identity_header_passes() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    for name in SPELLINGS {
        for (target, fields) in [("/public/x", &[][..]), ("/", &[("X-API-Key", KEY)])] {
            let fields = [&[(*name, "root")], fields].concat();
            let response = sidecar.get(target, &fields);
            if response.status == 400 {
                continue;
            }
            assert_eq!(response.status, 200, "{name} {target}");
            let head = upstream.last().head;
            assert!(!head.contains("root"), "{name} reached the upstream: {head}");
        }
    }
}

#[test]
fn r606_wsgi_sees_only_our_identity() {
    let upstream = Wsgi::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    let mut fields: Vec<_> = SPELLINGS.iter().map(|name| (*name, "root")).collect();
    fields.push(("X-API-Key", KEY));
    // All at once and one after the other: each alone, too, must not get through.
    let mut attempts: Vec<Vec<(&str, &str)>> = vec![fields];
    attempts.extend(SPELLINGS.iter().map(|name| vec![(*name, "root"), ("X-API-Key", KEY)]));
    for fields in attempts {
        let response = sidecar.get("/", &fields);
        if response.status == 400 {
            continue;
        }
        assert_eq!(response.status, 200, "{}", response.text());
        let environ = response.json();
        assert_eq!(environ["HTTP_X_AUTH_SUBJECT"], "key:existing", "{fields:?}");
        assert_eq!(environ["HTTP_X_AUTH_SCOPES"], "read", "{fields:?}");
        assert!(!response.text().contains("root"), "{fields:?}: {}", response.text());
    }
}

#[test]
fn r603_connection_cannot_take_our_headers_away() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    for nominated in [
        "X-Auth-Subject",
        "x-auth-subject, close",
        "close, X-Auth-Scopes, X-Auth-Credential",
        "Host",
        "X-Request-Id",
        "Authorization",
        "X-API-Key",
        "Content-Length",
    ] {
        let fields = [("X-API-Key", KEY), ("Connection", nominated)];
        let response = sidecar.get("/", &fields);
        if response.status == 400 {
            continue;
        }
        assert_eq!(response.status, 200, "{nominated}: not weaker, not stronger");
        let recorded = upstream.last();
        for (name, value) in [
            ("X-Auth-Subject", "key:existing"),
            ("X-Auth-Scopes", "read"),
            ("X-Auth-Credential", "api_key"),
        ] {
            assert_eq!(recorded.field(name), Some(value), "{nominated}: {}", recorded.head);
        }
        assert!(recorded.field("x-request-id").is_some(), "{nominated}");
    }
}

#[test]
fn r604_trailers_set_no_identity() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    let mut client = sidecar.connect();
    let fields =
        [("X-API-Key", KEY), ("Transfer-Encoding", "chunked"), ("Trailer", "X-Auth-Subject")];
    client.send(crate::support::head("POST", "/", &fields));
    client.send("2\r\nhi\r\n0\r\nX-Auth-Subject: root\r\n\r\n");
    let status = client.response().status;
    assert!(status == 200 || status == 400, "{status}");
    assert!(!String::from_utf8_lossy(&upstream.raw()).contains("root"));
}

#[test]
fn r202_forwarding_headers_are_rebuilt() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start_tcp(&format!("{config}{ROUTES}"));
    let lies = [
        ("X-Forwarded-For", "6.6.6.6"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Prefix", "/evil"),
        ("X_Forwarded_For", "6.6.6.6"),
        ("Forwarded", "for=6.6.6.6"),
        ("X-Real-IP", "6.6.6.6"),
        ("X-Original-URL", "/evil"),
        ("X-Rewrite-URL", "/evil"),
        ("X-HTTP-Method-Override", "EVIL"),
    ];
    assert_eq!(sidecar.get("/public/x", &lies).status, 200);
    let recorded = upstream.last();
    assert!(!recorded.head.contains("6.6.6.6"), "{}", recorded.head);
    assert!(!recorded.head.to_lowercase().contains("evil"), "{}", recorded.head);
    assert_eq!(recorded.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(recorded.field("x-forwarded-proto"), Some("http"));
}

#[test]
fn contract_identity_headers_renamed_and_exempt() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let identity = "identity: { subject: X-User }\npass_headers: [X-Auth-Token]\n";
    let sidecar = sandbox.start(&format!("{config}{identity}{ROUTES}"));
    let fields = [("X-API-Key", KEY), ("X_User", "root"), ("X-Auth-Token", "mine")];
    let response = sidecar.get("/", &fields);
    assert_eq!(response.status, 200);
    let recorded = upstream.last();
    assert_eq!(recorded.field("x-user"), Some("key:existing"));
    assert_eq!(recorded.field("x-auth-token"), Some("mine"));
    assert_eq!(recorded.field("x-auth-subject"), None);
    assert!(!recorded.head.contains("root"), "{}", recorded.head);
}

#[test]
fn contract_identity_headers_are_spelled_as_the_contract_and_the_configuration_write_them() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let identity = "identity: { subject: X-WEBAUTH-User }\n";
    let sidecar = sandbox.start_tcp(&format!("{config}{identity}{ROUTES}"));
    let fields = [("X-API-Key", KEY), ("x-API-Version", "2"), ("X-WebAuth-User", "root")];
    assert_eq!(sidecar.get("/", &fields).status, 200);
    let recorded = upstream.last();
    let names: Vec<_> = recorded.fields().map(|(name, _)| name).collect();
    for name in [
        "Host",
        "x-API-Version",
        "X-WEBAUTH-User",
        "X-Auth-Issuer",
        "X-Auth-Scopes",
        "X-Auth-Credential",
        "X-Auth-Credential-Id",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-Request-Id",
    ] {
        assert!(names.contains(&name), "{name} of {names:?}");
    }
    assert_eq!(recorded.field("x-webauth-user"), Some("key:existing"));
}

#[test]
fn contract_identity_headers_request_id_is_ours() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    let response = sidecar.get("/public/x", &[("X-Request-Id", "theirs")]);
    let id = response.field("x-request-id").unwrap().to_owned();
    assert_ne!(id, "theirs");
    assert_eq!(upstream.last().field("x-request-id"), Some(id.as_str()));

    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("trusted_proxies: [unix]\n{config}{ROUTES}"));
    let response = sidecar.get("/public/x", &[("X-Request-Id", "theirs-1.a_b")]);
    assert_eq!(response.field("x-request-id"), Some("theirs-1.a_b"));
    assert_eq!(upstream.last().field("x-request-id"), Some("theirs-1.a_b"));
    let response = sidecar.get("/public/x", &[("X-Request-Id", "not valid")]);
    assert_ne!(response.field("x-request-id"), Some("not valid"));
}
