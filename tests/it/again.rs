//! Refused, and asking again on the same connection: the answer is the same, and so is the account.

use std::collections::BTreeMap;

use crate::support::{Client, KEY, Recorder, Response, Sidecar, head, standard};

const ROUTES: &str = "\
limits: { few: { rate: 1/h, burst: 4, by: address } }
routes:
  - { path: /read, access: { scopes: [read] } }
  - { path: /page, access: { scopes: [read] }, cors: { origins: [https://app.example] } }
  - { path: /get, methods: [GET], access: anonymous }
  - { path: /few, access: { scopes: [read] }, limits: [few] }
  - { path: /open, access: anonymous, limits: [few] }
";
type Fields<'a> = &'a [(&'a str, &'a str)];

const KEYED: Fields<'_> = &[("X-API-Key", KEY)];

fn started() -> (Sidecar, Recorder) {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    (sandbox.start_tcp(&format!("{config}{ROUTES}")), upstream)
}

/// What does not differ from one answer to the next: names without case, values.
fn shape(response: &Response) -> (u16, BTreeMap<String, String>, String) {
    let id = response.field("x-request-id").unwrap().to_owned();
    let fields = response.fields.iter().map(|(name, value)| {
        let is_new = ["date", "x-request-id", "retry-after"].contains(&&*name.to_lowercase());
        (name.clone(), if is_new { String::new() } else { value.clone() })
    });
    (response.status, fields.collect(), response.text().replace(&id, "ID"))
}

#[track_caller]
fn same_again(client: &mut Client, method: &str, target: &str, fields: Fields<'_>) -> u16 {
    let first = client.exchange(method, target, fields);
    for _ in 0..3 {
        let again = client.exchange(method, target, fields);
        assert_eq!(shape(&again), shape(&first), "{method} {target}");
        assert_ne!(again.field("x-request-id"), first.field("x-request-id"));
        assert!(again.field("date").is_some_and(|date| date.ends_with(" GMT")));
    }
    first.status
}

#[test]
fn contract_answers_a_refusal_is_the_same_the_second_time() {
    let (sidecar, upstream) = started();
    let page = [("Origin", "https://app.example")];
    let cases: &[(&str, &str, Fields<'_>, u16)] = &[
        ("GET", "/read?a=b", &[], 401),
        ("HEAD", "/read", &[], 401),
        ("DELETE", "/read", &[], 401),
        ("GET", "/page", &page, 401),
        ("GET", "/nowhere", &[], 404),
        ("PUT", "/get", &[], 405),
        ("GET", "/%2e%2e/get", &[], 400),
        ("GET", "/read", &[("Connection", "keep-alive")], 401),
        ("POST", "/read", &[("Content-Length", "0")], 401),
        ("OPTIONS", "/read", &[], 401),
    ];
    for (method, target, fields, status) in cases {
        let mut client = sidecar.connect();
        assert_eq!(same_again(&mut client, method, target, fields), *status, "{method} {target}");
    }
    // All of them in turn on one connection, and every one of them is accounted for.
    let mut client = sidecar.connect();
    for (method, target, fields, status) in cases {
        let response = client.exchange(method, target, fields);
        assert_eq!(response.status, *status, "{method} {target}");
        let line = sidecar.log_line(&response);
        assert_eq!((&line["method"], &line["status"]), (&(*method).into(), &(*status).into()));
        assert_eq!(line["path"], target.split('?').next().unwrap());
        assert_eq!(line["outcome"], "refused");
        assert_eq!(sidecar.why(&response)["reason"], line["reason"]);
    }
    let refused = sidecar.metrics();
    let refused = refused.lines().filter(|line| {
        line.starts_with("gatepost_requests_total{") && line.contains("outcome=\"refused\"")
    });
    let refused: f64 =
        refused.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
    assert_eq!(refused, 5.0 * cases.len() as f64);
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn r407_a_refusal_decides_nothing_about_the_next_request() {
    let (sidecar, upstream) = started();
    let mut client = sidecar.connect();
    for round in 1..=3 {
        for _ in 0..3 {
            assert_eq!(client.exchange("GET", "/read", &[]).status, 401);
        }
        assert_eq!(client.exchange("GET", "/read", KEYED).status, 200);
        assert_eq!(client.exchange("GET", "/read", &[]).status, 401);
        assert_eq!(client.exchange("GET", "/read", &[]).status, 401);
        assert_eq!(client.exchange("GET", "/get", &[]).status, 200);
        assert_eq!(upstream.requests().len(), round * 2);
    }
    // What the operator changes holds for the next request.
    assert_eq!(client.exchange("GET", "/read", &[]).status, 401);
    assert_eq!(client.exchange("GET", "/read", &[]).status, 401);
    let (_, config) = standard(upstream.url());
    sidecar.configure(&format!("{config}routes: [{{ path: /**, access: anonymous }}]\n"));
    assert_eq!(sidecar.reload().status, 200);
    assert_eq!(client.exchange("GET", "/read", &[]).status, 200);
}

#[test]
fn r703_a_limit_counts_each_request_once_refused_or_not() {
    let (sidecar, _upstream) = started();
    let mut client = sidecar.connect();
    // The burst is 4, by address: refused ones count.
    for left in [3, 2, 1] {
        let response = client.exchange("GET", "/few", &[]);
        assert_eq!(response.status, 401);
        let standing = sidecar.why(&response).to_string();
        assert!(standing.contains("few"), "{left}: {standing}");
    }
    // Not refused, after a refusal: charged where it is decided, and there alone.
    assert_eq!(client.exchange("GET", "/open", &[]).status, 200);
    assert_eq!(client.exchange("GET", "/open", &[]).status, 429);
    assert_eq!(same_again(&mut client, "GET", "/open", &[]), 429);
    assert_eq!(client.exchange("GET", "/few", KEYED).status, 429);
}

#[test]
fn r101_what_has_a_body_is_read_to_its_end() {
    let (sidecar, upstream) = started();
    let mut client = sidecar.connect();
    let smuggled = head("GET", "/get", &[]);
    for _ in 0..3 {
        assert_eq!(client.exchange("GET", "/read", &[]).status, 401);
        let length = smuggled.len().to_string();
        client.send(head("POST", "/read", &[("Content-Length", &length)])).send(&smuggled);
        assert_eq!(client.response().status, 401);
        client.send(head("POST", "/read", &[("Transfer-Encoding", "chunked")]));
        client.send(format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len()));
        assert_eq!(client.response().status, 401);
    }
    // Several at once: each has its answer, in their order.
    let pipelined =
        [head("GET", "/read", &[]), head("HEAD", "/read", &[]), head("GET", "/get", &[])];
    client.send(pipelined.concat());
    assert_eq!(client.response().status, 401);
    assert_eq!(client.response_head().status, 401);
    assert_eq!(client.response().status, 200);
    assert_eq!(upstream.requests().len(), 1);
    // A client that asks to close the connection gets `Connection: close`.
    assert_eq!(client.exchange("GET", "/read", &[]).status, 401);
    let last = client.exchange("GET", "/read", &[("Connection", "close")]);
    assert_eq!((last.status, last.field("connection")), (401, Some("close")));
    assert!(client.is_closed());
}

#[test]
fn contract_addresses_a_trusted_peer_names_its_requests_the_second_time_too() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start(&format!("trusted_proxies: [unix]\n{config}{ROUTES}"));
    let mut client = sidecar.connect();
    for name in ["one", "two", "three"] {
        let response = client.exchange("GET", "/read", &[("X-Request-Id", name)]);
        assert_eq!(response.field("x-request-id"), Some(name));
        assert_eq!(response.json()["request_id"], name);
    }
    let response = client.exchange("GET", "/read", &[("X-Request-Id", "not valid")]);
    assert_ne!(response.field("x-request-id"), Some("not valid"));
}

#[test]
fn contract_commands_whoever_drains_says_so_to_a_caller_that_asks_again() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let sidecar = sandbox.start_tcp(&format!("lame_duck: 5m\n{config}{ROUTES}"));
    let mut client = sidecar.connect();
    assert_eq!(client.exchange("GET", "/read", &[]).status, 401);
    assert_eq!(client.exchange("GET", "/read", &[]).field("connection"), Some("keep-alive"));
    sidecar.signal("TERM");
    crate::support::eventually("draining", || {
        let response = sidecar.admin("GET", "/readyz", &[]);
        (response.status == 503).then_some(())
    });
    // The connection was open before: what is sent on it is answered, for the last time.
    let last = client.send(head("GET", "/read", &[])).response_head();
    assert_eq!((last.status, last.field("connection")), (401, Some("close")));
}
