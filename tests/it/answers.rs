//! Contract, gatepost's own answers: the table, row by row, on the wire.

use crate::support::{KEY, Recorder, Response, Sidecar, bearer, claims, head, signer, standard};

const ROUTES: &str = "\
limits: { few: { rate: 1/h, burst: 1, by: principal } }
routes:
  - { path: /read, access: { scopes: [read] } }
  - { path: /write, access: { scopes: [write, read] } }
  - { path: /tenant, access: { claims: { tenant: [acme] } } }
  - { path: /get, methods: [GET], access: anonymous }
  - { path: /few, access: anonymous, limits: [few] }
  - { path: /small, access: anonymous, body_limit: 10 }
";

fn started() -> (Sidecar, Recorder) {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    (sandbox.start(&format!("{config}{ROUTES}")), upstream)
}

#[track_caller]
fn check(response: &Response, status: u16, code: &str, challenge: Option<&str>) {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.field("content-type"), Some("application/problem+json"));
    let body = response.json();
    assert_eq!(body["status"], status);
    assert_eq!(body["code"], code);
    assert!(body["title"].is_string());
    assert_eq!(body["request_id"], response.field("x-request-id").unwrap());
    assert_eq!(response.field("www-authenticate"), challenge);
}

#[test]
fn contract_answers_the_table() {
    let (sidecar, upstream) = started();
    let mut expired = claims();
    expired["exp"] = 1.into();
    let expired = bearer(&signer().sign("rsa", "RS256", &expired));
    let key = ("X-API-Key", KEY);
    let bare = "Bearer realm=\"gatepost\"";
    let request = "Bearer realm=\"gatepost\", error=\"invalid_request\"";
    let token = "Bearer realm=\"gatepost\", error=\"invalid_token\"";
    let scope = "Bearer realm=\"gatepost\", error=\"insufficient_scope\", scope=\"read write\"";
    check(&sidecar.get("/read", &[]), 401, "unauthenticated", Some(bare));
    check(&sidecar.get("/read", &[key, key]), 400, "invalid_request", Some(request));
    let response = sidecar.get("/read", &[("Authorization", &expired)]);
    check(&response, 401, "invalid_token", Some(token));
    let response = sidecar.get("/write", &[key]);
    assert_eq!(response.status, 403);
    let challenge = response.field("www-authenticate").unwrap_or_default();
    let other = scope.replace("read write", "write read");
    assert!(challenge == scope || challenge == other, "{challenge}");
    check(&sidecar.get("/tenant", &[key]), 403, "forbidden", None);
    check(&sidecar.get("/nowhere", &[]), 404, "not_found", None);
    let response = sidecar.request("POST", "/get", &[("Content-Length", "0")]);
    check(&response, 405, "method_not_allowed", None);
    assert_eq!(response.field("allow"), Some("GET, HEAD"));
    sidecar.get("/few", &[]);
    let response = sidecar.get("/few", &[]);
    check(&response, 429, "rate_limited", None);
    assert_eq!(response.field("retry-after"), Some("3600"));
    check(&sidecar.get("/%2e%2e/get", &[]), 400, "invalid_path", None);
    let long = format!("/get?{}", "a".repeat(70_000));
    let response = sidecar.get(&long, &[]);
    check(&response, 414, "target_too_long", None);
    assert_eq!(sidecar.why(&response)["reason"], "target_too_long");
    let response = sidecar.request("POST", "/small", &[("Content-Length", "11")]);
    check(&response, 413, "body_too_large", None);
    assert_eq!(upstream.requests().len(), 1, "only the first of /few");
}

#[test]
fn contract_answers_the_precise_reason_is_not_for_the_caller() {
    let (sidecar, _upstream) = started();
    let mut wrong = claims();
    wrong["aud"] = "elsewhere".into();
    let wrong = signer().sign("rsa", "RS256", &wrong);
    let (unknown, bad) = (
        signer().sign("other-rsa", "RS256", &claims()),
        format!("{}AAAA", &wrong[..wrong.len() - 4]),
    );
    let mut bodies = [wrong, unknown, bad].map(|token| {
        let response = sidecar.get("/read", &[("Authorization", &bearer(&token))]);
        let id = response.field("x-request-id").unwrap();
        (response.text().replace(id, "ID"), response.field("www-authenticate").unwrap().to_owned())
    });
    bodies.sort();
    assert_eq!(bodies[0], bodies[2], "one answer for every bad credential (R-316)");
}

#[test]
fn contract_answers_a_refusal_keeps_the_connection() {
    let (sidecar, _upstream) = started();
    let mut client = sidecar.connect();
    for _ in 0..3 {
        assert_eq!(client.exchange("GET", "/read", &[]).status, 401);
    }
    // A body of at most 64 KiB is drained, and is never read as a request.
    let smuggled = head("GET", "/get", &[]);
    let body = format!("{smuggled}{}", "x".repeat(65_536 - smuggled.len()));
    let length = ("Content-Length", "65536");
    let response = client.send(head("POST", "/read", &[length])).send(&body).response();
    assert_eq!(response.status, 401);
    client.send(head("POST", "/read", &[("Transfer-Encoding", "chunked")]));
    let response =
        client.send(format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len())).response();
    assert_eq!(response.status, 401);
    assert_eq!(client.exchange("GET", "/get", &[]).status, 200, "still in step");
}

#[test]
fn r101_a_refusal_of_a_larger_body_closes() {
    let (sidecar, upstream) = started();
    let mut client = sidecar.connect();
    let smuggled = head("GET", "/get", &[]);
    client.send(head("POST", "/read", &[("Content-Length", "10000000")])).send(&smuggled);
    let response = client.response();
    assert_eq!(response.status, 401);
    assert!(client.is_closed(), "the rest of the body is not read as a request");
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn r401_what_can_be_framed_in_two_ways_is_refused_and_closed() {
    let (sidecar, upstream) = started();
    for message in [
        "POST /get HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /get HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "POST /get HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc",
        "POST /get HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
        "POST /get HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "POST /get HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        "POST /get HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /get HTTP/1.1\r\n\r\n",
        "GET /get HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /get HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
        "GET /get HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n",
        "GET /get HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        "GET /get HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n",
    ] {
        let mut client = sidecar.connect();
        let response = client.send(message).response();
        assert_eq!(response.status, 400, "{message:?}");
        assert!(client.is_closed(), "{message:?}");
        assert_eq!(sidecar.why(&response)["reason"], "request_malformed", "{message:?}");
    }
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn contract_answers_what_is_no_request_gets_a_bare_answer_and_a_close() {
    let (sidecar, _upstream) = started();
    for message in [
        "\x16\x03\x01\x02\0\x01\0\r\n\r\n",
        "hello\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
    ] {
        let mut client = sidecar.connect();
        let response = client.send(message).finish().response();
        assert!((400..506).contains(&response.status), "{message:?}: {}", response.status);
        assert!(client.is_closed(), "{message:?}");
    }
}

#[test]
fn r107_too_many_or_too_large_headers() {
    let (sidecar, upstream) = started();
    let names: Vec<_> = (0..150).map(|number| format!("X-{number}")).collect();
    let fields: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let response = sidecar.get("/get", &fields);
    assert_eq!(response.status, 431);
    assert_eq!(sidecar.why(&response)["reason"], "headers_too_large");
    let large = "a".repeat(70_000);
    assert_eq!(sidecar.get("/get", &[("X-Large", &large)]).status, 431);
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn contract_answers_body_limit_is_kept_while_streaming() {
    let (sidecar, _upstream) = started();
    let mut client = sidecar.connect();
    let fields = [("Transfer-Encoding", "chunked")];
    client.send(head("POST", "/small", &fields)).send("14\r\n01234567890123456789\r\n0\r\n\r\n");
    assert_eq!(client.response().status, 413);
    let mut client = sidecar.connect();
    let response = client
        .send(head("POST", "/small", &fields))
        .send("a\r\n0123456789\r\n0\r\n\r\n")
        .response();
    assert_eq!(response.status, 200);
}
