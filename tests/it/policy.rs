//! Contract, "Which route", "Access", "Credentials" and "Paths", from the outside.

use serde_json::json;

use crate::support::{KEY, Recorder, Sidecar, bearer, claims, signer, standard};

#[track_caller]
fn check(sidecar: &Sidecar, request: (&str, &str, &[(&str, &str)]), status: u16, reason: &str) {
    let (method, target, fields) = request;
    let response = sidecar.request(method, target, fields);
    let why = (response.status >= 400).then(|| sidecar.why(&response));
    assert_eq!(response.status, status, "{method} {target}: {why:#?}");
    if let Some(why) = why {
        assert_eq!(why["reason"], reason, "{method} {target}: {why:#}");
    }
}

#[test]
fn contract_which_route_host_then_path_then_method() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let routes = "\
routes:
  - { path: /**, name: rest, access: anonymous, methods: [GET] }
  - { path: /a/*, name: one, access: anonymous, methods: [GET, POST] }
  - { path: /a/b, name: literal, access: anonymous, methods: [GET] }
  - { path: /deep/**, name: deep, access: {} }
";
    let sidecar = sandbox.start(&format!("{config}{routes}"));
    let route = |method: &str, target: &str, status: u16| {
        let response = sidecar.request(method, target, &[]);
        assert_eq!(response.status, status, "{method} {target}");
        sidecar.log_line(&response)["route"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(route("GET", "/", 200), "rest");
    assert_eq!(route("GET", "/a/b", 200), "literal");
    assert_eq!(route("GET", "/a/b/", 200), "literal");
    assert_eq!(route("HEAD", "/a/b", 200), "literal");
    assert_eq!(route("GET", "/a/c", 200), "one");
    assert_eq!(route("GET", "/a/b/c", 200), "rest");
    assert_eq!(route("GET", "/deep", 401), "deep");
    assert_eq!(route("GET", "/deep/er", 401), "deep");
    // The methods of that very path decide, never a broader route.
    check(&sidecar, ("POST", "/a/b", &[("Content-Length", "0")]), 405, "method_unknown");
    check(&sidecar, ("TRACE", "/a/c", &[]), 405, "method_unknown");
}

#[test]
fn r504_what_no_route_names_is_refused() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let routes = "\
routes:
  - { path: /in, access: anonymous }
  - { path: /host, hosts: [shop.example], access: anonymous }
";
    let sidecar = sandbox.start(&format!("{config}{routes}"));
    check(&sidecar, ("GET", "/out", &[]), 404, "route_unknown");
    check(&sidecar, ("GET", "/in/side", &[]), 404, "route_unknown");
    check(&sidecar, ("GET", "/host", &[]), 404, "route_unknown");
    check(&sidecar, ("GET", "/host", &[("Host", "SHOP.example.:80")]), 200, "");
    check(
        &sidecar,
        ("GET", "/host", &[("X-Forwarded-Host", "shop.example")]),
        404,
        "route_unknown",
    );
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn contract_access_all_that_is_given_must_hold() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let routes = "\
routes:
  - { path: /all, access: { scopes: [read, write] } }
  - { path: /any, access: { any_scope: [write, read] } }
  - { path: /key, access: { credentials: [api_key] } }
  - { path: /jwt, access: { credentials: [jwt] } }
  - { path: /corp, access: { issuers: [corp] } }
  - { path: /tenant, access: { claims: { tenant: [acme, globex] } } }
  - { path: /maybe, access: { optional: true, credentials: [jwt] } }
";
    let sidecar = sandbox.start(&format!("{config}{routes}"));
    let mut all = claims();
    all["scope"] = "write read".into();
    all["tenant"] = "acme".into();
    let (plain, all) =
        (signer().sign("rsa", "RS256", &claims()), signer().sign("rsa", "RS256", &all));
    let (plain, all) = (bearer(&plain), bearer(&all));
    let (plain, all) = ([("Authorization", &*plain)], [("Authorization", &*all)]);
    let key = [("X-API-Key", KEY)];
    check(&sidecar, ("GET", "/all", &plain), 403, "scope_missing");
    check(&sidecar, ("GET", "/all", &all), 200, "");
    check(&sidecar, ("GET", "/any", &plain), 200, "");
    check(&sidecar, ("GET", "/key", &plain), 401, "credential_kind_refused");
    check(&sidecar, ("GET", "/key", &key), 200, "");
    check(&sidecar, ("GET", "/jwt", &key), 401, "credential_kind_refused");
    check(&sidecar, ("GET", "/corp", &plain), 200, "");
    check(&sidecar, ("GET", "/corp", &key), 401, "issuer_refused");
    check(&sidecar, ("GET", "/tenant", &plain), 403, "claim_refused");
    check(&sidecar, ("GET", "/tenant", &all), 200, "");
    check(&sidecar, ("GET", "/maybe", &[]), 200, "");
    check(&sidecar, ("GET", "/maybe", &plain), 200, "");
    check(&sidecar, ("GET", "/maybe", &key), 401, "credential_kind_refused");
    check(&sidecar, ("GET", "/maybe", &[("Authorization", "Bearer x")]), 401, "token_malformed");
}

#[test]
fn contract_credentials_how_they_are_read() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let routes = "routes: [{ path: /**, access: { scopes: [read] } }]\n";
    let sidecar = sandbox.start(&format!("{config}{routes}"));
    let token = signer().sign("rsa", "RS256", &claims());
    let (good, lower) = (bearer(&token), format!("bEaReR {token}"));
    check(&sidecar, ("GET", "/", &[("authoriZation", &lower)]), 200, "");
    check(&sidecar, ("GET", "/", &[]), 401, "credential_missing");
    let twice = [("Authorization", &*good), ("Authorization", &*good)];
    check(&sidecar, ("GET", "/", &twice), 400, "credential_repeated");
    let keys = [("X-API-Key", KEY), ("x-api-key", KEY)];
    check(&sidecar, ("GET", "/", &keys), 400, "credential_repeated");
    check(&sidecar, ("GET", "/", &[("Authorization", "Bearer")]), 400, "credential_malformed");
    check(
        &sidecar,
        ("GET", "/", &[("Authorization", "Basic YTpi")]),
        401,
        "credential_scheme_unknown",
    );
    check(&sidecar, ("GET", &format!("/?access_token={token}"), &[]), 401, "credential_missing");
    let both = [("Authorization", &*good), ("X-API-Key", KEY)];
    check(&sidecar, ("GET", "/", &both), 200, "");
    assert_eq!(upstream.last().field("x-auth-subject"), Some("ada"), "the token's identity alone");
    let bad_key = [("Authorization", &*good), ("X-API-Key", "an-unknown-key-0123456789")];
    check(&sidecar, ("GET", "/", &bad_key), 401, "key_unknown");
    let mut elsewhere = claims();
    elsewhere["aud"] = json!("elsewhere");
    let elsewhere = bearer(&signer().sign("rsa", "RS256", &elsewhere));
    let bad_token = [("Authorization", &*elsewhere), ("X-API-Key", KEY)];
    check(&sidecar, ("GET", "/", &bad_token), 401, "token_audience_wrong");
}

#[test]
fn r501_r503_paths_with_two_readings_are_refused() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let routes = "\
routes:
  - { path: /public/**, access: anonymous }
  - { path: /public/admin/**, access: { scopes: [admin] } }
  - { path: /**, access: { scopes: [read] } }
";
    let sidecar = sandbox.start(&format!("{config}{routes}"));
    for target in [
        "/public%2fadmin",
        "/public/%2e%2e/x",
        "/public\\admin",
        "/public/%5cadmin",
        "/..",
        "/a/../../b",
        "/public/%00",
        "/public/%zz",
        "/public/%2",
        "/public/%c0%af",
    ] {
        let response = sidecar.get(target, &[]);
        let reason = sidecar.why(&response)["reason"].clone();
        assert_eq!(response.status, 400, "{target}: {reason}");
        assert!(
            ["path_invalid", "path_ambiguous"].map(Into::into).contains(&reason),
            "{target}: {reason}"
        );
    }
    for target in ["/public//admin/x", "/public/Admin/x", "/public/admin;x/y", "/public/admin./x"] {
        check(&sidecar, ("GET", target, &[]), 400, "path_ambiguous");
    }
    for (target, explanation) in [
        ("/public/%09", "percent-encoded control character"),
        ("/public/a%0Ab", "percent-encoded control character"),
        ("/public/a%0db", "percent-encoded control character"),
        ("/public/a%zz", "`%` without two hexadecimal digits"),
        ("/public/a%ff", "not UTF-8"),
        ("/public/%2e./x", "encoded dot segment"),
    ] {
        let response = sidecar.get(target, &[]);
        let why = sidecar.why(&response);
        assert_eq!((response.status, &why["reason"]), (400, &"path_invalid".into()), "{target}");
        let why = why.to_string();
        assert!(why.contains(explanation), "{target}: {why}");
    }
    check(&sidecar, ("GET", "/public/adm%2Ein/x", &[]), 200, "");
    assert_eq!(upstream.requests().len(), 1);
    assert_eq!(upstream.last().request_line(), "GET /public/adm%2Ein/x HTTP/1.1");
    check(&sidecar, ("GET", "/public/./a", &[]), 200, "");
    assert_eq!(
        upstream.last().request_line(),
        "GET /public/a HTTP/1.1",
        "decided on and forwarded"
    );
}

/// The step that refused a request, as `why` shows it.
fn refusal(sidecar: &Sidecar, target: &str, host: &str) -> String {
    let mut client = sidecar.connect();
    let response = client.exchange("GET", target, &[("Host", host)]);
    let why = sidecar.why(&response);
    let last = why["steps"].as_array().unwrap().last().unwrap().clone();
    format!("{} {}", response.status, last["answer"].as_str().unwrap())
}

#[test]
fn contract_paths_an_encoded_slash_and_a_port_are_named_with_their_remedy() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let routes = "routes: [{ path: /files/**, hosts: [name.test], access: anonymous }]\n";
    let sidecar = sandbox.start(&format!("{config}{routes}"));
    let slash = refusal(&sidecar, "/files/a%2Fb", "name.test");
    assert!(slash.starts_with("400 path_invalid"), "{slash}");
    assert!(slash.contains("encoded slash (%2F)"), "{slash}");
    assert!(slash.contains("insecure_path: [encoded_slash]"), "{slash}");
    let port = refusal(&sidecar, "/files/a", "name.test:8080");
    assert!(port.starts_with("404 route_unknown"), "{port}");
    assert!(port.contains("port of \"name.test:8080\" does not fit"), "{port}");
    let other = refusal(&sidecar, "/files/a", "other.test:8080");
    assert!(!other.contains("port"), "{other}");
    let explained = sidecar.sandbox.run(&[
        "explain",
        "--config",
        "gatepost.yaml",
        "--method",
        "GET",
        "--path",
        "/files/a",
        "--host",
        "name.test:8080",
    ]);
    assert_eq!(explained.exit, 1);
    assert!(explained.stdout.contains("does not fit"), "{explained:?}");
}
