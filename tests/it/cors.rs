//! Contract, "CORS": preflights and the fields on every answer, on the wire.

use crate::support::{
    Client, KEY, Recorder, Reply, Response, Sandbox, Sidecar, bearer, claims, head, signer,
    standard,
};

const ROUTES: &str = "\
limits: { few: { rate: 1/h, burst: 1, by: principal } }
routes:
  - path: /api/**
    methods: [GET, POST, DELETE]
    access: { scopes: [read] }
    cors:
      origins: [https://app.example.com]
      methods: [GET, POST]
      headers: [Authorization, X-API-Key, Content-Type]
      credentials: true
      max_age: 1h
  - { path: /write, access: { scopes: [write] }, cors: { origins: [https://app.example.com] } }
  - { path: /few, access: { scopes: [read] }, limits: [few], cors: { origins: [\"*\"] } }
  - { path: /pass/**, methods: [GET], access: { scopes: [read] }, preflight: pass }
  - { path: /plain/**, methods: [GET, OPTIONS], access: { scopes: [read] } }
  - { path: /get-only, methods: [GET], access: anonymous }
";

const ORIGIN: (&str, &str) = ("Origin", "https://app.example.com");

/// What an upstream that knows CORS itself would say, and more than we allow.
const UPSTREAM: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\
    Access-Control-Allow-Origin: https://evil.test\r\n\
    Access-Control-Allow-Credentials: true\r\n\
    Access-Control-Allow-Methods: PURGE\r\n\
    Access-Control-Allow-Headers: X-Evil\r\n\
    Access-Control-Expose-Headers: X-Internal\r\n\
    Access-Control-Max-Age: 86400\r\n\
    Vary: Accept-Encoding\r\n\r\nok";

fn started() -> (Sidecar, Recorder) {
    let upstream = Recorder::answering(|_| Reply::Bytes(UPSTREAM.into()));
    let (sandbox, config) = standard(upstream.url());
    (sandbox.start(&format!("{config}{ROUTES}")), upstream)
}

/// Asks as a browser does before `method` with `fields`.
#[track_caller]
fn preflight(client: &mut Client, path: &str, origin: &str, method: &str, asked: &str) -> Response {
    let mut fields = vec![("Origin", origin), ("Access-Control-Request-Method", method)];
    if !asked.is_empty() {
        fields.push(("Access-Control-Request-Headers", asked));
    }
    // `response_head` and no more: whatever followed would break the next exchange.
    client.send(head("OPTIONS", path, &fields)).response_head()
}

fn granted(response: &Response) -> Vec<String> {
    let names = response.fields.iter().map(|(name, _)| name.to_ascii_lowercase());
    names.filter(|name| name.starts_with("access-control-")).collect()
}

/// The list members of all `Vary` fields, in lower case.
fn vary(response: &Response) -> Vec<String> {
    let fields = response.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("vary"));
    let members = fields.flat_map(|(_, value)| value.split(','));
    members.map(|member| member.trim().to_ascii_lowercase()).collect()
}

/// On an answer that page may read: our fields, once each, and nothing of the upstream's.
#[track_caller]
fn check_readable(response: &Response, status: u16, origin: &str) {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.field("access-control-allow-origin"), Some(origin));
    let exposed = response.field("access-control-expose-headers").unwrap_or_default();
    for name in ["WWW-Authenticate", "RateLimit", "Retry-After", "X-Request-Id"] {
        assert!(exposed.split(',').any(|one| one.trim() == name), "{name} in {exposed}");
    }
    assert!(!exposed.contains("X-Internal"), "the upstream's: {exposed}");
    assert!(vary(response).contains(&"origin".to_owned()), "{:?}", response.fields);
    assert_eq!(response.field("access-control-allow-methods"), None, "only on preflights");
    assert_eq!(response.field("access-control-max-age"), None, "only on preflights");
}

#[track_caller]
fn check_unreadable(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(granted(response), [""; 0], "nothing for this page");
    assert!(vary(response).contains(&"origin".to_owned()), "{:?}", response.fields);
}

#[test]
fn contract_cors_a_preflight_is_answered_and_the_connection_goes_on() {
    let (sidecar, upstream) = started();
    let mut client = sidecar.connect();
    for _ in 0..3 {
        let asked = "authorization, content-type";
        let response = preflight(&mut client, "/api/x", ORIGIN.1, "POST", asked);
        assert_eq!(response.status, 204);
        assert_eq!(response.field("access-control-allow-origin"), Some(ORIGIN.1));
        assert_eq!(response.field("access-control-allow-methods"), Some("GET, POST"));
        let headers = response.field("access-control-allow-headers");
        assert_eq!(headers, Some("authorization, x-api-key, content-type"));
        assert_eq!(response.field("access-control-allow-credentials"), Some("true"));
        assert_eq!(response.field("access-control-max-age"), Some("3600"));
        let asks = ["origin", "access-control-request-method", "access-control-request-headers"];
        assert_eq!(vary(&response), asks);
        // A 204 has no body and says nothing about one (RFC 9110 section 8.6).
        assert_eq!(response.field("content-length"), None);
        assert_eq!(response.field("transfer-encoding"), None);
        assert_ne!(response.field("connection"), Some("close"));
        assert!(response.field("x-request-id").is_some());
        let fields = [ORIGIN, ("X-API-Key", KEY)];
        check_readable(&client.exchange("GET", "/api/x", &fields), 200, ORIGIN.1);
    }
    let seen = upstream.requests();
    assert!(seen.iter().all(|one| one.request_line().starts_with("GET ")), "{seen:?}");
    let asked = preflight(&mut client, "/api/x", ORIGIN.1, "GET", "");
    assert_eq!(sidecar.log_line(&asked)["outcome"], "admitted");
}

#[test]
fn contract_cors_a_preflight_gets_nothing_for_more_than_is_allowed() {
    let (sidecar, upstream) = started();
    let mut client = sidecar.connect();
    for (origin, method, asked) in [
        ("https://evil.test", "GET", ""),
        ("null", "GET", ""),
        ("https://app.example.com.evil.test", "GET", ""),
        ("http://app.example.com", "GET", ""),
        (ORIGIN.1, "DELETE", ""),
        (ORIGIN.1, "GET", "x-evil"),
        (ORIGIN.1, "POST", "content-type, x-auth-subject"),
    ] {
        let response = preflight(&mut client, "/api/x", origin, method, asked);
        check_unreadable(&response, 204);
    }
    // A method no route takes: the request it asks for would be 405.
    assert_eq!(granted(&preflight(&mut client, "/api/x", ORIGIN.1, "PATCH", "")), [""; 0]);
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn contract_cors_our_fields_replace_the_upstreams() {
    let (sidecar, _upstream) = started();
    let key = ("X-API-Key", KEY);
    let allowed = sidecar.get("/api/x", &[ORIGIN, key]);
    check_readable(&allowed, 200, ORIGIN.1);
    assert_eq!(allowed.field("access-control-allow-credentials"), Some("true"));
    assert!(vary(&allowed).contains(&"accept-encoding".to_owned()), "the upstream's Vary stays");
    for fields in [
        &[key][..],
        &[("Origin", "https://evil.test"), key],
        &[("Origin", "null"), key],
        &[ORIGIN, ("Origin", "https://evil.test"), key],
    ] {
        let response = sidecar.get("/api/x", fields);
        if response.status != 400 {
            check_unreadable(&response, 200);
        }
    }
    // A route without cors leaves it to the upstream.
    let own = sidecar.get("/plain/x", &[("Origin", "https://evil.test"), key]);
    assert_eq!(own.field("access-control-allow-origin"), Some("https://evil.test"));
    assert_eq!(own.field("access-control-max-age"), Some("86400"));
}

#[test]
fn contract_cors_a_page_may_read_why_it_was_refused() {
    let (sidecar, _upstream) = started();
    let key = ("X-API-Key", KEY);
    let mut client = sidecar.connect();
    let missing = client.exchange("GET", "/api/x", &[ORIGIN]);
    check_readable(&missing, 401, ORIGIN.1);
    assert!(missing.field("www-authenticate").is_some());
    let bad = client.exchange("GET", "/api/x", &[ORIGIN, ("Authorization", "Bearer e30.e30.AA")]);
    check_readable(&bad, 401, ORIGIN.1);
    check_readable(&client.exchange("GET", "/write", &[ORIGIN, key]), 403, ORIGIN.1);
    assert_eq!(client.exchange("GET", "/few", &[ORIGIN, key]).status, 200);
    let spent = client.exchange("GET", "/few", &[ORIGIN, key]);
    check_readable(&spent, 429, "*");
    assert!(spent.field("retry-after").is_some() && spent.field("ratelimit").is_some());
    check_unreadable(&client.exchange("GET", "/api/x", &[("Origin", "https://evil.test")]), 401);
    check_unreadable(&client.exchange("GET", "/api/x", &[]), 401);
}

#[test]
fn contract_cors_a_preflight_is_charged_by_address() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let routes = "\
limits: { two: { rate: 1/h, burst: 2, by: address } }
routes: [{ path: /two, access: { scopes: [read] }, limits: [two], cors: { origins: [\"*\"] } }]
";
    let sidecar = sandbox.start_tcp(&format!("{config}{routes}"));
    let mut client = sidecar.connect();
    for status in [204, 204, 429] {
        let response = preflight(&mut client, "/two", ORIGIN.1, "GET", "");
        assert_eq!(response.status, status);
    }
}

#[test]
fn contract_cors_preflight_pass_forwards_it_without_a_credential() {
    let (sidecar, upstream) = started();
    let asked = ("Access-Control-Request-Method", "GET");
    let lie = ("X-Auth-Subject", "root");
    let token = bearer(&signer().sign("rsa", "RS256", &claims()));
    let fields = [ORIGIN, asked, lie, ("Authorization", token.as_str()), ("X-API-Key", KEY)];
    for fields in [&[ORIGIN, asked][..], &fields] {
        let response = sidecar.request("OPTIONS", "/pass/x", fields);
        assert_eq!(response.status, 200);
        // The answer is the upstream's own.
        let origin = response.field("access-control-allow-origin");
        assert_eq!(origin, Some("https://evil.test"));
        let recorded = upstream.last();
        assert_eq!(recorded.request_line(), "OPTIONS /pass/x HTTP/1.1");
        assert_eq!(recorded.field("access-control-request-method"), Some("GET"));
        for gone in ["X-Auth-Subject", "Authorization", "X-API-Key"] {
            assert_eq!(recorded.field(gone), None, "{gone}");
        }
    }
    // It opens the way for preflights alone.
    let forwarded = upstream.requests().len();
    assert_eq!(sidecar.get("/pass/x", &[ORIGIN, asked]).status, 401);
    assert_eq!(sidecar.request("OPTIONS", "/pass/x", &[ORIGIN]).status, 405);
    assert_eq!(sidecar.request("OPTIONS", "/pass/x", &[asked]).status, 405);
    let put = ("Access-Control-Request-Method", "PUT");
    assert_eq!(sidecar.request("OPTIONS", "/pass/x", &[ORIGIN, put]).status, 405);
    assert_eq!(upstream.requests().len(), forwarded);
}

#[test]
fn contract_cors_an_options_that_is_no_preflight_is_an_ordinary_request() {
    let (sidecar, upstream) = started();
    let asked = ("Access-Control-Request-Method", "GET");
    // /api takes no OPTIONS, so it is a 405 like any other method; /plain takes it with a key.
    for fields in [&[][..], &[ORIGIN], &[asked], &[ORIGIN, asked, asked], &[ORIGIN, ORIGIN, asked]]
    {
        let response = sidecar.request("OPTIONS", "/api/x", fields);
        assert_eq!(response.status, 405, "{fields:?}");
        assert_eq!(granted(&response), [""; 0], "{fields:?}");
        assert_eq!(sidecar.request("OPTIONS", "/plain/x", fields).status, 401, "{fields:?}");
    }
    // Where there is neither cors nor preflight, a preflight is an ordinary OPTIONS too.
    assert_eq!(sidecar.request("OPTIONS", "/plain/x", &[ORIGIN, asked]).status, 401);
    assert_eq!(sidecar.request("OPTIONS", "/get-only", &[ORIGIN, asked]).status, 405);
    assert_eq!(upstream.requests().len(), 0);
    let fields = [ORIGIN, asked, ("X-API-Key", KEY)];
    assert_eq!(sidecar.request("OPTIONS", "/plain/x", &fields).status, 200);
    assert_eq!(upstream.last().field("x-auth-subject"), Some("key:existing"));
}

#[test]
fn contract_cors_mistakes_are_refused_with_their_place() {
    #[track_caller]
    fn check(cors: &str, message: &str) {
        let sandbox = Sandbox::new();
        let config = format!(
            "listeners: [{{ address: \"unix:@dir@/p.sock\" }}]\n\
             admin: {{ address: \"unix:@dir@/a.sock\" }}\n\
             upstreams: {{ app: {{ url: \"http://127.0.0.1:1\" }} }}\n\
             routes:\n\
             \x20 - {{ path: /**, access: anonymous, upstream: app, {cors} }}\n"
        );
        sandbox.write("gatepost.yaml", &config);
        for command in ["check", "run"] {
            let run = sandbox.run(&[command, "--config", "gatepost.yaml"]);
            assert_eq!(run.exit, 78, "{command} {cors}: {run:?}");
            let said = format!("{}{}", run.stdout, run.stderr);
            assert!(said.contains("gatepost.yaml:5:") && said.contains(message), "{cors}: {said}");
        }
    }
    check("cors: { origins: [\"*\"], credentials: true }", "cannot be combined");
    check("cors: { origins: [https://a.test, \"*\"], credentials: true }", "cannot be combined");
    check("cors: { origins: [\"null\"] }", "is not accepted as an origin");
    check("cors: { origins: [https://a.test, \"null\"] }", "is not accepted as an origin");
    check("cors: { origins: [https://a.test/] }", "is not an origin");
    check("cors: { origins: [\"https://*.a.test\"] }", "is not an origin");
    check("cors: { origins: [a.test] }", "is not an origin");
    check("cors: { credentials: true }", "origins");
    check("cors: { origins: [https://a.test] }, preflight: pass", "answers preflights itself");
    check("preflight: always", "preflight");
}
