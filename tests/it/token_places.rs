//! Contract, `issuers[].from` and issuer templates: tokens where identity-aware proxies, browsers and
//! tenants put them.

use serde_json::{Value, json};

use crate::support::{Recorder, Sandbox, Sidecar, bearer, claims, head, signer};

/// Two issuers with one key set: `proxy` with `from`, and `login` with the default.
fn started(from: &str, routes: &str) -> (Sidecar, Recorder) {
    let upstream = Recorder::start();
    let sandbox = Sandbox::new();
    sandbox.write("jwks.json", &signer().jwks(&[("rsa", "RS256")]));
    let config = format!(
        "upstreams: {{ app: {{ url: \"{}\" }} }}\n\
         issuers:\n\
         \x20 - {{ issuer: https://proxy.example.com, name: proxy, audiences: [orders-api], \
         algorithms: [RS256], keys: {{ file: jwks.json }}, from: {from} }}\n\
         \x20 - {{ issuer: https://login.example.com, name: login, audiences: [orders-api], \
         algorithms: [RS256], keys: {{ file: jwks.json }} }}\n{routes}",
        upstream.url()
    );
    (sandbox.start(&config), upstream)
}

const ROUTES: &str = "\
routes:
  - { path: /public/**, access: anonymous }
  - { path: /keep/**, access: { scopes: [read] }, forward_credential: true }
  - { path: /ws/**, access: { scopes: [read] }, upgrade: websocket }
  - path: /page/**
    access: { scopes: [read] }
    cors: { origins: [https://page.example], credentials: true }
  - { path: /**, access: { scopes: [read] } }
";

fn token_of(issuer: &str, changes: &Value) -> String {
    let mut claims = claims();
    claims["iss"] = json!(issuer);
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    signer().sign("rsa", "RS256", &claims)
}

fn proxy_token() -> String {
    token_of("https://proxy.example.com", &json!({}))
}

fn login_token() -> String {
    token_of("https://login.example.com", &json!({}))
}

#[track_caller]
fn check(
    sidecar: &Sidecar,
    (method, target, fields): (&str, &str, &[(&str, &str)]),
    status: u16,
    reason: &str,
) {
    let response = sidecar.request(method, target, fields);
    let why = (response.status >= 400).then(|| sidecar.why(&response));
    assert_eq!(response.status, status, "{method} {target}: {why:#?}");
    assert_eq!(why.map_or(Value::Null, |why| why["reason"].clone()).as_str().unwrap_or(""), reason);
}

#[test]
fn contract_issuers_tokens_come_in_the_headers_of_proxies_and_are_removed() {
    let from = "[{ header: Cf-Access-Jwt-Assertion }, { header: X-Goog-Iap-Jwt-Assertion }]";
    let (sidecar, upstream) = started(from, ROUTES);
    let (token, login) = (proxy_token(), login_token());
    for name in ["Cf-Access-Jwt-Assertion", "X-Goog-Iap-Jwt-Assertion"] {
        check(&sidecar, ("GET", "/x", &[(name, &token)]), 200, "");
        let seen = upstream.last();
        assert_eq!(seen.field("x-auth-issuer"), Some("https://proxy.example.com"));
        assert!(!seen.head.contains(&token), "{}", seen.head);
        check(&sidecar, ("GET", "/keep/x", &[(name, &token)]), 200, "");
        assert!(upstream.last().head.contains(&token), "forward_credential");
        // Absent, malformed, almost right, of another issuer.
        check(&sidecar, ("GET", "/x", &[]), 401, "credential_missing");
        check(&sidecar, ("GET", "/x", &[(name, "")]), 400, "credential_malformed");
        check(&sidecar, ("GET", "/x", &[(name, &bearer(&token))]), 400, "credential_malformed");
        let forged = format!("{}AAAA", &token[..token.len() - 4]);
        check(&sidecar, ("GET", "/x", &[(name, &forged)]), 401, "token_signature_bad");
        check(&sidecar, ("GET", "/x", &[(name, &login)]), 401, "token_misplaced");
        check(&sidecar, ("GET", "/x", &[(name, &login)]), 401, "token_misplaced");
        let twin = name.replace('-', "_");
        check(&sidecar, ("GET", "/x", &[(&*twin, &token)]), 401, "credential_missing");
        check(&sidecar, ("GET", "/public/x", &[(&*twin, &token)]), 200, "");
        assert!(!upstream.last().head.contains(&token), "a twin passes nowhere");
    }
    let both = [("Cf-Access-Jwt-Assertion", &*token), ("X-Goog-Iap-Jwt-Assertion", &*token)];
    check(&sidecar, ("GET", "/x", &both), 400, "credential_repeated");
    let header = bearer(&token);
    check(&sidecar, ("GET", "/x", &[("Authorization", &header)]), 401, "token_misplaced");
    check(&sidecar, ("GET", "/x", &[("Authorization", &bearer(&login))]), 200, "");
}

#[test]
fn contract_issuers_where_no_place_is_in_authorization_it_is_the_applications() {
    let upstream = Recorder::start();
    let sandbox = Sandbox::new();
    sandbox.write("jwks.json", &signer().jwks(&[("rsa", "RS256")]));
    let config = format!(
        "upstreams: {{ app: {{ url: \"{}\" }} }}\n\
         issuers: [{{ issuer: https://proxy.example.com, audiences: [orders-api], algorithms: [RS256], \
         keys: {{ file: jwks.json }}, from: [{{ header: Cf-Access-Jwt-Assertion }}] }}]\n{ROUTES}",
        upstream.url()
    );
    let sidecar = sandbox.start(&config);
    let fields = [("Cf-Access-Jwt-Assertion", &*proxy_token()), ("Authorization", "Basic dTpw")];
    check(&sidecar, ("GET", "/x", &fields), 200, "");
    assert_eq!(upstream.last().field("authorization"), Some("Basic dTpw"));
}

#[test]
fn contract_issuers_authorization_can_pass_where_tokens_come_elsewhere() {
    let routes = "routes:\n\
        \x20 - { path: /app/**, access: { issuers: [proxy] }, authorization: pass }\n\
        \x20 - { path: /**, access: { scopes: [read] } }\n";
    let (sidecar, upstream) = started("[{ header: Cf-Access-Jwt-Assertion }]", routes);
    let fields = [("Cf-Access-Jwt-Assertion", &*proxy_token()), ("Authorization", "Basic dTpw")];
    check(&sidecar, ("GET", "/app/x", &fields), 200, "");
    assert_eq!(upstream.last().field("authorization"), Some("Basic dTpw"));
    check(&sidecar, ("GET", "/app/x", &fields[1..]), 401, "credential_missing");
}

#[test]
fn r209_a_cookie_is_a_credential_from_an_origin_of_ours_alone() {
    let (sidecar, upstream) = started("[{ cookie: my_sid }]", ROUTES);
    let token = proxy_token();
    let cookie = format!("a=b; my_sid={token}; my.sid=forged; c=d");
    let sid = ("Cookie", &*cookie);
    check(&sidecar, ("GET", "/x", &[sid]), 200, "");
    assert_eq!(upstream.last().field("cookie"), Some("a=b; c=d"), "the token and its twin go");
    check(&sidecar, ("GET", "/keep/x", &[sid]), 200, "");
    let kept = format!("a=b; my_sid={token}; c=d");
    assert_eq!(upstream.last().field("cookie"), Some(&*kept), "the twin goes");
    check(&sidecar, ("GET", "/public/x", &[sid]), 200, "");
    assert_eq!(upstream.last().field("cookie"), Some(&*kept), "the twin goes on every route");
    let alone = ("Cookie", &*format!("my_sid={token}"));
    check(&sidecar, ("GET", "/x", &[alone]), 200, "");
    assert_eq!(upstream.last().field("cookie"), None);
    for none in ["a=b", "my_sid=", "My_Sid=x", "my.sid=x"] {
        check(&sidecar, ("GET", "/x", &[("Cookie", none)]), 401, "credential_missing");
    }
    check(&sidecar, ("GET", "/x", &[("Cookie", "my_sid=a b")]), 400, "credential_malformed");
    let twice = format!("my_sid={token}; my_sid={token}");
    check(&sidecar, ("GET", "/x", &[("Cookie", &twice)]), 400, "credential_repeated");
    let other = format!("my_sid={}", login_token());
    check(&sidecar, ("GET", "/x", &[("Cookie", &other)]), 401, "token_misplaced");
    // Every request of the tests has the host `api.example`.
    let own = ("Origin", "https://api.example");
    let own_port = ("Origin", "http://api.example:80");
    check(&sidecar, ("POST", "/x", &[sid, own, ("Content-Length", "0")]), 200, "");
    check(&sidecar, ("GET", "/x", &[sid, own_port]), 200, "");
    check(&sidecar, ("POST", "/x", &[sid, ("Content-Length", "0")]), 403, "origin_refused");
    for origin in ["https://evil.example", "null", "https://api.example.evil.example"] {
        check(&sidecar, ("GET", "/x", &[sid, ("Origin", origin)]), 403, "origin_refused");
    }
    let page = ("Origin", "https://page.example");
    check(&sidecar, ("POST", "/page/x", &[sid, page, ("Content-Length", "0")]), 200, "");
    check(&sidecar, ("POST", "/x", &[sid, page, ("Content-Length", "0")]), 403, "origin_refused");
    let upgrade = [sid, ("Upgrade", "websocket"), ("Connection", "Upgrade")];
    check(&sidecar, ("GET", "/ws/x", &upgrade), 403, "origin_refused");
    let bearer = bearer(&login_token());
    let foreign = [("Authorization", &*bearer), ("Origin", "https://evil.example")];
    check(&sidecar, ("GET", "/x", &foreign), 200, "");
}

#[test]
fn contract_issuers_a_subprotocol_holds_the_token_of_a_websocket() {
    let (sidecar, upstream) = started("[{ subprotocol: \"bearer.\" }]", ROUTES);
    let token = proxy_token();
    let offer = format!("chat, bearer.{token}, v2");
    let handshake = |target: &str, protocols: &str| {
        let fields = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Protocol", protocols),
        ];
        let mut client = sidecar.connect();
        client.send(head("GET", target, &fields));
        client.response()
    };
    assert_eq!(handshake("/ws/x", &offer).status, 200);
    assert_eq!(upstream.last().field("sec-websocket-protocol"), Some("chat, v2"));
    assert_eq!(upstream.last().field("x-auth-issuer"), Some("https://proxy.example.com"));
    assert_eq!(handshake("/ws/x", &format!("bearer.{token}")).status, 200);
    assert_eq!(upstream.last().field("sec-websocket-protocol"), None);
    for (protocols, status, reason) in [
        ("chat".to_owned(), 401, "credential_missing"),
        ("bearer.".to_owned(), 400, "credential_malformed"),
        (format!("bearer.{token}, bearer.{token}"), 400, "credential_repeated"),
        (format!("Bearer.{token}"), 401, "credential_missing"),
        (format!("bearer.{}", login_token()), 401, "token_misplaced"),
    ] {
        let refused = handshake("/ws/x", &protocols);
        assert_eq!(sidecar.why(&refused)["reason"], reason, "{protocols}");
        assert_eq!(refused.status, status, "{protocols}");
    }
    let elsewhere = handshake("/x", &offer);
    assert_eq!(sidecar.why(&elsewhere)["reason"], "credential_missing", "not a websocket route");
    let twice = handshake("/x", &format!("bearer.{token}, bearer.{token}"));
    assert_eq!(sidecar.why(&twice)["reason"], "credential_missing", "not read, so not repeated");
}

#[test]
fn r312_an_issuer_template_binds_the_tenant_to_its_claim() {
    const ENTRA: &str = "https://login.example.com/{tid}/v2.0";
    let upstream = Recorder::start();
    let sandbox = Sandbox::new();
    let consumers = "https://login.example.com/consumers/v2.0";
    let mut keys = vec![signer().jwk("rsa", Some("RS256")), signer().jwk("p256", Some("ES256"))];
    keys[0]["issuer"] = json!(ENTRA);
    keys[1]["issuer"] = json!(consumers);
    sandbox.write("jwks.json", &json!({ "keys": keys }).to_string());
    let a1 = "https://login.example.com/a1/v2.0";
    let config = format!(
        "upstreams: {{ app: {{ url: \"{}\" }} }}\n\
         issuers: [{{ issuer: \"{ENTRA}\", name: entra, audiences: [orders-api], \
         algorithms: [RS256, ES256], keys: {{ file: jwks.json }} }}]\n\
         routes:\n\
         \x20 - {{ path: /a1/**, access: {{ issuers: [\"{a1}\"] }} }}\n\
         \x20 - {{ path: /**, access: {{ issuers: [entra] }} }}\n",
        upstream.url()
    );
    let sidecar = sandbox.start(&config);
    let iss = |tenant: &str| format!("https://login.example.com/{tenant}/v2.0");
    let of = |tenant: &str, tid: Value| token_of(&iss(tenant), &json!({ "tid": tid }));
    let get = |target, token: &str| sidecar.get(target, &[("Authorization", &bearer(token))]);
    assert_eq!(get("/x", &of("a1", json!("a1"))).status, 200);
    assert_eq!(upstream.last().field("x-auth-issuer"), Some(a1));
    assert_eq!(get("/x", &of("b2", json!("b2"))).status, 200);
    assert_eq!(get("/a1/x", &of("a1", json!("a1"))).status, 200);
    assert_eq!(get("/a1/x", &of("b2", json!("b2"))).status, 401, "another tenant");
    for (token, reason) in [
        (of("a1", json!("b2")), "token_claim_bad"),
        (of("a1", Value::Null), "token_claim_bad"),
        (of("a1", json!(["a1"])), "token_claim_bad"),
        (of("{tid}", json!("{tid}")), "token_issuer_unknown"),
        (of("a/b", json!("a/b")), "token_issuer_unknown"),
        (of("", json!("")), "token_issuer_unknown"),
    ] {
        let refused = get("/x", &token);
        assert_eq!(sidecar.why(&refused)["reason"], reason, "{token}");
    }
    // The key of one tenant signs for no other.
    let signed = |tenant: &str| {
        let mut claims = claims();
        claims["iss"] = json!(iss(tenant));
        claims["tid"] = json!(tenant);
        signer().sign("p256", "ES256", &claims)
    };
    assert_eq!(get("/x", &signed("consumers")).status, 200);
    let refused = get("/x", &signed("a1"));
    assert_eq!(sidecar.why(&refused)["reason"], "token_key_unknown");
    // A revocation names a tenant, or the template for all of them.
    let revoke = |entry: Value| {
        let (entry, mut admin) = (entry.to_string(), sidecar.connect_admin());
        let length = entry.len().to_string();
        let fields = [
            ("X-Gatepost-Admin", "1"),
            ("Content-Type", "application/json"),
            ("Content-Length", &*length),
        ];
        admin.send(head("POST", "/revocations", &fields)).send(&entry);
        assert_eq!(admin.response().status, 201, "{entry}");
    };
    revoke(json!({ "issuer": a1, "jti": claims()["jti"] }));
    assert_eq!(get("/x", &of("a1", json!("a1"))).status, 401);
    assert_eq!(get("/x", &of("b2", json!("b2"))).status, 200);
    revoke(json!({ "issuer": "entra", "jti": claims()["jti"] }));
    assert_eq!(get("/x", &of("b2", json!("b2"))).status, 401);
}
