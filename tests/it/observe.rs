//! Contract, `insecure_observe`: the first days before an existing API.

use crate::support::{
    KEY, Recorder, Response, Sidecar, bearer, claims, eventually, head, signer, standard,
};

const ROUTES: &str = "\
limits: { few: { rate: 1/h, burst: 1, by: principal } }
routes:
  - { path: /api/**, name: watched, access: { scopes: [read] }, insecure_observe: true }
  - { path: /admin/**, name: watched-admin, access: { scopes: [admin] }, insecure_observe: true }
  - { path: /few, name: watched-few, access: { scopes: [read] }, limits: [few], insecure_observe: true }
  - { path: /get, name: watched-get, methods: [GET], access: authenticated, insecure_observe: true }
  - { path: /small, name: watched-small, access: authenticated, body_limit: 10, insecure_observe: true }
  - { path: /enforced/**, name: enforced, access: { scopes: [read] } }
";

/// What only we may say.
const OURS: [&str; 6] = [
    "X-Auth-Subject",
    "X-Auth-Issuer",
    "X-Auth-Client-Id",
    "X-Auth-Scopes",
    "X-Auth-Credential",
    "X-Auth-Credential-Id",
];

fn started() -> (Sidecar, Recorder) {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    (sandbox.start(&format!("{config}{ROUTES}")), upstream)
}

/// Sends a request that would be refused; it arrives unchanged and anonymous.
#[track_caller]
fn check(
    sidecar: &Sidecar,
    upstream: &Recorder,
    target: &str,
    fields: &[(&str, &str)],
    reason: &str,
) -> Response {
    let route = format!("watched{}", target.trim_start_matches("/api/x").replace('/', "-"));
    let route = route.trim_end_matches("-x");
    let requests = format!(
        "gatepost_requests_total{{code=\"200\",outcome=\"would_refuse\",route=\"{route}\"}}"
    );
    let rejections = format!("gatepost_rejections_total{{reason=\"{reason}\",route=\"{route}\"}}");
    let before = (sidecar.metric(&requests), sidecar.metric(&rejections));
    let lies = OURS.map(|name| (name, "root"));
    let twin = ("X_Auth_Subject", "root");
    let sent = [fields, &lies, &[twin]].concat();
    let response = sidecar.get(target, &sent);
    assert_eq!(response.status, 200, "{target} {reason}: {}", response.text());
    assert_eq!(response.field("www-authenticate"), None);
    let recorded = upstream.last();
    for (name, value) in fields {
        let mut arrived = recorded.fields().filter(|(one, _)| one.eq_ignore_ascii_case(name));
        assert!(arrived.any(|(_, one)| one == *value), "{reason}, {name}: {}", recorded.head);
    }
    let head = recorded.head.to_ascii_lowercase().replace('_', "-");
    assert!(!head.contains("x-auth-") && !head.contains("root"), "{reason}: {}", recorded.head);
    let why = sidecar.why(&response);
    assert_eq!(
        (&why["outcome"], &why["reason"]),
        (&"would_refuse".into(), &reason.into()),
        "{why}"
    );
    assert!(why["steps"].as_array().is_some_and(|steps| steps.len() > 1), "{why}");
    let line = sidecar.log_line(&response);
    assert_eq!((&line["outcome"], &line["reason"]), (&"would_refuse".into(), &reason.into()));
    let after = (sidecar.metric(&requests), sidecar.metric(&rejections));
    assert_eq!(after, (before.0 + 1.0, before.1 + 1.0), "{}", sidecar.metrics());
    response
}

fn authorization(value: &str) -> [(&str, &str); 1] {
    [("Authorization", value)]
}

#[test]
fn contract_insecure_observe_forwards_what_would_be_refused_as_nobodys() {
    let (sidecar, upstream) = started();
    let mut expired = claims();
    expired["exp"] = 1.into();
    let expired = bearer(&signer().sign("rsa", "RS256", &expired));
    let unknown = bearer(&signer().sign("other-rsa", "RS256", &claims()));
    let good = bearer(&signer().sign("rsa", "RS256", &claims()));
    let forged = format!("{}AAAA", &good[..good.len() - 4]);
    let check = |target: &str, fields: &[(&str, &str)], reason: &str| {
        check(&sidecar, &upstream, target, fields, reason);
    };
    check("/api/x", &[], "credential_missing");
    check("/api/x", &authorization(&expired), "token_expired");
    check("/api/x", &authorization(&unknown), "token_key_unknown");
    check("/api/x", &authorization(&forged), "token_signature_bad");
    check("/api/x", &authorization("Basic YTpi"), "credential_scheme_unknown");
    check("/api/x", &authorization("Bearer"), "credential_malformed");
    check("/api/x", &[("X-API-Key", "a-key-of-nobody-at-all-here")], "key_unknown");
    check("/api/x", &[("X-API-Key", KEY), ("X-API-Key", KEY)], "credential_repeated");
    check("/admin/x", &[("X-API-Key", KEY)], "scope_missing");
    check("/admin/x", &authorization(&good), "scope_missing");
    // one valid credential of two does not authenticate the request.
    check("/api/x", &[("Authorization", &forged), ("X-API-Key", KEY)], "token_signature_bad");
    check("/api/x", &[("Authorization", &good), ("X-API-Key", "gp_key_x")], "key_malformed");
}

#[test]
fn contract_insecure_observe_what_is_good_is_admitted_and_keeps_its_credential() {
    let (sidecar, upstream) = started();
    let good = bearer(&signer().sign("rsa", "RS256", &claims()));
    for field in [("Authorization", good.as_str()), ("X-API-Key", KEY)] {
        let response = sidecar.get("/api/x", &[field, ("X-Auth-Subject", "root")]);
        assert_eq!(response.status, 200);
        assert_eq!(sidecar.log_line(&response)["outcome"], "admitted");
        let recorded = upstream.last();
        // The API still checks it itself: observing breaks no client.
        assert_eq!(recorded.field(field.0), Some(field.1));
        assert_ne!(recorded.field("X-Auth-Subject"), Some("root"));
    }
    assert_eq!(sidecar.get("/enforced/x", &[("X-API-Key", KEY)]).status, 200);
    assert_eq!(upstream.last().field("X-API-Key"), None);
}

#[test]
fn contract_insecure_observe_limits_are_observed_too() {
    let (sidecar, upstream) = started();
    let key = [("X-API-Key", KEY)];
    assert_eq!(sidecar.get("/few", &key).status, 200);
    let response = check(&sidecar, &upstream, "/few", &key, "rate_limited");
    assert_eq!(response.field("retry-after"), None);
}

#[test]
fn contract_insecure_observe_path_route_and_framing_still_refuse() {
    let (sidecar, upstream) = started();
    let key = ("X-API-Key", KEY);
    for (method, target, status) in [
        ("GET", "/api/%2e%2e/enforced/x", 400),
        ("GET", "/api/a%2Fb", 400),
        ("GET", "/api/%00", 400),
        ("GET", "/api/..;/enforced/x", 400),
        ("GET", "/nowhere", 404),
        ("DELETE", "/get", 405),
        ("TRACE", "/api/x", 405),
    ] {
        let response = sidecar.request(method, target, &[key]);
        assert_eq!(response.status, status, "{method} {target}");
        assert_eq!(sidecar.log_line(&response)["outcome"], "refused", "{method} {target}");
    }
    for message in [
        "POST /api/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /api/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /api/x HTTP/1.1\r\n\r\n",
    ] {
        let mut client = sidecar.connect();
        assert_eq!(client.send(message).response().status, 400, "{message:?}");
        assert!(client.is_closed(), "{message:?}");
    }
    let length = ("Content-Length", "11");
    assert_eq!(sidecar.request("POST", "/small", &[length]).status, 413);
    let mut client = sidecar.connect();
    let chunked = head("POST", "/small", &[("Transfer-Encoding", "chunked")]);
    client.send(chunked).send("14\r\n01234567890123456789\r\n0\r\n\r\n");
    assert_eq!(client.response().status, 413);
    // What is enforced is enforced.
    assert_eq!(sidecar.get("/enforced/x", &[]).status, 401);
    let whole = upstream.requests();
    assert!(whole.iter().all(|one| one.request_line().contains("/small")), "{whole:?}");
}

#[test]
fn contract_insecure_observe_is_named_at_start_and_counted() {
    let (sidecar, _upstream) = started();
    assert_eq!(sidecar.metric("gatepost_insecure_settings"), 5.0);
    let status = sidecar.admin("GET", "/status", &[]).json();
    for index in 0..5 {
        let setting = format!("routes[{index}].insecure_observe");
        eventually("a warning in the log", || {
            let said = sidecar.stderr();
            let mut lines = said.lines();
            lines.find(|line| line.contains(&setting) && line.contains("\"warn\"")).map(drop)
        });
        let named = status["insecure"].as_array().unwrap();
        assert!(named.iter().any(|one| *one == setting), "{status}");
    }
    assert!(!sidecar.stderr().contains("routes[5]"), "{}", sidecar.stderr());
    let check = sidecar.sandbox.run(&["check", "--config", "gatepost.yaml"]);
    assert_eq!(check.exit, 0, "{check:?}");
    let said = format!("{}{}", check.stdout, check.stderr);
    assert!(said.contains("routes[0].insecure_observe"), "{said}");
    // Enforcing is a reload away.
    let (_, config) = standard("http://127.0.0.1:1");
    let enforced = ROUTES.replace(", insecure_observe: true", "");
    sidecar.configure(&format!("{config}{enforced}"));
    assert_eq!(sidecar.reload().status, 200);
    assert_eq!(sidecar.metric("gatepost_insecure_settings"), 0.0);
    assert_eq!(sidecar.get("/api/x", &[]).status, 401);
}

#[test]
fn contract_insecure_observe_explain_says_would_refuse() {
    let (sidecar, _upstream) = started();
    for live in [&[][..], &["--live"]] {
        let ask = ["explain", "--config", "gatepost.yaml", "--method", "GET", "--path", "/api/x"];
        let run = sidecar.sandbox.run(&[&ask, live].concat());
        assert!(run.stdout.contains("would"), "{run:?}");
        assert!(run.stdout.contains("credential_missing"), "{run:?}");
    }
}
