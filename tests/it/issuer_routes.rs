//! The issuer's routes: which requests they take, and what the data path does around an endpoint.

use crate::support::{Client, Recorder, Response, Sandbox, Sidecar, head, standard};

const HOST: (&str, &str) = ("Host", "api.example.com");
const ORIGIN: (&str, &str) = ("Origin", "https://page.example");
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

const ROUTES: &str = "\
issuer: { url: 'https://api.example.com', cors: ['https://page.example'] }
routes: [{ path: /**, access: anonymous }]
";

fn started() -> (Sidecar, Recorder) {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let config = config.replace("{ upstream: app }", "{ upstream: app, insecure_observe: true }");
    (sandbox.start(&format!("state_dir: state\n{config}{ROUTES}")), upstream)
}

#[track_caller]
fn post(client: &mut Client, path: &str, body: &str, fields: &[(&str, &str)]) -> Response {
    let length = body.len().to_string();
    let fields = [&[HOST, FORM, ("Content-Length", &length)], fields].concat();
    client.send(format!("{}{body}", head("POST", path, &fields))).response()
}

/// A client that leaves the port out must not send its secret to the upstream.
#[test]
fn contract_issuer_its_host_is_its_own_on_every_port() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let routes = ROUTES.replace("https://api.example.com", "http://127.0.0.1:34453");
    let sidecar = sandbox.start(&format!("state_dir: state\n{config}{routes}"));
    for host in ["127.0.0.1", "127.0.0.1:34453", "127.0.0.1:80"] {
        let answer = sidecar.get("/.well-known/jwks.json", &[("Host", host)]);
        assert_eq!(answer.status, 200, "{host}");
        let token =
            sidecar.request("POST", "/oauth/token", &[("Host", host), ("Content-Length", "0")]);
        assert_eq!(token.status, 400, "{host}");
    }
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn contract_issuer_its_paths_are_its_own() {
    let (sidecar, upstream) = started();
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration/"] {
        let response = sidecar.get(path, &[HOST]);
        assert_eq!(response.status, 200, "{path}");
        assert_eq!(response.json()["issuer"], "https://api.example.com");
        assert_eq!(sidecar.log_line(&response)["route"], "issuer.metadata");
    }
    let response = sidecar.get("/.well-known/jwks.json", &[HOST]);
    assert_eq!(response.json()["keys"].as_array().map(Vec::len), Some(1));
    let response = sidecar.get("/oauth/token", &[HOST]);
    assert_eq!((response.status, response.field("allow")), (405, Some("OPTIONS, POST")));
    // Another reading of a path of the issuer, below a route that takes everyone.
    for path in ["//oauth/token", "/oauth/token;a=b", "/oauth//token"] {
        assert_eq!(sidecar.request("POST", path, &[HOST, ("Content-Length", "0")]).status, 400);
    }
    assert_eq!(upstream.requests().len(), 0);
    // Another host, and a path beside them.
    assert_eq!(sidecar.get("/oauth/token", &[("Host", "other.example")]).status, 200);
    assert_eq!(sidecar.get("/oauth/tokens", &[HOST]).status, 200);
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn contract_issuer_an_oauth_error_is_a_refusal_with_its_code() {
    let (sidecar, _upstream) = started();
    let mut client = sidecar.connect();
    let body = "grant_type=client_credentials&client_id=nobody&client_secret=x";
    let response = post(&mut client, "/auth/oauth/token", body, &[]);
    assert_eq!((response.status, response.json()["error"].as_str()), (401, Some("invalid_client")));
    assert_eq!(response.field("cache-control"), Some("no-store"));
    let line = sidecar.log_line(&response);
    assert_eq!(
        (&line["outcome"], &line["reason"]),
        (&"refused".into(), &"issuer_invalid_client".into())
    );
    assert_eq!((&line["route"], &line["bytes_in"]), (&"issuer.token".into(), &body.len().into()));
    let why = sidecar.why(&response);
    assert_eq!(why["reason"], "issuer_invalid_client");
    let series =
        "gatepost_rejections_total{reason=\"issuer_invalid_client\",route=\"issuer.token\"}";
    assert_eq!(sidecar.metric(series), 1.0);
    // The connection goes on, and a credential in the query is refused.
    let response = post(&mut client, "/oauth/token?client_secret=x", body, &[]);
    assert_eq!(
        (response.status, response.json()["error"].as_str()),
        (400, Some("invalid_request"))
    );
    assert!(!sidecar.stdout().contains("client_secret"), "no query in the log");
}

#[test]
fn contract_issuer_bodies_are_bounded_and_expected() {
    let (sidecar, _upstream) = started();
    let fields = [HOST, FORM, ("Content-Length", "65537"), ("Expect", "100-continue")];
    let response = sidecar.connect().send(head("POST", "/oauth/token", &fields)).response();
    assert_eq!(response.status, 413, "before the body");
    let mut client = sidecar.connect();
    let chunked = [HOST, FORM, ("Transfer-Encoding", "chunked")];
    let chunk = format!("{}10001\r\n", head("POST", "/oauth/token", &chunked));
    assert_eq!(client.send(chunk).response().status, 413, "with the size line");
    let mut client = sidecar.connect();
    let body = "grant_type=password&client_id=a&client_secret=b";
    let length = body.len().to_string();
    let fields = [HOST, FORM, ("Content-Length", &*length), ("Expect", "100-continue")];
    let interim = client.send(head("POST", "/oauth/token", &fields)).response_head();
    assert_eq!(interim.status, 100);
    assert_eq!(client.send(body).response().status, 400);
}

#[test]
fn contract_issuer_cors_on_errors_too() {
    let (sidecar, _upstream) = started();
    let allowed =
        |response: &Response| response.field("access-control-allow-origin").map(str::to_owned);
    let mut client = sidecar.connect();
    let response = post(&mut client, "/oauth/token", "", &[ORIGIN]);
    assert_eq!((response.status, allowed(&response)), (400, Some(ORIGIN.1.to_owned())));
    // Refused by the gate.
    let response = client.exchange("GET", "/oauth/token", &[HOST, ORIGIN]);
    assert_eq!((response.status, allowed(&response)), (405, Some(ORIGIN.1.to_owned())));
    let response = post(&mut client, "/oauth/introspect", "", &[ORIGIN]);
    assert_eq!(allowed(&response), None);
    let other = ("Origin", "https://evil.test");
    assert_eq!(allowed(&post(&mut client, "/oauth/token", "", &[other])), None);
    for path in ["/oauth/token", "/oauth/introspect", "/auth/account"] {
        let asked = ("Access-Control-Request-Method", "POST");
        let answer = client.send(head("OPTIONS", path, &[HOST, ORIGIN, asked])).response_head();
        assert_eq!(answer.status, 204, "{path}");
        let permission = answer.field("access-control-allow-methods");
        assert_eq!(permission.is_some(), path == "/oauth/token", "{path}");
        assert_eq!(answer.field("access-control-allow-credentials"), None);
    }
}

#[test]
fn contract_cors_of_a_route_may_be_the_origins_of_registered_applications() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let routes = "issuer: { url: 'https://api.example.com' }\nroutes:\n  - { path: /api/**, \
                  access: { scopes: [read] }, cors: { origins: [applications] } }\n";
    let sidecar = sandbox.start(&format!("state_dir: state\n{config}{routes}"));
    let run = |arguments: &[&str]| {
        let run = sidecar.sandbox.run(&[arguments, &["--config", "gatepost.yaml"]].concat());
        assert_eq!(run.exit, 0, "{run:?}");
        run.stdout
    };
    let shop = ("Origin", "https://shop.example");
    let asked = [shop, ("Access-Control-Request-Method", "GET")];
    let allowed = |origin: &str| {
        let refused = sidecar.get("/api/a", &[("Origin", origin)]);
        assert_eq!(refused.status, 401);
        refused.field("access-control-allow-origin").map(str::to_owned)
    };
    assert_eq!(allowed(shop.1), None);
    let created = run(&[
        "app",
        "create",
        "--name",
        "Shop",
        "--strict",
        "--redirect",
        "https://shop.example/cb",
    ]);
    let id = created.lines().next().unwrap().strip_prefix("client_id=").unwrap();
    assert_eq!(allowed(shop.1).as_deref(), Some(shop.1), "without a reload");
    assert_eq!(allowed("https://other.example"), None);
    let preflight = sidecar.connect().send(head("OPTIONS", "/api/a", &asked)).response_head();
    assert_eq!(preflight.field("access-control-allow-origin"), Some(shop.1));
    run(&["app", "delete", id]);
    assert_eq!(allowed(shop.1), None);
}

#[test]
fn contract_issuer_check_names_its_routes() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "gatepost.yaml",
        "listeners: [{ address: '127.0.0.1:0' }]\nupstreams: { app: { url: 'http://127.0.0.1:1' } }\n\
         issuer: { url: 'https://api.example.com' }\n\
         routes: [{ path: /oauth/**, access: authenticated }, { path: /b, access: anonymous }]\n",
    );
    let run = sandbox.run(&["check", "--config", "gatepost.yaml"]);
    assert_eq!(run.exit, 0, "{}", run.stderr);
    assert!(run.stdout.contains("0 issuers, 0 API keys, 0 limits, 2 routes"), "{}", run.stdout);
    let accepted =
        "issuer https://api.example.com: its credentials are accepted on these routes: /oauth/**\n";
    assert!(run.stdout.contains(accepted), "{}", run.stdout);
    let lost = "the issuer takes these paths from route /oauth/**: /oauth/authorize, /oauth/token,";
    assert!(run.stdout.contains(lost), "{}", run.stdout);
    let explain = |fields: &[&str]| {
        let arguments = ["explain", "-c", "gatepost.yaml", "--method", "GET", "--path", "/oauth/x"];
        sandbox.run(&[&arguments, fields].concat())
    };
    for field in ["Authorization: Bearer gp_pat_x", "X-API-Key: key"] {
        let explained = explain(&["--header", field]);
        assert!(explained.exit == 1 && explained.stderr.contains("use --live"), "{explained:?}");
    }
    let explained = explain(&[]);
    assert!(explained.exit == 1 && !explained.stderr.contains("use --live"), "{explained:?}");
    let explained = sandbox.run(&[
        "explain",
        "-c",
        "gatepost.yaml",
        "--method",
        "POST",
        "--host",
        "api.example.com",
        "--path",
        "/oauth/token",
    ]);
    assert!(
        explained.stdout.contains("issuer.token") && explained.exit == 0,
        "{}",
        explained.stdout
    );
}
